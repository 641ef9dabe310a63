package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

func addStream(t *testing.T, st *store.Store, s *pennypost.Stream) {
	t.Helper()
	s.Type, s.Name, s.Unsubscribe, s.RetryFor = pennypost.StreamTransactional, "Stream", pennypost.UnsubscribeNone, 72*time.Hour
	update(t, st, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.AddStream(ctx, s); err != nil {
			return err
		}
		return tx.SetStream(ctx, s)
	})
}

func TestSetStream(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		s := &pennypost.Stream{ServerID: 1, ID: "news"}
		addStream(t, st, s)
		addStream(t, st, &pennypost.Stream{ServerID: 2, ID: "news"})
		at := micro(time.Now())
		s.Name, s.Description, s.Unsubscribe, s.UpdatedAt, s.ArchivedAt = "Néws", "x\x00y", pennypost.UnsubscribePostmark, at, at.Add(time.Second)
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			list, err := tx.StreamsToChange(ctx, 1)
			if err != nil || len(list) != 1 || list[0].ID != "news" {
				t.Errorf("streams to change: %v, %v", list, err)
			}
			if err := tx.SetStream(ctx, s); err != nil {
				return err
			}
			if err := tx.SetStream(ctx, &pennypost.Stream{ServerID: 1, ID: "nope"}); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("a stream that is not there: %v", err)
			}
			return nil
		})
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Stream(ctx, 1, "news")
			if err != nil {
				return err
			}
			want := *s
			want.Description = "x\uFFFDy"
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			other, err := tx.Stream(ctx, 2, "news")
			if err == nil && (other.Name != "Stream" || !other.ArchivedAt.IsZero()) {
				t.Errorf("another server's stream changed: %+v", other)
			}
			for after, n := range map[time.Duration]int{0: 0, time.Second: 1, time.Hour: 1} {
				list, err := tx.ArchivedBefore(ctx, at.Add(after), nil, 10)
				if err != nil || len(list) != n {
					t.Errorf("archived %v later: %d, %v; want %d", after, len(list), err, n)
				}
			}
			return err
		})
	})
}

