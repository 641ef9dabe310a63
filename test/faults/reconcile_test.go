//go:build !race

package faults

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/mail"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // reads what the program left

	"pennypost/internal/fakenet"
)

// window is how long before a cut a message may have been taken and still go
// out again: mail servers answer within 80 ms, and to record the answer takes a
// little on a busy machine.
const window = 3 * time.Second

// verdict is what a reconciliation found.
type verdict struct {
	offered, acked, arrived, lost, twice, invented, unacked int
}

func (v verdict) String() string {
	return fmt.Sprintf("%d offered, %d acknowledged, %d arrived (%d of them without acknowledgement), %d lost, %d twice, %d invented",
		v.offered, v.acked, v.arrived, v.unacked, v.lost, v.twice, v.invented)
}

// arrivals gives the mails of all mail servers in the order of their arrival.
func (w *world) arrivals() []fakenet.Mail {
	all := w.net.Box().All()
	for _, more := range w.more {
		all = append(all, more()...)
	}
	slices.SortStableFunc(all, func(a, b fakenet.Mail) int { return a.At.Compare(b.At) })
	return all
}

// settle waits until all that was acknowledged has arrived or is excused, and
// nothing moves any more.
func (w *world) settle(within time.Duration, excused func(to string) bool) {
	w.t.Helper()
	_, acked := w.snapshot()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		got := make(map[string]bool)
		for _, m := range w.arrivals() {
			for _, to := range m.To {
				got[to] = true
			}
		}
		missing := 0
		for to := range acked {
			if !got[to] && (excused == nil || !excused(to)) {
				missing++
			}
		}
		if missing == 0 {
			break
		}
	}
	for n := -1; n != w.net.Box().Total(); time.Sleep(400 * time.Millisecond) {
		n = w.net.Box().Total()
	}
}

// reconcile holds the acknowledgements against the arrivals (O1, O2, O3), looks
// at the log (O6, O9), stops the program and looks at its database (O1, O5).
// Duplicates must be explained by a cut of their own each, and be no more in
// all than the jobs that were taken over from dead sessions.
func (w *world) reconcile(excused func(to string) bool) verdict {
	w.t.Helper()
	patience := 60 * time.Second
	if w.impatient {
		patience = 3 * time.Second
	}
	w.settle(patience, excused)
	w.countFreed()
	w.freed, w.freedNow = w.freed+w.freedNow, 0
	w.stop()
	w.cleanLog()
	waiting := w.inspect(excused)
	v := w.compare(func(to string) bool { return excused != nil && excused(to) || w.impatient && waiting[to] })
	w.t.Logf("%d cuts, %d jobs taken over: %v, %d wait for their next attempt", len(w.cuts), w.freed, v, len(waiting))
	return v
}

// compare is the part of reconcile that needs no program.
func (w *world) compare(excused func(to string) bool) verdict {
	w.t.Helper()
	offered, acked := w.snapshot()
	v := verdict{offered: len(offered), acked: len(acked)}
	last := make(map[string]time.Time)
	garbled := 0
	for _, m := range w.arrivals() {
		if len(m.To) != 1 || !w.intact(m) {
			if garbled++; garbled <= 3 {
				w.t.Errorf("garbled, to %v: %.600q", m.To, m.Data)
			}
			continue
		}
		to := m.To[0]
		before, again := last[to]
		last[to] = m.At
		if again {
			v.twice++
			if !w.explained(before, m.At) {
				w.t.Errorf("%s went out at %v and again at %v: no cut explains it", to, before, m.At)
			}
			continue
		}
		v.arrived++
		if !offered[to] {
			v.invented++
		}
		if _, ok := acked[to]; !ok {
			v.unacked++
		}
	}
	for to := range acked {
		if _, ok := last[to]; !ok && (excused == nil || !excused(to)) {
			if v.lost++; v.lost <= 5 {
				w.t.Errorf("lost: %s, acknowledged %v", to, acked[to])
			}
		}
	}
	if v.lost > 0 || v.invented > 0 || garbled > 0 {
		w.t.Errorf("%d lost, %d that nobody offered, %d garbled", v.lost, v.invented, garbled)
	}
	if v.twice > w.freed {
		w.t.Errorf("%d arrived twice, only %d can have been under way at a cut", v.twice, w.freed)
	}
	return v
}

// explained tells whether a cut lies between two arrivals, shortly after the
// first. The mail server notes that one only after its delay, which a cut may
// fall into.
func (w *world) explained(first, second time.Time) bool {
	return slices.ContainsFunc(w.cuts, func(cut time.Time) bool {
		return first.Before(cut.Add(100*time.Millisecond)) && first.After(cut.Add(-window)) && second.After(cut)
	})
}

