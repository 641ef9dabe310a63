package queue

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pennypost"
)

func TestCrowd(t *testing.T) {
	quiet := false
	c := newCrowd(func() bool { return quiet }, 2)
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	want := func(what string, n int) {
		t.Helper()
		if got := c.room(now); got != n {
			t.Errorf("%s: room for %d, want %d", what, got, n)
		}
	}
	want("at first", 8)
	c.take(8)
	want("taken", 0)
	now = now.Add(20 * time.Millisecond)
	want("after 20 ms at 200 a second", 4)
	c.take(4)
	c.take(-2)
	want("two given back", 2)
	now = now.Add(time.Hour)
	want("after an hour", 8)
	c.take(20)
	want("more came than was thought", -12)
	now = now.Add(-time.Hour)
	want("the clock was set back", -12)
	quiet = true
	want("quiet", 8)
}

// again frees n repetitions of a dest.
func (x *world) again(dest string, n int) {
	x.t.Helper()
	jobs := make([]pennypost.Job, n)
	for i := range jobs {
		jobs[i] = x.job(dest)
		jobs[i].Attempt = 1
	}
	x.store(jobs...)
}

// While the processors have no room, repetitions come at a pace; first tries,
// from memory or the store, do not wait for them; and all come at once when there
// is room.
func TestRepetitionsWaitForProcessors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var quiet atomic.Bool
		x := newWorld(t, Config{Quiet: quiet.Load}, func(x *world) deed { return x.finish })
		for i := range 20 {
			x.again(fmt.Sprintf("d%d.example", i), 200)
		}
		x.free("first.example", 300)
		x.run()
		time.Sleep(time.Second)
		synctest.Wait()
		first := len(x.tried("first.example"))
		if first != 300 {
			t.Errorf("%d first tries in a second, want all 300", first)
		}
		cores := runtime.GOMAXPROCS(0)
		step, pace := crowdStep*cores, crowdPace*cores
		if n := x.total() - first; n < pace || n > step+pace {
			t.Errorf("%d repetitions in the first second, want about %d and %d", n, step, pace)
		}
		x.accept("new.example", 1)
		x.wantTried("new.example", 1)
		before := x.total()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := x.total() - before; n < 2*pace*9/10 || n > 2*pace*11/10 {
			t.Errorf("%d repetitions in two seconds, want about %d", n, 2*pace)
		}
		quiet.Store(true)
		time.Sleep(time.Second)
		synctest.Wait()
		for i := range 20 {
			x.wantTried(fmt.Sprintf("d%d.example", i), 200)
		}
	})
}

// Thousands of dests of which nothing is known, after a restart or with mail for
// very many, do not wait for an allowance: theirs are first tries.
func TestFirstTriesOfManyDestsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := func() bool { return false }
		x := newWorld(t, Config{Quiet: never}, func(x *world) deed { return x.finish })
		const dests = 2000
		jobs := make([]pennypost.Job, dests)
		for i := range jobs {
			jobs[i] = x.job(fmt.Sprintf("d%d.example", i))
		}
		x.store(jobs...)
		x.run()
		time.Sleep(time.Second)
		synctest.Wait()
		if n := x.total(); n != dests {
			t.Errorf("%d of %d first tries in a second", n, dests)
		}
	})
}
