package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// openBulk stores a request of server 8 with parts of two messages.
func openBulk(t *testing.T, st *store.Store, messages int) *pennypost.BulkRequest {
	t.Helper()
	b := &pennypost.BulkRequest{
		ID: pennypost.BulkID(newID()), AccountID: 7, ServerID: 8, Stream: "broadcast", Subject: "Grüße {{name}}", Total: messages,
	}
	update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.BeginBulk(ctx, b, []byte("shared")) })
	for first := 0; first < messages; first += 2 {
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			return tx.AddBulkPart(ctx, b.ID, first, fmt.Appendf(nil, "part %d", first))
		})
	}
	view(t, st, func(ctx context.Context, tx *store.Tx) error { // nobody sees it before it is whole
		if _, err := tx.Bulk(ctx, 8, b.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a request that is being stored: %v, want ErrNotFound", err)
		}
		list, err := tx.Bulks(ctx, 8, nil, 100)
		for _, x := range list {
			if x.ID == b.ID {
				t.Error("a request that is being stored is listed")
			}
		}
		return err
	})
	update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.OpenBulk(ctx, b) })
	return b
}

func dueBulk(t *testing.T, st *store.Store) *pennypost.BulkRequest {
	t.Helper()
	var b *pennypost.BulkRequest
	view(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
		if b, err = tx.DueBulk(ctx, 0); errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	return b
}

func bulkRows(t *testing.T, st *store.Store) int64 {
	t.Helper()
	return number(t, st, `SELECT (SELECT COUNT(*) FROM bulk_parts) + (SELECT COUNT(*) FROM bulk_shared)`)
}

// sweepBulk sweeps until nothing is left to sweep.
func sweepBulk(t *testing.T, st *store.Store, before time.Time) {
	t.Helper()
	for more, n := true, 0; more; n++ {
		if n > 100 {
			t.Fatal("sweeping has no end")
		}
		update(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
			more, err = tx.SweepBulk(ctx, before)
			return err
		})
	}
}

func TestBulkRequest(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		b := openBulk(t, st, 3)
		got := dueBulk(t, st)
		if diff := cmp.Diff(b, got); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			if _, err := tx.Bulk(ctx, 9, b.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("another server: %v, want ErrNotFound", err)
			}
			shared, err := tx.BulkShared(ctx, b.ID)
			if err != nil || string(shared) != "shared" {
				t.Errorf("shared is %q (%v)", shared, err)
			}
			for n, want := range []string{"0 part 0", "0 part 0", "2 part 2"} {
				first, part, err := tx.BulkPart(ctx, b.ID, n)
				if got := fmt.Sprintf("%d %s", first, part); err != nil || got != want {
					t.Errorf("message %d is in %s (%v), want %s", n, got, err, want)
				}
			}
			return nil
		})
		for _, step := range []struct{ released, failed, part int }{{1, 0, -1}, {1, 1, 0}, {2, 1, 2}} {
			after := *dueBulk(t, st)
			update(t, st, func(ctx context.Context, tx *store.Tx) error {
				if err := tx.TakeBulk(ctx, &after); err != nil {
					return err
				}
				after.Released, after.Failed = step.released, step.failed
				return tx.SetBulk(ctx, &after, step.part)
			})
		}
		if due := dueBulk(t, st); due != nil {
			t.Errorf("%+v is due, want none", due)
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			b, err := tx.Bulk(ctx, 8, b.ID)
			if err == nil && (b.State != pennypost.BulkCompleted || b.Released != 2 || b.Failed != 1) {
				t.Errorf("got %+v", b)
			}
			return err
		})
		sweepBulk(t, st, time.Time{})
		if n := bulkRows(t, st); n != 0 {
			t.Errorf("%d rows are left of a completed request", n)
		}
	})
}

