package smtpd

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pennypost/internal/submit"
)

// S-090, C-020: when no mail is let in that is said at MAIL, and at DATA and BDAT
// when it came meanwhile; to customers and to strangers. The session goes on.
func TestS090Shut(t *testing.T) {
	var shut atomic.Bool
	w := start(t, loopback, func(c *Config) {
		c.Open = func(context.Context) error {
			if shut.Load() {
				return &submit.ClosedError{Text: "insufficient system storage"}
			}
			return nil
		}
	})
	for name, p := range map[string]*peer{"customer": w.clear(), "stranger": w.dial(w.mx).hello()} {
		to := "RCPT TO:<abuse@" + hostname + ">"
		shut.Store(true)
		p.say("MAIL FROM:<s@client.example>", replyNoStorage)
		p.say(to, replyNoMail)
		shut.Store(false)
		p.say("MAIL FROM:<s@client.example>", replySender)
		p.say(to, replyRcpt)
		shut.Store(true)
		p.say("DATA", replyNoStorage)
		p.say("DATA", replyNoMail)
		shut.Store(false)
		p.say("MAIL FROM:<s@client.example>", replySender)
		p.say(to, replyRcpt)
		shut.Store(true)
		p.send("BDAT 3\r\nabcBDAT 3 LAST\r\nabc")
		p.want(replyNoStorage, replyNoStorage)
		shut.Store(false)
		p.delivers("abuse@" + hostname)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	shut.Store(false)
	p := w.dial(w.mx).hello()
	p.begin("abuse@" + hostname)
	shut.Store(true) // a stranger's mail is not asked about by Accept
	p.say(letter+".", replyNoStorage)
	if log := w.log(); strings.Contains(log, "level=WARN") {
		t.Errorf("each refusal is a warning: %s", log)
	}
}

// Large messages that have taken all memory together come to an end one after
// the other: none is refused, none waits for ever, and all memory is given back.
func TestMemoryBeyond(t *testing.T) {
	w := start(t, loopback, limits(func(l *Limits) { l.Memory, l.Size, l.Patience = 2<<20, 2<<20, 10*time.Second }))
	fill := strings.Repeat(strings.Repeat("x", 998)+"\r\n", 1900)
	const to = "to@client.example"
	first := w.talk(w.submission.from("127.0.0.1")).hello().login()
	first.enter(to)
	first.send("\r\n" + fill)
	first.idle.Wait()
	others := make([]*peer, 4)
	for i := range others {
		others[i] = w.talk(w.submission.from("127.0.0.1")).hello().login()
		others[i].enter(to)
		others[i].send("\r\n" + fill + ".\r\n") // the whole of it: it waits
	}
	small := w.talk(w.submission.from("127.0.0.1")).hello().login()
	small.delivers(to) // it need not
	first.send(".\r\n")
	first.want("250 2.0.0 Ok: queued as")
	for _, p := range others {
		p.want("250 2.0.0 Ok: queued as")
	}
	w.eventually("all memory is free", func() bool { return w.srv.mem.all.Load() == w.srv.lim.Memory && len(w.srv.mem.beyond) == 0 })
}

// Who goes beyond the memory and then sends no more does not keep it.
func TestMemoryBeyondEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, loopback, limits(func(l *Limits) { l.Memory, l.Size = 1<<20, 1<<20 }))
		p := w.clear()
		p.begin("to@client.example")
		p.send("\r\n" + strings.Repeat(strings.Repeat("x", 998)+"\r\n", 1000))
		synctest.Wait()
		if len(w.srv.mem.beyond) != 1 {
			t.Fatal("it did not go beyond")
		}
		began := time.Now()
		for range 6 { // fast enough for the minimum rate
			p.send(strings.Repeat("x", 998) + "\r\nxxxxxxxxxxxxxxxxxxxxxxxx\r\n")
			time.Sleep(9 * time.Second)
		}
		p.want(replyTimeout)
		if took := time.Since(began); took < beyondWithin || took > beyondWithin+time.Second {
			t.Errorf("it was let go after %v, want %v", took, beyondWithin)
		}
		synctest.Wait()
		if len(w.srv.mem.beyond) != 0 {
			t.Error("it keeps the memory")
		}
	})
}
