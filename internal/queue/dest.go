package queue

import (
	"context"
	"time"
)

// A dest is what is known of one Dest while it has tasks, or lately had.
type dest struct {
	name     string
	group    *group    // nil until it was looked up
	until    time.Time // when to look it up again
	looking  bool
	unplaced []*Task // wait for the look-up
	held     int     // tasks, places and jobs being claimed
	bytes    int64
	more     bool // the store has due jobs of it, as far as we know
	wanting  bool // in Queue.want or Queue.waiting
	last     brought
	parked   bool // in group.parked
}

// dest gives the entry of a name. q.mu is held, as in all that follow.
func (q *Queue) dest(name string) *dest {
	d := q.dests[name]
	if d == nil {
		d = &dest{name: name}
		q.dests[name] = d
	}
	return d
}

// groupOf gives the group of a dest, or nil while it is unknown. An answer that
// is out of date is used until the new one is there.
func (q *Queue) groupOf(d *dest) *group {
	if d.group != nil && d.group.gone {
		d.group = q.group(d.group.name)
	}
	return d.group
}

// route puts a task on its way, or lets it wait until that is known.
func (q *Queue) route(t *Task) {
	d := t.dest
	q.lookUp(d)
	g := q.groupOf(d)
	if g == nil {
		d.unplaced = append(d.unplaced, t)
		return
	}
	q.push(g, t)
}

// lookUp asks for the way of a dest unless it is known or being asked for.
func (q *Queue) lookUp(d *dest) {
	if d.looking || q.phase == stopping || d.group != nil && q.c.Now().Before(d.until) {
		return
	}
	d.looking = true
	q.lookNext = append(q.lookNext, d)
	q.startLooks()
}

// maxLooks is how many times Lookups there may be in all, slow ones included.
const maxLooks = 16

func (q *Queue) startLooks() {
	if q.phase != running {
		return
	}
	for len(q.lookNext) > 0 && q.looking-q.slow < q.c.Lookups && q.looking < maxLooks*q.c.Lookups {
		d := q.lookNext[0]
		q.lookNext[0] = nil
		q.lookNext = q.lookNext[1:]
		q.looking++
		q.look(d)
	}
}

// slowLook is how long a look-up counts against Lookups: after that it is
// waiting for somebody's broken name server, and the others go on.
const slowLook = time.Second

// lookNow is the goroutine of one look-up.
func (q *Queue) lookNow(ctx context.Context, d *dest) {
	late, done := false, false
	timer := time.AfterFunc(slowLook, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if !done {
			late = true
			q.slow++
			q.startLooks()
		}
	})
	defer timer.Stop()
	way := q.askLane(ctx, d.name)
	q.mu.Lock()
	defer q.mu.Unlock()
	done = true
	if late {
		q.slow--
	}
	q.looking--
	q.found(d, way)
	q.startLooks()
}

// askLane survives a panic of Lane: the dest then is a lane of its own.
func (q *Queue) askLane(ctx context.Context, name string) (way Way) {
	defer func() {
		if r := recover(); r != nil {
			q.met.panics.Add(1)
			q.c.Log.ErrorContext(ctx, "look-up of a lane panicked", "dest", name, "panic", r)
			way = Way{Lane: name, Until: q.c.Now().Add(time.Minute)}
		}
	}()
	return q.c.Lane(ctx, name)
}

// found takes the answer of a look-up. Tasks that are in another lane stay
// there.
func (q *Queue) found(d *dest, way Way) {
	d.looking = false
	d.until = way.Until
	name := groupName{way.Lane, way.Group}
	if name.group == "" {
		name.group = d.name
	}
	if old := d.group; old == nil || old.name != name {
		q.unpark(d)
		q.unprobe(d)
		d.group = q.group(name)
		if old != nil {
			q.unparkSome(old) // the others there wait for it no longer
		}
	}
	tasks := d.unplaced
	d.unplaced = nil
	g := q.groupOf(d)
	for _, t := range tasks {
		q.push(g, t)
	}
	q.wanted(d)
}

// release takes a task or place out of the count.
func (q *Queue) release(d *dest, kept int64) {
	q.tasks--
	q.bytes -= kept
	d.held--
	d.bytes -= kept
	q.wanted(d)
	if d.group != nil {
		q.unparkSome(d.group)
		q.unparkFull(d.group.lane)
	}
	if len(q.want) > 0 {
		q.nudge()
	}
}

// maxDests is how many idle dests are remembered for the sake of their lanes.
const maxDests = 10_000

// maxGroups is how many groups may be in memory before those go that have failed
// and of which nothing else is there. Only what is needed of them is remembered
// (faint).
const maxGroups = 5_000

// sweep forgets what is of no use any more.
func (q *Queue) sweep() {
	now := q.c.Now()
	q.pace.forget(now)
	q.sweepFaint(now)
	q.sweepIdle(now)
}

// sweepIdle forgets dests, groups and lanes that nothing goes on with.
func (q *Queue) sweepIdle(now time.Time) {
	surplus := len(q.groups) - q.groupsKept
	for _, g := range q.groups {
		if g.forgettable(now) || surplus > 0 && g.asleep(q) {
			q.fade(g)
			surplus--
		}
	}
	surplus = len(q.dests) - maxDests
	for name, d := range q.dests {
		if d.held > 0 || d.looking || d.wanting || d.parked {
			continue // what it has in the store is found by the scan
		}
		if d.group == nil || !now.Before(d.until) || surplus > 0 {
			delete(q.dests, name)
			surplus--
		}
	}
	for name, l := range q.lanes {
		if l.groups == 0 && l.workers == 0 && !l.hungry && !now.Before(l.ceilingTo) {
			delete(q.lanes, name)
		}
	}
}
