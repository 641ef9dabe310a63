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

func TestUsageLimits(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		use := func(server pennypost.ServerID, n int, limits pennypost.Limits) error {
			return st.Update(t.Context(), func(tx *store.Tx) error { return tx.AddUsage(t.Context(), 1, server, n, limits) })
		}
		limits := pennypost.Limits{Account: 10, Server: 6}
		for _, c := range []struct {
			server pennypost.ServerID
			n      int
			limit  int64 // that is passed; 0: none
		}{
			{1, 5, 0}, {1, 2, 6}, {1, 1, 0}, {1, 1, 6}, {2, 5, 10}, {2, 4, 0}, {2, 1, 10},
		} {
			err := use(c.server, c.n, limits)
			var over *store.OverLimitError
			switch {
			case c.limit == 0 && err != nil:
				t.Errorf("server %d, %d more: %v", c.server, c.n, err)
			case c.limit != 0 && (!errors.As(err, &over) || over.Limit != c.limit):
				t.Errorf("server %d, %d more: %v, want the limit of %d to be passed", c.server, c.n, err, c.limit)
			}
			if over != nil {
				now := time.Now().UTC()
				if want := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC); !over.Until.Equal(want) {
					t.Errorf("until %v, want %v", over.Until, want)
				}
			}
		}
		if err := use(1, 100, pennypost.Limits{}); err != nil {
			t.Errorf("no limit: %v", err)
		}
		if err := use(3, 100, pennypost.Limits{Server: 100}); err != nil {
			t.Errorf("a limit that is reached: %v", err)
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			all, own, err := tx.Usage(ctx, 1, 2, time.Now())
			if all != 210 || own != 4 {
				t.Errorf("%d and %d, want 210 and 4", all, own)
			}
			if err != nil {
				return err
			}
			all, own, err = tx.Usage(ctx, 1, 2, time.Now().AddDate(0, -2, 0))
			if all != 0 || own != 0 {
				t.Errorf("%d and %d in another month", all, own)
			}
			return err
		})
	})
}

// Nothing that is counted at once is lost.
func TestCountedAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		const each, writers = 20, 8
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range each {
					err := st.Update(context.Background(), func(tx *store.Tx) error {
						if err := tx.AddUsage(context.Background(), 1, 1, 2, pennypost.Limits{}); err != nil {
							return err
						}
						return tx.CountStats(context.Background(), store.StatCount{Server: 1, Stream: "outbound", Sent: 3})
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			all, _, err := tx.Usage(ctx, 1, 1, time.Now())
			if all != 2*each*writers {
				t.Errorf("%d, want %d", all, 2*each*writers)
			}
			if err != nil {
				return err
			}
			hours, err := tx.StatsHours(ctx, 1, "", time.Now().Add(-2*time.Hour), time.Now().Add(time.Hour))
			var sent int64
			for _, h := range hours {
				sent += h.Sent
			}
			if sent != 3*each*writers {
				t.Errorf("%d, want %d", sent, 3*each*writers)
			}
			return err
		})
	})
}

func TestStats(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, c store.Config) {
		clock := time.Date(2026, 3, 11, 16, 59, 59, 0, time.UTC)
		if c.URL == "" {
			c.Now = func() time.Time { return clock }
		} else {
			clock = time.Now() // the server's
		}
		st := storetest.OpenConfig(t, c)
		count := func(c store.StatCount) {
			update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.CountStats(ctx, c) })
		}
		out := store.StatCount{Server: 1, Stream: "outbound"}
		tagged := store.StatCount{Server: 1, Stream: "outbound", Tag: "spring", Delivered: 1}
		count(store.StatCount{Server: 1, Stream: "outbound", Sent: 3, Deferred: 1})
		count(store.StatCount{Server: 1, Stream: "outbound", Sent: 2, Bounced: 4, SMTPErrors: 5})
		count(tagged)
		count(store.StatCount{Server: 1, Stream: "news", Sent: 1})
		count(store.StatCount{Server: 2, Stream: "outbound", Sent: 1})
		hour := clock.UTC().Truncate(time.Hour)
		out.Sent, out.Deferred, out.Bounced, out.SMTPErrors = 5, 1, 4, 5
		want := []store.StatHour{{StatCount: out, Hour: hour}, {StatCount: tagged, Hour: hour}}
		if c.URL == "" { // the next hour
			clock = clock.Add(2 * time.Second)
			count(tagged)
			want = append(want, store.StatHour{StatCount: tagged, Hour: hour.Add(time.Hour)})
		}
		hours := func(stream pennypost.StreamID, from, to time.Time) (list []store.StatHour) {
			view(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
				list, err = tx.StatsHours(ctx, 1, stream, from, to)
				return err
			})
			return list
		}
		if d := cmp.Diff(want, hours("outbound", hour, hour.Add(2*time.Hour))); d != "" {
			t.Error(d)
		}
		if got := hours("outbound", hour.Add(-time.Hour), hour); len(got) != 0 {
			t.Errorf("the hour before has %v", got)
		}
		if got := hours("", hour, hour.Add(time.Hour)); len(got) != 3 {
			t.Errorf("all streams have %v", got)
		}
	})
}

