package smtpc

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sinkConn takes every message, with as little work as possible.
func sinkConn(nc net.Conn) {
	in := bufio.NewReaderSize(nc, 64<<10)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		reply := ""
		switch line[0] {
		case 'E':
			reply = "250-sink\r\n250-PIPELINING\r\n250-SIZE 30000000\r\n250 8BITMIME\r\n"
		case 'M', 'R':
			continue // answered with DATA
		case 'D':
			reply = "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
			if _, err := nc.Write([]byte(reply)); err != nil {
				return
			}
			for !bytes.Equal(line, []byte(".\r\n")) {
				if line, err = in.ReadSlice('\n'); err != nil {
					return
				}
			}
			reply = "250 2.0.0 Ok: queued as 4Zx9\r\n"
		case 'Q':
			return
		}
		if _, err := nc.Write([]byte(reply)); err != nil {
			return
		}
	}
}

func benchSend(b *testing.B, size int, secure bool) {
	b.Helper()
	cert, pool := certificate(b, ecKey(b), "mx.test", time.Now().Add(time.Hour))
	at := listen(b, func(p *peer) {
		if secure {
			s := p.secure(&tls.Config{Certificates: []tls.Certificate{cert}})
			sinkConn(s.nc)
			return
		}
		p.say("220 sink\r\n")
		sinkConn(p.nc)
	})
	c, err := Connect(b.Context(), DialConfig{Addrs: []netip.AddrPort{at}}, "mx.test", Config{Hostname: "client.test", TLS: &tls.Config{RootCAs: pool}})
	if err != nil {
		b.Fatal(err)
	}
	line := strings.Repeat("x", 74) + "\r\n"
	e := letter()
	e.Parts = [][]byte{[]byte("DKIM-Signature: x\r\n"), []byte(strings.Repeat(line, size/len(line)))}
	e.BeforeDot = func() error { return nil }
	b.ReportAllocs()
	b.SetBytes(int64(size))
	before := cpu(b)
	for b.Loop() {
		r, err := c.Send(b.Context(), e)
		if err != nil || r.Code != 250 {
			b.Fatal(r, err)
		}
		if i := c.Info(); len(i.Phases) == 0 {
			b.Fatal("no phases")
		}
	}
	// The sink's part is in it.
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
	if err := c.Quit(b.Context()); err == nil {
		b.Fatal("the sink answers QUIT with the end of the connection")
	}
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkSend4KiB(b *testing.B)    { benchSend(b, 4<<10, false) }
func BenchmarkSend4KiBTLS(b *testing.B) { benchSend(b, 4<<10, true) }
func BenchmarkSend1MiB(b *testing.B)    { benchSend(b, 1<<20, false) }
