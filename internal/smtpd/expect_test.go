package smtpd

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pennypost"
	"pennypost/internal/submit"
)

// A message is announced from MAIL until it is handed over or given up, and the
// next one of a client that has many right behind the reply. Mail of strangers
// is not.
func TestMessagesAreAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var expected, atAccept atomic.Int32
		w := start(t, loopback, func(c *Config) {
			c.Expect = func() func() {
				expected.Add(1)
				return func() { expected.Add(-1) }
			}
			accept := c.Accept
			c.Accept = func(ctx context.Context, who pennypost.Caller, r *submit.Raw) (*submit.Accepted, error) {
				atAccept.Add(expected.Load())
				return accept(ctx, who, r)
			}
		})
		check := func(when string, want int32) {
			t.Helper()
			synctest.Wait()
			if got := expected.Load(); got != want {
				t.Errorf("%s: %d messages are expected, want %d", when, got, want)
			}
		}
		p := w.clear()
		check("before MAIL", 0)
		p.say("MAIL FROM:<s@client.example>", replySender)
		check("after MAIL", 1)
		p.say("RSET", replyOK)
		check("after RSET", 0)
		p.delivers("ann@a.example")
		check("after a first message", 0)
		p.delivers("ann@a.example")
		check("after one that came at once", 1)
		time.Sleep(time.Second)
		p.delivers("ann@a.example")
		check("after one that came late", 0)
		p.delivers("ann@a.example")
		check("after another that came at once", 1)
		p.say("QUIT", replyBye)
		p.closed()
		check("after QUIT", 0)

		stranger := w.dial(w.mx).hello()
		stranger.begin("abuse@" + hostname)
		check("of a stranger", 0)
		stranger.say(letter+".", "250 2.0.0 ")
		stranger.delivers("abuse@" + hostname)
		stranger.delivers("abuse@" + hostname)
		check("of a stranger who is quick", 0)
		if n := atAccept.Load(); n != 0 {
			t.Errorf("messages that were handed over were still expected %d times", n)
		}
	})
}