func TestSuppressions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		s := pennypost.Suppression{ServerID: 1, Stream: "outbound", Address: "Ann@shop.example", Reason: "HardBounce", Origin: "Recipient"}
		for i, want := range []bool{true, false} {
			update(t, st, func(ctx context.Context, tx *store.Tx) error {
				added, err := tx.Suppress(ctx, s)
				if added != want {
					t.Errorf("time %d: added %v", i, added)
				}
				return err
			})
			s.Reason = "SpamComplaint"
		}
		many := append(addresses(60), "ANN@shop.example", "bob@shop.example")
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Suppressed(ctx, 1, "outbound", many)
			if d := cmp.Diff([]pennypost.Address{"ANN@shop.example"}, got); d != "" {
				t.Error(d)
			}
			if err != nil {
				return err
			}
			for _, other := range []pennypost.StreamID{"news", ""} {
				if got, err := tx.Suppressed(ctx, 1, other, many); len(got) != 0 || err != nil {
					t.Errorf("stream %q: %v, %v", other, got, err)
				}
			}
			if got, err := tx.Suppressed(ctx, 2, "outbound", many); len(got) != 0 || err != nil {
				t.Errorf("another server: %v, %v", got, err)
			}
			entry, err := tx.Suppression(ctx, 1, "outbound", "ann@shop.example")
			if err == nil && (entry.Reason != "HardBounce" || entry.Address != "ann@shop.example" || entry.At.IsZero()) {
				t.Errorf("the first reason stays: %+v", entry)
			}
			return err
		})
		for i, want := range []bool{true, false} {
			update(t, st, func(ctx context.Context, tx *store.Tx) error {
				was, err := tx.Unsuppress(ctx, 1, "outbound", "ann@SHOP.example")
				if was != want {
					t.Errorf("time %d: was there %v", i, was)
				}
				return err
			})
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			if _, err := tx.Suppression(ctx, 1, "outbound", "ann@shop.example"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("got %v", err)
			}
			return nil
		})
	})
}

func TestMetaAndSequences(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if _, err := tx.Meta(ctx, "none"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("got %v", err)
			}
			before, err := tx.AuthEpoch(ctx)
			if err != nil {
				return err
			}
			if err := tx.BumpAuth(ctx); err != nil {
				return err
			}
			after, err := tx.AuthEpoch(ctx)
			if after != before+1 {
				t.Errorf("epoch %d follows %d", after, before)
			}
			return err
		})
		for i := range 3 {
			update(t, st, func(ctx context.Context, tx *store.Tx) error {
				a := &pennypost.Account{Name: fmt.Sprint(i)}
				err := tx.AddAccount(ctx, a)
				if a.ID != pennypost.AccountID(i+1) || a.CreatedAt.IsZero() {
					t.Errorf("account %d was made at %v", a.ID, a.CreatedAt)
				}
				return err
			})
		}
	})
}

// What a closure counted goes with it when it fails, also in a part; and a
// closure sees what it counted.
func TestCountsOfFailed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		fault := errors.New("fault")
		count := func(tx *store.Tx, tag string) error {
			return tx.CountStats(t.Context(), store.StatCount{Server: 1, Stream: "outbound", Tag: tag, Sent: 1})
		}
		counted := func(tx *store.Tx) map[string]int64 {
			list, err := tx.StatsHours(t.Context(), 1, "outbound", time.Now().Add(-2*time.Hour), time.Now().Add(time.Hour))
			if err != nil {
				t.Error(err)
			}
			sums := make(map[string]int64)
			for _, h := range list {
				sums[h.Tag] += h.Sent
			}
			return sums
		}
		wantErr(t, "a closure that fails", st.Update(t.Context(), func(tx *store.Tx) error {
			return errors.Join(count(tx, "failed"), fault)
		}), fault)
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if err := count(tx, "kept"); err != nil {
				return err
			}
			wantErr(t, "a part that fails", tx.Nested(ctx, func(tx *store.Tx) error { return errors.Join(count(tx, "part"), fault) }), fault)
			wantErr(t, "a part that fails", tx.Nested(ctx, func(tx *store.Tx) error {
				err := count(tx, "seen part")
				if d := cmp.Diff(map[string]int64{"kept": 1, "seen part": 1}, counted(tx)); d != "" {
					t.Errorf("seen within the part: %s", d)
				}
				return errors.Join(err, fault)
			}), fault)
			if err := tx.Nested(ctx, func(tx *store.Tx) error { return count(tx, "kept") }); err != nil {
				return err
			}
			if d := cmp.Diff(map[string]int64{"kept": 2}, counted(tx)); d != "" {
				t.Errorf("seen by the closure: %s", d)
			}
			return count(tx, "kept")
		})
		view(t, st, func(_ context.Context, tx *store.Tx) error {
			if d := cmp.Diff(map[string]int64{"kept": 3}, counted(tx)); d != "" {
				t.Error(d)
			}
			return nil
		})
	})
}
