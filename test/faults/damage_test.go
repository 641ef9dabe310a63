//go:build !race

package faults

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pennypost/internal/fakenet"
)

// TestDamagedRows changes octets of a content and of a job in the file of the
// stopped program (catalogue C-023): both are found and reported, nothing
// garbled goes out, and the others are delivered.
func TestDamagedRows(t *testing.T) {
	t.Parallel()
	const n = 40
	w, all := deferredAndStopped(t, n)
	content, job := all[7], all[22]
	w.damage(content, job)
	w.boot()
	excused := func(to string) bool { return to == content || to == job }
	w.settle(30*time.Second, excused)
	if got := w.metric("pennypost_store_damaged_total"); got != 1 {
		t.Errorf("%v damaged jobs were counted, want 1", got)
	}
	if log := w.log.String(); !strings.Contains(log, "job damaged in the database") || !strings.Contains(log, "message quarantined") {
		t.Error("the damage is not in the log")
	}
	if v := w.reconcile(excused); v.arrived != n-2 {
		t.Errorf("%d arrived, want %d", v.arrived, n-2)
	}
	db := w.open()
	defer func() { _ = db.Close() }()
	for to, want := range map[string]int{content: quarantined, job: deferred} {
		var state int
		if err := db.QueryRow(`SELECT state FROM recipients WHERE address = $1`, to).Scan(&state); err != nil || state != want {
			t.Errorf("%s: state %d, %v; want %d", to, state, err, want)
		}
	}
	var heldJobs int
	if err := db.QueryRow(`SELECT COUNT(*) FROM jobs WHERE held = 2`).Scan(&heldJobs); err != nil || heldJobs != 1 {
		t.Errorf("%d jobs wait for a person, %v; want 1", heldJobs, err)
	}
}

// deferredAndStopped gives a world whose program is stopped, with n messages that
// are due within seconds, and their recipients.
func deferredAndStopped(t *testing.T, n int) (w *world, all []string) {
	t.Helper()
	w = start(t)
	w.acts(func(m fakenet.Moment) fakenet.Act {
		if m.Stage == fakenet.RcptTo {
			return fakenet.Act{Reply: "451 4.3.0 Busy, try again in 3 seconds"}
		}
		return fakenet.Act{}
	})
	for range n / 5 {
		if err := w.sendHTTP(5, func() string {
			to := w.freshAt([]string{"d0.test", "d1.test", "d2.test", "d3.test"}[len(all)%4])
			all = append(all, to)
			return to
		}); err != nil {
			t.Fatal(err)
		}
	}
	w.until(20*time.Second, "all to be deferred", func() bool { return w.metric("pennypost_delivery_outcomes_total") >= float64(n) })
	w.stop()
	w.acts(func(fakenet.Moment) fakenet.Act { return fakenet.Act{} })
	return w, all
}

// damage changes an octet of the content of one message, and one of the job of
// another.
func (w *world) damage(content, job string) {
	w.t.Helper()
	db := w.open()
	var ref []byte
	err := db.QueryRow(`SELECT j.ref FROM jobs j JOIN recipients r ON r.job_id = j.id WHERE r.address = $1`, job).Scan(&ref)
	if err == nil {
		_, err = db.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`)
	}
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	path := filepath.Join(w.data, "pennypost.db")
	b, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	flipped := 0
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("begin "+content))
		if i < 0 {
			break
		}
		at += i + 6
		b[at+1] ^= 1
		flipped++
	}
	// In the row of a job its dest stands some octets before its ref.
	_, domain, _ := strings.Cut(job, "@")
	jobs := 0
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], ref)
		if i < 0 {
			break
		}
		at += i
		if bytes.Contains(b[max(at-40, 0):at], []byte(domain)) {
			b[at+len(ref)-3] ^= 1
			jobs++
		}
	}
	if flipped == 0 || jobs == 0 {
		w.t.Fatalf("found %d contents and %d jobs to damage", flipped, jobs)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		w.t.Fatal(err)
	}
}
