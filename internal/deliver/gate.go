package deliver

import (
	"container/list"
	"context"
	"runtime"
	"runtime/metrics"
	"sync"
)

// A gate lets signatures be made. They are nearly half of the work of a
// message, and nobody waits for them as somebody waits for the answer to a
// submission: half of the cores sign whenever there is something to sign, the
// other half only while nothing else wants to run.
type gate struct {
	always, most int
	quiet        func() bool

	mu      sync.Mutex
	open    int
	waiting list.List // of chan struct{}, closed when it is one's turn
}

// newGate makes a gate for at most so many at once.
func newGate(most int) *gate {
	return &gate{always: max(1, most/2), most: most, quiet: newRunnable(runtime.GOMAXPROCS(0) - 1).quiet}
}

// enter waits until a signature may be made. leave ends it.
func (g *gate) enter(ctx context.Context) error {
	g.mu.Lock()
	if g.waiting.Len() == 0 && g.may() {
		g.open++
		g.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	place := g.waiting.PushBack(turn)
	g.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-turn: // both at once
		g.open--
		g.admit()
	default:
		g.waiting.Remove(place)
	}
	return ctx.Err()
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	g.admit()
}

// admit lets as many in as may be; g.mu is held. Whoever leaves asks, so that
// somebody always does while others wait.
func (g *gate) admit() {
	for g.waiting.Len() > 0 && g.may() {
		g.open++
		close(g.waiting.Remove(g.waiting.Front()).(chan struct{})) //nolint:forcetypeassert // it holds nothing else
	}
}

func (g *gate) may() bool { return g.open < g.always || g.open < g.most && g.quiet() }

// runnable looks at how many goroutines wait for a processor.
type runnable struct {
	mu     sync.Mutex
	sample []metrics.Sample
	few    uint64
}

func newRunnable(few int) *runnable {
	return &runnable{sample: []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}, few: uint64(few)} //nolint:gosec // G115: a number of cores
}

// quiet tells whether they are few. It takes about a microsecond.
func (r *runnable) quiet() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	metrics.Read(r.sample)
	return r.sample[0].Value.Kind() != metrics.KindUint64 || r.sample[0].Value.Uint64() <= r.few
}
