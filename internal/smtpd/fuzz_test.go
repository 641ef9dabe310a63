package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// canned is a connection whose peer has said everything it will ever say, in
// pieces of a given size; what is written to it is kept.
type canned struct {
	in    []byte
	piece int
	out   bytes.Buffer
}

func (c *canned) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *canned) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *canned) Close() error                     { return nil }
func (c *canned) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *canned) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (c *canned) SetDeadline(time.Time) error      { return nil }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }

func newWire(in []byte, piece int) *wire {
	lim := Limits{}.withDefaults()
	w := &wire{
		nc: &canned{in: in, piece: piece}, lim: &lim, now: time.Now,
		end: &atomic.Int32{}, grace: &atomic.Int64{},
	}
	w.init()
	w.until, w.hard = time.Now().Add(time.Hour), time.Now().Add(time.Hour)
	return w
}

// The line reader agrees with what bytes.Index says of the whole input, however
// it comes in pieces.
func FuzzReadLine(f *testing.F) {
	for _, s := range []string{
		"NOOP\r\n", "a\nb\r\nc\r\n", "\r\r\n\n\r\n", "\n", "", "\r", strings.Repeat("x", maxAuthLine) + "\r\nNOOP\r\n",
		strings.Repeat("x", maxAuthLine-2) + "\r\n", strings.Repeat("\n", maxDiscard+10), strings.Repeat("\r", inBuffer) + "\n",
		strings.Repeat("x", inBuffer-1) + "\r\n", strings.Repeat("x", inBuffer) + "\r\n", strings.Repeat("x", maxDiscard-2) + "\r\n",
	} {
		f.Add([]byte(s), uint16(1))
		f.Add([]byte(s), uint16(4096))
	}
	f.Fuzz(func(t *testing.T, in []byte, piece uint16) {
		w := newWire(bytes.Clone(in), int(piece)+1)
		for rest := in; ; {
			line, fault, err := w.readLine()
			i := bytes.Index(rest, []byte("\r\n"))
			if i < 0 {
				switch {
				case fault == lineHuge && len(rest) <= maxDiscard, fault != lineHuge && err == nil,
					fault != lineHuge && len(rest) > maxDiscard+inBuffer:
					t.Fatalf("no end within %d octets: fault %v, %v", len(rest), fault, err)
				}
				return
			}
			want := rest[:i]
			wantFault := lineGood
			switch {
			case i+2 > maxDiscard:
				wantFault = lineHuge
			case bytes.IndexByte(want, '\n') >= 0:
				wantFault = lineBareLF
			case i+2 > maxAuthLine:
				wantFault = lineLong
			}
			if err != nil || fault != wantFault || fault == lineGood && !bytes.Equal(line, want) {
				t.Fatalf("got %.50q, %v, %v; want %.50q, %v", line, fault, err, want, wantFault)
			}
			if len(line) > maxAuthLine {
				t.Fatalf("kept %d octets", len(line))
			}
			if fault == lineHuge {
				return
			}
			rest = rest[i+2:]
		}
	})
}

// The data reader ends at the first CRLF.CRLF and nowhere else, and leaves what
// is behind it.
func FuzzReadData(f *testing.F) {
	for _, end := range lookAlike() {
		f.Add([]byte(smuggle(end)+endOfData+"NOOP\r\n"), uint16(1))
	}
	f.Add([]byte(".\r\n.\r\n"), uint16(1))
	f.Add([]byte(strings.Repeat("x", inBuffer-1)+"\r\n.\r\nrest"), uint16(4095))
	f.Add([]byte(strings.Repeat("x", inBuffer-2)+"\r\n.\r\nrest"), uint16(8000))
	f.Fuzz(func(t *testing.T, in []byte, piece uint16) {
		w := newWire(bytes.Clone(in), int(piece)+1)
		m := &memory{}
		m.init(&Limits{Memory: 1 << 30, Size: 1 << 25})
		b := m.buffer(budgets{&m.all}, 1<<25)
		err := w.readData(b)
		whole := append([]byte("\r\n"), in...)
		i := bytes.Index(whole, []byte(endOfData))
		if (err == nil) != (i >= 0) {
			t.Fatalf("end at %d: %v", i, err)
		}
		if i < 0 {
			return
		}
		want := []byte(unstuffed(string(whole[min(2, i+2) : i+2])))
		if !bytes.Equal(b.b, want) {
			t.Fatalf("got %q, want %q", b.b, want)
		}
		rest, err := io.ReadAll(w.in)
		if err != nil || !bytes.Equal(rest, whole[i+len(endOfData):]) {
			t.Fatalf("left %q, want %q", rest, whole[i+len(endOfData):])
		}
	})
}