// One step is made by one transaction, however many try.
func TestTakeBulk(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		b := openBulk(t, st, 8)
		var wg sync.WaitGroup
		var mu sync.Mutex
		took, stale := 0, 0
		for range 8 {
			wg.Go(func() {
				err := st.Update(t.Context(), func(tx *store.Tx) error {
					if err := tx.TakeBulk(t.Context(), b); err != nil {
						return err
					}
					after := *b
					after.Released++
					return tx.SetBulk(t.Context(), &after, -1)
				})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					took++
				case errors.Is(err, store.ErrStale):
					stale++
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took != 1 || stale != 7 {
			t.Errorf("%d took the step and %d came too late, want 1 and 7", took, stale)
		}
	})
}

// A cancelled request is not worked on any more, and what is left of it goes; so
// does what never was whole.
func TestCancelBulk(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		b := openBulk(t, st, 20)
		read := dueBulk(t, st)
		cancelled := func(server pennypost.ServerID) (did bool) {
			update(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
				did, err = tx.CancelBulk(ctx, server, b.ID)
				return err
			})
			return did
		}
		if cancelled(9) || !cancelled(8) || cancelled(8) {
			t.Error("want it cancelled once, by its server")
		}
		err := st.Update(t.Context(), func(tx *store.Tx) error { return tx.TakeBulk(t.Context(), read) })
		if !errors.Is(err, store.ErrStale) {
			t.Errorf("step of a cancelled request: %v, want ErrStale", err)
		}
		half := &pennypost.BulkRequest{ID: pennypost.BulkID(newID()), AccountID: 7, ServerID: 8, Stream: "broadcast", Total: 1}
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.BeginBulk(ctx, half, []byte("half")) })
		sweepBulk(t, st, half.SubmittedAt)
		if n := bulkRows(t, st); n != 1 {
			t.Errorf("%d rows are left, want that of the request being stored", n)
		}
		sweepBulk(t, st, half.SubmittedAt.Add(time.Microsecond))
		if n := bulkRows(t, st); n != 0 {
			t.Errorf("%d rows are left, want none", n)
		}
		err = st.Update(t.Context(), func(tx *store.Tx) error { return tx.OpenBulk(t.Context(), half) })
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("opening what was swept away: %v, want ErrNotFound", err)
		}
	})
}

func TestBulkTurns(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		first := openBulk(t, st, 4)
		second := openBulk(t, st, 4)
		if got := dueBulk(t, st); got.ID != first.ID {
			t.Error("the one that waits longest is not first")
		}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.TakeBulk(ctx, first); err != nil {
				return err
			}
			first.Released++
			return tx.SetBulk(ctx, first, -1)
		})
		if got := dueBulk(t, st); got.ID != second.ID {
			t.Error("they do not take turns")
		}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			return tx.DelayBulk(ctx, second.ID, tx.Now().Add(time.Hour))
		})
		if got := dueBulk(t, st); got.ID != first.ID {
			t.Error("one that is delayed is due")
		}
	})
}

func TestBulkPages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		var want []pennypost.BulkID
		for range 5 {
			want = append([]pennypost.BulkID{openBulk(t, st, 2).ID}, want...)
		}
		var got []pennypost.BulkID
		var after *store.BulkPlace
		for range 3 {
			view(t, st, func(ctx context.Context, tx *store.Tx) error {
				list, err := tx.Bulks(ctx, 8, after, 2)
				for _, b := range list {
					got = append(got, b.ID)
					after = &store.BulkPlace{At: b.SubmittedAt, ID: b.ID}
				}
				return err
			})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// Damage is found before messages are made of it.
func TestBulkDamage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		b := openBulk(t, st, 2)
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if _, err := tx.Exec(ctx, `UPDATE bulk_shared SET content = $1`, []byte("shaped")); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `UPDATE bulk_parts SET content = $1`, []byte("port 0"))
			return err
		})
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			if _, err := tx.BulkShared(ctx, b.ID); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("shared part: %v, want ErrDamaged", err)
			}
			if _, _, err := tx.BulkPart(ctx, b.ID, 0); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("part: %v, want ErrDamaged", err)
			}
			return nil
		})
	})
}