// intact tells whether a mail is exactly the one that was submitted to its
// recipient.
func (w *world) intact(m fakenet.Mail) bool {
	msg, err := mail.ReadMessage(bytes.NewReader(m.Data))
	if err != nil || msg.Header.Get("Subject") != m.To[0] || msg.Header.Get("DKIM-Signature") == "" {
		return false
	}
	body := msg.Body
	if strings.EqualFold(msg.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	b, err := io.ReadAll(body)
	return err == nil && strings.TrimSpace(string(b)) == strings.TrimSpace(w.text(m.To[0]))
}

// cleanLog looks for what a log must never have.
func (w *world) cleanLog() {
	w.t.Helper()
	log := w.log.String()
	for _, bad := range []string{"DATA RACE", "panic", "goroutine ", w.secret, w.token, accountToken} {
		if bad != "" && strings.Contains(log, bad) {
			w.t.Errorf("%q in the log", bad)
		}
	}
}

// open opens the database of a program that has ended.
func (w *world) open() *sql.DB {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.data, "pennypost.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	return db
}

// The states of a recipient, as stored.
const (
	queued = iota + 1
	deferred
	held
	delivered
	bounced
	expired
	suppressed
	quarantined
)

// inspect looks at the database after an orderly end: it is whole, each
// recipient whose mail was acknowledged is delivered or has its job, and each
// that is delivered has one event that says so. It gives those that wait.
func (w *world) inspect(excused func(to string) bool) (waiting map[string]bool) {
	w.t.Helper()
	waiting = make(map[string]bool)
	db := w.open()
	defer func() { _ = db.Close() }()
	var whole string
	if err := db.QueryRow(`PRAGMA integrity_check`).Scan(&whole); err != nil || whole != "ok" {
		w.t.Errorf("integrity check: %.300s, %v", whole, err)
	}
	rows, err := db.Query(`SELECT r.address, r.state, (SELECT COUNT(*) FROM jobs j WHERE j.id = r.job_id),
		(SELECT COUNT(*) FROM events e WHERE e.message_id = r.message_id AND e.n = r.n AND e.type = 'Delivered'),
		(SELECT COUNT(*) FROM contents c WHERE c.message_id = r.message_id) FROM recipients r`)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	_, missing := w.snapshot()
	wrong := 0
	for rows.Next() {
		var to string
		var state, jobs, events, contents int
		if err := rows.Scan(&to, &state, &jobs, &events, &contents); err != nil {
			w.t.Fatal(err)
		}
		delete(missing, to)
		if excused != nil && excused(to) {
			continue
		}
		waits := state == queued || state == deferred
		if waits {
			waiting[to] = true
		}
		if !waits && state != delivered || waits != (jobs == 1) || (state == delivered) != (events == 1) || contents != 1 {
			if wrong++; wrong <= 5 {
				w.t.Errorf("%s: state %d with %d jobs, %d events of delivery, %d contents", to, state, jobs, events, contents)
			}
		}
	}
	if err := rows.Err(); err != nil {
		w.t.Error(err)
	}
	for to := range missing {
		w.t.Errorf("%s was acknowledged and is not in the database", to)
	}
	return waiting
}

// TestReconcileSeesFaults shows that the comparison finds what it is for.
func TestReconcileSeesFaults(t *testing.T) {
	at := time.Now()
	l := newLedger()
	w := &world{ledger: l, cuts: []time.Time{at}}
	to := l.freshAt("d5.test")
	good := "Subject: " + to + "\r\nDKIM-Signature: x\r\n\r\n" + l.text(to)
	if !w.intact(fakenet.Mail{To: []string{to}, Data: []byte(good)}) {
		t.Error("an intact mail is taken for a garbled one")
	}
	if w.intact(fakenet.Mail{To: []string{to}, Data: []byte(strings.Replace(good, "end", "enc", 1))}) {
		t.Error("a garbled mail is taken for an intact one")
	}
	for _, tt := range []struct {
		first, second time.Duration
		want          bool
	}{
		{-time.Second, time.Second, true},
		{-10 * time.Second, time.Second, false}, // long done at the cut
		{-time.Second, -time.Millisecond, false},
		{time.Second, 2 * time.Second, false},
	} {
		if got := w.explained(at.Add(tt.first), at.Add(tt.second)); got != tt.want {
			t.Errorf("copies %v and %v round a cut: explained %v, want %v", tt.first, tt.second, got, tt.want)
		}
	}
}
