package queue

import (
	"slices"
	"time"

	"pennypost"
)

// startLimit is how many workers a lane may have before it has shown that it
// works.
const startLimit = 2

// A lane is a set of groups that share workers.
type lane struct {
	name    string
	groups  int
	classes []*class
	waiting int       // tasks in classes
	backlog int       // tasks that its groups have not admitted
	turn    int       // counts takes, for the share of repetitions
	workers int       // running, idle ones included
	stalled int       // workers that hang
	idle    []*Worker // latest last
	hungry  bool      // in Queue.hungry
	full    []*group  // that have dests waiting for room in the lane

	limit     int // of workers; grows with success
	score     int // successes since the last growth
	ceiling   int // limit that the other side showed
	ceilingTo time.Time
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

// A class holds the tasks of one priority that are either first tries or
// repetitions.
type class struct {
	priority pennypost.Priority
	again    bool
	ring     []*line                      // those with tasks; the first is next
	tenants  map[pennypost.ServerID]*line // the same by tenant, once they are many
}

// fewTenants are found quickly enough in the ring; most lanes never have more.
const fewTenants = 8

// line gives the line of a tenant, or nil.
func (c *class) line(tenant pennypost.ServerID) *line {
	if c.tenants != nil {
		return c.tenants[tenant]
	}
	for _, n := range c.ring {
		if n.tenant == tenant {
			return n
		}
	}
	return nil
}

// newLine puts a line for a tenant at the end of the ring.
func (c *class) newLine(tenant pennypost.ServerID) *line {
	n := &line{tenant: tenant}
	c.ring = append(c.ring, n)
	if c.tenants == nil && len(c.ring) > fewTenants {
		c.tenants = make(map[pennypost.ServerID]*line, 2*fewTenants)
		for _, o := range c.ring {
			c.tenants[o.tenant] = o
		}
	}
	if c.tenants != nil {
		c.tenants[tenant] = n
	}
	return n
}

// A line is a tenant's tasks in order of arrival.
type line struct {
	tenant pennypost.ServerID
	tasks  []*Task
	next   int
}

func (n *line) len() int { return len(n.tasks) - n.next }

func (n *line) push(t *Task) { n.tasks = append(n.tasks, t) }

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
	n := c.line(t.Job.Tenant)
	if n == nil {
		n = c.newLine(t.Job.Tenant)
	}
	if front {
		n.tasks = slices.Insert(n.tasks, n.next, t)
	} else {
		n.push(t)
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
		c := &class{priority: p, again: again}
		l.classes = slices.Insert(l.classes, i, c)
	}
	return l.classes[i]
}

// waitingOf counts the tasks of a tenant.
func (l *lane) waitingOf(tenant pennypost.ServerID) int {
	sum := 0
	for _, c := range l.classes {
		if n := c.line(tenant); n != nil {
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
	delete(c.tenants, n.tenant) // of nil: nothing
	return t
}

// remove takes the tasks of a group out, in their order.
func (l *lane) remove(g *group) []*Task {
	var out, others []*Task
	for t := l.take(); t != nil; t = l.take() {
		if t.group == g {
			out = append(out, t)
		} else {
			others = append(others, t)
		}
	}
	for _, t := range others {
		l.add(t, false)
	}
	return out
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
// for a group that is stuck.
const (
	tasksPerWorker = 500
	tasksIfStuck   = 4
)

// laneShare is how many tasks may wait in a lane: what it has shown that it can
// do, and never more than a share of what is free.
func (q *Queue) laneShare(l *lane) int {
	return min(l.limit*tasksPerWorker, 2*q.c.PerDest, 1+(q.c.Memory-q.tasks)/4)
}

// groupShare is how many tasks of a group may be in memory: half of the lane's
// room until it has shown that it works.
func (q *Queue) groupShare(g *group) int {
	share := q.laneShare(g.lane)
	switch {
	case g.stuck:
		return tasksIfStuck
	case !g.proven:
		return (share + 1) / 2
	}
	return share
}

func (q *Queue) destShare() int { return min(q.c.PerDest, 1+(q.c.Memory-q.tasks)/4) }

// space is how much room there is for tasks of a group.
func (q *Queue) space(g *group) int {
	l := g.lane
	return min(q.laneShare(l)-l.waiting-l.backlog, q.groupShare(g)-g.pending())
}