// Archived streams are walked through page by page, whoever they are of.
func TestArchivedPages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		at := micro(time.Now())
		var want []string
		for _, s := range []pennypost.Stream{
			{ServerID: 2, ID: "b", ArchivedAt: at},
			{ServerID: 1, ID: "c", ArchivedAt: at.Add(time.Second)},
			{ServerID: 1, ID: "d", ArchivedAt: at.Add(time.Second)},
			{ServerID: 2, ID: "a", ArchivedAt: at.Add(time.Second)},
			{ServerID: 1, ID: "b", ArchivedAt: at.Add(2 * time.Second)},
		} {
			addStream(t, st, &s)
			want = append(want, fmt.Sprint(s.ServerID, s.ID))
		}
		addStream(t, st, &pennypost.Stream{ServerID: 1, ID: "kept"})
		addStream(t, st, &pennypost.Stream{ServerID: 1, ID: "late", ArchivedAt: at.Add(time.Hour)})
		var got []string
		var after *pennypost.Stream
		for more := true; more; {
			view(t, st, func(ctx context.Context, tx *store.Tx) error {
				list, err := tx.ArchivedBefore(ctx, at.Add(time.Minute), after, 2)
				for i := range list {
					got, after = append(got, fmt.Sprint(list[i].ServerID, list[i].ID)), &list[i]
				}
				more = len(list) == 2 && len(got) < 20
				return err
			})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestSuppressionList(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		old := micro(time.Now().Add(-time.Hour))
		entry := func(addr pennypost.Address, reason, origin string, at time.Time) pennypost.Suppression {
			return pennypost.Suppression{ServerID: 1, Stream: "outbound", Address: addr, Reason: reason, Origin: origin, At: at}
		}
		other := entry("z@x.test", "HardBounce", "Recipient", old)
		other.Stream = "broadcast"
		var added int
		update(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
			if added, err = tx.SuppressAll(ctx, []pennypost.Suppression{
				entry("C@x.test", "HardBounce", "Recipient", old), entry("a@x.test", "ManualSuppression", "Customer", time.Time{}),
				entry("b@x.test", "SpamComplaint", "Admin", old.Add(time.Minute)), entry("A@x.test", "HardBounce", "Admin", old), other,
			}); err != nil {
				return err
			}
			again, err := tx.SuppressAll(ctx, []pennypost.Suppression{entry("c@x.test", "SpamComplaint", "Admin", old)})
			if again != 0 {
				t.Errorf("%d added again", again)
			}
			return err
		})
		if added != 4 {
			t.Errorf("%d added, want 4", added)
		}
		many := make([]pennypost.Suppression, 601)
		for i, a := range addresses(len(many)) {
			many[i] = entry(a, "HardBounce", "Recipient", time.Time{})
			many[i].ServerID = 2
		}
		update(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
			added, err = tx.SuppressAll(ctx, many)
			return err
		})
		if added != len(many) {
			t.Errorf("%d added, want %d", added, len(many))
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			find := func(change func(f *store.SuppressionFilter), after pennypost.Address, n int) string {
				f := store.SuppressionFilter{Server: 1, Stream: "outbound"}
				change(&f)
				list, err := tx.Suppressions(ctx, &f, after, n)
				if err != nil {
					t.Fatal(err)
				}
				var s []string
				for _, e := range list {
					s = append(s, strings.TrimSuffix(string(e.Address), "@x.test"))
				}
				return strings.Join(s, " ")
			}
			for name, c := range map[string]struct {
				change func(f *store.SuppressionFilter)
				after  pennypost.Address
				n      int
				want   string
			}{
				"all":      {func(*store.SuppressionFilter) {}, "", 9, "a b c"},
				"page":     {func(*store.SuppressionFilter) {}, "", 2, "a b"},
				"the next": {func(*store.SuppressionFilter) {}, "b@x.test", 2, "c"},
				"reason":   {func(f *store.SuppressionFilter) { f.Reason = "HardBounce" }, "", 9, "c"},
				"origin":   {func(f *store.SuppressionFilter) { f.Origin = "Customer" }, "", 9, "a"},
				"address":  {func(f *store.SuppressionFilter) { f.Address = "B@x.test" }, "", 9, "b"},
				"from":     {func(f *store.SuppressionFilter) { f.From = old.Add(time.Minute) }, "", 9, "a b"},
				"before":   {func(f *store.SuppressionFilter) { f.Before = old.Add(time.Minute) }, "", 9, "c"},
				"both":     {func(f *store.SuppressionFilter) { f.Origin, f.Reason = "Admin", "HardBounce" }, "", 9, ""},
			} {
				if got := find(c.change, c.after, c.n); got != c.want {
					t.Errorf("%s: %q, want %q", name, got, c.want)
				}
			}
			s, err := tx.Suppression(ctx, 1, "outbound", "c@x.test")
			if err == nil && (s.Reason != "HardBounce" || s.Origin != "Recipient" || !s.At.Equal(old)) {
				t.Errorf("the first entry did not stay: %+v", s)
			}
			return err
		})
	})
}

