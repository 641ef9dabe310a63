package deliver

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

const (
	held     = pennypost.EventHeld
	released = pennypost.EventReleased
)

// suspend suspends the server, or ends that.
func (x *world) suspend(reason string) {
	x.t.Helper()
	x.update(func(ctx context.Context, tx *store.Tx) error {
		s, err := tx.AnyServer(ctx, x.server)
		if err != nil {
			return err
		}
		s.Suspension = pennypost.Suspension{}
		if reason != "" {
			s.Suspension = pennypost.Suspension{Since: tx.Now(), Reason: reason}
		}
		return tx.SetServer(ctx, s)
	})
	if err := x.d.SuspensionChanged(x.t.Context()); err != nil {
		x.t.Fatal(err)
	}
}

func TestSuspendedMailIsHeldAndReleased(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		waiting := x.mail("defer+451+1@a.test") // comes again after 10 min
		x.want(waiting, 0, pennypost.Deferred, 1, transient)
		x.suspend("bounce rate")
		m := x.mail("ann@a.test")
		s := x.want(m, 0, pennypost.Held, 0, held)
		if s.events[0].Details["Reason"] != "bounce rate" || !s.NextAt.IsZero() || s.Rule != "suspended" {
			t.Errorf("%+v %+v", s.Recipient, s.events[0].Details)
		}
		time.Sleep(lifetimeOfTests + time.Hour)
		x.want(m, 0, pennypost.Held, 0, held)
		x.want(waiting, 0, pennypost.Held, 1, transient, held)
		x.got("ann@a.test", 0)

		x.suspend("")
		n, err := x.d.Release(t.Context(), x.server)
		if err != nil || n != 2 {
			t.Errorf("released %d: %v", n, err)
		}
		s = x.want(m, 0, pennypost.Delivered, 1, held, released, delivered)
		if s.HeldFor < lifetimeOfTests {
			t.Errorf("held for %v", s.HeldFor)
		}
		x.want(waiting, 0, pennypost.Delivered, 2, transient, held, released, delivered)
	})
}

// Held time counts towards DeliverBy, which the sender chose.
func TestHeldMailMissesItsDeliverBy(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		x.suspend("payment")
		m := x.accept(draft{to: []string{"ann@a.test"}, content: content, deliverBy: time.Now().Add(time.Hour)})
		x.want(m, 0, pennypost.Held, 0, held)
		time.Sleep(2 * time.Hour)
		x.suspend("")
		if _, err := x.d.Release(t.Context(), x.server); err != nil {
			t.Fatal(err)
		}
		x.want(m, 0, pennypost.Expired, 0, held, released, bouncing)
	})
}

func TestReleaseKeepsItsPace(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		x.suspend("abuse")
		var to []string
		for i := range 50 {
			to = append(to, fmt.Sprintf("a%d@a.test", i))
		}
		for range 4 {
			x.mail(to...)
		}
		settled()
		x.suspend("")
		start := time.Now()
		n, err := x.d.Release(t.Context(), x.server)
		if err != nil || n != 200 {
			t.Errorf("released %d: %v", n, err)
		}
		if d := time.Since(start); d < 3900*time.Millisecond || d > 5*time.Second {
			t.Errorf("200 mails at 50 a second took %v", d)
		}
		settled()
		if got := x.net.Box().Total(); got != 200 {
			t.Errorf("%d mails arrived", got)
		}
	})
}

// What is suspended again in the middle of a release stays.
func TestReleaseStopsAtASuspension(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		x.suspend("abuse")
		var to []string
		for i := range 50 {
			to = append(to, fmt.Sprintf("a%d@a.test", i))
		}
		m := x.mail(to...)
		settled()
		x.suspend("")
		done := make(chan int)
		go func() {
			n, err := x.d.Release(t.Context(), x.server)
			if err != nil {
				t.Error(err)
			}
			done <- n
		}()
		time.Sleep(500 * time.Millisecond)
		x.suspend("again")
		n := <-done
		if n == 0 || n >= 50 {
			t.Errorf("released %d of 50", n)
		}
		settled()
		still := 0
		for i := range to {
			if x.story(m, i).State == pennypost.Held {
				still++
			}
		}
		if still != 50-n {
			t.Errorf("%d are held, want %d", still, 50-n)
		}
	})
}

func TestDiscard(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		x.suspend("abuse")
		m := x.mail("ann@a.test", "bob@a.test")
		settled()
		n, err := x.d.Discard(t.Context(), x.server)
		if err != nil || n != 2 {
			t.Errorf("discarded %d: %v", n, err)
		}
		for i := range 2 {
			s := x.want(m, i, pennypost.Discarded, 0, held, bouncing)
			if b := s.events[1].Bounce; b.Inactive || b.Rule != "discarded" {
				t.Errorf("bounce %+v", b)
			}
		}
		x.suspend("")
		if n, err := x.d.Release(t.Context(), x.server); err != nil || n != 0 {
			t.Errorf("released %d: %v", n, err)
		}
		time.Sleep(time.Hour)
		x.got("ann@a.test", 0)
		if x.suppressed("ann@a.test") {
			t.Error("the address is suppressed")
		}
	})
}

// Mail that waits for its next attempt is held when its server is suspended, not
// only when its time comes: it can be discarded, and does not go out later.
func TestWaitingMailIsHeldAndDiscarded(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		waiting := x.mail("defer+451+9@a.test", "defer+451+9@b.test")
		x.want(waiting, 0, pennypost.Deferred, 1, transient)
		x.want(waiting, 1, pennypost.Deferred, 1, transient)
		x.suspend("abuse")
		time.Sleep(5 * time.Second)
		x.want(waiting, 0, pennypost.Held, 1, transient, held)
		x.want(waiting, 1, pennypost.Held, 1, transient, held)
		if n, err := x.d.Discard(t.Context(), x.server); err != nil || n != 2 {
			t.Errorf("discarded %d: %v", n, err)
		}
		x.want(waiting, 0, pennypost.Discarded, 1, transient, held, bouncing)
		x.suspend("")
		time.Sleep(48 * time.Hour)
		x.want(waiting, 1, pennypost.Discarded, 1, transient, held, bouncing)
		x.got("defer+451+9@a.test", 0)
	})
}

// Discarding right after the suspension misses nothing that waits.
func TestDiscardTakesWhatWaits(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		waiting := x.mail("defer+451+9@a.test")
		x.want(waiting, 0, pennypost.Deferred, 1, transient)
		x.suspend("abuse")
		if n, err := x.d.Discard(t.Context(), x.server); err != nil || n != 1 {
			t.Errorf("discarded %d: %v", n, err)
		}
		x.want(waiting, 0, pennypost.Discarded, 1, transient, held, bouncing)
	})
}

// A worker that still believes in a suspension that has ended holds nothing:
// nobody would release it.
func TestHoldLooksAgain(t *testing.T) {
	inBubble(t, func(x *world) {
		x.run()
		x.d.suspended.Store(&suspensions{x.server: {Since: time.Now(), Reason: "stale"}})
		m := x.mail("ann@a.test")
		x.want(m, 0, pennypost.Delivered, 1, delivered)
	})
}

// Other servers' mail goes on.
func TestSuspensionIsOfOneServer(t *testing.T) {
	inBubble(t, func(x *world) {
		x.run()
		x.suspend("abuse")
		x.server++
		m := x.mail("ann@a.test")
		x.want(m, 0, pennypost.Delivered, 1, delivered)
	})
}
