package smtpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"pennypost"
	"pennypost/internal/metrics"
	"pennypost/internal/submit"
)

// BenchmarkSession sends 4 KiB messages over kept sessions, as a pool of a
// mail library does: MAIL, RCPT and DATA in one write, then the message. It
// counts the client's and the kernel's work too.
func BenchmarkSession(b *testing.B) {
	for _, secure := range []bool{false, true} {
		b.Run(fmt.Sprintf("tls=%v", secure), func(b *testing.B) {
			addr := benchServer(b)
			p := benchClient(b, addr, secure)
			message := []byte("From: a@client.example\r\nTo: b@x.example\r\nSubject: hello\r\n\r\n" +
				strings.Repeat(strings.Repeat("x", 70)+"\r\n", 56) + ".\r\n")
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			b.ResetTimer()
			begin := cpu(b)
			for range b.N {
				p.put(b, "MAIL FROM:<a@client.example> BODY=8BITMIME SIZE=4096\r\nRCPT TO:<b@x.example>\r\nDATA\r\n", 3)
				if _, err := p.Write(message); err != nil {
					b.Fatal(err)
				}
				p.get(b)
			}
			b.ReportMetric(float64(cpu(b)-begin)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpu gives the time that this process has computed.
func cpu(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkLogin is AUTH alone over a kept session, up to where auth is asked.
func BenchmarkLogin(b *testing.B) {
	p := benchClient(b, benchServer(b), true)
	p.put(b, "RSET\r\n", 1)
	b.ReportAllocs()
	for range b.N {
		p.put(b, "AUTH PLAIN "+plain("", user, password)+"\r\n", 1) // 503: the way there and back
	}
}

// BenchmarkReadData is the reader alone, for 10 kB and 1 MB (dependencies §2
// no. 10: 37 µs and 0.7 ms on the machine of that day).
func BenchmarkReadData(b *testing.B) {
	for _, size := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("%d", size), func(b *testing.B) {
			in := []byte(strings.Repeat(strings.Repeat("x", 70)+"\r\n", size/72) + ".\r\n")
			w := newWire(nil, 1<<20)
			nc, _ := w.nc.(*canned)
			m := &memory{}
			m.init(&Limits{Memory: 1 << 30, Size: 1 << 25})
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for range b.N {
				nc.in = in
				body := m.buffer(budgets{&m.all}, 1<<25)
				if err := w.readData(body); err != nil {
					b.Fatal(err)
				}
				body.free()
			}
		})
	}
}

type benchConn struct {
	net.Conn
	in *bufio.Reader
}

func (c *benchConn) get(b *testing.B) {
	b.Helper()
	line, err := c.in.ReadSlice('\n')
	if err != nil || line[0] > '3' && !strings.HasPrefix(string(line), "503 ") {
		b.Fatalf("%q, %v", line, err)
	}
}

func (c *benchConn) put(b *testing.B, s string, replies int) {
	b.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		b.Fatal(err)
	}
	for range replies {
		c.get(b)
	}
}

func benchServer(b *testing.B) string {
	b.Helper()
	w := start(b, func(c *Config) {
		c.AuthOnLoopback, c.Metrics, c.Log = true, metrics.New(), nil
		c.Accept = func(context.Context, pennypost.Caller, *submit.Raw) (*submit.Accepted, error) {
			return &submit.Accepted{}, nil
		}
		c.Limits.Wrong = 1 << 60
	})
	return w.tcp(nil, Listener{})[0]
}

func benchClient(b *testing.B, addr string, secure bool) *benchConn {
	b.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = nc.Close() }) //nolint:errcheck // the end
	c := &benchConn{nc, bufio.NewReader(nc)}
	c.get(b)
	c.put(b, "EHLO x\r\n", 10)
	if secure {
		c.put(b, "STARTTLS\r\n", 1)
		t := tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the server's name is of no interest here
		c = &benchConn{t, bufio.NewReader(t)}
		c.put(b, "EHLO x\r\n", 9)
	}
	c.put(b, "AUTH PLAIN "+plain("", user, password)+"\r\n", 1)
	return c
}
