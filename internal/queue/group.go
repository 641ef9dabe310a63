package queue

import "time"

// A group is the dests of a lane that fail together: those with the same
// servers. What one of them does to others of its lane is bounded, since a lane
// may be shared with dests of strangers: until it has shown that it works it
// has startLimit tasks with workers at a time, and when it fails it rests
// alone.
type group struct {
	name     groupName
	lane     *lane
	gone     bool // forgotten; dests that still point here take the new one
	proven   bool // it works, as far as is known
	admitted int  // tasks in the lane's classes and with workers
	backlog  line // tasks to be admitted
	stalled  int  // workers that hang on its tasks
	stuck    bool // they all do, and the memory is tight

	fails    int  // failures in a row
	worked   bool // it has worked once, as far as is remembered
	restTo   time.Time
	lastGood time.Time
	parked   []*dest // want a claim once it has rested or has room
	probe    *dest   // its claim is under way while fails > 0
	full     bool    // in lane.full
}

type groupName struct{ lane, group string }

// group gives the group of a name. q.mu is held, as in all that follow.
func (q *Queue) group(name groupName) *group {
	g := q.groups[name]
	if g == nil {
		g = &group{name: name, lane: q.lane(name.lane)}
		g.lane.groups++
		q.groups[name] = g
		g.recollect(q)
	}
	return g
}

func (g *group) resting(q *Queue) bool { return q.c.Now().Before(g.restTo) }

// pending counts its tasks in memory.
func (g *group) pending() int { return g.admitted + g.backlog.len() }

// probing tells whether it failed and one task finds out if that is over.
func (g *group) probing() bool { return g.fails > 0 && (g.probe != nil || g.pending() > 0) }

// admits tells whether one more of its tasks may go to a worker: any number
// while it works, few before, and none while one hangs.
func (g *group) admits() bool { return g.stalled == 0 && (g.proven || g.admitted < startLimit) }

// forgettable tells whether the group is no longer of interest. One that failed
// is remembered for a while, so that its next rest is a longer one.
func (g *group) forgettable(now time.Time) bool {
	return g.idle() && !now.Before(g.restTo) &&
		(g.fails == 0 || now.Sub(g.restTo) > time.Hour) && now.Sub(g.lastGood) > time.Minute
}

// idle tells whether nothing goes on in the group.
func (g *group) idle() bool {
	return g.pending() == 0 && len(g.parked) == 0 && g.probe == nil && !g.full
}

// asleep tells whether it failed and nothing goes on in it but that dests wait
// for the end of its rest, which the scan finds as well: their rows say so.
func (g *group) asleep(q *Queue) bool {
	return g.fails > 0 && g.pending() == 0 && g.probe == nil && !g.full && (len(g.parked) == 0 || g.resting(q))
}

// push admits a task, or lets it wait for that.
func (q *Queue) push(g *group, t *Task) {
	switch {
	case g.resting(q):
		q.handBack(t, true)
	case !g.admits():
		g.backlog.push(t)
		g.lane.backlog++
	default:
		q.admit(g, t)
	}
}

// admit gives a task to a worker of the lane, or lets it wait in line.
func (q *Queue) admit(g *group, t *Task) {
	t.group = g
	g.admitted++
	l := g.lane
	if w := l.popIdle(); w != nil && q.phase == running {
		q.give(w, t)
		w.ch <- t
		return
	}
	l.add(t, false)
	q.staff(l)
}

// admitMore takes tasks from the backlog.
func (q *Queue) admitMore(g *group) {
	for g.backlog.len() > 0 && g.admits() {
		g.lane.backlog--
		q.admit(g, g.backlog.pop())
	}
}

// recall takes the tasks that wait in line back into the backlog.
func (q *Queue) recall(g *group) {
	g.proven = false
	tasks := g.lane.remove(g)
	for g.backlog.len() > 0 {
		g.lane.backlog--
		tasks = append(tasks, g.backlog.pop())
	}
	for _, t := range tasks {
		if t.group == g {
			t.group = nil
			g.admitted--
		}
		g.backlog.push(t)
		g.lane.backlog++
	}
}

// clear hands all of its tasks back that no worker has.
func (q *Queue) clear(g *group, rests bool) {
	q.recall(g)
	for g.backlog.len() > 0 {
		g.lane.backlog--
		q.handBack(g.backlog.pop(), rests)
	}
}
