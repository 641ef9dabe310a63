package deliver

import (
	"context"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

// later is a message to be sent after a time.
func (x *world) later(after time.Duration, to ...string) *pennypost.Message {
	x.t.Helper()
	return x.accept(draft{to: to, content: content, sendAt: time.Now().Add(after).UTC().Truncate(time.Microsecond)})
}

// Scheduled mail goes at its time, and other mail for the same domain meanwhile.
func TestScheduledMailGoesAtItsTime(t *testing.T) {
	inBubble(t, func(x *world) {
		x.run()
		m := x.later(2*time.Hour, "ann@a.test")
		x.want(m, 0, pennypost.Queued, 0)
		if s, ok := x.d.Queue().LaneOf("a.test"); ok {
			x.t.Errorf("its domain has a lane: %+v", s)
		}
		x.want(x.mail("bob@a.test"), 0, pennypost.Delivered, 1, delivered)
		time.Sleep(119 * time.Minute)
		x.want(m, 0, pennypost.Queued, 0)
		x.got("ann@a.test", 0)
		time.Sleep(2 * time.Minute)
		x.want(m, 0, pennypost.Delivered, 1, delivered)
		x.got("ann@a.test", 1)
	})
}

// What waits for its time outlives the process.
func TestScheduledMailOutlivesTheProcess(t *testing.T) {
	inBubble(t, func(x *world) {
		x.run()
		m := x.later(time.Hour, "ann@a.test")
		x.stop()
		x.close()
		x.open(x.dir)
		x.run()
		time.Sleep(58 * time.Minute)
		x.want(m, 0, pennypost.Queued, 0)
		time.Sleep(4 * time.Minute)
		x.want(m, 0, pennypost.Delivered, 1, delivered)
		x.got("ann@a.test", 1)
	})
}

// Its lifetime counts from when it was to be sent.
func TestLifetimeOfScheduledMail(t *testing.T) {
	inBubble(t, func(x *world) {
		x.run()
		m := x.later(lifetimeOfTests, "defer+451+1000@a.test")
		time.Sleep(lifetimeOfTests + lifetimeOfTests/2)
		if s := x.story(m, 0); s.State != pennypost.Deferred {
			x.t.Errorf("half way through its lifetime it is %v", s.State)
		}
		time.Sleep(lifetimeOfTests)
		if s := x.story(m, 0); s.State != pennypost.Expired {
			x.t.Errorf("after its lifetime it is %v", s.State)
		}
	})
}

// An address that was suppressed meanwhile gets nothing, and is not counted as
// sent to.
func TestSuppressedWhileScheduled(t *testing.T) {
	inBubble(t, func(x *world) {
		x.run()
		m := x.later(time.Hour, "ann@a.test", "bob@a.test")
		x.update(func(ctx context.Context, tx *store.Tx) error {
			if err := tx.AddUsage(ctx, x.account, x.server, 2, pennypost.Limits{}); err != nil {
				return err
			}
			_, err := tx.Suppress(ctx, pennypost.Suppression{
				ServerID: x.server, Stream: pennypost.StreamOutbound, Address: "Ann@a.test", Reason: "ManualSuppression", Origin: "Customer",
			})
			return err
		})
		time.Sleep(62 * time.Minute)
		s := x.want(m, 0, pennypost.Suppressed, 0, pennypost.EventSuppressed)
		if s.Rule != "suppressed" || s.Reply == "" || !s.NextAt.IsZero() {
			x.t.Errorf("%+v", s.Recipient)
		}
		x.want(m, 1, pennypost.Delivered, 1, delivered)
		x.got("ann@a.test", 0)
		x.got("bob@a.test", 1)
		var used int64
		x.update(func(ctx context.Context, tx *store.Tx) (err error) {
			_, used, err = tx.Usage(ctx, x.account, x.server, tx.Now())
			return err
		})
		if used != 1 {
			x.t.Errorf("%d recipients are counted, want 1", used)
		}
	})
}

// The end of a suspension lets no scheduled mail go before its time, and what
// was held before it does not count as held.
func TestScheduledMailIsReleasedAtItsTime(t *testing.T) {
	inBubble(t, func(x *world) {
		x.run()
		m := x.later(3*time.Hour, "ann@a.test")
		x.suspend("payment")
		x.want(m, 0, pennypost.Held, 0, held)
		time.Sleep(time.Hour)
		x.suspend("")
		if n, err := x.d.Release(x.t.Context(), x.server); n != 1 || err != nil {
			x.t.Errorf("released %d: %v", n, err)
		}
		s := x.want(m, 0, pennypost.Deferred, 0, held, released)
		if !s.NextAt.Equal(m.SendAt) || s.HeldFor != 0 {
			x.t.Errorf("next at %v, held for %v; want %v, 0", s.NextAt, s.HeldFor, m.SendAt)
		}
		x.got("ann@a.test", 0)
		time.Sleep(2*time.Hour + 2*time.Minute)
		x.want(m, 0, pennypost.Delivered, 1, held, released, delivered)
		x.got("ann@a.test", 1)
	})
}