func TestReactivate(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		bounce := func(addr pennypost.Address, stream pennypost.StreamID, inactive bool) *pennypost.Bounce {
			b := &pennypost.Bounce{Type: "HardBounce", TypeCode: 1, ServerID: 1, Stream: stream, MessageID: newID(), Recipient: addr, Inactive: inactive}
			update(t, st, func(ctx context.Context, tx *store.Tx) error {
				return tx.AddEvent(ctx, &pennypost.Event{MessageID: b.MessageID, ServerID: 1, Stream: stream, Recipient: addr, Type: pennypost.EventBounced, Bounce: b})
			})
			return b
		}
		first, second := bounce("Ännchen@x.test", "outbound", true), bounce("ännchen@x.test", "outbound", true)
		soft := bounce("ännchen@x.test", "outbound", false)
		elsewhere, someone := bounce("ännchen@x.test", "broadcast", true), bounce("bob@x.test", "outbound", true)
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			b, err := tx.Reactivate(ctx, 1, "outbound", "ÄNNCHEN@x.test")
			if err != nil {
				return err
			}
			if b.ID != second.ID || b.MessageID != second.MessageID {
				t.Errorf("bounce %d, want the latest that was inactive, %d", b.ID, second.ID)
			}
			if _, err := tx.Reactivate(ctx, 1, "outbound", "ännchen@x.test"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("again: %v", err)
			}
			for _, c := range []struct {
				b    *pennypost.Bounce
				want bool
			}{{first, false}, {second, false}, {soft, false}, {elsewhere, true}, {someone, true}} {
				got, err := tx.Bounce(ctx, 1, c.b.ID)
				if err != nil {
					return err
				}
				if got.Inactive != c.want {
					t.Errorf("bounce of %s in %s: inactive %v", got.Recipient, got.Stream, got.Inactive)
				}
			}
			return nil
		})
	})
}

// Events that concern no message are found by their stream, and are no
// message's.
func TestStreamEvents(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		record := func(server pennypost.ServerID, stream pennypost.StreamID, addr pennypost.Address) *pennypost.Event {
			e := &pennypost.Event{ServerID: server, Stream: stream, Recipient: addr, Type: pennypost.EventSubscriptionChanged, Details: map[string]string{"Origin": "Customer"}}
			update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.AddEvent(ctx, e) })
			return e
		}
		one, two := record(1, "outbound", "a@x.test"), record(1, "outbound", "b@x.test")
		record(1, "broadcast", "c@x.test")
		record(2, "outbound", "d@x.test")
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			list, err := tx.StreamEvents(ctx, 1, "outbound", 0, 10)
			if err != nil {
				return err
			}
			one.At, two.At = micro(one.At), micro(two.At)
			if diff := cmp.Diff([]pennypost.Event{*one, *two}, list); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if list, err = tx.StreamEvents(ctx, 1, "outbound", one.ID, 10); err != nil || len(list) != 1 || list[0].ID != two.ID {
				t.Errorf("after the first: %v, %v", list, err)
			}
			list, err = tx.Events(ctx, pennypost.MessageID{})
			if len(list) != 0 {
				t.Errorf("events of no message: %v", list)
			}
			return err
		})
	})
}

