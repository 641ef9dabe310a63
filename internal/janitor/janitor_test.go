package janitor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"pennypost"
	"pennypost/internal/janitor"
	"pennypost/internal/store"
)

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type world struct {
	*janitor.Janitor
	st    *store.Store
	clock *clock
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{clock: &clock{now: time.Date(2026, 3, 2, 14, 15, 7, 0, time.UTC)}}
	var err error
	if w.st, err = store.Open(t.Context(), store.Config{Dir: t.TempDir(), Now: w.clock.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.st.Close(); err != nil {
			t.Error(err)
		}
	})
	if w.Janitor, err = janitor.New(janitor.Config{Store: w.st, Now: w.clock.Now, Rest: time.Microsecond, Every: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) update(t *testing.T, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := w.st.Update(t.Context(), func(tx *store.Tx) error { return fn(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
}

// stream makes a stream with a message, of which the job is given.
func (w *world) stream(t *testing.T, id pennypost.StreamID, archived bool) pennypost.Job {
	t.Helper()
	msg := pennypost.MessageID(uuid.Must(uuid.NewV7()))
	job := pennypost.Job{
		ID: w.st.NextID(), Kind: pennypost.JobDeliver, Dest: "x.test", Tenant: 1, RunAt: w.clock.Now(),
		Lease: w.st.Session(), Ref: store.JobRef(msg, 0),
	}
	w.update(t, func(ctx context.Context, tx *store.Tx) error {
		s := &pennypost.Stream{ServerID: 1, ID: id, Type: pennypost.StreamTransactional, Name: "x", Unsubscribe: pennypost.UnsubscribeNone}
		if err := tx.AddStream(ctx, s); err != nil {
			return err
		}
		if archived {
			s.ArchivedAt = tx.Now()
		}
		if err := tx.SetStream(ctx, s); err != nil {
			return err
		}
		return tx.AddMessage(ctx, &store.NewMessage{
			Message:    &pennypost.Message{ID: msg, AccountID: 1, ServerID: 1, Stream: id, ReceivedAt: tx.Now(), Recipients: 1},
			Recipients: []pennypost.Recipient{{MessageID: msg, Address: "ann@x.test", State: pennypost.Queued}},
			Jobs:       []pennypost.Job{job},
		})
	})
	return job
}

func (w *world) finish(t *testing.T, j pennypost.Job) {
	t.Helper()
	w.update(t, func(ctx context.Context, tx *store.Tx) error { return tx.FinishJob(ctx, j.ID) })
}

func (w *world) round(t *testing.T) {
	t.Helper()
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// left gives the streams and the messages that there are.
func (w *world) left(t *testing.T) (streams []pennypost.StreamID, messages int) {
	t.Helper()
	w.update(t, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Streams(ctx, 1)
		streams, messages = nil, 0
		for _, s := range list {
			streams = append(streams, s.ID)
			_, n, err := tx.SearchMessages(ctx, store.MessageFilter{Server: 1, Stream: s.ID}, 1, 0)
			if err != nil {
				return err
			}
			messages += n
		}
		return err
	})
	return streams, messages
}

func (w *world) want(t *testing.T, what string, streams string, messages int) {
	t.Helper()
	got, n := w.left(t)
	if fmt.Sprint(got) != streams || n != messages {
		t.Errorf("%s: streams %v with %d messages, want %s with %d", what, got, n, streams, messages)
	}
}

// contract/streams.md §4: archived streams are purged for good after 45 days,
// others never.
func TestPurge(t *testing.T) {
	w := newWorld(t)
	for _, id := range []pennypost.StreamID{"a", "b"} {
		w.finish(t, w.stream(t, id, id == "a"))
	}
	w.round(t)
	w.want(t, "at once", "[a b]", 2)
	w.clock.add(45*24*time.Hour - time.Second)
	w.round(t)
	w.want(t, "a second before", "[a b]", 2)
	w.clock.add(time.Second)
	w.round(t)
	w.want(t, "after 45 days", "[b]", 1)
}

// A stream of which a message waits is left whole; others go meanwhile.
func TestPurgeWaits(t *testing.T) {
	w := newWorld(t)
	waits := w.stream(t, "a", true)
	w.finish(t, w.stream(t, "b", true))
	w.update(t, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Suppress(ctx, pennypost.Suppression{ServerID: 1, Stream: "a", Address: "bob@x.test", Reason: "HardBounce", Origin: "Recipient"})
		return err
	})
	w.clock.add(46 * 24 * time.Hour)
	w.round(t)
	w.want(t, "while it waits", "[a]", 1)
	w.update(t, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Suppression(ctx, 1, "a", "bob@x.test")
		return err
	})
	w.finish(t, waits)
	w.round(t)
	w.want(t, "when it ended", "[]", 0)
}

// However many streams wait, those behind them are purged.
func TestPurgeBehindThoseThatWait(t *testing.T) {
	w := newWorld(t)
	const waiting = 250
	for n := range waiting {
		w.stream(t, pennypost.StreamID(fmt.Sprintf("a%d", n)), true)
	}
	w.clock.add(time.Second)
	w.finish(t, w.stream(t, "z", true))
	w.clock.add(46 * 24 * time.Hour)
	w.round(t)
	streams, messages := w.left(t)
	if len(streams) != waiting || messages != waiting || slices.Contains(streams, "z") {
		t.Errorf("%d streams with %d messages are left, want those %d that wait", len(streams), messages, waiting)
	}
}

// An import whose parts have not all come within an hour is given up.
func TestForgetBrokenOff(t *testing.T) {
	w := newWorld(t)
	im := &pennypost.Import{ServerID: 1, Stream: "a", Status: pennypost.ImportReceiving, Total: 1}
	w.update(t, func(ctx context.Context, tx *store.Tx) error { return tx.AddImport(ctx, im) })
	open := func() (n int) {
		w.update(t, func(ctx context.Context, tx *store.Tx) error {
			list, err := tx.OpenImports(ctx)
			n = len(list)
			return err
		})
		return n
	}
	w.clock.add(time.Hour)
	w.round(t)
	if open() != 1 {
		t.Error("given up within the hour")
	}
	w.clock.add(time.Second)
	w.round(t)
	if open() != 0 {
		t.Error("not given up")
	}
}

// Imports are remembered for a week after their end.
func TestForgetImports(t *testing.T) {
	w := newWorld(t)
	im := &pennypost.Import{ServerID: 1, Stream: "a", Status: pennypost.ImportReceiving, Total: 1}
	running := &pennypost.Import{ServerID: 1, Stream: "a", Status: pennypost.ImportProcessing, Total: 1}
	w.update(t, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.AddImport(ctx, running); err != nil {
			return err
		}
		if err := tx.AddImport(ctx, im); err != nil {
			return err
		}
		im.Status, im.FinishedAt = pennypost.ImportCompleted, tx.Now()
		return tx.SetImport(ctx, im)
	})
	there := func(id pennypost.ImportID) bool {
		_, err := func() (im *pennypost.Import, err error) {
			err = w.st.View(t.Context(), func(tx *store.Tx) error {
				im, err = tx.Import(t.Context(), 1, "a", id)
				return err
			})
			return im, err
		}()
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	w.clock.add(7 * 24 * time.Hour)
	w.round(t)
	if !there(im.ID) {
		t.Error("forgotten within a week")
	}
	w.clock.add(time.Second)
	w.round(t)
	if there(im.ID) {
		t.Error("not forgotten")
	}
	if !there(running.ID) {
		t.Error("one that goes on was forgotten")
	}
}

// Run looks around until its context ends.
func TestRun(t *testing.T) {
	w := newWorld(t)
	w.finish(t, w.stream(t, "a", true))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	w.clock.add(46 * 24 * time.Hour)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if streams, _ := w.left(t); len(streams) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("not purged")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
