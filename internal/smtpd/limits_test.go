package smtpd

import (
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pennypost/internal/metrics"
)

func TestS047Silence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, loopback)
		begin := time.Now()
		p := w.dial(w.mx)
		p.want("220")
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the banner took %v", took)
		}
		p.want(replyTimeout)
		p.closed()
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("before AUTH: closed after %v", took)
		}
		p = w.clear()
		begin = time.Now()
		p.want(replyTimeout)
		p.closed()
		if took := time.Since(begin); took != 5*time.Minute {
			t.Errorf("after AUTH: closed after %v", took)
		}
	})
}

// S-048: one octet every ten seconds, wherever it is.
func TestS048SlowClient(t *testing.T) {
	for what, c := range map[string]struct {
		enter func(*world) *peer
		most  time.Duration
	}{
		"command":            {func(w *world) *peer { return w.dial(w.mx).hello() }, time.Minute + 10*time.Second},
		"command after AUTH": {func(w *world) *peer { return w.clear() }, time.Minute + 10*time.Second},
		"AUTH": {func(w *world) *peer {
			p := w.dial(w.submission).hello()
			p.say("AUTH LOGIN", "334")
			return p
		}, time.Minute},
		"DATA": {func(w *world) *peer {
			p := w.clear()
			p.begin("to@client.example")
			return p
		}, 30 * time.Second},
		"BDAT": {func(w *world) *peer {
			p := w.clear()
			p.say("MAIL FROM:<s@client.example>", replySender)
			p.say("RCPT TO:<to@client.example>", replyRcpt)
			p.send("BDAT 1000\r\n")
			return p
		}, 30 * time.Second},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, loopback)
				p := c.enter(w)
				begin := time.Now()
				go func() {
					for {
						time.Sleep(10 * time.Second)
						if _, err := p.nc.Write([]byte("A")); err != nil {
							return
						}
					}
				}()
				p.want(replyTimeout)
				p.closed()
				if took := time.Since(begin); took > c.most {
					t.Errorf("closed after %v", took)
				}
				p.close()
				time.Sleep(time.Minute)
				if taken, boxed := w.messages(); len(taken)+len(boxed) > 0 {
					t.Error("something was stored")
				}
				if w.srv.mem.all.Load() != w.srv.lim.Memory {
					t.Error("memory is not free")
				}
			})
		})
	}
}

// Slow but steady mail comes in; and who sends none is out after half an hour.
func TestS048Session(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, loopback)
		p := w.clear()
		for range 3 {
			p.begin("to@client.example")
			for range 25 {
				p.send(strings.Repeat("x", 1022) + "\r\n")
				time.Sleep(29 * time.Second)
			}
			p.send(".\r\n")
			p.want("250 2.0.0 Ok: queued as")
			p.delivers("to@client.example")
		}
		begin := time.Now()
		for {
			time.Sleep(50 * time.Second)
			p.send("NOOP\r\n")
			if r := p.reply(); r != string(replyOK) {
				if r != string(replyTimeout) {
					t.Errorf("got %q", r)
				}
				break
			}
		}
		if took := time.Since(begin); took > 31*time.Minute || took < 29*time.Minute {
			t.Errorf("closed after %v", took)
		}
	})
}

func TestS049Caps(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Connections, l.PerAddress = 10, 4 }))
	var held []*peer
	for range 4 {
		p := w.talk(w.mx.from("192.0.2.1"))
		p.want("220")
		held = append(held, p)
	}
	p := w.talk(w.mx.from("192.0.2.1"))
	p.want(replyTooManyConn)
	p.closed()
	// On 465 it is no use to say so; and no handshake is made for it.
	p = w.talk(w.secure.from("192.0.2.1"))
	p.closed()
	// All of an IPv6 /64 is one address, and an IPv4 address mapped is itself.
	p = w.talk(w.mx.from("::ffff:192.0.2.1"))
	p.want(replyTooManyConn)
	for _, a := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::ffff:1", "2001:db8:0:0:1::"} {
		p := w.talk(w.mx.from(a))
		p.want("220")
		held = append(held, p)
	}
	p = w.talk(w.mx.from("2001:db8::3"))
	p.want(replyTooManyConn)
	// Others still come in, to the total.
	for _, a := range []string{"2001:db8:0:1::1", "192.0.2.2"} {
		p := w.talk(w.mx.from(a))
		p.want("220")
		held = append(held, p)
	}
	p = w.talk(w.mx.from("192.0.2.3"))
	p.want(replyTooManyConn)
	for _, p := range held {
		p.close()
	}
	w.eventually("all places are free", func() bool { return w.srv.open.Load() == 0 })
	w.srv.mu.Lock()
	n := len(w.srv.from)
	w.srv.mu.Unlock()
	if n != 0 {
		t.Errorf("%d addresses remembered", n)
	}
	w.client().delivers("to@client.example")
}

