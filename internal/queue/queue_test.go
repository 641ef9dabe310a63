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

func TestOfferedGoesStraightToAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		payloads := make(chan any, 10)
		x := newWorld(t, Config{}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, k *Task) {
				payloads <- k.Payload
				x.finish(ctx, w, k)
			}
		})
		x.run()
		start := time.Now()
		if got := x.accept("a.example", 1); got != 1 {
			t.Fatal("no place")
		}
		got := x.tried("a.example")
		if len(got) != 1 || !got[0].Equal(start) {
			t.Fatalf("tried at %v, want at once (%v)", got, start)
		}
		if p := <-payloads; p != "here" {
			t.Errorf("payload %v", p)
		}
		if s := x.q.Stats(); s.Tasks != 0 || s.Bytes != 0 {
			t.Errorf("%d tasks and %d octets are left", s.Tasks, s.Bytes)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		x.wantTried("a.example", 1)
		if s := x.q.Stats(); s.Workers != 0 {
			t.Errorf("%d workers are left", s.Workers)
		}
	})
}

// A payload beyond the room for them is dropped; the task goes its way.
func TestPayloadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept atomic.Int64
		x := newWorld(t, Config{Bytes: 1000}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, k *Task) {
				if k.Payload != nil {
					kept.Add(1)
				}
				x.finish(ctx, w, k)
			}
		})
		if got := x.accept("a.example", 50); got != 50 {
			t.Errorf("%d places, want 50", got)
		}
		if s := x.q.Stats(); s.Bytes > 500 {
			t.Errorf("%d octets are kept for one dest, want at most half of 1000", s.Bytes)
		}
		x.run()
		x.wantTried("a.example", 50)
		if n := kept.Load(); n == 0 || n > 5 {
			t.Errorf("%d payloads were kept", n)
		}
	})
}

func TestPutBackIsWokenWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := []time.Duration{time.Minute, 7 * time.Hour, 0}
		x := newWorld(t, Config{ScanEvery: time.Hour, SweepEvery: time.Hour}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, k *Task) {
				if d := waits[k.Job.Attempt]; d > 0 {
					x.later(d)(ctx, w, k)
					return
				}
				x.finish(ctx, w, k)
			}
		})
		x.run()
		start := time.Now()
		x.accept("a.example", 1)
		time.Sleep(8 * time.Hour)
		got := x.tried("a.example")
		want := []time.Duration{0, time.Minute, 7*time.Hour + time.Minute}
		if len(got) != len(want) {
			t.Fatalf("%d tries, want %d", len(got), len(want))
		}
		for i, at := range got {
			if late := at.Sub(start) - want[i]; late < 0 || late > 500*time.Millisecond {
				t.Errorf("try %d came %v after it was due", i+1, late)
			}
		}
	})
}

// What other nodes stored, or was there before a restart, is found by the scan.
func TestScanFindsWhatNobodyTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{}, func(x *world) deed { return x.finish })
		for i := range 1500 {
			x.free(fmt.Sprintf("d%d.example", i), 1)
		}
		x.free("many.example", 700)
		x.run()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := x.total(); got != 2200 {
			t.Errorf("%d tries, want 2200", got)
		}
		start := time.Now()
		x.free("a.example", 1)
		time.Sleep(5 * time.Second)
		got := x.tried("a.example")
		if len(got) != 1 || got[0].Sub(start) > 2100*time.Millisecond {
			t.Errorf("tried after %v", got)
		}
	})
}

// A job from before the restart is run when it is due, not at the next scan.
func TestScanSeesTheNextDueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{ScanEvery: time.Hour, SweepEvery: time.Hour}, func(x *world) deed { return x.finish })
		start := time.Now()
		job := x.job("a.example")
		job.RunAt = start.Add(17 * time.Minute)
		x.store(job)
		x.run()
		time.Sleep(30 * time.Minute)
		got := x.tried("a.example")
		if len(got) != 1 || got[0].Sub(start) < 17*time.Minute || got[0].Sub(start) > 17*time.Minute+time.Second {
			t.Errorf("tried at %v", got)
		}
	})
}

func TestWakeFindsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{}, func(x *world) deed { return x.finish })
		x.run()
		time.Sleep(1500 * time.Millisecond)
		start := time.Now()
		x.free("a.example", 3)
		x.q.Wake("a.example")
		time.Sleep(10 * time.Millisecond) // the claim shares a sync with others
		got := x.tried("a.example")
		if len(got) != 3 || got[2].Sub(start) > 10*time.Millisecond {
			t.Errorf("tried at %v, want 3 at %v", got, start)
		}
	})
}

// Catalogue O-030, D-010: the look-up of one dest hangs, others go on.
func TestHangingLookUpDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := func(ctx context.Context, dest string) Way {
			if len(dest) > len("ok.example") {
				select {
				case <-ctx.Done():
				case <-time.After(30 * time.Second):
				}
			}
			return Way{Lane: dest, Until: time.Now().Add(time.Hour)}
		}
		x := newWorld(t, Config{Lane: lane, Lookups: 4}, func(x *world) deed { return x.finish })
		x.run()
		for i := range 20 {
			x.accept(fmt.Sprintf("slow%d.example", i), 20)
		}
		start := time.Now()
		x.accept("ok.example", 1)
		time.Sleep(10 * time.Second)
		got := x.tried("ok.example")
		if len(got) != 1 || got[0].Sub(start) > 6*time.Second {
			t.Errorf("tried at %v, %v expected soon after", got, start)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := x.total(); got != 401 {
			t.Errorf("%d tries, want 401", got)
		}
	})
}

// highest is the greatest number that was noted.
type highest struct{ n atomic.Int64 }

func (h *highest) note(n int) {
	for was := h.n.Load(); int64(n) > was && !h.n.CompareAndSwap(was, int64(n)); was = h.n.Load() {
	}
}

// hang is the deed that waits for the end.
func hang(ctx context.Context, _ *Worker, _ *Task) { <-ctx.Done() }

// Catalogue O-030: 100 lanes whose workers all hang take neither the slots nor
// the memory of another.
func TestStuckLanesDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{Workers: 16, Memory: 1000, Grace: time.Second}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, k *Task) {
				if w.Lane() != "ok.example" {
					hang(ctx, w, k)
					return
				}
				x.finish(ctx, w, k)
			}
		})
		x.run()
		for i := range 40 {
			x.accept(fmt.Sprintf("stuck%d.example", i), 100)
		}
		synctest.Wait()
		if s := x.q.Stats(); s.Tasks > 1000 || s.Workers > 16 {
			t.Errorf("%d tasks in memory, %d workers", s.Tasks, s.Workers)
		}
		time.Sleep(2 * time.Minute) // by now those that hang no longer count
		if s := x.q.Stats(); s.Tasks > 750 {
			t.Errorf("%d tasks of stuck lanes are in memory", s.Tasks)
		}
		start := time.Now()
		if got := x.accept("ok.example", 50); got == 0 {
			t.Error("no place for another dest")
		}
		time.Sleep(40 * time.Second)
		got := x.tried("ok.example")
		if len(got) != 50 {
			t.Fatalf("%d tries, want 50", len(got))
		}
		if d := got[49].Sub(start); d > 35*time.Second {
			t.Errorf("the last came after %v", d)
		}
	})
}

// One dest takes its share of the memory only; the rest stays in the store and
// follows in order.
func TestSurplusStaysInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var most highest
		x := newWorld(t, Config{PerDest: 100}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, k *Task) {
				most.note(x.q.Stats().Tasks)
				time.Sleep(10 * time.Millisecond)
				x.finish(ctx, w, k)
			}
		})
		x.run()
		placed := x.accept("a.example", 2000)
		if placed == 0 || placed > 100 {
			t.Errorf("%d places, want at most 100", placed)
		}
		time.Sleep(time.Minute)
		x.wantTried("a.example", 2000)
		if n := most.n.Load(); n > 100 {
			t.Errorf("%d tasks were in memory", n)
		}
	})
}

