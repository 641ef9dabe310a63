package smtpc

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
)

// peer is the other side of a conversation, which a test scripts. On a
// net.Pipe one read gives what one write sent, or a part of it, so that a
// script sees how things were written.
type peer struct {
	t  testing.TB
	nc net.Conn
	// pieces: one write may come in several reads.
	pieces bool
}

// say sends text as it is.
func (p *peer) say(text string) {
	p.t.Helper()
	if _, err := p.nc.Write([]byte(text)); err != nil {
		p.t.Errorf("peer: say %q: %v", text, err)
		runtime.Goexit()
	}
}

// expect wants one write of exactly this text.
func (p *peer) expect(want string) {
	p.t.Helper()
	got := p.read()
	for p.pieces && len(got) < len(want) {
		got += p.read()
	}
	if got != want {
		p.t.Errorf("peer: got %q, want %q", clip(got), clip(want))
		runtime.Goexit()
	}
}

func (p *peer) read() string {
	p.t.Helper()
	b := make([]byte, 256<<10)
	n, err := p.nc.Read(b)
	if err != nil {
		p.t.Errorf("peer: read: %v", err)
		runtime.Goexit()
	}
	return string(b[:n])
}

// gone wants the client to close, with nothing more said.
func (p *peer) gone() {
	p.t.Helper()
	b := make([]byte, 1024)
	if n, err := p.nc.Read(b); err == nil {
		p.t.Errorf("peer: got %q, want the connection closed", b[:n])
	}
}

func clip(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

const (
	pipelines = "250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
	plainest  = "250 mx.test\r\n"
)

// greet plays the server's part in Hello.
func (p *peer) greet(extensions string) {
	p.t.Helper()
	p.say("220 mx.test ESMTP\r\n")
	p.expect("EHLO client.test\r\n")
	p.say(extensions)
}

// begin gives a client whose peer follows a script. The test ends only after
// the script has.
func begin(tb testing.TB, cfg Config, script func(p *peer)) *Client {
	tb.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		script(&peer{t: tb, nc: theirs})
	}()
	tb.Cleanup(func() {
		_ = ours.Close() // a pipe
		<-done
	})
	cfg.Hostname = "client.test"
	return New(ours, "mx.test", cfg)
}

// listen gives the address of a server on loopback that plays a script for
// each connection, in turn.
func listen(tb testing.TB, scripts ...func(p *peer)) netip.AddrPort {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, script := range scripts {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			played := make(chan struct{})
			go func() {
				defer close(played)
				defer nc.Close()
				script(&peer{t: tb, nc: nc})
			}()
			<-played
		}
	}()
	tb.Cleanup(func() {
		_ = l.Close() // ends the loop
		<-done
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

// dialPeer gives a client on a real connection.
func dialPeer(tb testing.TB, cfg Config, script func(p *peer)) *Client {
	tb.Helper()
	nc, err := Dial(tb.Context(), DialConfig{Addrs: []netip.AddrPort{listen(tb, script)}})
	if err != nil {
		tb.Fatal(err)
	}
	cfg.Hostname = "client.test"
	c := New(nc, "mx.test", cfg)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// greeted gives a client after Hello.
func greeted(tb testing.TB, cfg Config, extensions string, script func(p *peer)) *Client {
	tb.Helper()
	c := begin(tb, cfg, func(p *peer) {
		p.greet(extensions)
		script(p)
	})
	if err := c.Hello(tb.Context()); err != nil {
		tb.Fatalf("Hello: %v", err)
	}
	return c
}

const (
	group = "MAIL FROM:<bounce@sender.test> SIZE=36\r\nRCPT TO:<jane@rcpt.test>\r\nDATA\r\n"
	body  = "Subject: hi\r\n\r\nHello,\r\nhow are you\r\n"
)

func letter() *Envelope {
	return &Envelope{From: "bounce@sender.test", To: "jane@rcpt.test", Parts: [][]byte{[]byte("Subject: hi\r\n\r\n"), []byte("Hello,\r\nhow are you\r\n")}}
}

// want checks a Reply and that there is no error.
func want(t *testing.T, r *Reply, err error, text, phase string) {
	t.Helper()
	if err != nil {
		t.Fatalf("got error %v, want reply %q", err, text)
	}
	if got := r.Error(); got != text || r.Phase != phase {
		t.Fatalf("got reply %q in phase %q, want %q in %q", got, r.Phase, text, phase)
	}
}

// wantError checks an *Error and that there is no Reply.
func wantError(t *testing.T, r *Reply, err error, phase, text string, ambiguous bool) {
	t.Helper()
	_ = gotError(t, r, err, phase, text, ambiguous) //nolint:errcheck // it was checked
}

// gotError gives it as well.
func gotError(t *testing.T, r *Reply, err error, phase, text string, ambiguous bool) *Error {
	t.Helper()
	var e *Error
	if r != nil || !errors.As(err, &e) {
		t.Fatalf("got %v, %v, want an *Error", r, err)
	}
	if e.Phase != phase || !strings.Contains(e.Err.Error(), text) || e.Ambiguous != ambiguous {
		t.Fatalf("got %q, ambiguous %v, want phase %q, text %q, ambiguous %v", err, e.Ambiguous, phase, text, ambiguous)
	}
	return e
}

func wantReusable(t *testing.T, c *Client, want bool) {
	t.Helper()
	if got := c.Reusable(); got != want {
		t.Fatalf("got Reusable %v, want %v\n%s", got, want, c.Info().Conversation)
	}
}

// within bounds a test that waits for something that may never come.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
