package queue

import (
	"slices"
	"time"

	"pennypost"
)

// startLimit is how many workers a lane may have before it has shown that it
// works.
const startLimit = 2

// A lane is a set of dests that share workers.
type lane struct {
	name    string
	gone    bool // forgotten; dests that still point here take the new one
	classes []*class
	waiting int       // tasks in classes
	turn    int       // counts takes, for the share of repetitions
	workers int       // running, idle ones included
	stalled int       // workers that hang
	idle    []*Worker // latest last
	hungry  bool      // in Queue.hungry
	parked  []*dest   // want a claim once there is room
	probe   *dest     // its claim is under way while fails > 0

	stuck     bool // all workers hang, as far as was looked
	limit     int  // of workers; grows with success
	score     int  // successes since the last growth
	ceiling   int  // limit that the other side showed; 0: none
	ceilingTo time.Time
	fails     int // failures in a row, of the whole lane
	restTo    time.Time
	lastGood  time.Time
}

// lane gives the lane of a name. q.mu is held, as in all that follow.
func (q *Queue) lane(name string) *lane {
	l := q.lanes[name]
	if l == nil {
		l = &lane{name: name, limit: min(startLimit, q.c.PerLane)}
		q.lanes[name] = l
	}
	return l
}

func (l *lane) resting(q *Queue) bool { return q.c.Now().Before(l.restTo) }

// forgettable tells whether nothing goes on in the lane. One that failed is
// remembered for a while, so that its next rest is a longer one.
func (l *lane) forgettable(now time.Time) bool {
	return l.workers == 0 && l.waiting == 0 && len(l.parked) == 0 && !l.hungry &&
		(l.fails == 0 || now.Sub(l.restTo) > time.Hour) && !now.Before(l.restTo) && !now.Before(l.ceilingTo)
}

// A class holds the tasks of one priority that are either first tries or
// repetitions.
type class struct {
	priority pennypost.Priority
	again    bool
	tenants  map[pennypost.ServerID]*line
	ring     []*line // those with tasks; the first is next
}

// A line is a tenant's tasks in order of arrival.
type line struct {
	tenant pennypost.ServerID
	tasks  []*Task
	next   int
}

func (n *line) len() int { return len(n.tasks) - n.next }

func (n *line) pop() *Task {
	t := n.tasks[n.next]
	n.tasks[n.next] = nil
	n.next++
	if n.next == len(n.tasks) {
		n.tasks, n.next = n.tasks[:0], 0
	} else if n.next >= 64 && n.next*2 >= len(n.tasks) {
		n.tasks = slices.Delete(n.tasks, 0, n.next)
		n.next = 0
	}
	return t
}

// add puts a task at the end of its tenant's line, or at the head.
func (l *lane) add(t *Task, front bool) {
	c := l.class(t.Job.Priority, t.Job.Attempt > 0)
	n := c.tenants[t.Job.Tenant]
	if n == nil {
		n = &line{tenant: t.Job.Tenant}
		c.tenants[t.Job.Tenant] = n
	}
	if n.len() == 0 {
		c.ring = append(c.ring, n)
	}
	if front {
		n.tasks = slices.Insert(n.tasks, n.next, t)
	} else {
		n.tasks = append(n.tasks, t)
	}
	l.waiting++
}

// class gives the class of a task; classes are kept in the order of taking.
func (l *lane) class(p pennypost.Priority, again bool) *class {
	i, found := slices.BinarySearchFunc(l.classes, p, func(c *class, p pennypost.Priority) int {
		switch {
		case c.priority != p:
			return int(c.priority) - int(p)
		case c.again && !again:
			return 1
		case !c.again && again:
			return -1
		}
		return 0
	})
	if !found {
		c := &class{priority: p, again: again, tenants: make(map[pennypost.ServerID]*line)}
		l.classes = slices.Insert(l.classes, i, c)
	}
	return l.classes[i]
}

// waitingOf counts the tasks of a tenant.
func (l *lane) waitingOf(tenant pennypost.ServerID) int {
	sum := 0
	for _, c := range l.classes {
		if n := c.tenants[tenant]; n != nil {
			sum += n.len()
		}
	}
	return sum
}

// turnOfAgain: of four takes one goes to the repetitions, if both kinds wait.
// New mail must not stand behind the retries of old mail (performance.md §5),
// nor old mail wait for ever.
const turnOfAgain = 4

// take gives the task whose turn it is, or nil.
func (l *lane) take() *Task {
	if l.waiting == 0 {
		return nil
	}
	l.turn++
	for i, c := range l.classes {
		if len(c.ring) == 0 {
			continue
		}
		if l.turn%turnOfAgain == 0 && !c.again && i+1 < len(l.classes) {
			if o := l.classes[i+1]; o.priority == c.priority && len(o.ring) > 0 {
				c = o
			}
		}
		l.waiting--
		return c.take()
	}
	return nil
}

func (c *class) take() *Task {
	n := c.ring[0]
	t := n.pop()
	copy(c.ring, c.ring[1:])
	if n.len() > 0 {
		c.ring[len(c.ring)-1] = n
		return t
	}
	c.ring[len(c.ring)-1] = nil
	c.ring = c.ring[:len(c.ring)-1]
	delete(c.tenants, n.tenant)
	return t
}

// drain takes all tasks out.
func (l *lane) drain() []*Task {
	all := make([]*Task, 0, l.waiting)
	for t := l.take(); t != nil; t = l.take() {
		all = append(all, t)
	}
	return all
}

// push gives a task to a worker of the lane, or lets it wait.
func (q *Queue) push(l *lane, t *Task) {
	if l.resting(q) {
		q.handBack(t, true)
		return
	}
	if w := l.popIdle(); w != nil && q.phase == running {
		q.give(w, t)
		w.ch <- t
		return
	}
	l.add(t, false)
	q.staff(l)
}

func (l *lane) popIdle() *Worker {
	if len(l.idle) == 0 {
		return nil
	}
	w := l.idle[len(l.idle)-1]
	l.idle = l.idle[:len(l.idle)-1]
	return w
}

// Memory of a lane: so many tasks for each worker that it may have, and a few
// once it is stuck.
const (
	tasksPerWorker = 500
	tasksIfStuck   = 4
)

// laneShare is how many tasks may wait in a lane: what it has shown that it can
// do, and never more than a share of what is free.
func (q *Queue) laneShare(l *lane) int {
	if l.stuck {
		return tasksIfStuck
	}
	return min(l.limit*tasksPerWorker, 2*q.c.PerDest, 1+(q.c.Memory-q.tasks)/4)
}

func (q *Queue) destShare() int { return min(q.c.PerDest, 1+(q.c.Memory-q.tasks)/4) }