// A tenant with much mail leaves room for another's.
func TestTenantsShareTheRoomOfADest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{PerDest: 100}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, k *Task) {
				time.Sleep(10 * time.Millisecond)
				x.finish(ctx, w, k)
			}
		})
		x.run()
		x.accept("a.example", 1) // so that the lane is known
		synctest.Wait()
		x.accept("a.example", 3000)
		start := time.Now()
		if got := x.accept("a.example", 5, func(j *pennypost.Job) { j.Tenant = 2 }); got != 5 {
			t.Errorf("%d places for the other tenant, want 5", got)
		}
		time.Sleep(time.Hour)
		x.wantTried("a.example", 3006)
		_ = start
	})
}

// A lane grows with success, up to its limit, and starts small.
func TestLaneGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{PerLane: 8}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, k *Task) {
				time.Sleep(100 * time.Millisecond)
				x.finish(ctx, w, k)
			}
		})
		x.run()
		x.accept("a.example", 1500)
		synctest.Wait()
		if s := x.q.Stats(); s.Workers != 2 {
			t.Errorf("%d workers at the start, want 2", s.Workers)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s := x.q.Stats(); s.Workers != 8 {
			t.Errorf("%d workers after success, want 8", s.Workers)
		}
	})
}

func fails(at *time.Time) func(x *world) deed {
	return func(x *world) deed {
		return func(ctx context.Context, w *Worker, k *Task) {
			if time.Now().After(*at) {
				x.finish(ctx, w, k)
				return
			}
			began := time.Now()
			time.Sleep(time.Second)
			w.Fail(began)
			x.later(time.Minute<<min(k.Job.Attempt, 8))(ctx, w, k)
		}
	}
}

// However many sites are dead, so many are probed in a second, each of them in
// its turn, and those that live do not notice.
func TestProbesKeepTheirPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := time.Now().Add(1000 * time.Hour)
		x := newWorld(t, Config{Rand: func() float64 { return .5 }, Probes: 5, Workers: 2000}, fails(&never))
		x.run()
		const sites = 900
		for i := range sites {
			x.accept(fmt.Sprintf("dead%d.example", i), 1)
		}
		time.Sleep(4 * time.Minute)
		seconds, second := make(map[int64]int), 0
		for i := range sites {
			tries := x.tried(fmt.Sprintf("dead%d.example", i))
			if len(tries) == 0 {
				t.Fatalf("site %d was not tried", i)
			}
			if len(tries) > 1 {
				second++
			}
			for _, at := range tries[1:] {
				seconds[at.Unix()]++
			}
		}
		// From the first minute on 5 a second.
		if want := 5 * 180; second < want*9/10 || second > want {
			t.Errorf("%d of %d sites had a second try after 4 minutes, want about %d", second, sites, want)
		}
		for s, n := range seconds {
			if n > 2*5 { // their look-ups and claims take some milliseconds
				t.Errorf("%d probes in second %d", n, s)
			}
		}
	})
}

// A site that worked is probed when its rest is over, also when somebody has
// thousands of dead ones.
func TestProbesOfOthersDelayNoSiteThatWorked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		x := newWorld(t, Config{Rand: func() float64 { return .5 }, Probes: 1, Workers: 4000}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, k *Task) {
				if k.Job.Dest == "good.example" && !down.Load() {
					x.finish(ctx, w, k)
					return
				}
				w.Fail(time.Now())
				x.later(time.Minute)(ctx, w, k)
			}
		})
		x.run()
		x.accept("good.example", 1)
		time.Sleep(time.Second)
		for i := range 500 {
			x.accept(fmt.Sprintf("dead%d.example", i), 1)
		}
		time.Sleep(5 * time.Second)
		down.Store(true)
		x.accept("good.example", 1)
		time.Sleep(time.Second)
		down.Store(false)
		time.Sleep(70 * time.Second)
		if n := len(x.tried("good.example")); n != 3 {
			t.Errorf("%d tries, want one, one that failed, and one a minute later", n)
		}
		if n := len(x.tried("dead499.example")); n != 1 {
			t.Errorf("the last of 500 dead sites was tried %d times, want once", n)
		}
	})
}

