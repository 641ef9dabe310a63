//go:build !race

package faults

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A wait is what the database says of a recipient whose mail has not arrived:
// its job, and its last attempt.
type wait struct {
	state, jobs int
	due         time.Time
	lease       int64 // session that holds the job; 0: none
	held        int
	attempts    int
	outcome     int
	began       time.Time
	took        time.Duration
	phase       string
	ambiguous   bool
	reply       string
}

const clock = "15:04:05.000"

func (x *wait) String() string {
	s := fmt.Sprintf("state %d, %d jobs, due %s, lease %d, held %d, %d attempts", x.state, x.jobs, x.due.Format(clock), x.lease, x.held, x.attempts)
	if x.attempts > 0 {
		s += fmt.Sprintf(", the last one at %s for %v: outcome %d in phase %s, ambiguous %v: %.200q",
			x.began.Format(clock), x.took, x.outcome, x.phase, x.ambiguous, x.reply)
	}
	return s
}

// A pause is when the program was stopped, and went on.
type pause struct{ from, to time.Time }

// outlived are the phases of an attempt whose time a pause can use up: 10 s for
// a question to a name server, 30 s for a connection. All others have minutes.
var outlived = map[string]bool{"dns": true, "connect": true}

// restMost is how long mail waits after such an attempt at most: its own minute,
// and that of the servers which seemed to be out of reach.
const restMost = 75 * time.Second

// by tells whether the mail waits because its attempt was under way in a pause,
// and its time was over afterwards: such an attempt has failed for now, like any
// other, and the job is free and due a minute later.
func (x *wait) by(p pause) bool {
	end := x.began.Add(x.took)
	return x.state == deferred && x.jobs == 1 && x.lease == 0 && x.held == 0 && x.attempts == 1 && outlived[x.phase] && !x.ambiguous &&
		x.began.Before(p.to) && end.After(p.to) && x.took > p.to.Sub(p.from)/2 &&
		x.due.After(end) && x.due.Before(end.Add(restMost))
}

// lookUp reads what the database says of a recipient.
func lookUp(db *sql.DB, to string) (*wait, error) {
	x := &wait{}
	var id []byte
	var n, job, due, began, took int64
	err := db.QueryRow(`SELECT message_id, n, job_id, state FROM recipients WHERE address = $1`, to).Scan(&id, &n, &job, &x.state)
	if err == nil {
		err = db.QueryRow(`SELECT COUNT(*), COALESCE(MAX(run_at), 0), COALESCE(MAX(lease), 0), COALESCE(MAX(held), 0) FROM jobs WHERE id = $1`,
			job).Scan(&x.jobs, &due, &x.lease, &x.held)
	}
	if err == nil {
		err = db.QueryRow(`SELECT COUNT(*) FROM attempts WHERE message_id = $1 AND n = $2`, id, n).Scan(&x.attempts)
	}
	if err == nil && x.attempts > 0 {
		err = db.QueryRow(`SELECT outcome, phase, reply, started_at, took_us, ambiguous FROM attempts WHERE message_id = $1 AND n = $2
			ORDER BY no DESC LIMIT 1`, id, n).Scan(&x.outcome, &x.phase, &x.reply, &began, &took, &x.ambiguous)
	}
	x.due, x.began, x.took = time.UnixMicro(due), time.UnixMicro(began), time.Duration(took)*time.Microsecond
	return x, err
}

// lookAt reads what the database of the running program says of recipients.
func (w *world) lookAt(list []string) map[string]*wait {
	w.t.Helper()
	db := w.open()
	defer func() { _ = db.Close() }()
	found := make(map[string]*wait)
	for _, to := range list {
		x, err := lookUp(db, to)
		if err != nil {
			w.t.Errorf("%s has not arrived: %v", to, err)
			continue
		}
		if found[to] = x; len(found) <= 5 {
			w.t.Logf("%s has not arrived: %v", to, x)
		}
	}
	return found
}

// queueFigures gives what the program says of its queue and its attempts.
func (w *world) queueFigures() string {
	_, page, err := w.get("/metrics")
	if err != nil {
		return err.Error()
	}
	var s strings.Builder
	for line := range strings.Lines(page) {
		if name, _, _ := strings.Cut(line, " "); strings.HasPrefix(name, "pennypost_queue") ||
			strings.HasPrefix(name, "pennypost_delivery") && !strings.Contains(name, "bucket") {
			s.WriteString(line)
		}
	}
	return s.String()
}

// pausedUntil gives until when mail that has not arrived should have, if each of
// it waits because of the last pause; else the zero time.
func (w *world) pausedUntil(missing map[string]*wait) (until time.Time) {
	for _, x := range missing {
		if len(w.pauses) == 0 || !x.by(w.pauses[len(w.pauses)-1]) {
			return time.Time{}
		}
		if end := x.began.Add(x.took).Add(restMost + 10*time.Second); end.After(until) {
			until = end
		}
	}
	return until
}

// TestWaitsByPause shows that only what a pause explains is waited for.
func TestWaitsByPause(t *testing.T) {
	from := time.Now()
	p := pause{from, from.Add(leaseTime)}
	good := wait{
		state: deferred, jobs: 1, due: p.to.Add(time.Minute), attempts: 1, phase: "connect",
		began: from.Add(-time.Millisecond), took: leaseTime + time.Second,
	}
	if !good.by(p) {
		t.Errorf("an attempt that a pause ended is not seen as such: %v", &good)
	}
	for name, change := range map[string]func(x *wait){
		"nobody took its job":         func(x *wait) { x.state, x.attempts = queued, 0 },
		"a session has its job":       func(x *wait) { x.lease = 1 },
		"it has no job":               func(x *wait) { x.jobs = 0 },
		"the attempt is ambiguous":    func(x *wait) { x.ambiguous = true },
		"it was in another phase":     func(x *wait) { x.phase = "dot" },
		"it ended before the pause":   func(x *wait) { x.took = 0 },
		"it began after it":           func(x *wait) { x.began = p.to.Add(time.Second) },
		"it is due too late":          func(x *wait) { x.due = p.to.Add(time.Hour) },
		"it was tried more than once": func(x *wait) { x.attempts = 2 },
	} {
		x := good
		if change(&x); x.by(p) {
			t.Errorf("%s: taken for a wait by the pause", name)
		}
	}
}
