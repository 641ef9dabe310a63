//go:build !race

package faults

import (
	"strings"
	"testing"
	"time"
)

// TestClockSteppedWhileDead kills the program, lets an hour of the wall clock
// appear or vanish before it starts again, and gives it a monotonic clock that
// jumped (catalogue C-025). The machine's clock is everybody's and is left
// alone: all times in the database are moved instead, the other way. A step
// under a running program is what the unit tests with a clock of their own are
// for.
func TestClockSteppedWhileDead(t *testing.T) {
	for _, tt := range []struct {
		name string
		step time.Duration
	}{{"one hour back", -time.Hour}, {"one hour on", time.Hour}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			w.acts(slowDots)
			stop := w.load()
			if !w.accepted(150, 20*time.Second) {
				return
			}
			w.kill()
			stop()
			w.shiftTimes(-tt.step)
			w.wrap = []string{"unshare", "--time", "--monotonic", "31536000", "--boottime", "31536000"}
			w.reboot()
			stop = w.load()
			w.accepted(50, 20*time.Second)
			stop()
			if v := w.reconcile(nil); v.acked < 100 || w.freed == 0 {
				t.Errorf("only %d acknowledged, %d taken over: the test shows nothing", v.acked, w.freed)
			}
		})
	}
}

// shiftTimes moves the times in the database of the dead program.
func (w *world) shiftTimes(by time.Duration) {
	w.t.Helper()
	db := w.open()
	defer func() { _ = db.Close() }()
	for table, columns := range map[string]string{
		"sessions":   "started_at expires_at walk_began",
		"messages":   "", // sealed by a checksum: received_at stays
		"recipients": "next_at changed_at",
		"attempts":   "started_at",
		"events":     "at",
		"jobs":       "run_at",
		"dests":      "next_at",
		"tokens":     "created_at last_used_at",
	} {
		for _, c := range strings.Fields(columns) {
			if _, err := db.Exec(`UPDATE `+table+` SET `+c+` = `+c+` + $1 WHERE `+c+` > 1000000`, by.Microseconds()); err != nil {
				w.t.Fatalf("%s.%s: %v", table, c, err)
			}
		}
	}
}