func TestPace(t *testing.T) {
	p := newPace(2)
	at := time.Unix(1000, 500)
	for i, want := range []int64{1000, 1000, 1001, 1001, 1002} {
		if got := p.slot(at); got.Unix() != want || got.Nanosecond() != 500 {
			t.Errorf("slot %d: %v, want second %d", i, got, want)
		}
	}
	// A later second has room; the earlier ones lead behind it.
	for i, want := range []int64{1003, 1003, 1004} {
		if got := p.slot(time.Unix(1003, 0)); got.Unix() != want {
			t.Errorf("later slot %d: %v, want second %d", i, got, want)
		}
	}
	for i, want := range []int64{1002, 1004, 1005} {
		if got := p.slot(at); got.Unix() != want {
			t.Errorf("last slot %d: %v, want second %d", i, got, want)
		}
	}
	far := newPace(1)
	for i := range 2000 {
		want := 1000 + min(int64(i), int64(maxLonger/time.Second))
		if got := far.slot(time.Unix(1000, 0)); got.Unix() != want {
			t.Fatalf("slot %d of one a second: second %d, want %d", i, got.Unix(), want)
		}
	}
	p.forget(time.Unix(1005, 0))
	if len(p.taken) != 1 || len(p.skip) != 0 {
		t.Errorf("%d seconds and %d skips are kept, want those from 1005 on", len(p.taken), len(p.skip))
	}
}

// Catalogue O-031: a dead site gets probes, not thousands of attempts; when it
// is back its mail flows, with few connections first.
func TestFailingLaneRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(3 * time.Hour)
		x := newWorld(t, Config{Rand: func() float64 { return .5 }}, fails(&back))
		x.run()
		x.accept("dead.example", 3000)
		time.Sleep(time.Hour)
		got := x.tried("dead.example")
		// Two at first, then one after 1, 2, 4, 8 and 15 minutes each.
		if len(got) < 7 || len(got) > 12 {
			t.Errorf("%d tries in the first hour: %v", len(got), got)
		}
		if s := x.q.Stats(); s.Tasks > 20 || s.Resting != 1 {
			t.Errorf("%d tasks in memory, %d lanes rest", s.Tasks, s.Resting)
		}
		if p := x.q.Reserve("dead.example", 1); p != nil {
			t.Error("a place in a lane that rests")
		}
		if l, ok := x.q.LaneOf("dead.example"); !ok || l.Fails < 4 || !l.RestTo.After(time.Now()) {
			t.Errorf("lane: %+v", l)
		}
		time.Sleep(3 * time.Hour)
		got = x.tried("dead.example")
		good := 0
		for _, at := range got {
			if at.After(back) {
				good++
			}
		}
		if good != 3000 {
			t.Errorf("%d jobs were done once the site was back, want 3000", good)
		}
		if bad := len(got) - good; bad > 30 {
			t.Errorf("%d tries in vain", bad)
		}
	})
}

// shared puts all dests into one lane, each a group of its own.
func shared(_ context.Context, _ string) Way {
	return Way{Lane: "provider.example", Until: time.Now().Add(time.Hour)}
}

// A dest whose own servers are down does not keep its lane from those of
// others: whoever has a domain chooses its MX records.
func TestDeadGroupRestsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{Lane: shared}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, k *Task) {
				if k.Job.Dest != "dead.example" {
					x.finish(ctx, w, k)
					return
				}
				w.Fail(time.Now())
				x.later(time.Minute<<min(k.Job.Attempt, 8))(ctx, w, k)
			}
		})
		x.run()
		x.accept("dead.example", 500)
		synctest.Wait()
		start := time.Now()
		x.accept("good.example", 500)
		time.Sleep(10 * time.Second)
		got := x.tried("good.example")
		if len(got) != 500 || got[499].Sub(start) > time.Second {
			t.Errorf("%d of 500 tasks of the other dest were done", len(got))
		}
		time.Sleep(time.Hour)
		if n := len(x.tried("dead.example")); n < 5 || n > 12 {
			t.Errorf("%d tries of the dead dest in an hour", n)
		}
		if l, _ := x.q.LaneOf("good.example"); l.Fails != 0 {
			t.Errorf("%+v", l)
		}
	})
}

