//go:build !race

package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMemoryRunsOut floods the program with large messages in a control group
// of 256 MiB (catalogue C-038): it is not killed, it refuses for now what it has
// no memory for, and what it takes it takes in good time and delivers.
func TestMemoryRunsOut(t *testing.T) {
	t.Parallel()
	const limit = 256 << 20
	group := newGroup(t, limit)
	w := newWorld(t, "")
	w.wrap = []string{"sh", "-c", `echo $$ > "` + group + `/cgroup.procs" && exec "$0" "$@"`}
	w.boot()
	w.seed()
	w.pad = padding(4 << 20)
	before := w.usage()

	// Beside other tests it takes longer until something was accepted and refused.
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rounds(60, 240))*time.Second)
	defer cancel()
	time.AfterFunc(time.Duration(rounds(12, 120))*time.Second, func() {
		for ctx.Err() == nil && (w.acks() < 20 || !w.refusedWith(452, 503)) {
			time.Sleep(100 * time.Millisecond)
		}
		cancel()
	})
	var all sync.WaitGroup
	flood := func(clients int, send func() error) {
		for range clients {
			all.Go(func() {
				for ctx.Err() == nil {
					if err := send(); err != nil && ctx.Err() == nil {
						w.refused(err)
						time.Sleep(100 * time.Millisecond)
					}
				}
			})
		}
	}
	flood(30, func() error { return w.sendSMTP(ctx, 1, w.fresh) })
	flood(60, func() error { return w.sendHTTP(1, w.fresh) })
	all.Wait()

	refused, slowest := w.refusalsSoFar(), w.slowest
	peak, after := w.peak(), w.usage()
	t.Logf("%d accepted, the slowest in %v; refused: %v; before %v, after %v, at most %d MiB resident, %d MiB in the group",
		w.acks(), slowest.Round(time.Millisecond), refused, before, after, peak>>20, groupPeak(t, group)>>20)
	if !w.alive() {
		t.Fatal("the program was killed")
	}
	for code := range refused {
		switch code {
		case 421, 451, 452, 503:
		default:
			t.Errorf("want of memory was answered with %d", code)
		}
	}
	if refused[452] == 0 || refused[503] == 0 {
		t.Error("nothing was refused: the memory did not run out")
	}
	if peak > limit {
		t.Errorf("%d MiB were resident", peak>>20)
	}
	if w.acks() < 20 {
		t.Errorf("%d messages were accepted", w.acks())
	}
	if slowest > 15*time.Second {
		t.Errorf("a message that was accepted waited for %v", slowest)
	}
	w.reconcile(nil)
}

// newGroup makes a control group with a limit of memory (cgroups(7)), of either
// version.
func newGroup(t *testing.T, limit int64) string {
	t.Helper()
	name := fmt.Sprintf("pennypost-faults-%d", os.Getpid())
	for _, kind := range []struct{ mount, file string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
		{"/sys/fs/cgroup", "memory.max"},
	} {
		dir := filepath.Join(kind.mount, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, kind.file), []byte(strconv.FormatInt(limit, 10)), 0o644); err != nil {
			_ = os.Remove(dir)
			continue
		}
		t.Cleanup(func() {
			for range 50 { // until the program is gone
				if os.Remove(dir) == nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			t.Errorf("%s could not be removed", dir)
		})
		return dir
	}
	t.Fatal("no control group can be made that limits memory: this needs root and the memory controller")
	return ""
}

// groupPeak is the most that a group took, with the kernel's cache of files.
func groupPeak(t *testing.T, dir string) int64 {
	t.Helper()
	for _, name := range []string{"memory.max_usage_in_bytes", "memory.peak"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// peak is the most that was resident so far.
func (w *world) peak() int64 {
	w.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.pid()))
	if err != nil {
		w.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	if err != nil {
		w.t.Fatal(err)
	}
	return kib << 10
}
