package queue

import "time"

// Good tells that the lane works. Each such success lets it grow a little.
func (w *Worker) Good() {
	q, l := w.q, w.lane
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.c.Now()
	l.lastGood = now
	if l.fails > 0 {
		l.fails = 0
		l.score = 0
		q.unparkSome(l)
	}
	limit := q.c.PerLane
	if now.Before(l.ceilingTo) {
		limit = min(limit, l.ceiling)
	}
	if l.limit >= limit {
		return
	}
	if l.score++; l.score >= l.limit {
		l.score = 0
		l.limit++
		q.staff(l)
	}
}

// ceilingFor is how long a lane stays below the number of connections that the
// other side refused.
const ceilingFor = 10 * time.Minute

// Slow tells that the other side wants less: the lane keeps half of its
// workers, and grows beyond that only after a while.
func (w *Worker) Slow() {
	q, l := w.q, w.lane
	q.mu.Lock()
	defer q.mu.Unlock()
	l.shrink(max(1, l.limit/2), q.c.Now())
}

func (l *lane) shrink(limit int, now time.Time) {
	l.limit, l.score = limit, 0
	l.ceiling, l.ceilingTo = limit, now.Add(ceilingFor)
}

// Fail tells that nothing in the lane could be reached, by a try that began at
// a time. If others succeeded since then only this worker was too many: the
// lane shrinks and the answer is false. Otherwise the lane rests, and until it
// has succeeded once there is only one worker, with a few tasks.
func (w *Worker) Fail(began time.Time) (rests bool) {
	q, l := w.q, w.lane
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.lastGood.After(began) && l.workers > 1 {
		l.shrink(min(l.limit, l.workers-1), q.c.Now())
		return false
	}
	if l.resting(q) {
		return true
	}
	l.fails++
	q.rest(l, q.c.Now().Add(q.c.Rest(l.fails)))
	return true
}

// Rest lets the lane rest until a time.
func (w *Worker) Rest(until time.Time) {
	w.q.mu.Lock()
	defer w.q.mu.Unlock()
	w.lane.fails = max(w.lane.fails, 1)
	if until.After(w.lane.restTo) {
		w.q.rest(w.lane, until)
	}
}

// rest sends idle workers home and the tasks back to the store: as many jobs
// as may wait for a dead site are no reason to keep any in memory. q.mu is
// held.
func (q *Queue) rest(l *lane, until time.Time) {
	l.restTo = until
	l.limit, l.score = 1, 0
	q.met.rests.Add(1)
	q.dismissIdle(l)
	for _, t := range l.drain() {
		q.handBack(t, true)
	}
	q.due.addLane(l, until)
	q.nudge()
}

func (c *Config) defaultRest(n int) time.Duration {
	d := min(time.Minute<<min(n-1, 10), 15*time.Minute)
	return d + time.Duration((c.Rand()-.5)/5*float64(d))
}

// maxParked bounds the dests that a lane remembers; the others are found by
// the scan.
const maxParked = 1_000

// park remembers that a dest wants a claim once its lane has rested or has
// room.
func (q *Queue) park(d *dest, l *lane) {
	if d.parked || len(l.parked) >= maxParked {
		return
	}
	d.parked = true
	l.parked = append(l.parked, d)
}

// unpark forgets that a dest waits for its lane.
func (q *Queue) unpark(d *dest) {
	if !d.parked {
		return
	}
	d.parked = false
	for i, o := range d.lane.parked {
		if o == d {
			d.lane.parked = append(d.lane.parked[:i], d.lane.parked[i+1:]...)
			return
		}
	}
}

// unparkSome lets the dests that wait for a lane have their claims: one while
// the lane has not yet succeeded, else all.
func (q *Queue) unparkSome(l *lane) {
	if l.resting(q) || 2*l.waiting > q.laneShare(l) || l.fails > 0 && (l.waiting > 0 || l.probe != nil) {
		return
	}
	n := len(l.parked)
	if l.fails > 0 {
		n = min(n, 1)
	}
	out := l.parked[:n:n]
	l.parked = l.parked[n:]
	if len(l.parked) == 0 {
		l.parked = nil
	}
	for _, d := range out {
		d.parked = false
		q.wanted(d)
	}
}
