package queue

import "time"

// maxAgain is how often a task may be tried again at once.
const maxAgain = 3

// Done tells that the worker's task is finished, or lost: nothing more is to be
// done about it here.
func (w *Worker) Done() {
	w.q.mu.Lock()
	defer w.q.mu.Unlock()
	if t := w.end(); t != nil {
		w.q.release(t.dest, t.kept)
	}
}

// PutBack tells that the task's job was put back into the store and is due at a
// time.
func (w *Worker) PutBack(at time.Time) {
	w.q.mu.Lock()
	defer w.q.mu.Unlock()
	t := w.end()
	if t == nil {
		return
	}
	w.q.due.add(t.dest.name, at)
	w.q.nudge()
	w.q.release(t.dest, t.kept)
}

// Again puts the task at the head of its line: it was not tried, and the lane
// works otherwise. False: that was done too often; the task is still the
// worker's.
func (w *Worker) Again() bool {
	q := w.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.task == nil || w.task.again >= maxAgain || q.phase != running {
		return false
	}
	t := w.end()
	t.again++
	if w.lane.resting(q) {
		q.handBack(t, true)
		return true
	}
	w.lane.add(t, true)
	return true
}

// Return hands the task back to the store, untried.
func (w *Worker) Return() {
	w.q.mu.Lock()
	defer w.q.mu.Unlock()
	w.q.unended(w)
}

// A handBack is a job to be freed in the store. When its lane rests, its dest
// is kept from the scan meanwhile.
type handBack struct {
	id   int64
	dest *dest
}

// handBack gives a task up; the feeder frees its job. q.mu is held.
func (q *Queue) handBack(t *Task, rests bool) {
	d := t.dest
	q.back = append(q.back, handBack{id: t.Job.ID, dest: d})
	d.more = true
	if l := d.lane; rests && l != nil {
		q.delays[d.name] = l.restTo
	}
	q.release(d, t.kept)
	q.nudge()
}