func TestImports(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		im := &pennypost.Import{ServerID: 1, Stream: "outbound", Status: pennypost.ImportReceiving, Total: 3}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.AddImport(ctx, im); err != nil {
				return err
			}
			for n, part := range []string{"first", "second"} {
				if err := tx.AddImportPart(ctx, im.ID, n, []byte(part)); err != nil {
					return err
				}
			}
			if busy, err := tx.Importing(ctx, 1, "outbound"); busy || err != nil {
				t.Errorf("importing before all parts came: %v, %v", busy, err)
			}
			im.Status = pennypost.ImportWaiting
			return tx.SetImport(ctx, im)
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if busy, err := tx.Importing(ctx, 1, "outbound"); !busy || err != nil {
				t.Errorf("importing: %v, %v", busy, err)
			}
			if busy, err := tx.Importing(ctx, 1, "broadcast"); busy || err != nil {
				t.Errorf("importing into another stream: %v, %v", busy, err)
			}
			open, err := tx.OpenImports(ctx)
			if err != nil || len(open) != 1 || open[0].ID != im.ID {
				t.Errorf("open imports: %v, %v", open, err)
			}
			n, part, err := tx.ImportPart(ctx, im.ID)
			if err != nil || n != 0 || string(part) != "first" {
				t.Errorf("part %d %q, %v", n, part, err)
			}
			if err := tx.EndImportPart(ctx, im.ID, 0); err != nil {
				return err
			}
			if err := tx.EndImportPart(ctx, im.ID, 0); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("ended twice: %v", err)
			}
			_, err = tx.Exec(ctx, `UPDATE import_parts SET checksum = 1`)
			return err
		})
		im.Status, im.Processed, im.Added, im.Failed, im.FinishedAt = pennypost.ImportCompleted, 3, 1, 2, micro(time.Now())
		im.Errors = []pennypost.ImportError{{Line: 2, Address: "x", Text: "y"}}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if _, _, err := tx.ImportPart(ctx, im.ID); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("damaged part: %v", err)
			}
			if err := tx.SetImport(ctx, im); err != nil {
				return err
			}
			got, err := tx.Import(ctx, 1, "outbound", im.ID)
			if err != nil {
				return err
			}
			im.CreatedAt = micro(im.CreatedAt)
			if diff := cmp.Diff(im, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, other := range []struct {
				server pennypost.ServerID
				stream pennypost.StreamID
			}{{2, "outbound"}, {1, "broadcast"}} {
				if _, err := tx.Import(ctx, other.server, other.stream, im.ID); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("another's import: %v", err)
				}
			}
			if more, err := tx.DeleteImports(ctx, im.FinishedAt, im.FinishedAt.Add(time.Hour)); more || err != nil {
				t.Errorf("too early: %v, %v", more, err)
			}
			if _, err := tx.Import(ctx, 1, "outbound", im.ID); err != nil {
				t.Errorf("deleted too early: %v", err)
			}
			if more, err := tx.DeleteImports(ctx, im.FinishedAt.Add(time.Hour), im.CreatedAt); !more || err != nil {
				t.Errorf("deleted: %v, %v", more, err)
			}
			return nil
		})
		for _, table := range []string{"imports", "import_parts"} {
			if n := number(t, st, `SELECT COUNT(*) FROM `+table); n != 0 {
				t.Errorf("%d rows of %s are left", n, table)
			}
		}
	})
}

// Imports are deleted some parts at a time, those that are not whole once they
// are old, and those that broke off at once.
func TestDeleteImports(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		const parts = 10
		add := func(status pennypost.ImportStatus) *pennypost.Import {
			im := &pennypost.Import{ServerID: 1, Stream: "outbound", Status: status, Total: 1}
			update(t, st, func(ctx context.Context, tx *store.Tx) error {
				if err := tx.AddImport(ctx, im); err != nil {
					return err
				}
				for n := range parts {
					if err := tx.AddImportPart(ctx, im.ID, n, []byte("x")); err != nil {
						return err
					}
				}
				return nil
			})
			return im
		}
		left := func() int64 { return number(t, st, `SELECT COUNT(*) FROM import_parts`) }
		// all runs a step to its end; none takes more than some parts.
		all := func(step func(ctx context.Context, tx *store.Tx) (bool, error)) {
			t.Helper()
			for more := true; more; {
				before := left()
				update(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
					more, err = step(ctx, tx)
					return err
				})
				if now := left(); before-now > 4 || more && now == before && now > 0 {
					t.Fatalf("%d parts after %d, more is %v", now, before, more)
				}
			}
		}
		half, open := add(pennypost.ImportReceiving), add(pennypost.ImportWaiting)
		never := half.CreatedAt.Add(-time.Hour)
		all(func(ctx context.Context, tx *store.Tx) (bool, error) {
			return tx.DeleteImports(ctx, never, micro(half.CreatedAt))
		})
		if n := left(); n != 2*parts {
			t.Errorf("%d parts left of two imports that are young", n)
		}
		all(func(ctx context.Context, tx *store.Tx) (bool, error) {
			return tx.DeleteImports(ctx, never, open.CreatedAt.Add(time.Hour))
		})
		if n := left(); n != parts {
			t.Errorf("%d parts left, want those of the one that is whole", n)
		}
		drop := func(id pennypost.ImportID) {
			t.Helper()
			all(func(ctx context.Context, tx *store.Tx) (bool, error) { return tx.DropImport(ctx, id) })
		}
		drop(open.ID)
		half = add(pennypost.ImportReceiving)
		drop(half.ID)
		drop(half.ID)
		if n := left(); n != parts {
			t.Errorf("%d parts left, want those of the one that is whole", n)
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			list, err := tx.OpenImports(ctx)
			if err == nil && (len(list) != 1 || list[0].ID != open.ID) {
				t.Errorf("%v is left", list)
			}
			return err
		})
	})
}

