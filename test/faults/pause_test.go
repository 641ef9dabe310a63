//go:build !race

package faults

import (
	"syscall"
	"testing"
	"time"
)

// leaseTime is that of internal/store.
const leaseTime = 30 * time.Second

// TestPausedLongerThanLease stops the program under load for longer than its
// lease (catalogue C-034). On SQLite nobody else can have taken its jobs, since
// it still holds the lock of the directory: it may go on once it has renewed its
// session, and nothing goes out twice. Attempts whose time was over when it went
// on have failed for now: their mail waits a minute more.
func TestPausedLongerThanLease(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.acts(slowDots)
	for range rounds(1, 3) {
		stop := w.load()
		if !w.accepted(300, 20*time.Second) {
			return
		}
		w.signal(syscall.SIGSTOP)
		stopped := time.Now()
		stop() // the submitters' deadlines end meanwhile
		time.Sleep(leaseTime + 5*time.Second - 20*time.Second)
		woken := time.Now()
		w.signal(syscall.SIGCONT)
		w.pauses = append(w.pauses, pause{stopped, woken})
		stop = w.load()
		if !w.accepted(100, 20*time.Second) {
			return
		}
		t.Logf("100 more were accepted %v after it went on", time.Since(woken).Round(time.Millisecond))
		stop()
		w.settle(time.Minute, nil)
	}
	v := w.reconcile(nil)
	if v.twice > 0 {
		t.Errorf("%d went out twice, though nobody else can have had the jobs", v.twice)
	}
}
