package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pennypost/internal/metrics"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// gate occupies SQLite's writer until it is opened, so that what comes in
// meanwhile waits for it.
type gate struct {
	open func()
	done chan error
}

func shut(t *testing.T, st *store.Store) *gate {
	t.Helper()
	started, release := make(chan struct{}), make(chan struct{})
	g := &gate{open: sync.OnceFunc(func() { close(release) }), done: make(chan error, 1)}
	go func() {
		g.done <- st.Update(context.Background(), func(*store.Tx) error {
			close(started)
			<-release
			return nil
		})
	}()
	<-started
	t.Cleanup(g.open)
	return g
}

// queued waits until so many closures wait.
func queued(t *testing.T, st *store.Store, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); st.Waiting() < n; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d closures wait, want %d", st.Waiting(), n)
		}
	}
}

// behind runs closures that all wait for the same transaction, in their order,
// and gives what each Update answered.
func behind(t *testing.T, st *store.Store, closures ...func(tx *store.Tx) error) []error {
	t.Helper()
	g := shut(t, st)
	errs := make([]error, len(closures))
	var wg sync.WaitGroup
	for i, fn := range closures {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					errs[i] = fmt.Errorf("panicked: %v", p.(*store.PanicError).Value)
				}
			}()
			errs[i] = st.Update(context.Background(), fn)
		})
		queued(t, st, i+1)
	}
	g.open()
	wg.Wait()
	if err := <-g.done; err != nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrUnknown) {
		t.Error(err)
	}
	return errs
}

func setMeta(key string) func(tx *store.Tx) error {
	return func(tx *store.Tx) error { return tx.SetMeta(context.Background(), key, "there") }
}

func hasMeta(t *testing.T, st *store.Store, key string) bool {
	t.Helper()
	return number(t, st, `SELECT COUNT(*) FROM meta WHERE key = $1`, key) > 0
}

// All that waits is committed with one sync.
func TestGroupCommit(t *testing.T) {
	c := storetest.Config(t, storetest.SQLite)
	c.Metrics = metrics.New()
	now := time.Now() // the time of a batch is not over on a slow machine
	c.Now = func() time.Time { return now }
	st := storetest.OpenConfig(t, c)
	const n = 200
	commits, updates := figure(t, c.Metrics, "store_commits_total"), figure(t, c.Metrics, "store_updates_total")
	closures := make([]func(tx *store.Tx) error, n)
	for i := range closures {
		closures[i] = setMeta(fmt.Sprint("key ", i))
	}
	for i, err := range behind(t, st, closures...) {
		if err != nil {
			t.Errorf("closure %d: %v", i, err)
		}
	}
	if got := number(t, st, `SELECT COUNT(*) FROM meta`); got != n {
		t.Errorf("%d rows, want %d", got, n)
	}
	if got := figure(t, c.Metrics, "store_updates_total") - updates; got != n+1 {
		t.Errorf("%d closures were counted, want %d", got, n+1)
	}
	if got := figure(t, c.Metrics, "store_commits_total") - commits; got != 1 {
		t.Errorf("%d commits for %d closures, want 1", got, n+1)
	}
}

// However many wait, no transaction grows beyond its bound.
func TestBatchIsBounded(t *testing.T) {
	c := storetest.Config(t, storetest.SQLite)
	c.Metrics = metrics.New()
	st := storetest.OpenConfig(t, c)
	before := figure(t, c.Metrics, "store_commits_total")
	closures := make([]func(tx *store.Tx) error, 2*store.MaxBatch)
	for i := range closures {
		closures[i] = setMeta(fmt.Sprint("key ", i))
	}
	for _, err := range behind(t, st, closures...) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := figure(t, c.Metrics, "store_commits_total") - before; got < 3 || got > 20 {
		t.Errorf("%d commits for %d closures", got, len(closures)+1)
	}
}