// When most places are taken, those who say nothing lose theirs sooner; who is
// logged in does not.
func TestS049Crowded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, loopback, limits(func(l *Limits) { l.Connections = 8 }))
		c := w.clear()
		var idle []*peer
		for range 6 {
			p := w.dial(w.mx)
			p.want("220")
			idle = append(idle, p)
		}
		for _, p := range idle {
			p.say("EHLO x", "250-")
		}
		begin := time.Now()
		for _, p := range idle {
			p.want(replyTimeout)
			p.closed()
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("left after %v", took)
		}
		time.Sleep(time.Minute)
		c.delivers("to@client.example")
	})
}

// The memory for messages is shared: strangers and single addresses cannot
// have all of it, and what does not fit comes again (S-090).
func TestMemory(t *testing.T) {
	w := start(t, loopback, limits(func(l *Limits) { l.Memory, l.Size, l.Patience = 10<<20, 2<<20, 50*time.Millisecond }))
	fill := strings.Repeat(strings.Repeat("x", 998)+"\r\n", 1900)
	hold := func(p *peer, to string) {
		t.Helper()
		p.enter(to)
		p.send("\r\n" + fill)
		p.idle.Wait()
	}
	hold(w.dial(w.mx).hello(), "abuse@"+hostname)
	s := w.dial(w.mx).hello()
	s.say("MAIL FROM:<a@b.example> SIZE=1000000", replyNoMemory) // strangers have had their quarter
	s.enter("abuse@" + hostname)
	s.send("\r\n" + fill + ".\r\n")
	s.want(replyNoMemory)

	one := func() *peer { return w.talk(w.submission.from("127.0.0.1")).hello().login() }
	hold(one(), "to@client.example")
	hold(one(), "to@client.example")
	hold(one(), "to@client.example") // the one that may go beyond
	p := one()
	p.say("MAIL FROM:<a@b.example> SIZE=1500000", replyNoMemory) // the address has had its half
	p.enter("to@client.example")
	p.send("\r\n" + fill + ".\r\n")
	p.want(replyNoMemory)
	p.say("MAIL FROM:<a@b.example>", replySender)
	p.say("RCPT TO:<to@client.example>", replyRcpt)
	p.send("BDAT " + itoa(len(fill)) + "\r\n" + fill)
	p.want(replyNoMemory)
	p.send("BDAT " + itoa(len(fill)) + " LAST\r\n" + fill)
	p.want(replyNoMemory)
	p.delivers("to@client.example") // small ones go on

	q := w.clear() // from elsewhere
	q.enter("to@client.example")
	q.send("\r\n" + fill[:1000<<10] + "\r\n.\r\n")
	q.want("250 2.0.0 Ok: queued as")
}

// O7: after abuse of every kind nothing is left.
func TestNothingIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("abuse", func(t *testing.T) {
		w := start(t, func(c *Config) { c.Metrics = metrics.New() })
		addrs := w.tcp(nil, Listener{}, Listener{ImplicitTLS: true}, Listener{Inbound: true})
		for _, addr := range addrs {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			w.eventually("all listeners are at work", func() bool { return w.srv.open.Load() == 1 })
			_ = nc.Close() //nolint:errcheck // it did its work
			w.eventually("it is gone", func() bool { return w.srv.open.Load() == 0 })
		}
		running := runtime.NumGoroutine()
		for n := range 300 {
			nc, err := net.Dial("tcp", addrs[n%3])
			if err != nil {
				t.Fatal(err)
			}
			switch n % 5 {
			case 1:
				_, _ = io.WriteString(nc, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") //nolint:errcheck // may be closed
			case 2:
				_, _ = io.WriteString(nc, "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<abuse@"+hostname+">\r\nDATA\r\nhalf") //nolint:errcheck // may be closed
			case 3:
				_, _ = io.WriteString(nc, strings.Repeat("x", 100000)) //nolint:errcheck // may be closed
			case 4:
				if err := nc.(*net.TCPConn).SetLinger(0); err != nil {
					t.Fatal(err)
				}
			}
			_ = nc.Close() //nolint:errcheck // a reset is what is wanted
		}
		w.eventually("all connections are gone", func() bool { return w.srv.open.Load() == 0 })
		w.eventually("all goroutines are gone", func() bool { return runtime.NumGoroutine() <= running })
		if w.srv.mem.all.Load() != w.srv.lim.Memory {
			t.Error("memory is not free")
		}
	})
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}
