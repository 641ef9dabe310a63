package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

func importFile(t *testing.T, n int) *ImportFile {
	t.Helper()
	f := &ImportFile{}
	for i := range n {
		if err := f.Add(&ImportEntry{Line: i + 1, Address: fmt.Sprintf("ann%d@shop%d.test", i, i%97), Reason: "HardBounce", Origin: "Recipient"}); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// running works through imports until stop is called.
func (w *world) running(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.RunImports(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (w *world) completed(t *testing.T, im *pennypost.Import, within time.Duration) *pennypost.Import {
	t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		got := must[*pennypost.Import](t)(w.ImportState(t.Context(), im.ServerID, im.Stream, im.ID))
		if got.Status == pennypost.ImportCompleted {
			return got
		}
		if time.Now().After(end) {
			t.Fatalf("not completed: %+v", got)
		}
	}
}

// A hundred thousand addresses take seconds, and a transaction of somebody else
// meanwhile not much longer than it does alone.
func TestImportLarge(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, w.one, "Shop")
	defer w.running(t)()
	const n = importAddresses
	f := importFile(t, n)
	began := time.Now()
	im := must[*pennypost.Import](t)(w.Import(t.Context(), s.ID, "outbound", f))
	var slowest time.Duration
	for got := im; got.Status != pennypost.ImportCompleted; {
		at := time.Now()
		if err := w.st.Update(t.Context(), func(tx *store.Tx) error { return tx.BumpAuth(t.Context()) }); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(at))
		time.Sleep(2 * time.Millisecond)
		before := got.Processed
		got = must[*pennypost.Import](t)(w.ImportState(t.Context(), s.ID, "outbound", im.ID))
		if got.Processed < before || got.Processed > n {
			t.Fatalf("%d processed after %d", got.Processed, before)
		}
	}
	took := time.Since(began)
	t.Logf("%d addresses in %v; the slowest of other transactions took %v", n, took, slowest)
	if took > 10*time.Second {
		t.Errorf("took %v, want 10 s at most", took)
	}
	if slowest > 2*time.Second {
		t.Errorf("another transaction waited for %v", slowest)
	}
	got := w.completed(t, im, 0)
	if got.Total != n || got.Added != n || got.Processed != n || got.Failed != 0 {
		t.Errorf("%+v", got)
	}
}

// An import goes on where it was when the process ended.
func TestImportSurvives(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, w.one, "Shop")
	const n = 5*partEntries + 3
	im := must[*pennypost.Import](t)(w.Import(t.Context(), s.ID, "outbound", importFile(t, n)))
	for range 2 {
		if busy, err := w.stepImports(t.Context()); !busy || err != nil {
			t.Fatalf("step: %v, %v", busy, err)
		}
	}
	got := must[*pennypost.Import](t)(w.ImportState(t.Context(), s.ID, "outbound", im.ID))
	if got.Status != pennypost.ImportProcessing || got.Processed != 2*partEntries || got.Added != 2*partEntries {
		t.Errorf("after two steps: %+v", got)
	}
	// The next life.
	if err := w.st.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.st, err = store.Open(t.Context(), store.Config{Dir: w.dir, Now: w.clock.Now}); err != nil {
		t.Fatal(err)
	}
	w.restart(t, nil)
	defer w.running(t)()
	got = w.completed(t, im, 20*time.Second)
	if got.Processed != n || got.Added != n || got.Failed != 0 {
		t.Errorf("after a restart: %+v", got)
	}
	// What was not all stored when the process ended is not begun.
	half := &pennypost.Import{ServerID: s.ID, Stream: "outbound", Status: pennypost.ImportReceiving, Total: 7}
	if err := w.st.Update(t.Context(), func(tx *store.Tx) error { return tx.AddImport(t.Context(), half) }); err != nil {
		t.Fatal(err)
	}
	if busy, err := w.stepImports(t.Context()); busy || err != nil {
		t.Errorf("an import that is not all there: %v, %v", busy, err)
	}
	_, err = w.ImportState(t.Context(), s.ID, "outbound", half.ID)
	wantCode(t, err, 1407, "Something went wrong when processing the request. This import was not found.")
}

