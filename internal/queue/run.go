package queue

import (
	"context"
	"errors"
	"time"
)

// ErrUnreturned says that jobs could not be handed back; they are taken over
// when the session has ended.
var ErrUnreturned = errors.New("jobs were not handed back")

// Run works until the context ends, and then for as long as Grace and the
// hand-back take. It is called once.
func (q *Queue) Run(ctx context.Context) error {
	workCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	q.begin(ctx, workCtx)
	f := &feeder{q: q}
	f.run(ctx)
	return q.end(workCtx, cancel)
}

// begin starts workers and look-ups for what has come in before.
func (q *Queue) begin(ctx, workCtx context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.hire = func(w *Worker) { q.wg.Go(func() { q.work(workCtx, w) }) }
	q.look = func(d *dest) { q.wg.Go(func() { q.lookNow(ctx, d) }) }
	q.phase = running
	q.startLooks()
	for _, l := range q.lanes {
		q.staff(l)
	}
}

// cancelGrace is how long workers may take once they were cancelled.
const cancelGrace = 5 * time.Second

// end stops the workers and hands back what they did not try.
func (q *Queue) end(ctx context.Context, cancel context.CancelFunc) error {
	q.stop()
	idle := make(chan struct{})
	go func() {
		q.wg.Wait()
		<-q.settled
		close(idle)
	}()
	grace := time.NewTimer(q.c.Grace)
	defer grace.Stop()
	select {
	case <-idle:
	case <-grace.C:
		cancel()
		grace.Reset(cancelGrace)
		select {
		case <-idle:
		case <-grace.C:
			q.c.Log.WarnContext(ctx, "workers did not stop in time", "workers", q.Stats().Workers)
		}
	}
	return q.returnAll(context.WithoutCancel(ctx))
}

// stop sends idle workers home; the others go when they ask for the next task.
func (q *Queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.phase = stopping
	for q.idle.Len() > 0 {
		q.dismiss(q.idle.Front().Value.(*Worker)) // it holds nothing else
	}
	if q.placed == 0 {
		close(q.settled)
	}
}

// returnAll frees every job that is still in a lane.
func (q *Queue) returnAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	q.mu.Lock()
	for _, d := range q.dests {
		for _, t := range d.unplaced {
			q.handBack(t, false)
		}
		d.unplaced = nil
	}
	for _, g := range q.groups {
		q.clear(g, false)
	}
	clear(q.delays)
	q.mu.Unlock()
	for {
		back, _ := q.takeBack()
		if len(back) == 0 {
			return nil
		}
		if err := q.freeJobs(ctx, back, nil); err != nil {
			return errors.Join(ErrUnreturned, err)
		}
		q.met.returned.Add(len(back))
	}
}
