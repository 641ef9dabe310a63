//go:build !race

package faults

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDescriptorsRunOut takes the program's last file descriptors under load
// (catalogue C-021): it waits without spinning, loses nothing, and goes on by
// itself when there are some again.
func TestDescriptorsRunOut(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.acts(slowDots)
	stop := w.load()
	if !w.accepted(100, 20*time.Second) {
		return
	}
	w.refusalsSoFar()
	var before unix.Rlimit
	if err := unix.Prlimit(w.pid(), unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	few := before
	few.Cur = uint64(w.descriptors() + 2)
	if err := unix.Prlimit(w.pid(), unix.RLIMIT_NOFILE, &few, nil); err != nil {
		t.Fatal(err)
	}
	var idle []net.Conn // wait to be accepted
	for range 60 {
		if c, err := net.DialTimeout("tcp", w.smtp, time.Second); err == nil {
			idle = append(idle, c)
		}
	}
	time.Sleep(2 * time.Second)
	refused := w.refusalsSoFar()
	stop() // nothing but those that wait
	from := w.processor()
	time.Sleep(2 * time.Second)
	spent := w.processor() - from
	t.Logf("with %d descriptors: refused %v; %v of processor time in 2 s of waiting", few.Cur, refused, spent)
	if spent > time.Second {
		t.Errorf("it spins: %v of processor time in 2 s", spent)
	}
	for code := range refused {
		if code != 0 && code/100 != 4 && code != 503 {
			t.Errorf("answered with %d", code)
		}
	}
	for _, c := range idle {
		_ = c.Close()
	}
	if err := unix.Prlimit(w.pid(), unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatal(err)
	}
	stop = w.load()
	w.accepted(100, 20*time.Second)
	stop()
	w.impatient = true // connections that could not be opened are tried in a minute
	w.reconcile(nil)
}