// addBulk adds a bulk request in a state; one that was completed and swept has
// nothing but its row.
func addBulk(ctx context.Context, tx *store.Tx, server pennypost.ServerID, stream pennypost.StreamID, state pennypost.BulkState) error {
	b := &pennypost.BulkRequest{ID: pennypost.BulkID(newID()), AccountID: 1, ServerID: server, Stream: stream, Total: 6}
	if err := tx.BeginBulk(ctx, b, []byte("shared")); err != nil {
		return err
	}
	for first := range b.Total {
		if err := tx.AddBulkPart(ctx, b.ID, first, []byte("ann@x.test")); err != nil {
			return err
		}
	}
	if err := tx.OpenBulk(ctx, b); err != nil {
		return err
	}
	if state == pennypost.BulkCompleted {
		for _, query := range []string{`DELETE FROM bulk_parts WHERE request_id = $1`, `DELETE FROM bulk_shared WHERE request_id = $1`, `UPDATE bulk_requests SET stored = 0 WHERE id = $1`} {
			if _, err := tx.Exec(ctx, query, b.ID[:]); err != nil {
				return err
			}
		}
	}
	_, err := tx.Exec(ctx, `UPDATE bulk_requests SET state = $2 WHERE id = $1`, b.ID[:], int64(state))
	return err
}

// What is deleted with a transaction is bounded by its octets too, and one
// message of any size goes.
func TestPurgeOctets(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		at := micro(time.Now())
		addStream(t, st, &pennypost.Stream{ServerID: 1, ID: "news", ArchivedAt: at})
		for _, size := range []int64{4 << 20, 4 << 20, 1, 9 << 20, 1, 2} {
			m := mail(st, "ann@x.test")
			m.Message.Stream, m.Message.Size, m.Jobs = "news", size, nil
			stored(t, st, m)
		}
		var left []int64
		for more := true; more; {
			update(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
				more, err = tx.PurgeStream(ctx, 1, "news", at, 100)
				return err
			})
			left = append(left, number(t, st, `SELECT COUNT(*) FROM messages`))
		}
		if diff := cmp.Diff([]int64{4, 3, 2, 0, 0}, left); diff != "" {
			t.Errorf("left after each step -want +got:\n%s", diff)
		}
	})
}

// A purge runs beside others: what is stored of a message while it is deleted is
// deleted too, or not stored.
func TestPurgeBesideOpens(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		at := micro(time.Now())
		addStream(t, st, &pennypost.Stream{ServerID: 1, ID: "news", ArchivedAt: at})
		for range 20 {
			m := mail(st, "ann@x.test")
			m.Message.Stream, m.Jobs = "news", nil
			stored(t, st, m)
			var wg sync.WaitGroup
			for n := range 4 {
				wg.Go(func() {
					err := st.Update(t.Context(), func(tx *store.Tx) error {
						if err := tx.KeepMessage(t.Context(), m.Message.ID); err != nil {
							return err
						}
						_, err := tx.AddOpen(t.Context(), &pennypost.Reading{ServerID: 1, Stream: "news", MessageID: m.Message.ID, N: n})
						return err
					})
					if err != nil && !errors.Is(err, store.ErrNotFound) {
						t.Error(err)
					}
				})
			}
			update(t, st, func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.PurgeStream(ctx, 1, "news", at, 100)
				return err
			})
			wg.Wait()
			err := st.Update(t.Context(), func(tx *store.Tx) error { return tx.KeepMessage(t.Context(), m.Message.ID) })
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("a message that was purged: %v", err)
			}
		}
		if n := number(t, st, `SELECT COUNT(*) FROM opens`); n != 0 {
			t.Errorf("%d opens of messages that were purged", n)
		}
	})
}

