package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

// A world is a queue on a real store, with workers that a test scripts. It
// lives in a bubble of synctest.
type world struct {
	t  *testing.T
	st *store.Store
	q  *Queue

	mu    sync.Mutex
	tries map[string][]time.Time // by dest

	stop context.CancelFunc
	done chan error
}

// A deed is what a worker does with a task.
type deed func(ctx context.Context, w *Worker, t *Task)

// finish is the deed that succeeds.
func (x *world) finish(ctx context.Context, w *Worker, t *Task) {
	err := x.st.Update(ctx, func(tx *store.Tx) error { return tx.FinishJob(ctx, t.Job.ID) })
	if err != nil {
		x.t.Errorf("finish job of %s: %v", t.Job.Dest, err)
	}
	w.Good()
	t.Done()
}

// later puts the job back.
func (x *world) later(d time.Duration) deed {
	return func(ctx context.Context, w *Worker, t *Task) {
		job := t.Job
		job.RunAt, job.Attempt = time.Now().Add(d), job.Attempt+1
		err := x.st.Update(ctx, func(tx *store.Tx) error { return tx.PutBackJob(ctx, job) })
		if err != nil {
			x.t.Errorf("put job of %s back: %v", job.Dest, err)
		}
		t.PutBack(job.RunAt)
	}
}

// quickDir is a directory in memory where there is one: thousands of commits
// are made in hours of fake time, and none of these tests cuts the power.
func quickDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "queue") //nolint:usetesting // TempDir is on a disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func newWorld(t *testing.T, c Config, do func(x *world) deed) *world {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{Dir: quickDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	x := &world{t: t, st: st, tries: make(map[string][]time.Time)}
	act := do(x)
	c.Store = st
	if c.Lane == nil {
		c.Lane = func(_ context.Context, dest string) Way { return Way{Lane: dest, Until: time.Now().Add(time.Hour)} }
	}
	c.Work = func(ctx context.Context, w *Worker) {
		for task := w.Next(time.Second); task != nil; task = w.Next(time.Second) {
			x.mu.Lock()
			x.tries[task.Job.Dest] = append(x.tries[task.Job.Dest], time.Now())
			x.mu.Unlock()
			act(ctx, w, task)
		}
	}
	x.q = New(c)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := st.KeepSession(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("session: %v", err)
		}
	})
	x.stop, x.done = cancel, make(chan error, 1)
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

// run starts the queue; it ends with the test.
func (x *world) run() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(x.t.Context()))
	go func() { x.done <- x.q.Run(ctx) }()
	ended := false
	x.stop = func() {
		if !ended {
			ended = true
			cancel()
			if err := <-x.done; err != nil {
				x.t.Errorf("Run: %v", err)
			}
		}
	}
	x.t.Cleanup(x.stop)
}

// job makes a job that is due now.
func (x *world) job(dest string) pennypost.Job {
	id := x.st.NextID()
	return pennypost.Job{
		ID: id, Kind: pennypost.JobDeliver, Dest: dest, Tenant: 1, Priority: pennypost.PriorityTransactional,
		RunAt: time.Now(), Ref: fmt.Appendf(nil, "%d", id),
	}
}

func (x *world) store(jobs ...pennypost.Job) {
	x.t.Helper()
	ctx := x.t.Context()
	err := x.st.Update(ctx, func(tx *store.Tx) error { return tx.AddJobs(ctx, jobs) })
	if err != nil {
		x.t.Fatal(err)
	}
}

// free stores n jobs that nobody holds, as another node would.
func (x *world) free(dest string, n int) {
	x.t.Helper()
	jobs := make([]pennypost.Job, n)
	for i := range jobs {
		jobs[i] = x.job(dest)
	}
	x.store(jobs...)
}

// accept stores jobs as the door does, and tells how many got a place.
func (x *world) accept(dest string, n int, change ...func(*pennypost.Job)) int {
	x.t.Helper()
	jobs := make([]pennypost.Job, n)
	places := make([]*Place, n)
	placed := 0
	for i := range jobs {
		jobs[i] = x.job(dest)
		for _, f := range change {
			f(&jobs[i])
		}
		if places[i] = x.q.ReserveFor(dest, jobs[i].Tenant, 100); places[i] != nil {
			jobs[i].Lease = x.st.Session()
			placed++
		}
	}
	x.store(jobs...)
	for i, p := range places {
		if p != nil {
			p.Offer(Task{Job: jobs[i], Payload: "here", Bytes: 100})
		} else {
			x.q.Wake(dest)
		}
	}
	return placed
}

// tried gives when the tasks of a dest were tried, after all that can happen
// now has happened.
func (x *world) tried(dest string) []time.Time {
	synctest.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	return append([]time.Time(nil), x.tries[dest]...)
}

func (x *world) wantTried(dest string, want int) {
	x.t.Helper()
	if got := len(x.tried(dest)); got != want {
		x.t.Errorf("%d tries of %s, want %d", got, dest, want)
	}
}

// claimable counts the free jobs of a dest that are due.
func (x *world) claimable(dest string) int {
	x.t.Helper()
	ctx := x.t.Context()
	n := 0
	err := x.st.Update(ctx, func(tx *store.Tx) error {
		n = 0
		for more := true; more; {
			jobs, m, err := tx.ClaimJobs(ctx, pennypost.JobDeliver, dest, 500)
			if err != nil {
				return err
			}
			n += len(jobs)
			more = m
		}
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		x.t.Fatal(err)
	}
	return n
}

var errUndo = errors.New("undone")

func (x *world) total() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for list := range maps.Values(x.tries) {
		n += len(list)
	}
	return n
}
