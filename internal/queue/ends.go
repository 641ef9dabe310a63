package queue

import (
	"context"
	"time"

	"pennypost"
)

// maxAgain is how often a task may be tried again at once.
const maxAgain = 3

// Done tells that the task is finished, or lost: nothing more is to be done
// about it here.
func (t *Task) Done() {
	t.q.mu.Lock()
	defer t.q.mu.Unlock()
	if t.end() {
		t.q.release(t.dest, t.kept)
	}
}

// PutBack tells that the task's job was put back into the store and is due at a
// time.
func (t *Task) PutBack(at time.Time) {
	q := t.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.end() {
		q.due.add(t.dest.name, at)
		q.nudge()
		q.release(t.dest, t.kept)
	}
}

// Return hands the task back to the store, untried.
func (t *Task) Return() {
	t.q.mu.Lock()
	defer t.q.mu.Unlock()
	if t.end() {
		t.q.handBack(t, false)
	}
}

// end tells whether the task had not ended yet, and takes it from its worker.
// q.mu is held.
func (t *Task) end() bool {
	if t.worker == nil {
		return false
	}
	if t.worker.task == t {
		t.worker.leave()
	}
	t.worker = nil
	return true
}

// Detach frees the worker for its next task while the rest of this one goes on
// elsewhere, such as writing down what came of it. What rest does not end is
// handed back. Run waits for it as for a worker.
func (w *Worker) Detach(ctx context.Context, rest func()) {
	q := w.q
	q.mu.Lock()
	t := w.task
	w.leave()
	q.mu.Unlock()
	q.wg.Go(func() {
		defer q.survive(ctx, w)
		if t != nil {
			defer t.Return()
		}
		rest()
	})
}

// Again puts the task at the head of its line: it was not tried, and the lane
// works otherwise. False: that was done too often; the task is still the
// worker's.
func (w *Worker) Again() bool {
	q := w.q
	q.mu.Lock()
	defer q.mu.Unlock()
	t := w.task
	if t == nil || t.again >= maxAgain || q.phase != running {
		return false
	}
	g := t.group
	t.end()
	t.again++
	if g.resting(q) {
		q.handBack(t, true)
		return true
	}
	t.group = g
	g.admitted++
	g.lane.add(t, true)
	return true
}

// A handBack is a job to be freed in the store. When its group rests, its dest
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
	if rests && d.group != nil {
		q.delays[d.name] = d.group.restTo
	}
	q.release(d, t.kept)
	q.nudge()
}

// Disown tells of jobs that the store may keep leased by this session although
// nobody has them: a commit ended without an answer. Those that are, are freed
// as soon as the store can be reached.
func (q *Queue) Disown(jobs []pennypost.Job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range jobs {
		q.back = append(q.back, handBack{id: jobs[i].ID, dest: q.dest(jobs[i].Dest)})
	}
	q.nudge()
}
