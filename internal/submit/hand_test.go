package submit

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pennypost"
	"pennypost/internal/deliver"
	"pennypost/internal/queue"
	"pennypost/internal/store"
)

// TestHandsOver: the workers get each recipient's job with its message, without
// the store; what is too large to be kept comes without.
func TestHandsOver(t *testing.T) {
	f := setup(t)
	type taken struct {
		job   pennypost.Job
		fresh *deliver.Fresh
	}
	got := make(chan taken, 10)
	conf := f.door.conf
	conf.Queue = queue.New(queue.Config{
		Store: f.store, ScanEvery: time.Hour,
		Lane: func(_ context.Context, dest string) queue.Way {
			return queue.Way{Lane: dest, Until: time.Now().Add(time.Hour)}
		},
		Work: func(_ context.Context, w *queue.Worker) {
			for task := w.Next(10 * time.Millisecond); task != nil; task = w.Next(10 * time.Millisecond) {
				fresh, _ := task.Payload.(*deliver.Fresh)
				got <- taken{task.Job, fresh}
				task.Done()
			}
		},
	})
	door, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	f.door = door
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- conf.Queue.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	receive := func() taken {
		t.Helper()
		select {
		case k := <-got:
			return k
		case <-time.After(10 * time.Second):
			t.Fatal("no task came")
		}
		return taken{}
	}

	f.suppress(t, "gone@one.example")
	s := good()
	s.To = "a@one.example, gone@one.example, b@two.example"
	small := f.load(t, f.accept(t, s).ID)
	var seen []int
	for range 2 {
		k := receive()
		if k.fresh == nil {
			t.Fatalf("job %+v came without its message", k.job)
		}
		r := k.fresh.Recipient
		if string(k.fresh.Content) != small.content || k.fresh.Message.ID != small.ID || k.job.Dest != r.Address.Domain() ||
			r.Address != small.recipients[r.N].Address || r.State != pennypost.Queued {
			t.Errorf("job %+v came with %+v", k.job, k.fresh)
		}
		seen = append(seen, r.N)
	}
	if slices.Sort(seen); !slices.Equal(seen, []int{0, 2}) {
		t.Errorf("recipients %v came, want 0 and 2", seen)
	}

	s = good()
	s.TextBody = string(make([]byte, maxKept))
	f.accept(t, s)
	if k := receive(); k.fresh != nil || k.job.Dest != "example.com" {
		t.Errorf("large message came as %+v, want it without its message", k)
	}
}

// TestSettleWhileTheStoreIsAway: jobs of a commit without an answer do not stay
// leased to nobody when the store cannot be asked for long.
func TestSettleWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := setup(t)
		conf := f.door.conf
		tried := 0
		conf.Queue = queue.New(queue.Config{
			Store: f.store,
			Lane: func(_ context.Context, dest string) queue.Way {
				return queue.Way{Lane: dest, Until: time.Now().Add(time.Hour)}
			},
			Work: func(_ context.Context, w *queue.Worker) {
				for task := w.Next(time.Second); task != nil; task = w.Next(time.Second) {
					tried++
					task.Done()
				}
			},
		})
		door, err := New(conf)
		if err != nil {
			t.Fatal(err)
		}
		stored := f.load(t, f.accept(t, good()).ID) // leased; its own queue does not run
		if stored.jobs[0].Lease == 0 {
			t.Fatal("the job is free")
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- conf.Queue.Run(ctx) }()

		away, back := make(chan struct{}), make(chan struct{})
		go func() {
			err := f.store.Update(t.Context(), func(*store.Tx) error {
				close(away)
				<-back
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}()
		<-away
		e := &entry{draft: &draft{id: pennypost.MessageID{1}}, message: stored.Message, jobs: stored.jobs}
		if err := door.settle(t.Context(), store.ErrUnknown, e); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("got %v", err)
		}
		close(back)
		time.Sleep(time.Minute)
		if tried != 1 {
			t.Errorf("the job was tried %d times, want once", tried)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