// A purge takes all of a stream in steps, and nothing of another; statistics
// stay (contract/streams.md §4).
func TestPurgeStream(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		fill := func(server pennypost.ServerID, stream pennypost.StreamID) {
			for n := range 3 {
				m := mail(st, "ann@x.test", "bob@x.test")
				m.Message.ServerID, m.Message.Stream = server, stream
				m.Message.Subject = fmt.Sprint(n)
				m.Jobs = nil
				stored(t, st, m)
				update(t, st, func(ctx context.Context, tx *store.Tx) error {
					err := tx.AddEvent(ctx, &pennypost.Event{
						ServerID: server, Stream: stream, MessageID: m.Message.ID, Type: pennypost.EventBounced, Recipient: "ann@x.test",
						Bounce: &pennypost.Bounce{Type: "HardBounce", TypeCode: 1, ServerID: server, Stream: stream, MessageID: m.Message.ID, Recipient: "ann@x.test"},
					})
					if err != nil {
						return err
					}
					refused := newID() // over SMTP: it has no row in messages
					err = tx.AddEvent(ctx, &pennypost.Event{
						ServerID: server, Stream: stream, MessageID: refused, Type: pennypost.EventBounced,
						Bounce: &pennypost.Bounce{Type: "SMTPApiError", TypeCode: 100007, ServerID: server, Stream: stream, MessageID: refused},
					})
					if err != nil {
						return err
					}
					if err = tx.AddEvent(ctx, &pennypost.Event{ServerID: server, Stream: stream, Type: pennypost.EventSubscriptionChanged}); err != nil {
						return err
					}
					if err := tx.AddAttempt(ctx, &pennypost.Attempt{MessageID: m.Message.ID, No: 1, Outcome: pennypost.OutcomeBounced}); err != nil {
						return err
					}
					read := pennypost.Reading{ServerID: server, Stream: stream, MessageID: m.Message.ID, Recipient: "ann@x.test"}
					click := pennypost.Click{Reading: read, Link: 1, Target: "https://x.test/"}
					if _, err := tx.AddOpen(ctx, &read); err != nil {
						return err
					}
					if _, err := tx.AddClick(ctx, &click); err != nil {
						return err
					}
					return tx.SetSignature(ctx, m.Message.ID, []byte("DKIM-Signature: x\r\n"))
				})
			}
			update(t, st, func(ctx context.Context, tx *store.Tx) error {
				var list []pennypost.Suppression
				for _, a := range addresses(5) {
					list = append(list, pennypost.Suppression{ServerID: server, Stream: stream, Address: a, Reason: "HardBounce", Origin: "Recipient"})
				}
				if _, err := tx.SuppressAll(ctx, list); err != nil {
					return err
				}
				im := &pennypost.Import{ServerID: server, Stream: stream, Status: pennypost.ImportReceiving, Total: 1}
				if err := tx.AddImport(ctx, im); err != nil {
					return err
				}
				if err := tx.AddImportPart(ctx, im.ID, 0, []byte("x")); err != nil {
					return err
				}
				if err := tx.CountStats(ctx, store.StatCount{Server: server, Stream: stream, Sent: 1}); err != nil {
					return err
				}
				for _, state := range []pennypost.BulkState{pennypost.BulkAccepted, pennypost.BulkCancelled, pennypost.BulkCompleted, pennypost.BulkCompleted, pennypost.BulkCompleted} {
					if err := addBulk(ctx, tx, server, stream, state); err != nil {
						return err
					}
				}
				api := &pennypost.APIToken{AccountID: 1, ServerID: server, Stream: stream, Label: "x"}
				if err := tx.AddAPIToken(ctx, api, fmt.Append(nil, "hash", server, stream), []byte("sealed")); err != nil {
					return err
				}
				token := &pennypost.SMTPToken{AccountID: 1, ServerID: server, Stream: stream, Label: "x", AccessKey: fmt.Sprint(server, stream)}
				return tx.AddSMTPToken(ctx, token, []byte(token.AccessKey))
			})
		}
		tables := []string{
			"messages", "contents", "signatures", "recipients", "attempts", "events", "bounces", "suppressions", "imports", "import_parts",
			"opens", "clicks", "bulk_requests", "bulk_shared", "bulk_parts", "tokens", "smtp_secrets", "streams", "stats_hourly",
		}
		counts := func() map[string]int64 {
			m := map[string]int64{}
			for _, table := range tables {
				m[table] = number(t, st, `SELECT COUNT(*) FROM `+table)
			}
			return m
		}
		addStream(t, st, &pennypost.Stream{ServerID: 1, ID: "kept"})
		addStream(t, st, &pennypost.Stream{ServerID: 2, ID: "news"})
		fill(1, "kept")
		fill(2, "news")
		want := counts()
		for _, table := range tables {
			if want[table] == 0 {
				t.Fatalf("the test has no rows in %s", table)
			}
		}
		at := micro(time.Now())
		addStream(t, st, &pennypost.Stream{ServerID: 1, ID: "news", ArchivedAt: at})
		fill(1, "news")
		want["stats_hourly"] = counts()["stats_hourly"]
		purge := func(stream pennypost.StreamID, before time.Time) (more bool, err error) {
			err = st.Update(t.Context(), func(tx *store.Tx) (err error) {
				more, err = tx.PurgeStream(t.Context(), 1, stream, before, 2)
				return err
			})
			return more, err
		}
		for stream, before := range map[pennypost.StreamID]time.Time{"news": at.Add(-time.Microsecond), "kept": at, "nope": at} {
			if _, err := purge(stream, before); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("purge of %s: %v", stream, err)
			}
		}
		steps := 0
		for more := true; more; steps++ {
			if n := number(t, st, `SELECT COUNT(*) FROM streams WHERE server_id = 1 AND id = 'news'`); n != 1 {
				t.Fatal("the stream went before the rest")
			}
			var err error
			if more, err = purge("news", at); err != nil {
				t.Fatal(err)
			}
		}
		if steps < 10 {
			t.Errorf("%d steps of two rows, want many", steps)
		}
		if diff := cmp.Diff(want, counts()); diff != "" {
			t.Errorf("left -want +got:\n%s", diff)
		}
	})
}

