//go:build !race

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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
	w.until(10*time.Second, "strace to attach", func() bool { return w.cmd != nil && traced(pid) })
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
	logFile = "pennypost.db-wal"
	dbFile  = "pennypost.db"
)

// TestSyncFails lets a sync, or a write, fail (catalogue C-018, C-019). A sync
// that failed is final: the process ends with an error, and what it acknowledged
// is there after the next start.
func TestSyncFails(t *testing.T) {
	tests := []struct{ name, calls, file, effect string }{
		{"sync of the log at a commit", "fsync,fdatasync", logFile, "error=EIO:when=3"},
		{"sync of the database at a checkpoint", "fsync,fdatasync", dbFile, "error=EIO:when=1"},
		{"write of the log", "write,pwrite64", logFile, "error=EIO:when=20"},
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
// none is lost, and the program stays.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	w := start(t)
	stop := w.load()
	if !w.accepted(50, 20*time.Second) {
		return
	}
	before := w.usage()
	let := w.inject("fsync,fdatasync", logFile, "delay_enter=1s")
	from := w.acks()
	time.Sleep(8 * time.Second)
	slow := w.acks() - from
	after := w.usage()
	let()
	t.Logf("%d accepted in 8 s of syncs that take 1 s; refused: %v; before %v, then %v", slow, w.refusalsSoFar(), before, after)
	if !w.accepted(100, 20*time.Second) {
		return
	}
	stop()
	w.reconcile(nil)
}
