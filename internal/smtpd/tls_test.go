package smtpd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pennypost"
)

// Submission with TLS from the start (RFC 8314 §3.3), and port 25 with STARTTLS.
func TestImplicitTLS(t *testing.T) {
	w := start(t)
	p := w.dial(w.secure).upgrade(w.tls)
	p.hello().login().delivers("to@client.example")
	p.say("QUIT", replyBye)
	p.closed()
	p = w.dial(w.mx).hello().startTLS(w.tls)
	p.delivers("abuse@" + hostname)
	if taken, boxed := w.messages(); len(taken) != 1 || len(boxed) != 1 || !taken[0].raw.TLS || !boxed[0].TLS {
		t.Errorf("taken %+v, boxed %+v", taken, boxed)
	}
}

// S-050: a handshake that does not end, and one octet of it a second.
func TestS050SlowHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		for _, trickle := range []bool{false, true} {
			for _, implicit := range []bool{false, true} {
				var p *peer
				if implicit {
					p = w.dial(w.secure)
				} else {
					p = w.dial(w.mx).hello()
					p.say("STARTTLS", replyStartTLS)
				}
				begin := time.Now()
				var drip sync.WaitGroup
				if trickle {
					drip.Go(func() {
						for _, c := range []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 500)) {
							if _, err := p.raw.Write([]byte{c}); err != nil {
								return
							}
							time.Sleep(time.Second)
						}
					})
				}
				_, _ = io.ReadAll(p.raw) //nolint:errcheck // until it is closed
				took := time.Since(begin)
				drip.Wait()
				if took != w.srv.lim.Handshake {
					t.Errorf("trickle=%v implicit=%v: closed after %v", trickle, implicit, took)
				}
			}
		}
	})
}

func TestS055CommandsBehindStartTLS(t *testing.T) {
	w := start(t)
	for _, injected := range []string{
		"EHLO injected.example\r\n", "MAIL FROM:<evil@evil.example>\r\nRCPT TO:<abuse@" + hostname + ">\r\n",
		"AUTH PLAIN " + plain("", user, password) + "\r\n", "NOOP", "\r\n", strings.Repeat("NOOP\r\n", 500),
	} {
		// In one segment: dropped, and TLS begins.
		p := w.dial(w.mx).hello()
		p.send("STARTTLS\r\n" + injected)
		p.want(replyStartTLS)
		p.nc = p.raw
		c := tls.Client(p.raw, w.tls)
		if len(injected) < inBuffer-len("STARTTLS\r\n") {
			p.idle.Wait()
			if err := c.Handshake(); err != nil {
				t.Fatalf("%.20q: %v", injected, err)
			}
			p.nc = c
			p.in.Reset(c)
			p.say("RCPT TO:<abuse@"+hostname+">", replyNoMail)
			p.say("MAIL FROM:<a@b.example>", replyHeloFirst)
			p.say("EHLO client.example", "250-"+hostname)
			p.say("RCPT TO:<abuse@"+hostname+">", replyNoMail)
		}
		p.close()
		// In the next segment: that is no handshake.
		p = w.dial(w.mx).hello()
		p.say("STARTTLS", replyStartTLS)
		p.send(injected + "\r\n\r\n\r\n\r\n")
		rest, _ := io.ReadAll(p.in) //nolint:errcheck // until it is closed
		if !bytes.Equal(rest, []byte{21, 3, 1, 0, 2, 2, 10}) {
			t.Errorf("%.20q: got %q, want an alert", injected, rest)
		}
	}
	if taken, boxed := w.messages(); len(taken)+len(boxed) > 0 {
		t.Error("a message was taken")
	}
}

