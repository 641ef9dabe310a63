package queue

import (
	"container/list"
	"context"
	"runtime/debug"
	"time"
)

// A Worker serves one lane. Its methods are for its own goroutine.
type Worker struct {
	q    *Queue
	lane *lane
	ch   chan *Task // a task, or nil: go home

	// Guarded by q.mu:
	task    *Task
	since   time.Time
	served  int
	stalled bool
	idle    *list.Element
}

// quantum is how many tasks a worker does in a row while a lane without
// workers waits for a slot.
const quantum = 20

// Lane gives the name of the lane.
func (w *Worker) Lane() string { return w.lane.name }

// Next waits for a task, at most that long; nil tells the worker to go. A task
// that was not ended is handed back.
func (w *Worker) Next(wait time.Duration) *Task {
	t, stay := w.take(wait)
	if t != nil || !stay {
		return t
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case t := <-w.ch:
		return t
	case <-timer.C:
	}
	w.q.mu.Lock()
	if !w.q.leaveIdle(w) { // somebody was quicker
		w.q.mu.Unlock()
		return <-w.ch
	}
	w.q.mu.Unlock()
	return nil
}

// take gives a task that waits, or makes the worker idle.
func (w *Worker) take(wait time.Duration) (t *Task, stay bool) {
	q, l := w.q, w.lane
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unended(w)
	if q.phase != running || l.workers-l.stalled > l.limit {
		return nil, false
	}
	if len(q.hungry) > 0 && (l.workers-l.stalled > 1 || w.served >= quantum) {
		return nil, false
	}
	if t := l.take(); t != nil {
		q.give(w, t)
		q.staff(l)
		return t, true
	}
	if wait <= 0 || len(q.hungry) > 0 {
		return nil, false
	}
	l.idle = append(l.idle, w)
	w.idle = q.idle.PushBack(w)
	return nil, true
}

// give notes what a worker is busy with. q.mu is held, as in all that follow.
func (q *Queue) give(w *Worker, t *Task) {
	if w.idle != nil {
		q.idle.Remove(w.idle)
		w.idle = nil
	}
	w.task, w.since, t.worker = t, q.c.Now(), w
	w.served++
}

// leaveIdle takes a worker out of those that wait; false: a task or the order
// to go is on its way.
func (q *Queue) leaveIdle(w *Worker) bool {
	if w.idle == nil {
		return false
	}
	q.idle.Remove(w.idle)
	w.idle = nil
	for i, o := range w.lane.idle {
		if o == w {
			w.lane.idle = append(w.lane.idle[:i], w.lane.idle[i+1:]...)
			break
		}
	}
	return true
}

// dismiss sends an idle worker home.
func (q *Queue) dismiss(w *Worker) {
	if q.leaveIdle(w) {
		w.ch <- nil
	}
}

// maxStalled is how many times Workers there may be in all, stalled ones
// included.
const maxStalled = 4

// slots is how many workers may be started now.
func (q *Queue) slots() int {
	n := len(q.workers)
	return min(q.c.Workers-n+q.stalled, maxStalled*q.c.Workers-n)
}

// staff gets a lane that has tasks another worker, if it may have one. Workers
// that hang stand in nobody's way.
func (q *Queue) staff(l *lane) {
	if l.waiting == 0 || q.phase != running || l.hungry || l.workers >= q.c.PerLane+startLimit {
		return
	}
	switch slots, busy := q.slots(), l.workers-l.stalled; {
	case busy == 0 && slots > 0:
		q.start(l)
	case busy == 0:
		l.hungry = true
		q.hungry = append(q.hungry, l)
		if e := q.idle.Front(); e != nil {
			q.dismiss(e.Value.(*Worker)) // it holds nothing else
		}
	case busy < l.limit && busy <= slots/4 && len(q.hungry) == 0:
		q.start(l)
	}
}

// staffHungry gives free slots to lanes without workers.
func (q *Queue) staffHungry() {
	for len(q.hungry) > 0 && q.slots() > 0 {
		l := q.hungry[0]
		q.hungry[0] = nil
		q.hungry = q.hungry[1:]
		l.hungry = false
		if l.waiting > 0 && l.workers == l.stalled {
			q.start(l)
		}
	}
}

func (q *Queue) start(l *lane) {
	w := &Worker{q: q, lane: l, ch: make(chan *Task, 1)}
	q.workers[w] = struct{}{}
	l.workers++
	q.hire(w)
}

// work is the goroutine of a worker.
func (q *Queue) work(ctx context.Context, w *Worker) {
	defer q.left(w)
	defer q.survive(ctx, w)
	q.c.Work(ctx, w)
}

// survive is deferred: a panic ends one task, not the process.
func (q *Queue) survive(ctx context.Context, w *Worker) {
	if r := recover(); r != nil {
		q.met.panics.Add(1)
		q.c.Log.ErrorContext(ctx, "worker panicked", "lane", w.lane.name, "panic", r, "stack", string(debug.Stack()))
	}
}

func (q *Queue) left(w *Worker) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unended(w)
	q.leaveIdle(w)
	delete(q.workers, w)
	w.lane.workers--
	q.staffHungry()
	q.staff(w.lane)
}

// unended hands back a task that its worker did not end.
func (q *Queue) unended(w *Worker) {
	if t := w.task; t != nil && t.end() {
		q.handBack(t, false)
	}
}

// leave takes the task from a worker; the next of its group may come.
func (w *Worker) leave() {
	t, q := w.task, w.q
	if t == nil {
		return
	}
	w.task = nil
	g := t.group
	t.group = nil
	g.admitted--
	g.stuck = false
	if w.stalled {
		w.stalled = false
		w.lane.stalled--
		g.stalled--
		q.stalled--
	}
	q.admitMore(g)
}

// markStalled finds workers that have been busy with one task for long. Their
// groups have yet to show again that they work.
func (q *Queue) markStalled() {
	now := q.c.Now()
	if now.Sub(q.marked) < time.Second && !now.Before(q.marked) {
		return
	}
	q.marked = now
	for w := range q.workers {
		if w.task == nil || w.stalled || now.Sub(w.since) <= q.c.StallAfter {
			continue
		}
		g := w.task.group
		w.stalled = true
		w.lane.stalled++
		g.stalled++
		q.stalled++
		q.recall(g)
		q.staff(w.lane)
	}
	q.staffHungry()
	if 4*q.tasks > 3*q.c.Memory {
		q.clearStuck(now)
	}
}

// clearStuck gives the tasks of groups whose workers all hang back to the
// store: there they wait as well.
func (q *Queue) clearStuck(now time.Time) {
	for _, g := range q.groups {
		if g.stalled == 0 || g.stalled < g.admitted || g.backlog.len() <= tasksIfStuck {
			continue
		}
		g.stuck = true
		for g.backlog.len() > 0 {
			t := g.backlog.pop()
			g.lane.backlog--
			q.delays[t.dest.name] = now.Add(time.Minute)
			q.handBack(t, false)
		}
	}
}
