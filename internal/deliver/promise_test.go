package deliver

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/fakenet"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// What happened is written down although the context of the worker has ended:
// else the message would be sent again.
func TestResultIsWrittenAfterTheContextEnded(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		d := &Deliverer{c: Config{Store: st, Now: time.Now}, met: newCounters(nil)}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		job := pennypost.Job{ID: st.NextID(), Kind: pennypost.JobDeliver, Dest: "a.test", Lease: st.Session(), RunAt: time.Now()}
		err := st.Update(t.Context(), func(tx *store.Tx) error { return tx.AddJobs(t.Context(), []pennypost.Job{job}) })
		if err != nil {
			t.Fatal(err)
		}
		err = d.persist(ended, func(ctx context.Context, tx *store.Tx) error { return tx.FinishJob(ctx, job.ID) })
		if err != nil {
			t.Errorf("got %v", err)
		}
	})
}

// suspendFor suspends the server, or reactivates it when there is no reason.
func (x *world) suspendFor(reason string) {
	x.t.Helper()
	x.update(func(ctx context.Context, tx *store.Tx) error {
		s, err := tx.AnyServer(ctx, x.server)
		if err != nil {
			return err
		}
		s.Suspension = pennypost.Suspension{}
		if reason != "" {
			s.Suspension = pennypost.Suspension{Since: time.Now(), Reason: reason}
		}
		return tx.SetServer(ctx, s)
	})
	if err := x.d.SuspensionChanged(x.t.Context()); err != nil {
		x.t.Fatal(err)
	}
}

// One held message that is damaged in the store keeps no other from being
// released, or discarded.
func TestDamagedHeldMailStopsNobody(t *testing.T) {
	for name, damage := range map[string]string{
		"envelope": `UPDATE messages SET sign_domain = 'other.test' WHERE id = $1`,
		"address":  `UPDATE recipients SET address = 'bob@a.test' WHERE message_id = $1`,
	} {
		for _, discard := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(x *world) {
					t := x.t
					x.suspendFor("abuse")
					x.run()
					bad, good := x.mail("ann@a.test"), x.mail("col@c.test")
					x.want(good, 0, pennypost.Held, 0, pennypost.EventHeld)
					x.damage(damage, bad)
					if discard {
						if n, err := x.d.Discard(t.Context(), x.server); err != nil || n != 2 {
							t.Errorf("%d discarded, %v", n, err)
						}
						if s := x.story(good, 0); s.State != pennypost.Discarded {
							t.Errorf("%v, want discarded", s.State)
						}
						if got := x.stateOf(bad); got != pennypost.Quarantined {
							t.Errorf("%v, want quarantined", got)
						}
						return
					}
					x.suspendFor("")
					if _, err := x.d.Release(t.Context(), x.server); err != nil {
						t.Error(err)
					}
					time.Sleep(10 * time.Minute)
					x.want(good, 0, pennypost.Delivered, 1, pennypost.EventHeld, pennypost.EventReleased, delivered)
					if got := x.stateOf(bad); got != pennypost.Quarantined {
						t.Errorf("%v, want quarantined", got)
					}
				})
			})
		}
	}
}

// What was never tried, since we were away, is tried before it is given up:
// that we were away is nobody's fault but ours.
func TestNothingExpiresUntried(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.answer("dead.test", fakenet.RcptTo, "451 4.3.2 not now")
		good, dead := x.mail("ann@a.test"), x.mail("bob@dead.test")
		time.Sleep(2 * lifetimeOfTests)
		x.run()
		time.Sleep(time.Minute)
		x.want(good, 0, pennypost.Delivered, 1, delivered)
		s := x.want(dead, 0, pennypost.Expired, 1, pennypost.EventBounced)
		if !strings.Contains(s.Reply, "not now") {
			t.Errorf("given up for %q", s.Reply)
		}
	})
}

// A message that cannot be signed waits for its key, however long.
func TestUnsignedMailIsNotGivenUp(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		db := x.raw()
		if _, err := db.ExecContext(t.Context(), `CREATE TABLE kept AS SELECT id, sealed FROM dkim_keys`); err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), `UPDATE dkim_keys SET sealed = x'00'`); err != nil {
			t.Fatal(err)
		}
		x.run()
		m := x.mail("ann@a.test")
		time.Sleep(2 * lifetimeOfTests)
		x.want(m, 0, pennypost.Deferred, 0)
		if _, err := db.ExecContext(t.Context(), `UPDATE dkim_keys SET sealed = (SELECT sealed FROM kept WHERE kept.id = dkim_keys.id)`); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Minute)
		x.want(m, 0, pennypost.Delivered, 1, delivered)
	})
}

