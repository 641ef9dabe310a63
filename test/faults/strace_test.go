//go:build !race

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// inject lets system calls of the program on a file of its data directory fail,
// or take long, until the function that it gives is called: effect is as in
// strace's --inject, such as "error=EIO:when=1". strace counts per thread.
func (w *world) inject(calls, file, effect string) (stop func()) {
	w.t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		w.t.Fatal("strace is not there, which makes system calls fail: apt-get install strace")
	}
	out := filepath.Join(w.t.TempDir(), "strace")
	cmd := exec.Command(strace, "-f", "-qq", "-o", out, "-e", "trace="+calls, "-e", "inject="+calls+":"+effect,
		"-P", filepath.Join(w.data, file), "-p", strconv.Itoa(w.pid()))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	pid := w.pid()
	w.until(10*time.Second, "strace to attach", func() bool { return traced(pid) || !w.alive() }) // it may have done its work already
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it lets go; it may have ended with the program
		<-ended
		b, err := os.ReadFile(out)
		n := strings.Count(string(b), "INJECTED") + strings.Count(string(b), "DELAYED")
		w.t.Logf("%s on %s: %d with %s", calls, file, n, effect)
		if err != nil || n == 0 {
			w.t.Errorf("nothing was injected: %v", err)
		}
	}
	return stop
}

func traced(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, after, ok := strings.Cut(string(b), "TracerPid:\t")
	return err == nil && ok && after[0] != '0'
}

const (
	logFile  = "pennypost.db-wal"
	dbFile   = "pennypost.db"
	lockFile = "pennypost.lock"
)

// TestSyncFails lets a sync, or a write, fail (catalogue C-018, C-019). A sync
// that failed is final: the process ends with an error, and what it acknowledged
// is there after the next start.
func TestSyncFails(t *testing.T) {
	tests := []struct{ name, calls, file, effect string }{
		{"sync of the log at a commit", "fsync,fdatasync", logFile, "error=EIO:when=3"},
		{"sync of the database at a checkpoint", "fsync,fdatasync", dbFile, "error=EIO:when=1"},
		{"write of the log", "write,pwrite64", logFile, "error=EIO:when=20"},
		{"the journal of the file system, behind a sync", "fallocate", lockFile, "error=EROFS:when=3"},
		{"write of the database at a checkpoint", "write,pwrite64", dbFile, "error=EIO:when=1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			w.acts(slowDots)
			if tt.file == dbFile {
				w.pad = padding(100 << 10) // the log is copied once it is large
			}
			for range rounds(1, 5) {
				stop := w.load()
				if !w.accepted(50, 20*time.Second) {
					return
				}
				let := w.inject(tt.calls, tt.file, tt.effect)
				err := w.wait(20 * time.Second)
				let()
				if err == nil {
					t.Error("the program ended as if nothing had been")
				}
				t.Logf("ended: %v", err)
				w.reboot()
				if !w.accepted(50, 20*time.Second) {
					return
				}
				stop()
			}
			w.reconcile(nil)
		})
	}
}

// TestSlowDisk lets each sync take long (catalogue C-039). Fewer are accepted,
// in good time, none is lost, and the program stays. Where syncs take so long
// that mail would wait for more than a few seconds, it is refused early.
func TestSlowDisk(t *testing.T) {
	tests := []struct {
		name    string
		delay   string
		refuses bool
		slowest time.Duration // for an acknowledgement
	}{
		{"a second", "1s", false, 5 * time.Second},
		{"three seconds", "3s", true, 10 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			stop := w.load()
			if !w.accepted(50, 20*time.Second) {
				return
			}
			before := w.usage()
			w.refusalsSoFar()
			w.slowestSoFar()
			let := w.inject("fsync,fdatasync", logFile, "delay_enter="+tt.delay)
			from := w.acks()
			var steady sync.WaitGroup // some come at any time of a sync
			for end := time.Now().Add(12 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				steady.Go(func() {
					if err := w.sendHTTP(1, w.fresh); err != nil {
						w.refused(err)
					}
				})
			}
			slow, refused, slowest := w.acks()-from, w.refusalsSoFar(), w.slowestSoFar()
			after := w.usage()
			let()
			steady.Wait()
			t.Logf("%d accepted in 12 s of syncs that take %s, the slowest in %v; refused: %v; before %v, then %v",
				slow, tt.delay, slowest.Round(time.Millisecond), refused, before, after)
			if slow == 0 {
				t.Error("nothing was accepted")
			}
			if slowest > tt.slowest {
				t.Errorf("an acknowledgement took %v, want at most %v", slowest, tt.slowest)
			}
			for code := range refused {
				if code != 452 && code != 503 {
					t.Errorf("a slow disk was answered with %d", code)
				}
			}
			if tt.refuses && len(refused) == 0 {
				t.Error("nothing was refused")
			}
			if !w.accepted(100, 20*time.Second) {
				return
			}
			stop()
			w.reconcile(nil)
		})
	}
}

// slowestSoFar gives the longest time that an acknowledgement took, and forgets
// it.
func (w *world) slowestSoFar() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.slowest
	w.slowest = 0
	return d
}