// An error, a panic or the end of the goroutine in one closure concerns nobody
// else in the transaction.
func TestClosureFailsAlone(t *testing.T) {
	fault := errors.New("fault")
	failing := map[string]func(tx *store.Tx) error{
		"error": func(*store.Tx) error { return fault },
		"panic": func(*store.Tx) error { panic(fault) },
		"Goexit": func(*store.Tx) error {
			runtime.Goexit()
			return nil
		},
		"conflict": func(tx *store.Tx) error { return tx.AddMeta(context.Background(), "before", "again") },
		"conflict passed over": func(tx *store.Tx) error {
			if err := tx.AddMeta(context.Background(), "before", "again"); !errors.Is(err, store.ErrConflict) {
				return nil
			}
			return nil // the transaction has failed all the same
		},
		"bad statement": func(tx *store.Tx) error {
			_, err := tx.Exec(context.Background(), `INSERT INTO nowhere VALUES (1)`)
			return err
		},
	}
	for name, fail := range failing {
		t.Run(name, func(t *testing.T) {
			st := storetest.Open(t, storetest.SQLite)
			errs := behind(t, st, setMeta("before"), func(tx *store.Tx) error {
				if err := tx.SetMeta(context.Background(), "failed", "there"); err != nil {
					return err
				}
				return fail(tx)
			}, setMeta("after"))
			if errs[0] != nil || errs[2] != nil {
				t.Errorf("neighbours: %v and %v", errs[0], errs[2])
			}
			if errs[1] == nil {
				t.Error("the closure succeeded")
			}
			if !hasMeta(t, st, "before") || !hasMeta(t, st, "after") || hasMeta(t, st, "failed") {
				t.Errorf("before %v, after %v, failed %v", hasMeta(t, st, "before"), hasMeta(t, st, "after"), hasMeta(t, st, "failed"))
			}
		})
	}
}

// So does the first one of a transaction, which has no savepoint.
func TestFirstClosureFails(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		fault := errors.New("fault")
		err := st.Update(t.Context(), func(tx *store.Tx) error {
			return errors.Join(tx.SetMeta(t.Context(), "failed", "there"), fault)
		})
		if !errors.Is(err, fault) {
			t.Errorf("got %v, want the closure's error", err)
		}
		var p *store.PanicError
		func() {
			defer func() {
				switch v := recover().(type) {
				case *store.PanicError:
					p = v
				case error:
					p = &store.PanicError{Value: v} // on PostgreSQL it is the caller's goroutine
				}
			}()
			_ = st.Update(t.Context(), func(tx *store.Tx) error {
				if err := tx.SetMeta(t.Context(), "failed", "there"); err != nil {
					return err
				}
				panic(fault)
			})
		}()
		if p == nil || !errors.Is(p, fault) {
			t.Errorf("panicked with %v", p)
		}
		if err := st.Update(t.Context(), setMeta("after")); err != nil {
			t.Error(err)
		}
		if hasMeta(t, st, "failed") || !hasMeta(t, st, "after") {
			t.Error("what the failed closures wrote is there, or nothing is")
		}
	})
}

// A statement that failed ends the transaction on both engines, also when the
// closure passes over it.
func TestStatementErrorEndsTransaction(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.AddMeta(ctx, "key", "1") })
		err := st.Update(t.Context(), func(tx *store.Tx) error {
			ctx := t.Context()
			if err := tx.SetMeta(ctx, "other", "there"); err != nil {
				return err
			}
			if err := tx.AddMeta(ctx, "key", "2"); !errors.Is(err, store.ErrConflict) {
				t.Errorf("got %v, want ErrConflict", err)
			}
			if err := tx.SetMeta(ctx, "third", "there"); err == nil {
				t.Error("the transaction goes on")
			}
			return nil
		})
		if !errors.Is(err, store.ErrConflict) {
			t.Errorf("got %v, want ErrConflict", err)
		}
		if hasMeta(t, st, "other") || hasMeta(t, st, "third") {
			t.Error("a part of the failed transaction is there")
		}
	})
}