// Results that wait for the disk keep no contents in memory: that many large
// ones have no room.
func TestPendingResultsKeepNoContent(t *testing.T) {
	const size = 8 << 20
	inBubble(t, func(x *world) {
		t := x.t
		var once sync.Once
		var unlock func()
		x.act("large.test", func(m fakenet.Moment) fakenet.Act {
			if m.Stage == fakenet.Dot {
				once.Do(func() { unlock = x.lock() })
			}
			return fakenet.Act{}
		})
		large := content + strings.Repeat(strings.Repeat("x", 70)+"\r\n", size/72)
		for range 4 {
			x.accept(draft{to: []string{"ann@large.test"}, content: large, unplaced: true})
		}
		x.run()
		time.Sleep(3 * time.Second)
		settled()
		n := x.net.Box().Total()
		before := heap()
		unlock()
		time.Sleep(time.Minute)
		if got := x.net.Box().Total(); got != 4 {
			t.Errorf("%d mails arrived", got)
		}
		if kept := before - heap() + int64(x.net.Box().Total()-n)*size; kept > size/2 {
			t.Errorf("%d results that waited kept %d MiB", n, kept>>20)
		}
	})
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // far below
}

// lock keeps everybody from writing until the function that it gives is called.
func (x *world) lock() (unlock func()) {
	locked, free := make(chan struct{}), make(chan struct{})
	go func() {
		err := x.st.Update(x.t.Context(), func(*store.Tx) error {
			close(locked)
			<-free
			return nil
		})
		if err != nil {
			x.t.Error(err)
		}
	}()
	<-locked
	return func() { close(free) }
}

// While the store cannot be written for long, as when the disk is full, the
// process goes on with what it holds: on SQLite nobody else can have it.
// Nothing is sent twice for it.
func TestStoreThatCannotBeWrittenForLong(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		var once sync.Once
		var unlock func()
		x.act("b.test", func(m fakenet.Moment) fakenet.Act {
			if m.Stage == fakenet.Dot {
				once.Do(func() { unlock = x.lock() })
			}
			return fakenet.Act{}
		})
		x.run()
		m := x.mail("ann@b.test", "bob@b.test", "col@b.test")
		time.Sleep(5 * time.Minute)
		if !x.st.LeaseOK() {
			t.Error("the session has ended")
		}
		unlock()
		time.Sleep(5 * time.Minute)
		for n := range 3 {
			x.want(m, n, pennypost.Delivered, 1, delivered)
		}
		if got := x.net.Box().Total(); got != 3 {
			t.Errorf("%d mails arrived, want 3", got)
		}
	})
}

// A job that cannot be loaded, for whatever reason, is tried again: it does
// not wait for the next start.
func TestJobThatCannotBeLoadedIsTriedAgain(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		m := x.accept(draft{to: []string{"ann@a.test"}, content: content, unplaced: true})
		db := x.raw()
		if _, err := db.ExecContext(t.Context(), `ALTER TABLE contents RENAME COLUMN content TO broken`); err != nil {
			t.Fatal(err)
		}
		x.run()
		time.Sleep(time.Minute)
		x.want(m, 0, pennypost.Queued, 0)
		if _, err := db.ExecContext(t.Context(), `ALTER TABLE contents RENAME COLUMN broken TO content`); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		x.want(m, 0, pennypost.Delivered, 1, delivered)
	})
}

// Large messages that their receivers do not take hold up nobody else's: not
// the large ones of other servers, and no small ones.
func TestSlowReceiversOfLargeMailDelayNobody(t *testing.T) {
	inBubble(t, func(x *world) {
		x.d.large.max = 2 << 20
		for _, domain := range []string{"slow1.test", "slow2.test", "slow3.test"} {
			x.act(domain, func(m fakenet.Moment) fakenet.Act {
				if m.Stage == fakenet.RcptTo {
					return fakenet.Act{Delay: 4 * time.Minute}
				}
				return fakenet.Act{}
			})
		}
		large := content + strings.Repeat(strings.Repeat("x", 70)+"\r\n", largeFrom/72*2)
		x.run()
		for i := range 30 {
			x.accept(draft{to: []string{fmt.Sprintf("ann@slow%d.test", i%3+1)}, content: large, unplaced: true})
		}
		time.Sleep(time.Second)
		var small []*pennypost.Message
		for range 5 {
			x.accept(draft{to: []string{"ann@good.test"}, content: large, unplaced: true})
			small = append(small, x.mail("bob@good.test"))
		}
		own := x.server
		x.server = 77 // another one
		other := x.accept(draft{to: []string{"col@good.test"}, content: large, unplaced: true})
		x.server = own
		time.Sleep(time.Minute)
		x.want(other, 0, pennypost.Delivered, 1, delivered)
		for _, m := range small {
			x.want(m, 0, pennypost.Delivered, 1, delivered)
		}
		time.Sleep(4 * time.Hour)
		if got := x.net.Box().Total(); got != 30+10+1 {
			x.t.Errorf("%d mails arrived, want 41", got)
		}
	})
}
