//go:build !race

package faults

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestKillAtRandom kills the program at random times under load (catalogue
// C-001 to C-014).
func TestKillAtRandom(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.acts(slowDots)
	stop := w.load()
	n := rounds(5, 200)
	for range n {
		if !w.accepted(60, 20*time.Second) {
			return
		}
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		w.kill()
		w.reboot()
	}
	stop()
	v := w.reconcile(nil)
	if v.acked < 50*n || w.freed == 0 {
		t.Errorf("only %d acknowledged, %d taken over: the test shows nothing", v.acked, w.freed)
	}
}
