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
	// That no connection could be opened says nothing about the mail servers: all
	// mail goes out as soon as it can.
	_, acked := w.snapshot()
	began := time.Now()
	w.until(15*time.Second, "all mail to arrive", func() bool {
		for _, m := range w.arrivals() {
			for _, to := range m.To {
				delete(acked, to)
			}
		}
		return len(acked) == 0
	})
	pauses := w.metric("pennypost_delivery_starved_total")
	t.Logf("all arrived %v after the load; %v pauses for want of descriptors", time.Since(began).Round(time.Millisecond), pauses)
	if pauses == 0 {
		t.Error("no connection failed: the descriptors did not run out")
	}
	w.reconcile(nil)
}