// Times in the future become now.
func TestImportClamps(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, w.one, "Shop")
	f := &ImportFile{}
	if err := f.Add(&ImportEntry{Line: 1, Address: "ann@shop.test", At: w.clock.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	im := must[*pennypost.Import](t)(w.Import(t.Context(), s.ID, "outbound", f))
	defer w.running(t)()
	w.completed(t, im, 20*time.Second)
	list := must[[]pennypost.Suppression](t)(w.SuppressionPage(t.Context(), SuppressionFilter{Server: s.ID, Stream: "outbound"}, "", "", 10))
	if len(list) != 1 || !list[0].At.Equal(w.clock.Now()) || list[0].Reason != "ManualSuppression" || list[0].Origin != "Customer" {
		t.Errorf("%+v", list)
	}
}

// A part that is damaged in the database fails alone, and is told of.
func TestImportDamaged(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, w.one, "Shop")
	im := must[*pennypost.Import](t)(w.Import(t.Context(), s.ID, "outbound", importFile(t, 2*partEntries+3)))
	if err := w.st.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(w.dir, "pennypost.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `UPDATE import_parts SET checksum = checksum + 1 WHERE n = 1`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if w.st, err = store.Open(t.Context(), store.Config{Dir: w.dir, Now: w.clock.Now}); err != nil {
		t.Fatal(err)
	}
	w.restart(t, nil)
	defer w.running(t)()
	got := w.completed(t, im, 20*time.Second)
	if got.Processed != got.Total || got.Added != partEntries+3 || got.Failed != partEntries || len(got.Errors) != 1 || got.Errors[0].Text != "500 entries were lost by a fault of ours." {
		t.Errorf("%+v", got)
	}
}

// endsAfter is a context that ends when it was asked so many times.
type endsAfter struct {
	context.Context
	left atomic.Int64
}

func (c *endsAfter) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return c.Context.Err()
}

// An import that breaks off leaves nothing, and those being stored count among
// the five of a server.
func TestImportBreaksOff(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, w.one, "Shop")
	open := func() (list []pennypost.Import) {
		if err := w.st.View(t.Context(), func(tx *store.Tx) (err error) {
			list, err = tx.OpenImports(t.Context())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return list
	}
	n := int64(1)
	for ; ; n++ { // it breaks off wherever it can
		ctx := &endsAfter{Context: t.Context()}
		ctx.left.Store(n)
		im, err := w.Import(ctx, s.ID, "outbound", importFile(t, 3*partsAtOnce*partEntries))
		if err == nil {
			if list := open(); len(list) != 1 || list[0].ID != im.ID || list[0].Status != pennypost.ImportWaiting {
				t.Errorf("%+v is open, want the import", list)
			}
			break
		}
		if list := open(); len(list) != 0 || !errors.Is(err, context.Canceled) {
			t.Fatalf("%+v left after %v", list, err)
		}
	}
	if n < 5 { // begun, stored in three steps, opened
		t.Errorf("it could break off in %d places", n-1)
	}
	stop := w.running(t)
	for len(open()) > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	for range importsAtOnce - 1 {
		im := &pennypost.Import{ServerID: s.ID, Stream: "outbound", Status: pennypost.ImportReceiving, Total: 7}
		if err := w.st.Update(t.Context(), func(tx *store.Tx) error { return tx.AddImport(t.Context(), im) }); err != nil {
			t.Fatal(err)
		}
	}
	must[*pennypost.Import](t)(w.Import(t.Context(), s.ID, "outbound", importFile(t, 1)))
	_, err := w.Import(t.Context(), s.ID, "outbound", importFile(t, 1))
	wantCode(t, err, 1407, "Something went wrong when processing the request. The server has 5 imports under way; try again when one is complete.")
}