func TestNested(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		fault := errors.New("fault")
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.AddMeta(ctx, "outer", "1"); err != nil {
				return err
			}
			err := tx.Nested(ctx, func(tx *store.Tx) error {
				return errors.Join(tx.SetMeta(ctx, "lost", "there"), fault)
			})
			if !errors.Is(err, fault) {
				t.Errorf("got %v", err)
			}
			err = tx.Nested(ctx, func(tx *store.Tx) error { return tx.AddMeta(ctx, "outer", "2") })
			if !errors.Is(err, store.ErrConflict) {
				t.Errorf("got %v, want ErrConflict", err)
			}
			return tx.Nested(ctx, func(tx *store.Tx) error {
				if err := tx.SetMeta(ctx, "kept", "there"); err != nil {
					return err
				}
				err := tx.Nested(ctx, func(tx *store.Tx) error {
					return errors.Join(tx.SetMeta(ctx, "lost too", "there"), fault)
				})
				if !errors.Is(err, fault) {
					t.Errorf("got %v", err)
				}
				return tx.SetMeta(ctx, "kept too", "there")
			})
		})
		for key, want := range map[string]bool{"outer": true, "lost": false, "lost too": false, "kept": true, "kept too": true} {
			if got := hasMeta(t, st, key); got != want {
				t.Errorf("%s: %v, want %v", key, got, want)
			}
		}
	})
}

// A context that ends before its closure starts takes it out; later it no
// longer matters.
func TestContextEnds(t *testing.T) {
	st := storetest.Open(t, storetest.SQLite)
	g := shut(t, st)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	var called atomic.Bool
	go func() {
		ran <- st.Update(ctx, func(*store.Tx) error {
			called.Store(true)
			return nil
		})
	}()
	queued(t, st, 1)
	cancel()
	if err := <-ran; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	g.open()
	if err := <-g.done; err != nil {
		t.Error(err)
	}
	if called.Load() {
		t.Error("the closure ran")
	}

	ctx, cancel = context.WithCancel(t.Context())
	err := st.Update(ctx, func(tx *store.Tx) error {
		cancel()
		return tx.SetMeta(ctx, "late", "there")
	})
	if err != nil {
		t.Errorf("a context that ended after the start: %v", err)
	}
	if !hasMeta(t, st, "late") {
		t.Error("its row is not there")
	}
	if err := st.Update(ctx, setMeta("never")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// Readers see the last commit, however long a writer takes.
func TestViewBesideUpdate(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.AddMeta(ctx, "key", "old") })
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.SetMeta(ctx, "key", "new"); err != nil {
				return err
			}
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					err := st.View(ctx, func(tx *store.Tx) error {
						if got, err := tx.Meta(ctx, "key"); err != nil || got != "old" {
							t.Errorf("a reader sees %q, %v", got, err)
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			got, err := tx.Meta(ctx, "key")
			if got != "new" {
				t.Errorf("the writer sees %q", got)
			}
			return err
		})
		// One View sees one state.
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			if got, err := tx.Meta(ctx, "key"); err != nil || got != "new" {
				t.Errorf("%q, %v", got, err)
			}
			update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.SetMeta(ctx, "key", "newer") })
			got, err := tx.Meta(ctx, "key")
			if got != "new" {
				t.Errorf("the reader's state changed to %q", got)
			}
			return err
		})
	})
}

// A View cannot write.
func TestViewIsReadOnly(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		if err := st.View(t.Context(), setMeta("key")); err == nil {
			t.Error("a View wrote")
		}
		if hasMeta(t, st, "key") {
			t.Error("the row is there")
		}
	})
}

// A transaction is of no use after its end.
func TestTransactionEnds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		var kept *store.Tx
		update(t, st, func(_ context.Context, tx *store.Tx) error {
			kept = tx
			return nil
		})
		if err := kept.SetMeta(t.Context(), "key", "late"); err == nil {
			t.Error("a statement ran after the end")
		}
		if hasMeta(t, st, "key") {
			t.Error("its row is there")
		}
	})
}

// logFile gives the descriptor of SQLite's write-ahead log, which SQLite opens
// once per process and file.
func logFiles(t *testing.T, dir string) []int {
	t.Helper()
	return openFiles(dir + "/pennypost.db-wal")
}

// openFiles gives the descriptors of a file that this process has.
func openFiles(name string) []int {
	var found []int
	for fd := 3; fd < 256; fd++ {
		buf := make([]byte, 512)
		n, err := syscall.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd), buf)
		if err == nil && string(buf[:n]) == name {
			found = append(found, fd)
		}
	}
	return found
}

