package queue

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

// A dest that goes to another lane while it probes one that failed must not
// leave that lane waiting for it for ever: the others there would be stuck.
func TestProbeThatMovesAwayFreesItsLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{ScanEvery: time.Minute, Lane: func(_ context.Context, dest string) Way {
			return Way{Lane: "site", Group: "hosts", Until: time.Now().Add(24 * time.Hour)}
		}}, func(x *world) deed { return x.finish })
		x.free("first", 1)
		x.free("second", 1)
		x.q.mu.Lock()
		first, second := x.q.dest("first"), x.q.dest("second")
		until := time.Now().Add(24 * time.Hour)
		x.q.found(first, Way{Lane: "site", Group: "hosts", Until: until})
		x.q.found(second, Way{Lane: "site", Group: "hosts", Until: until})
		first.group.fails = 1
		first.more, second.more = true, true
		x.q.wanted(first) // to find out whether the site is back
		x.q.wanted(second)
		x.q.found(first, Way{Lane: "elsewhere", Group: "others", Until: until})
		x.q.mu.Unlock()
		x.run()
		time.Sleep(12 * time.Hour)
		x.wantTried("first", 1)
		x.wantTried("second", 1)
	})
}

// What was claimed by a commit of which nobody knows whether it took effect is
// ours, or it is not; either way it must run once.
func TestClaimOfUnknownCommitIsNotLost(t *testing.T) {
	for _, took := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			x := newWorld(t, Config{}, func(x *world) deed { return x.finish })
			x.free("a", 5)
			x.q.mu.Lock()
			d := x.q.dest("a")
			d.more = true
			x.q.found(d, Way{Lane: "a", Until: time.Now().Add(time.Hour)})
			x.q.mu.Unlock()
			claims := x.q.orders()
			if len(claims) != 1 {
				t.Fatalf("%d claims", len(claims))
			}
			ctx := t.Context()
			_ = x.st.Update(ctx, func(tx *store.Tx) (err error) {
				claims[0].jobs, claims[0].more, err = tx.ClaimJobs(ctx, pennypost.JobDeliver, "a", claims[0].n)
				if err == nil && !took {
					err = errUndo
				}
				return err
			})
			x.q.claimed(claims, store.ErrUnknown)
			x.run()
			time.Sleep(time.Minute)
			x.wantTried("a", 5)
		})
	}
}

// Any number of dests may have jobs while name servers do not answer: those
// beyond a bound wait in the store.
func TestDestsThatWaitForALookUpAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer atomic.Bool
		x := newWorld(t, Config{Lane: func(ctx context.Context, dest string) Way {
			for !answer.Load() {
				select {
				case <-ctx.Done():
					return Way{Lane: dest}
				case <-time.After(time.Second):
				}
			}
			return Way{Lane: dest, Until: time.Now().Add(time.Hour)}
		}}, func(x *world) deed { return x.finish })
		x.run()
		for i := range 50_000 {
			x.q.Wake(fmt.Sprint(i, ".example"))
		}
		x.free("last.example", 1)
		x.q.Wake("last.example")
		time.Sleep(time.Minute)
		x.q.mu.Lock()
		if n := len(x.q.dests); n > 2*maxDests {
			t.Errorf("%d dests in memory", n)
		}
		x.q.mu.Unlock()
		answer.Store(true)
		time.Sleep(time.Minute)
		x.wantTried("last.example", 1)
	})
}

// Of dead sites with more mail than was tried nothing is kept in memory either,
// and that mail goes all the same once they are back.
func TestFadedGroupsAreServed(t *testing.T) {
	const sites, each, kept = 400, 3, 20
	synctest.Test(t, func(t *testing.T) {
		var alive atomic.Bool
		x := newWorld(t, Config{}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, task *Task) {
				if alive.Load() {
					x.finish(ctx, w, task)
					return
				}
				w.Fail(time.Now())
				x.later(time.Minute)(ctx, w, task)
			}
		})
		x.q.groupsKept = kept
		for i := range sites {
			x.free(fmt.Sprint(i, ".example"), each)
		}
		x.run()
		time.Sleep(50 * time.Second) // all have failed once and rest for a minute, about
		x.q.mu.Lock()
		if n := len(x.q.groups); n > 2*kept {
			t.Errorf("%d groups are in memory, want at most %d", n, 2*kept)
		}
		x.q.mu.Unlock()
		time.Sleep(10 * time.Minute)
		if n := len(x.tried("0.example")); n < 3 {
			t.Errorf("%d tries of the first site in ten minutes", n)
		}
		alive.Store(true)
		time.Sleep(time.Hour)
		for i := range sites {
			if left := x.claimable(fmt.Sprint(i, ".example")); left != 0 {
				t.Errorf("%d.example: %d jobs are left", i, left)
			}
		}
	})
}

// The memory does not grow with the number of sites that are dead.
func TestRestingGroupsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{}, func(x *world) deed { return x.finish })
		x.q.mu.Lock()
		defer x.q.mu.Unlock()
		for i := range maxGroups + 5_000 {
			d := x.q.dest(fmt.Sprint(i, ".example"))
			d.group = x.q.group(groupName{d.name, d.name})
			d.group.fails, d.group.restTo, d.until = 1, time.Now().Add(time.Hour), time.Now().Add(time.Hour)
			if i%4 != 0 { // has more mail in the store
				d.more = true
				x.q.park(d, d.group)
			}
		}
		x.q.sweep()
		if n := len(x.q.groups); n != maxGroups {
			t.Errorf("%d groups are remembered, want %d", n, maxGroups)
		}
		if n := len(x.q.lanes); n > maxGroups {
			t.Errorf("%d lanes are left of %d groups", n, len(x.q.groups))
		}
		if n := len(x.q.dests); n > maxDests {
			t.Errorf("%d dests are left of %d groups", n, len(x.q.groups))
		}
		// What they are needed for is not forgotten.
		for i := range maxGroups + 5_000 {
			name := fmt.Sprint(i, ".example")
			if g := x.q.group(groupName{name, name}); g.fails != 1 || !g.resting(x.q) {
				t.Fatalf("group %d: %d failures, rests until %v", i, g.fails, g.restTo)
			}
		}
		for _, d := range x.q.dests { // what the ends of their rests do
			x.q.unpark(d)
			d.more = false
		}
		time.Sleep(3 * time.Hour)
		x.q.sweep()
		x.q.sweep()
		if n, m := len(x.q.groups), len(x.q.faint); n+m != 0 {
			t.Errorf("%d groups and what is left of %d are remembered after hours", n, m)
		}
	})
}
