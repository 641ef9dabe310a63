package bulk

import (
	"testing"
	"time"

	"pennypost"
)

// TestFaultOfOne: a request whose step fails by a fault of ours keeps no other
// waiting, and comes again, each time later.
func TestFaultOfOne(t *testing.T) {
	w := newWorld(t)
	first := w.accept(t, w.callers[0], 1)
	second := w.accept(t, w.callers[1], 1)
	w.chance.fails.Store(true)
	w.turn(t, true)
	w.chance.fails.Store(false)
	w.turn(t, true)
	if b := w.look(t, second); b.State != pennypost.BulkCompleted {
		t.Fatalf("the other one is %v, want it completed", b.State)
	}
	w.turn(t, true) // sweeps what the other one leaves
	w.turn(t, false)
	w.chance.fails.Store(true)
	for _, wait := range []time.Duration{2, 4, 8, 16, 32, 60, 60} {
		w.ahead.Add(int64((wait - 1) * time.Second))
		w.turn(t, false)
		w.ahead.Add(int64(time.Second))
		w.turn(t, true)
	}
	w.chance.fails.Store(false)
	w.ahead.Add(int64(time.Minute))
	w.turn(t, true)
	if b := w.look(t, first); b.Released != 1 {
		t.Errorf("released %d, want 1", b.Released)
	}
}
