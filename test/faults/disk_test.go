//go:build !race

package faults

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDiskFull fills the disk under load (catalogue C-020): what does not fit is
// refused for now, what was accepted is delivered, and when there is room again
// all goes on by itself.
func TestDiskFull(t *testing.T) {
	tests := []struct {
		name  string
		size  int   // MiB
		leave []int // KiB, in turn
		pad   int
		long  time.Duration // how long it stays full
	}{
		{"at commits", 160, []int{0, 64}, 0, 3 * time.Second},
		{"at copying the log into the database", 400, []int{1 << 10, 6 << 10, 20 << 10}, 100 << 10, 3 * time.Second},
		{"for longer than a lease", 160, []int{0}, 0, leaseTime + 10*time.Second},
	}
	if !long {
		tests = tests[:2]
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := newVolume(t, tt.size)
			w := newWorld(t, filepath.Join(v.dir, "data"))
			w.boot()
			w.seed()
			w.acts(slowDots)
			w.pad = padding(tt.pad)
			for _, leave := range tt.leave {
				stop := w.load()
				if !w.accepted(50, 20*time.Second) {
					return
				}
				w.refusalsSoFar()
				empty := v.fill(leave)
				time.Sleep(tt.long)
				refused, ready := w.refusalsSoFar(), w.alive()
				empty()
				t.Logf("with %d KiB left for %v: refused %v, alive: %v", leave, tt.long, refused, ready)
				for code := range refused {
					switch code {
					case 0, 421, 451, 452, 503: // 0: closed after one of the others
					default:
						t.Errorf("a full disk was answered with %d", code)
					}
				}
				if len(refused) == 0 {
					t.Error("nothing was refused: the disk was not full")
				}
				if !ready {
					t.Error("the program ended for a full disk")
					w.wait(time.Second)
					w.reboot()
				}
				if !w.accepted(50, 20*time.Second) {
					return
				}
				stop()
			}
			w.reconcile(nil)
		})
	}
}

// TestStartOnFullDisk kills the program and starts it again on a full disk: it
// says what it needs, and starts when there is that.
func TestStartOnFullDisk(t *testing.T) {
	t.Parallel()
	v := newVolume(t, 160)
	w := newWorld(t, filepath.Join(v.dir, "data"))
	w.boot()
	w.seed()
	w.acts(slowDots)
	stop := w.load()
	if !w.accepted(50, 20*time.Second) {
		return
	}
	empty := v.fill(0)
	time.Sleep(time.Second)
	w.countFreed()
	w.kill()
	w.freed, w.freedNow = w.freed+w.freedNow, 0
	stop()
	if err := w.tryBoot(); err == nil {
		t.Error("it started on a full disk")
	}
	if log := w.log.String(); !strings.Contains(log, "is full: a start takes") {
		t.Errorf("it does not say why it cannot start: %s", tail(log, 500))
	}
	empty()
	leave := v.fill(8 << 10) // enough to start and to deliver, not for new mail
	booted := make(chan error, 1)
	go func() { booted <- w.tryBoot() }() // until it is ready
	w.until(20*time.Second, "/readyz to say why it is not", func() bool {
		status, page, err := w.get("/readyz")
		return err == nil && status == http.StatusServiceUnavailable && strings.Contains(page, "MiB left")
	})
	w.until(20*time.Second, "what was accepted to be delivered in the reserve", func() bool {
		_, acked := w.snapshot()
		for _, m := range w.arrivals() {
			for _, to := range m.To {
				delete(acked, to)
			}
		}
		return len(acked) == 0
	})
	leave()
	if err := <-booted; err != nil {
		t.Fatal(err)
	}
	stop = w.load()
	w.accepted(50, 20*time.Second)
	stop()
	w.reconcile(nil)
}

// alive tells whether the program has not ended.
func (w *world) alive() bool {
	select {
	case err := <-w.ended:
		w.ended <- err
		return false
	default:
		return true
	}
}

// TestReadOnly lets the kernel make the file system read-only, as it does after
// an error (catalogue C-022). There is no way on without a person: the program
// ends, or refuses for now; after a repair everything acknowledged is there.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	for range rounds(1, 20) {
		t.Run("under load", turnReadOnly)
	}
}

func turnReadOnly(t *testing.T) {
	v := newVolume(t, 96)
	w := newWorld(t, filepath.Join(v.dir, "data"))
	w.boot()
	w.seed()
	w.acts(slowDots)
	stop := w.load()
	if !w.accepted(100, 20*time.Second) {
		return
	}
	w.refusalsSoFar()
	if err := os.WriteFile("/sys/fs/ext4/"+v.device()+"/trigger_fs_error", []byte("test"), 0); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	acks := w.acks()
	time.Sleep(time.Second)
	if w.acks() != acks {
		t.Error("mail is accepted on a read-only disk")
	}
	for code, n := range w.refusalsSoFar() {
		// 500: nobody knows what became of the commit that was under way, in which
		// each of the two HTTP submitters may have had a request.
		if code >= 300 && code < 400 || code > 503 || code == 500 && n > 2 {
			t.Errorf("a read-only disk was answered %d times with %d", n, code)
		}
	}
	if w.alive() {
		t.Log("it refuses")
		w.kill()
	} else if err := w.wait(time.Second); err == nil {
		t.Error("it ended as if nothing had been")
	} else {
		t.Logf("it ended: %v", err)
	}
	stop()
	v.unmount()
	run(t, "e2fsck", "-p", "-f", v.image)
	v.mount()
	w.reboot()
	stop = w.load()
	w.accepted(50, 20*time.Second)
	stop()
	w.reconcile(nil)
}