// A sync that fails is final. The log's descriptor is made to be one of
// /dev/null: writing to it succeeds, fsync does not. That the commit fails
// proves besides that it syncs at all.
func TestSyncFails(t *testing.T) {
	c := storetest.Config(t, storetest.SQLite)
	st, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Update(t.Context(), setMeta("before")); err != nil {
		t.Fatal(err)
	}
	null, err := syscall.Open("/dev/null", syscall.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(null) }()
	files := logFiles(t, c.Dir)
	if len(files) == 0 {
		t.Fatal("the log is not open")
	}
	for _, fd := range files {
		if err := syscall.Dup3(null, fd, syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	const disk = 10 | 4<<8 // SQLITE_IOERR_FSYNC
	for i, err := range behind(t, st, setMeta("one"), setMeta("two")) {
		code, _ := store.LiteError(err)
		if !errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrUnavailable) || code != disk {
			t.Errorf("closure %d: %v (code %d), want ErrUnknown of a failed fsync", i, err, code)
		}
	}
	final(t, st)
	if err := st.Close(); err != nil {
		t.Logf("close: %v", err)
	}
	// What was acknowledged before is there.
	again := storetest.OpenConfig(t, c)
	if !hasMeta(t, again, "before") {
		t.Error("what was committed before the failure is lost")
	}
}

// final checks that a store has failed for good.
func final(t *testing.T, st *store.Store) {
	t.Helper()
	select {
	case <-st.Failed():
	case <-time.After(10 * time.Second):
		t.Fatal("the failure is not final")
	}
	var called atomic.Bool
	err := st.Update(t.Context(), func(*store.Tx) error {
		called.Store(true)
		return nil
	})
	if !errors.Is(err, store.ErrUnavailable) || called.Load() {
		t.Errorf("an update after the failure: %v, ran %v", err, called.Load())
	}
	if err := st.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Ping gives %v", err)
	}
	// What can still be read may never have reached the disk.
	err = st.View(t.Context(), func(*store.Tx) error {
		called.Store(true)
		return nil
	})
	if !errors.Is(err, store.ErrUnavailable) || called.Load() {
		t.Errorf("a look after the failure: %v, ran %v", err, called.Load())
	}
}

// Any other failure of COMMIT that leaves the outcome open is final too.
func TestCommitFails(t *testing.T) {
	c := storetest.Config(t, storetest.SQLite)
	st, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	fault := errors.New("the disk is gone")
	errs := behind(t, st, setMeta("one"), func(tx *store.Tx) error {
		tx.BeforeCommit(func() error { return fault })
		return nil
	}, setMeta("two"))
	for i, err := range errs {
		if !errors.Is(err, store.ErrUnknown) || !errors.Is(err, fault) {
			t.Errorf("closure %d: %v, want ErrUnknown", i, err)
		}
	}
	final(t, st)
	if err := st.Close(); err != nil {
		t.Logf("close: %v", err)
	}
	st = storetest.OpenConfig(t, c)
	if hasMeta(t, st, "one") || hasMeta(t, st, "two") {
		t.Error("a row of the failed transaction is there")
	}
}

// A full disk fails all that share the transaction, and passes.
func TestDiskFull(t *testing.T) {
	st := storetest.Open(t, storetest.SQLite)
	ctx := t.Context()
	big := make([]byte, 1<<20)
	errs := behind(t, st, setMeta("neighbour"), func(tx *store.Tx) error {
		if _, err := tx.Text(ctx, `SELECT CAST(max_page_count AS TEXT) FROM pragma_max_page_count`); err != nil {
			return err
		}
		pages, err := tx.Number(ctx, `PRAGMA page_count`)
		if err != nil {
			return err
		}
		if _, err := tx.Number(ctx, fmt.Sprintf(`PRAGMA max_page_count = %d`, pages+10)); err != nil {
			return err
		}
		return tx.InsertInbound(ctx, &store.InboundMail{ID: newID(), Content: big})
	})
	for i, err := range errs {
		if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrUnknown) {
			t.Errorf("closure %d: %v, want ErrUnavailable", i, err)
		}
	}
	if hasMeta(t, st, "neighbour") {
		t.Error("a row of the failed transaction is there")
	}
	update(t, st, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Number(ctx, `PRAGMA max_page_count = 1000000`); err != nil {
			return err
		}
		return tx.InsertInbound(ctx, &store.InboundMail{ID: newID(), Content: big})
	})
}