func TestAnyWaiting(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		var jobs []pennypost.Job
		for range 5 {
			m := stored(t, st, mail(st, "ann@x.test"))
			jobs = append(jobs, m.Jobs...)
		}
		// walk gives the pages until one has a job, or the end.
		walk := func(stream pennypost.StreamID) (pages int, waiting bool) {
			from := &store.Place{}
			for from != nil && !waiting {
				pages++
				view(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
					waiting, from, err = tx.AnyWaiting(ctx, 1, stream, *from, 2)
					return err
				})
			}
			return pages, waiting
		}
		finish := func(list ...pennypost.Job) {
			update(t, st, func(ctx context.Context, tx *store.Tx) error {
				for _, j := range list {
					if err := tx.FinishJob(ctx, j.ID); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if pages, waiting := walk("outbound"); pages != 1 || !waiting {
			t.Errorf("all wait: %d pages, %v", pages, waiting)
		}
		finish(jobs[:4]...)
		if pages, waiting := walk("outbound"); pages != 3 || !waiting {
			t.Errorf("the last waits: %d pages, %v", pages, waiting)
		}
		finish(jobs[4])
		if pages, waiting := walk("outbound"); pages != 3 || waiting {
			t.Errorf("none waits: %d pages, %v", pages, waiting)
		}
		if pages, waiting := walk("broadcast"); pages != 1 || waiting {
			t.Errorf("empty stream: %d pages, %v", pages, waiting)
		}
	})
}