// Neither does a dest whose servers hang.
func TestStuckGroupTakesFewWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{Lane: shared, PerLane: 4, Grace: time.Second}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, k *Task) {
				if k.Job.Dest == "stuck.example" {
					hang(ctx, w, k)
					return
				}
				time.Sleep(10 * time.Millisecond)
				x.finish(ctx, w, k)
			}
		})
		x.run()
		x.accept("stuck.example", 500)
		synctest.Wait()
		start := time.Now()
		x.accept("good.example", 100)
		time.Sleep(time.Minute)
		got := x.tried("good.example")
		if len(got) != 100 || got[99].Sub(start) > 33*time.Second {
			t.Errorf("%d of 100 tasks of the other dest were done", len(got))
		}
		start = time.Now()
		x.accept("good.example", 100)
		time.Sleep(time.Minute)
		got = x.tried("good.example")
		if len(got) != 200 || got[199].Sub(start) > 2*time.Second {
			t.Errorf("%d of 200 tasks of the other dest were done", len(got))
		}
		if n := len(x.tried("stuck.example")); n != 2 {
			t.Errorf("%d workers hang", n)
		}
	})
}

// A group that worked and then hangs gives its turns back.
func TestGroupThatBeginsToHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		x := newWorld(t, Config{Lane: shared, PerLane: 4, Grace: time.Second}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, k *Task) {
				if k.Job.Dest == "turns.example" && hangs.Load() {
					hang(ctx, w, k)
					return
				}
				time.Sleep(10 * time.Millisecond)
				x.finish(ctx, w, k)
			}
		})
		x.run()
		x.accept("turns.example", 100)
		time.Sleep(10 * time.Second)
		x.wantTried("turns.example", 100)
		hangs.Store(true)
		x.accept("turns.example", 300)
		time.Sleep(time.Second)
		start := time.Now()
		x.accept("good.example", 100)
		time.Sleep(time.Minute)
		got := x.tried("good.example")
		if len(got) != 100 || got[99].Sub(start) > 35*time.Second {
			t.Errorf("%d of 100 tasks of the other dest were done", len(got))
		}
		if n := len(x.tried("turns.example")); n != 104 {
			t.Errorf("%d tries, want 104", n)
		}
	})
}

// While other workers of the lane succeed, one that fails is one too many: its
// task is tried again at once.
func TestLaneShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var again atomic.Int64
		var workers highest
		x := newWorld(t, Config{PerLane: 10}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, k *Task) {
				l, _ := x.q.LaneOf("a.example")
				workers.note(l.Workers)
				began := time.Now()
				time.Sleep(100 * time.Millisecond)
				if l.Workers > 4 && w.Fail(began).IsZero() && w.Again() {
					again.Add(1)
					return
				}
				x.finish(ctx, w, k)
			}
		})
		x.run()
		x.accept("a.example", 1000)
		time.Sleep(10 * time.Minute)
		n := int(again.Load())
		x.wantTried("a.example", 1000+n)
		if n == 0 || n > 20 {
			t.Errorf("%d tasks were tried again", n)
		}
		if n := workers.n.Load(); n > 6 {
			t.Errorf("%d workers at most, want about 5", n)
		}
	})
}

// Catalogue C-037: what was not begun goes back to the store, at once.
func TestStopHandsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, k *Task) {
				time.Sleep(5 * time.Second)
				x.finish(ctx, w, k)
			}
		})
		x.run()
		x.accept("a.example", 300)
		time.Sleep(time.Second)
		start := time.Now()
		x.stop()
		if d := time.Since(start); d > 6*time.Second {
			t.Errorf("stopping took %v", d)
		}
		tried := len(x.tried("a.example"))
		if tried != 2 {
			t.Errorf("%d tries, want 2", tried)
		}
		if got := x.claimable("a.example"); got != 300-tried {
			t.Errorf("%d jobs can be claimed, want %d", got, 300-tried)
		}
		if p := x.q.Reserve("a.example", 1); p != nil {
			t.Error("a place after the stop")
		}
	})
}