func TestS056StateIsGoneAfterStartTLS(t *testing.T) {
	w := start(t)
	p := w.dial(w.mx).hello()
	p.say("MAIL FROM:<a@b.example>", replySender)
	p.say("RCPT TO:<abuse@"+hostname+">", replyRcpt)
	p.say("STARTTLS", replyStartTLS)
	p.upgrade(w.tls)
	p.say("DATA", replyNoMail)
	p.say("MAIL FROM:<a@b.example>", replyHeloFirst)
	p.say("AUTH PLAIN "+plain("", user, password), replyHeloFirst)

	// A login in the clear, where that is allowed, does not last either.
	revoked := make(chan struct{})
	w = start(t, loopback, func(c *Config) {
		c.Revoked = func(pennypost.TokenID) <-chan struct{} { return revoked }
	})
	p = w.clear()
	p.say("STARTTLS", replyStartTLS)
	p.upgrade(w.tls)
	p.say("EHLO client.example", "250-"+hostname)
	p.say("MAIL FROM:<a@b.example>", replyAuthFirst)
	w.srv.watch.mu.Lock()
	defer w.srv.watch.mu.Unlock()
	if n := len(w.srv.watch.tokens); n != 0 {
		t.Errorf("%d tokens watched, want none", n)
	}
}

func TestS057StartTLS(t *testing.T) {
	w := start(t)
	p := w.dial(w.mx).hello()
	p.say("STARTTLS now", replyNoArgument)
	p.say("STARTTLS", replyStartTLS)
	p.upgrade(w.tls)
	p.say("STARTTLS", replyTwiceTLS)
	p.say("EHLO x", "250-")
	p.say("STARTTLS", replyTwiceTLS)
	p = w.dial(w.secure).upgrade(w.tls).hello()
	p.say("STARTTLS", replyTwiceTLS)
}

func TestS058PlaintextTo465(t *testing.T) {
	w := start(t)
	for _, hello := range []string{"EHLO client.example\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x00\x00\x00\x00\x00\x00\x00\x00"} {
		p := w.dial(w.secure)
		p.send(hello)
		got, _ := io.ReadAll(p.in) //nolint:errcheck // until it is closed
		if !bytes.Equal(got, []byte{21, 3, 1, 0, 2, 2, 10}) {
			t.Errorf("%q: got %q, want an alert", hello, got)
		}
	}
}

// A ClientHello where a command belongs: one reply and the end, at once,
// although no line of it need end.
func TestS058ClientHelloTo587(t *testing.T) {
	w := start(t)
	for _, l := range []*pipes{w.submission, w.mx} {
		p := w.dial(l)
		p.want("220")
		p.send("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 500))
		p.want(replyNotSMTP)
		p.closed()
	}
	addrs := w.tcp(nil, Listener{}, Listener{Inbound: true})
	for _, addr := range addrs {
		err := tls.Client(w.call(addr).raw, w.tls).Handshake()
		var notTLS tls.RecordHeaderError
		if !errors.As(err, &notTLS) {
			t.Errorf("handshake: %v", err)
		}
	}
}

func TestS059OldVersions(t *testing.T) {
	w := start(t, func(c *Config) { c.TLS.MinVersion = tls.VersionTLS10 })
	for _, implicit := range []bool{true, false} {
		for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
			l := w.secure
			if !implicit {
				l = w.mx
			}
			p := w.dial(l)
			if !implicit {
				p.hello().say("STARTTLS", replyStartTLS)
			}
			c := tls.Client(p.raw, &tls.Config{InsecureSkipVerify: true, MinVersion: v, MaxVersion: v}) //nolint:gosec // old versions on purpose
			err := c.Handshake()
			if taken := v >= tls.VersionTLS12; taken != (err == nil) {
				t.Errorf("version %x implicit=%v: %v", v, implicit, err)
			}
		}
	}
	if log := w.log(); !strings.Contains(log, "TLS handshake failed") {
		t.Errorf("log says nothing of it: %s", log)
	}
}

// Microsoft's senders broke off on tickets (golang/go#70232): none on port 25.
func TestTickets(t *testing.T) {
	w := start(t)
	addrs := w.tcp(nil, Listener{}, Listener{Inbound: true})
	for addr, resumes := range map[string]bool{addrs[0]: true, addrs[1]: false} {
		cfg := w.tls.Clone()
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		cfg.ServerName = hostname
		for n := range 2 {
			p := w.call(addr).hello()
			p.say("STARTTLS", replyStartTLS)
			p.upgrade(cfg)
			p.say("NOOP", replyOK) // reads the ticket, if there is one
			if got := p.nc.(*tls.Conn).ConnectionState().DidResume; got != (resumes && n == 1) {
				t.Errorf("resumes=%v, connection %d: resumed %v", resumes, n, got)
			}
		}
	}
}