// Servers take turns, and the requests of each of them.
func TestDueBulkByServer(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		names := map[pennypost.BulkID]string{}
		for _, x := range []struct {
			server pennypost.ServerID
			name   string
		}{{8, "8a"}, {8, "8b"}, {8, "8c"}, {9, "9a"}, {7, "7a"}} {
			b := &pennypost.BulkRequest{ID: pennypost.BulkID(newID()), AccountID: 7, ServerID: x.server, Stream: "broadcast", Total: 100}
			names[b.ID] = x.name
			update(t, st, func(ctx context.Context, tx *store.Tx) error {
				if err := tx.BeginBulk(ctx, b, []byte("shared")); err != nil {
					return err
				}
				return tx.OpenBulk(ctx, b)
			})
		}
		var got []string
		after := pennypost.ServerID(0)
		for range 7 {
			update(t, st, func(ctx context.Context, tx *store.Tx) error {
				b, err := tx.DueBulk(ctx, after)
				if err != nil {
					return err
				}
				got, after = append(got, names[b.ID]), b.ServerID
				if err := tx.TakeBulk(ctx, b); err != nil {
					return err
				}
				b.Released++
				return tx.SetBulk(ctx, b, -1)
			})
		}
		if diff := cmp.Diff([]string{"7a", "8a", "9a", "7a", "8b", "9a", "7a"}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			for server, want := range map[pennypost.ServerID]int{7: 1, 8: 3, 9: 1, 10: 0} {
				if n, err := tx.OpenBulks(ctx, server); n != want || err != nil {
					t.Errorf("server %d has %d (%v) open, want %d", server, n, err, want)
				}
			}
			return nil
		})
	})
}

// Nothing comes of a request that was disowned, wherever it stood.
func TestDisownBulk(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		disown := func(b *pennypost.BulkRequest) {
			t.Helper()
			update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.DisownBulk(ctx, b) })
		}
		state := func(b *pennypost.BulkRequest) (s pennypost.BulkState) {
			t.Helper()
			view(t, st, func(ctx context.Context, tx *store.Tx) error {
				now, err := tx.Bulk(ctx, 8, b.ID)
				if errors.Is(err, store.ErrNotFound) {
					return nil
				}
				s = now.State
				return err
			})
			return s
		}
		fresh := func() *pennypost.BulkRequest {
			return &pennypost.BulkRequest{ID: pennypost.BulkID(newID()), AccountID: 7, ServerID: 8, Stream: "broadcast", Total: 1}
		}
		begin := func(b *pennypost.BulkRequest) func(ctx context.Context, tx *store.Tx) error {
			return func(ctx context.Context, tx *store.Tx) error { return tx.BeginBulk(ctx, b, []byte("shared")) }
		}

		opened := openBulk(t, st, 2)
		disown(opened)
		if s := state(opened); s != pennypost.BulkCancelled {
			t.Errorf("one that is open is %v, want Cancelled", s)
		}

		half := fresh()
		update(t, st, begin(half))
		disown(half)
		if s := state(half); s != pennypost.BulkReceiving {
			t.Errorf("one that was not stored as a whole shows as %v", s)
		}

		none := fresh()
		disown(none)
		if s := state(none); s != pennypost.BulkReceiving {
			t.Errorf("one that was not stored shows as %v", s)
		}
		err := st.Update(t.Context(), func(tx *store.Tx) error { return begin(none)(t.Context(), tx) })
		if !errors.Is(err, store.ErrConflict) {
			t.Errorf("it can still be stored: %v, want ErrConflict", err)
		}

		late, inside := fresh(), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			once := sync.OnceFunc(func() { close(inside) })
			err := st.Update(t.Context(), func(tx *store.Tx) error {
				if err := begin(late)(t.Context(), tx); err != nil {
					return err
				}
				once()
				time.Sleep(50 * time.Millisecond) // the other one comes meanwhile
				return tx.OpenBulk(t.Context(), late)
			})
			if err != nil {
				t.Error(err)
			}
		})
		<-inside
		disown(late)
		wg.Wait()
		if s := state(late); s != pennypost.BulkCancelled {
			t.Errorf("one that is committed late is %v, want Cancelled", s)
		}
		if b := dueBulk(t, st); b != nil {
			t.Errorf("%+v is due", b)
		}
		sweepBulk(t, st, time.Now().Add(24*time.Hour))
		if n := bulkRows(t, st); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}
