package deliver

import (
	"context"
	"errors"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// crowd is what waits at a gate, and what is in.
type crowd struct {
	g       *gate
	in, max atomic.Int32
	done    atomic.Int32
}

func (c *crowd) come(ctx context.Context, n int, stay time.Duration) {
	for range n {
		go func() {
			if c.g.enter(ctx) != nil {
				return
			}
			if in := c.in.Add(1); in > c.max.Load() {
				c.max.Store(in)
			}
			time.Sleep(stay)
			c.in.Add(-1)
			c.done.Add(1)
			c.g.leave()
		}()
	}
}

// While others want to run half of the places are used, else all; either way
// everybody gets in.
func TestGateGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var quiet atomic.Bool
		c := &crowd{g: newGate(4)}
		c.g.quiet = quiet.Load
		c.come(t.Context(), 20, time.Second)
		synctest.Wait()
		if in := c.in.Load(); in != 2 {
			t.Errorf("%d are in beside other work, want 2", in)
		}
		time.Sleep(1500 * time.Millisecond)
		quiet.Store(true)
		time.Sleep(time.Second) // whoever leaves lets the others in
		if in := c.in.Load(); in != 4 {
			t.Errorf("%d are in when all is quiet, want 4", in)
		}
		quiet.Store(false)
		time.Sleep(20 * time.Second)
		if c.done.Load() != 20 || c.max.Load() != 4 {
			t.Errorf("%d of 20 were let in, at most %d at once", c.done.Load(), c.max.Load())
		}
	})
}

// A place is not lost with those who stop waiting.
func TestGateForgetsWhoGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{g: newGate(1)}
		c.g.quiet = func() bool { return false }
		ctx, cancel := context.WithCancel(t.Context())
		c.come(t.Context(), 1, time.Minute)
		synctest.Wait()
		c.come(ctx, 50, time.Minute)
		synctest.Wait()
		cancel()
		synctest.Wait()
		if n := c.g.waiting.Len(); n != 0 {
			t.Errorf("%d still wait", n)
		}
		if err := c.g.enter(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the end of the context", err)
		}
		c.come(t.Context(), 1, time.Minute)
		time.Sleep(3 * time.Minute)
		if n := c.done.Load(); n != 2 {
			t.Errorf("%d were let in, want 2", n)
		}
	})
}

// The runtime tells how many goroutines wait for a processor.
func TestRunnableIsKnown(t *testing.T) {
	r := newRunnable(1 << 30)
	if !r.quiet() {
		t.Error("a thousand million goroutines wait for a processor")
	}
	if r.sample[0].Value.Kind() != metrics.KindUint64 {
		t.Errorf("the runtime does not know %s", r.sample[0].Name)
	}
}
