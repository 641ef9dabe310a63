package queue

import "time"

// Good tells that the worker's task found the other side well, however it ends.
// Each such success lets the lane grow a little.
func (w *Worker) Good() {
	q, l := w.q, w.lane
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.c.Now()
	l.lastGood = now
	if w.task != nil {
		q.works(w.task.group, now)
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

// works notes that a group works. q.mu is held.
func (q *Queue) works(g *group, now time.Time) {
	g.lastGood, g.worked = now, true
	if g.proven {
		return
	}
	g.proven, g.fails = true, 0
	q.admitMore(g)
	q.unparkSome(g)
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

// Fail tells that nothing of the task's group could be reached, by a try that
// began at a time. If others succeeded since then only this worker was too
// many: the lane shrinks and the answer is the zero time. Otherwise the group
// rests until the time that it gives, and until it has succeeded once it has
// one task at a time.
func (w *Worker) Fail(began time.Time) (rests time.Time) {
	q, l := w.q, w.lane
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.c.Now()
	if w.task == nil {
		return now
	}
	g := w.task.group
	if g.lastGood.After(began) && l.workers > 1 {
		l.shrink(max(1, min(l.limit, l.workers-1)), now)
		return time.Time{}
	}
	if g.resting(q) {
		return g.restTo
	}
	if !l.lastGood.After(began) {
		l.limit, l.score = min(l.limit, startLimit), 0
	}
	g.fails++
	until := now.Add(q.c.Rest(g.fails))
	if !g.worked { // those that worked are few, and somebody misses them
		until = q.pace.slot(until)
	}
	q.rest(g, until)
	return g.restTo
}

// Failing tells whether the group of the worker's task has failed and not
// worked since.
func (w *Worker) Failing() bool {
	w.q.mu.Lock()
	defer w.q.mu.Unlock()
	return w.task != nil && w.task.group.fails > 0
}

// Reroute tells that the way of the task's dest is not what it was: it is
// looked for again.
func (w *Worker) Reroute() {
	w.q.mu.Lock()
	defer w.q.mu.Unlock()
	if w.task != nil {
		w.task.dest.until = time.Time{}
	}
}

// rest lets a group rest and gives its tasks back to the store: as many jobs as
// may wait for a dead site are no reason to keep any in memory. q.mu is held.
func (q *Queue) rest(g *group, until time.Time) {
	g.restTo = until
	q.met.rests.Add(1)
	q.clear(g, true)
	q.due.addGroup(g, until)
	q.thin(q.c.Now())
	q.nudge()
}

func (c *Config) defaultRest(n int) time.Duration {
	d := min(time.Minute<<min(n-1, 10), 15*time.Minute)
	return d + time.Duration((c.Rand()-.5)/5*float64(d))
}

// maxParked bounds the dests that a group remembers; the others are found by
// the scan.
const maxParked = 1_000

// park remembers that a dest wants a claim once its group has rested or has
// room.
func (q *Queue) park(d *dest, g *group) {
	if d.parked || len(g.parked) >= maxParked {
		return
	}
	d.parked = true
	g.parked = append(g.parked, d)
}

// parkFull does the same when the lane has no room, which other groups may
// make.
func (q *Queue) parkFull(d *dest, g *group) {
	q.park(d, g)
	if d.parked && !g.full {
		g.full = true
		g.lane.full = append(g.lane.full, g)
	}
}

// unpark forgets that a dest waits.
func (q *Queue) unpark(d *dest) {
	if !d.parked {
		return
	}
	d.parked = false
	for i, o := range d.group.parked {
		if o == d {
			d.group.parked = append(d.group.parked[:i], d.group.parked[i+1:]...)
			return
		}
	}
}

// tight tells whether less than half of a group's room is free: claims are made
// in batches.
func (q *Queue) tight(g *group) bool {
	return 2*q.space(g) < min(q.laneShare(g.lane), q.groupShare(g))
}

// unparkSome lets the dests that wait for a group have their claims: one while
// it has failed, else all.
func (q *Queue) unparkSome(g *group) {
	if len(g.parked) == 0 || g.resting(q) || g.probing() || q.tight(g) {
		return
	}
	n := len(g.parked)
	if g.fails > 0 {
		n = 1
	}
	out := g.parked[:n:n]
	g.parked = g.parked[n:]
	if len(g.parked) == 0 {
		g.parked = nil
	}
	for _, d := range out {
		d.parked = false
		q.wanted(d)
	}
}

// unparkFull does so for the groups that wait for room in a lane.
func (q *Queue) unparkFull(l *lane) {
	if len(l.full) == 0 || 2*(l.waiting+l.backlog) > q.laneShare(l) {
		return
	}
	full := l.full
	l.full = nil
	for _, g := range full {
		g.full = false
		q.unparkSome(g)
	}
}