// S-088: any octets, in any state: no panic, replies well formed, nothing taken
// without a true end of data, nothing held afterwards.
func FuzzSession(f *testing.F) {
	states := []string{
		"",
		"EHLO x\r\n",
		"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<postmaster>\r\n",
		"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<postmaster>\r\nDATA\r\n",
		"EHLO x\r\nAUTH PLAIN " + plain("", user, password) + "\r\n",
		"EHLO x\r\nAUTH PLAIN " + plain("", user, password) + "\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<to@b.example>\r\n",
		"EHLO x\r\nAUTH PLAIN " + plain("", user, password) + "\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<to@b.example>\r\nDATA\r\n",
		"EHLO x\r\nAUTH LOGIN\r\n",
	}
	for n := range states {
		for _, end := range lookAlike()[:8] {
			f.Add(uint8(n), uint16(7), []byte(smuggle(end)+endOfData+"QUIT\r\n"))
		}
		f.Add(uint8(n), uint16(4095), []byte("DATA\r\n"+letter+".\r\nRSET\r\nBDAT 5\r\nabcdeBDAT 0 LAST\r\nQUIT\r\n"))
		f.Add(uint8(n), uint16(1), []byte("MAIL FROM:<> SIZE=1 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<\"a\"@b.example>\r\nNOOP\r\nHELP\r\nVRFY x\r\nSTARTTLS\r\n\x16\x03\x01"))
		f.Add(uint8(n), uint16(99), []byte("BDAT 99999999999999999999 LAST\r\nAUTH PLAIN =\r\nAUTH LOGIN\r\n*\r\nEXPN\r\nGET / HTTP/1.1\r\n"))
	}
	cfg := newTLS(f)
	f.Fuzz(func(t *testing.T, state uint8, piece uint16, in []byte) {
		script := append([]byte(states[int(state)%len(states)]), in...)
		w := &world{t: t}
		w.cfg = Config{
			Hostname: hostname, TLS: cfg, AuthOnLoopback: true, Authenticate: w.authenticate, Accept: w.accept, Inbound: w,
			Limits: Limits{Size: 1 << 16},
		}
		srv, err := New(w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		nc := &canned{in: bytes.Clone(script), piece: int(piece)%8192 + 1}
		c := &conn{srv: srv, lis: Listener{Inbound: true}, nc: nc, ip: netip.MustParseAddr("127.0.0.1"), since: time.Now()}
		if !srv.add(c) {
			t.Fatal("no place")
		}
		c.serve(context.Background())
		srv.remove(c)
		out := checkReplies(t, nc.out.Bytes())
		checkTaken(t, w, script, strings.Count(out, "queued as"))
		if free := srv.mem.all.Load(); free != srv.lim.Memory {
			t.Fatalf("%d octets of memory are lost", srv.lim.Memory-free)
		}
	})
}

// checkReplies gives what was said in the clear.
func checkReplies(t *testing.T, out []byte) string {
	t.Helper()
	if i := bytes.Index(out, []byte(replyStartTLS+"\r\n")); i >= 0 {
		out = out[:i+len(replyStartTLS)+2] // TLS follows
	}
	s := bufio.NewScanner(bytes.NewReader(out))
	for s.Scan() {
		line := strings.TrimSuffix(s.Text(), "\r")
		if len(line) < 4 || len(line) > maxReplyLine || line[0] < '2' || line[0] > '5' || line[3] != ' ' && line[3] != '-' ||
			asciiOnly(line) != line {
			t.Fatalf("reply line %q", line)
		}
	}
	if bytes.Contains(out, []byte(replyPanic)) {
		t.Fatal("the session panicked")
	}
	return string(out)
}

// checkTaken: what was taken stands in the script as it should.
func checkTaken(t *testing.T, w *world, script []byte, replies int) {
	t.Helper()
	ends := 0
	for i := range script {
		if bytes.HasPrefix(script[i:], []byte(endOfData)) {
			ends++
		}
	}
	upper := bytes.ToUpper(script)
	chunks := bytes.Count(upper, []byte("LAST"))
	taken, boxed := w.messages()
	if n := len(taken) + len(boxed); n != replies || n > ends+chunks {
		t.Fatalf("%d messages, %d replies, %d ends of data, %d last chunks", n, replies, ends, chunks)
	}
	var datas [][]byte
	for _, m := range taken {
		datas = append(datas, m.raw.Data)
	}
	for _, m := range boxed {
		datas = append(datas, m.Data)
		if v, _ := verdictOf(string(m.Data), true); !strings.HasPrefix(string(v), "250") {
			t.Fatalf("a stranger's %q was taken", m.Data)
		}
	}
	for _, d := range datas {
		stuffed := strings.ReplaceAll("\r\n"+string(d), "\r\n.", "\r\n..")[2:] + ".\r\n"
		// A client need not stuff a dot that ends nothing: compare without.
		if chunks == 0 && !bytes.Contains(plainDots(script), plainDots([]byte(stuffed))) {
			t.Fatalf("%q was never sent", d)
		}
	}
}

func plainDots(b []byte) []byte { return bytes.ReplaceAll(b, []byte("."), nil) }
