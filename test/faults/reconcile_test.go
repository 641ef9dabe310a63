//go:build !race

package faults

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/mail"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // reads what the program left

	"pennypost/internal/fakenet"
)

// window is how long before a cut a message may have been taken and still go
// out again: to record the answer takes a little on a busy machine.
const window = 3 * time.Second

// verdict is what a reconciliation found.
type verdict struct {
	offered, acked, arrived, lost, twice, invented, unacked int

	// late is how long after the cut of its life a mail was noted that went out
	// again, at most.
	late time.Duration
}

func (v verdict) String() string {
	return fmt.Sprintf("%d offered, %d acknowledged, %d arrived (%d of them without acknowledgement), %d lost, %d twice (noted up to %v after the cut), %d invented",
		v.offered, v.acked, v.arrived, v.unacked, v.lost, v.twice, v.late.Round(time.Millisecond), v.invented)
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
// nothing moves any more. What waits because of a pause is waited for until it
// is tried again.
func (w *world) settle(within time.Duration, excused func(to string) bool) {
	w.t.Helper()
	missing := w.await(time.Now().Add(within), excused)
	if len(missing) > 0 && !w.impatient && w.alive() {
		if until := w.pausedUntil(w.lookAt(missing)); !until.IsZero() {
			missing = w.await(until, excused)
		}
		if len(missing) > 0 {
			w.t.Logf("%d have not arrived; the program says:\n%s", len(missing), w.queueFigures())
		}
	}
	for n := -1; n != w.net.Box().Total(); time.Sleep(400 * time.Millisecond) {
		n = w.net.Box().Total()
	}
}

// await waits for what was acknowledged, and gives what has not arrived.
func (w *world) await(until time.Time, excused func(to string) bool) (missing []string) {
	_, acked := w.snapshot()
	for {
		got := make(map[string]bool)
		for _, m := range w.arrivals() {
			for _, to := range m.To {
				got[to] = true
			}
		}
		missing = missing[:0]
		for to := range acked {
			if !got[to] && (excused == nil || !excused(to)) {
				missing = append(missing, to)
			}
		}
		if len(missing) == 0 || !time.Now().Before(until) {
			return missing
		}
		time.Sleep(50 * time.Millisecond)
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
	copies := make(map[string][]fakenet.Mail)
	garbled := 0
	for _, m := range w.arrivals() {
		if len(m.To) != 1 || !w.intact(m) {
			if garbled++; garbled <= 3 {
				w.t.Errorf("garbled, to %v: %.600q", m.To, m.Data)
			}
			continue
		}
		copies[m.To[0]] = append(copies[m.To[0]], m)
	}
	for to, list := range copies {
		v.arrived++
		if !offered[to] {
			v.invented++
		}
		if _, ok := acked[to]; !ok {
			v.unacked++
		}
		// The server that noted one copy may have been slower than that of the next.
		slices.SortStableFunc(list, func(a, b fakenet.Mail) int { return lifeOf(&a) - lifeOf(&b) })
		for i := range list[1:] {
			v.twice++
			late, why := w.unexplained(&list[i], &list[i+1])
			if v.late = max(v.late, late); why != "" {
				w.t.Errorf("%s: %s", to, why)
			}
		}
	}
	for to := range acked {
		if len(copies[to]) == 0 && (excused == nil || !excused(to)) {
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

// unexplained tells what is wrong with a second copy: they must come from two
// lives of the program, the former of which was cut off before it can have noted
// that the mail was taken. late is how long after that cut the server noted the
// former, which says nothing: what had been sent is read by a busy mail server
// whenever it comes to it.
func (w *world) unexplained(first, second *fakenet.Mail) (late time.Duration, why string) {
	one, other := lifeOf(first), lifeOf(second)
	what := fmt.Sprintf("taken from life %d at %s and from life %d at %s", one, first.At.Format(clock), other, second.At.Format(clock))
	if one == other {
		return 0, what
	}
	i := slices.IndexFunc(w.cuts, func(c cut) bool { return c.life == one })
	if i < 0 {
		return 0, what + ", though the former was not cut off"
	}
	if late = first.At.Sub(w.cuts[i].at); late < -window {
		return late, what + ", though the former was cut off no sooner than " + w.cuts[i].at.Format(clock)
	}
	return late, ""
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
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.Join(w.data, "pennypost.db")}).EscapedPath())
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
	w := &world{ledger: l, cuts: []cut{{life: 2, at: at}, {life: 4, at: at.Add(time.Minute)}}}
	to := l.freshAt("d5.test")
	good := "Subject: " + to + "\r\nDKIM-Signature: x\r\n\r\n" + l.text(to)
	if !w.intact(fakenet.Mail{To: []string{to}, Data: []byte(good)}) {
		t.Error("an intact mail is taken for a garbled one")
	}
	if w.intact(fakenet.Mail{To: []string{to}, Data: []byte(strings.Replace(good, "end", "enc", 1))}) {
		t.Error("a garbled mail is taken for an intact one")
	}
	for _, tt := range []struct {
		name        string
		one, other  int // lives
		first       time.Duration
		unexplained bool
	}{
		{"under way at the cut", 2, 3, -time.Second, false},
		{"read by the server after the cut", 2, 4, time.Second, false},
		{"long done at the cut", 2, 3, -10 * time.Second, true},
		{"twice from one life", 2, 2, -time.Second, true},
		{"from a life that ended in order", 3, 4, time.Second, true},
		{"from nobody knows where", 0, 0, -time.Second, true},
	} {
		_, why := w.unexplained(&fakenet.Mail{Helo: lifeName(tt.one), At: at.Add(tt.first)}, &fakenet.Mail{Helo: lifeName(tt.other), At: at.Add(2 * time.Second)})
		if (why != "") != tt.unexplained {
			t.Errorf("%s: %q", tt.name, why)
		}
	}
}