// Close carries out what waits, and nothing afterwards.
func TestClose(t *testing.T) {
	c := storetest.Config(t, storetest.SQLite)
	st, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	g := shut(t, st)
	waiting := make(chan error, 1)
	go func() { waiting <- st.Update(context.Background(), setMeta("waited")) }()
	queued(t, st, 1)
	closed := make(chan error, 1)
	go func() { closed <- st.Close() }()
	g.open()
	if err := errors.Join(<-g.done, <-waiting, <-closed); err != nil {
		t.Error(err)
	}
	if err := st.Update(t.Context(), setMeta("late")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("an update after the end: %v", err)
	}
	if err := st.View(t.Context(), func(*store.Tx) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a view after the end: %v", err)
	}
	again := storetest.OpenConfig(t, c)
	if !hasMeta(t, again, "waited") || hasMeta(t, again, "late") {
		t.Error("what waited is lost, or what came late is there")
	}
}

// The log begins anew while transactions go on without a pause.
func TestLogIsBounded(t *testing.T) {
	st := storetest.Open(t, storetest.SQLite)
	const renewAt = 16 << 10
	st.RenewAt(renewAt)
	big := make([]byte, 256<<10)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				err := st.Update(context.Background(), func(tx *store.Tx) error {
					return tx.InsertInbound(context.Background(), &store.InboundMail{ID: newID(), Content: big})
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	most := 0
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(20 * time.Millisecond):
		}
		n, err := st.LogPages(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, n)
	}
	t.Logf("at most %d pages", most)
	if most > 2*renewAt {
		t.Errorf("the log grew to %d pages, want at most about %d", most, renewAt)
	}
}

// Nobody commits while the writer copies the last of the log: it is left little
// of it, although transactions go on.
func TestLittleIsLeftToTheWriter(t *testing.T) {
	st := storetest.Open(t, storetest.SQLite)
	const renewAt = 8 << 10
	st.RenewAt(renewAt)
	var mu sync.Mutex
	var left []int
	enough := make(chan struct{})
	st.OnRenewal(func(pages int) {
		mu.Lock()
		defer mu.Unlock()
		if left = append(left, pages); len(left) == 5 {
			close(enough)
		}
	})
	stop := time.After(time.Minute)
	content := make([]byte, 32<<10)
	for going := true; going; {
		err := st.Update(t.Context(), func(tx *store.Tx) error {
			return tx.InsertInbound(t.Context(), &store.InboundMail{ID: newID(), Content: content})
		})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-enough:
			going = false
		case <-stop:
			t.Fatal("the log did not begin anew five times in a minute")
		default:
		}
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(left)
	t.Logf("pages: %v", left)
	if most := renewAt / 10; left[len(left)/2] > most {
		t.Errorf("the writer copied %v pages, want at most %d of %d as a rule", left, most, renewAt)
	}
}

// A sync of the database file that fails beside the work is as final as one of
// SQLite's own.
func TestFileSyncFails(t *testing.T) {
	c := storetest.Config(t, storetest.SQLite)
	st, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	st.RenewAt(4 << 10)
	fault := errors.New("the disk is gone")
	st.FileSync(func(f *os.File) error {
		if filepath.Base(f.Name()) != "pennypost.db" {
			t.Errorf("synced %s", f.Name())
		}
		return fault
	})
	content := make([]byte, 256<<10)
	for range 500 { // of 64 pages each
		err = st.Update(t.Context(), func(tx *store.Tx) error {
			return tx.InsertInbound(t.Context(), &store.InboundMail{ID: newID(), Content: content})
		})
		if err != nil {
			break
		}
	}
	if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrUnknown) {
		t.Errorf("after 32,000 pages: %v, want a final failure", err)
	}
	final(t, st)
}

// The log takes no more of a small disk than it needs to.
func TestLogShare(t *testing.T) {
	const mib, page = 1 << 20, 4 << 10
	for disk, want := range map[int64]int64{96 * mib: 16 * mib, 256 * mib: 16 * mib, 1024 * mib: 64 * mib, 3072 * mib: 192 * mib, 1 << 40: 192 * mib} {
		if got := int64(store.LogShare(disk)) * page; got != want {
			t.Errorf("of %d MiB: %d MiB, want %d", disk/mib, got/mib, want/mib)
		}
	}
}