// Workers that do not end are cancelled after the grace.
func TestStopCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{}, func(*world) deed { return hang })
		x.run()
		x.accept("a.example", 5)
		time.Sleep(time.Second)
		start := time.Now()
		x.stop()
		if d := time.Since(start); d < 20*time.Second || d > 21*time.Second {
			t.Errorf("stopping took %v, want the grace of 20 s", d)
		}
		if got := x.claimable("a.example"); got != 5 {
			t.Errorf("%d jobs can be claimed, want 5", got)
		}
	})
}

// A place that is still open when the queue stops is waited for.
func TestStopWaitsForPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{}, func(x *world) deed { return x.finish })
		x.run()
		p := x.q.Reserve("a.example", 1)
		job := x.job("a.example")
		job.Lease = x.st.Session()
		go func() {
			time.Sleep(3 * time.Second)
			x.store(job)
			p.Offer(Task{Job: job})
		}()
		x.stop()
		if got := x.claimable("a.example"); got != 1 {
			t.Errorf("%d jobs can be claimed, want 1", got)
		}
	})
}

func TestPanicOfAWorkerHandsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var panics atomic.Int64
		x := newWorld(t, Config{}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, k *Task) {
				if panics.Add(1) <= 3 {
					panic("poison")
				}
				x.finish(ctx, w, k)
			}
		})
		x.run()
		x.accept("a.example", 1)
		time.Sleep(10 * time.Second)
		x.wantTried("a.example", 4)
		if got := x.claimable("a.example"); got != 0 {
			t.Errorf("%d jobs are left", got)
		}
	})
}

// A worker that has detached a task takes the next one, and the queue waits for
// both.
func TestDetach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{PerLane: 1}, func(x *world) deed {
			return func(ctx context.Context, w *Worker, k *Task) {
				w.Detach(ctx, func() {
					time.Sleep(10 * time.Second)
					if x.total() == 1 {
						panic("oops") // handed back
					}
					x.finish(ctx, w, k)
				})
			}
		})
		x.run()
		x.accept("a.example", 1)
		synctest.Wait()
		if s := x.q.Stats(); s.Tasks != 1 || s.Idle != 1 {
			t.Errorf("%d tasks, %d idle workers; want 1 and 1", s.Tasks, s.Idle)
		}
		time.Sleep(15 * time.Second)
		x.wantTried("a.example", 2)
		x.accept("a.example", 3)
		x.wantTried("a.example", 5)
		x.stop()
		if s := x.q.Stats(); s.Tasks != 0 {
			t.Errorf("%d tasks are left", s.Tasks)
		}
		if got := x.claimable("a.example"); got != 0 {
			t.Errorf("%d jobs are left", got)
		}
	})
}

// 10,000 dests with one job each cost no memory once they are done.
func TestManyDestsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{Lane: func(_ context.Context, dest string) Way {
			return Way{Lane: dest, Until: time.Now().Add(time.Minute)}
		}}, func(x *world) deed { return x.finish })
		x.run()
		for i := range 2000 {
			x.accept(fmt.Sprintf("d%d.example", i), 1)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := x.total(); got != 2000 {
			t.Errorf("%d tries, want 2000", got)
		}
		x.q.mu.Lock()
		defer x.q.mu.Unlock()
		if len(x.q.dests)+len(x.q.groups)+len(x.q.lanes) != 0 {
			t.Errorf("%d dests and %d lanes are remembered", len(x.q.dests), len(x.q.lanes))
		}
	})
}

// Two queues on one store never get the same job.
func TestEachJobOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWorld(t, Config{}, func(x *world) deed { return x.finish })
		x.free("a.example", 1000)
		other := New(Config{
			Store: x.st, Lane: x.q.c.Lane,
			Work: func(ctx context.Context, w *Worker) {
				for k := w.Next(time.Second); k != nil; k = w.Next(time.Second) {
					err := x.st.Update(ctx, func(tx *store.Tx) error { return tx.FinishJob(ctx, k.Job.ID) })
					if err != nil {
						t.Errorf("finish: %v", err)
					}
					x.mu.Lock()
					x.tries[k.Job.Dest] = append(x.tries[k.Job.Dest], time.Now())
					x.mu.Unlock()
					w.Good()
					k.Done()
				}
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- other.Run(ctx) }()
		x.run()
		time.Sleep(time.Minute)
		x.wantTried("a.example", 1000)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
