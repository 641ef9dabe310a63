package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

func reading(m *store.NewMessage, n int) pennypost.Reading {
	return pennypost.Reading{
		At: micro(time.Now()), AccountID: 1, ServerID: 1, Stream: "outbound", MessageID: m.Message.ID, N: n,
		Recipient: m.Recipients[n].Address, Tag: "a\x00b", UserAgent: "Möglich/\xff1.0 'x'",
		Client:   pennypost.Software{Name: "Firefox 137.0", Company: "Mozilla Foundation", Family: "Firefox"},
		OS:       pennypost.Software{Name: "Windows 10", Company: "Microsoft", Family: "Windows"},
		Platform: pennypost.PlatformDesktop,
		Place: pennypost.Place{
			CountryISOCode: "DE", Country: "Germany", RegionISOCode: "HH", Region: "Hamburg", City: "Hamburg", Zip: "20095",
			Coords: "53.5507,9.993", IP: "198.51.100.24",
		},
	}
}

// The first open of each recipient is kept whole, later ones are counted in it
// (contract/messages.md §9); those of machines are apart.
func TestOpens(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		m := stored(t, st, mail(st, "Ann@shop.example", "bob@shop.example"))
		one, two, machine := reading(m, 0), reading(m, 1), reading(m, 0)
		machine.Machine = "scanner"
		later := one
		later.At, later.UserAgent = one.At.Add(time.Minute), "another"
		for i, c := range []struct {
			r     *pennypost.Reading
			first bool
		}{{&machine, true}, {&one, true}, {&later, false}, {&two, true}, {&machine, false}} {
			c.r.ID = 0
			update(t, st, func(ctx context.Context, tx *store.Tx) error {
				first, err := tx.AddOpen(ctx, c.r)
				if first != c.first {
					t.Errorf("%d: first is %v", i, first)
				}
				return err
			})
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Opens(ctx, m.Message.ID)
			for i := range got {
				if got[i].ID == 0 || i > 0 && got[i].ID <= got[i-1].ID {
					t.Errorf("open %d has id %d", i, got[i].ID)
				}
				got[i].ID = 0
			}
			for _, r := range []*pennypost.Reading{&one, &two, &machine} {
				r.ID, r.Tag, r.UserAgent = 0, "a\uFFFDb", "Möglich/\uFFFD1.0 'x'"
			}
			want := []pennypost.Open{
				{Reading: machine, Count: 2, LastAt: machine.At},
				{Reading: one, Count: 2, LastAt: later.At},
				{Reading: two, Count: 1, LastAt: two.At},
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			return err
		})
	})
}

// One click per recipient and link is kept, wherever in the mail it was
// (contract/messages.md §9).
func TestClicks(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		m := stored(t, st, mail(st, "Ann@shop.example", "bob@shop.example"))
		click := func(n, link int, where pennypost.ClickLocation) *pennypost.Click {
			c := &pennypost.Click{Reading: reading(m, n), Link: link, Location: where, Target: "https://acme.example/ä?a=1&b=2"}
			c.Tag, c.UserAgent = "march", "x"
			return c
		}
		first, again, text, other, machine := click(0, 1, pennypost.ClickHTML), click(0, 1, pennypost.ClickText),
			click(0, 2, pennypost.ClickText), click(1, 1, pennypost.ClickHTML), click(0, 1, pennypost.ClickHTML)
		machine.Machine = "scanner"
		again.At = again.At.Add(time.Second)
		for i, c := range []struct {
			c     *pennypost.Click
			first bool
		}{{first, true}, {again, false}, {text, true}, {other, true}, {machine, true}} {
			update(t, st, func(ctx context.Context, tx *store.Tx) error {
				isFirst, err := tx.AddClick(ctx, c.c)
				if isFirst != c.first {
					t.Errorf("%d: first is %v", i, isFirst)
				}
				return err
			})
		}
		want := []pennypost.Click{*first, *text, *other, *machine}
		for i := range want {
			want[i].Count, want[i].LastAt = 1, want[i].At
		}
		want[0].Count, want[0].LastAt = 2, again.At
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Clicks(ctx, m.Message.ID)
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			return err
		})
	})
}

// First opens and clicks are counted by name, hour, stream and tag
// (contract/stats.md §3).
func TestReadingCounts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		m := stored(t, st, mail(st, "ann@shop.example"))
		r := reading(m, 0)
		r.Tag = "march"
		other := r
		other.Stream = "news"
		for _, c := range []struct {
			r    *pennypost.Reading
			kind store.ReadingKind
			name string
		}{
			{&r, store.OpenClient, "Gmail"},
			{&r, store.OpenClient, "Gmail"},
			{&r, store.OpenClient, "Thunderbird"},
			{&other, store.OpenClient, "Gmail"},
			{&r, store.ClickLocation, "HTML"},
		} {
			update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.CountReading(ctx, c.r, c.kind, c.name) })
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			now := time.Now()
			for stream, want := range map[pennypost.StreamID]map[string]int64{
				"outbound": {"outbound march Gmail": 2, "outbound march Thunderbird": 1},
				"":         {"outbound march Gmail": 2, "outbound march Thunderbird": 1, "news march Gmail": 1},
				"nowhere":  {},
			} {
				list, err := tx.ReadingCounts(ctx, 1, stream, store.OpenClient, now.Add(-2*time.Hour), now.Add(time.Hour))
				if err != nil {
					return err
				}
				got := map[string]int64{}
				for _, c := range list {
					got[string(c.Stream)+" "+c.Tag+" "+c.Name] += c.N
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("stream %q: %s", stream, d)
				}
			}
			list, err := tx.ReadingCounts(ctx, 1, "", store.OpenClient, now.Add(-4*time.Hour), now.Add(-2*time.Hour))
			if len(list) != 0 {
				t.Errorf("hours before have %v", list)
			}
			return err
		})
	})
}

// All columns of the counters of tracking come back as they were counted.
func TestTrackingStats(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		want := store.StatCount{
			Server: 1, Stream: "outbound", Tag: "x", Sent: 1, Delivered: 2, Deferred: 3, Bounced: 4, SMTPErrors: 5, Tracked: 6,
			TrackedOpens: 7, TrackedLinks: 8, LinksSent: 9, Opens: 10, UniqueOpens: 11, Clicks: 12, UniqueClicks: 13,
			MachineOpens: 14, MachineClicks: 15,
		}
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.CountStats(ctx, want) })
		one := store.StatCount{Server: 1, Stream: "outbound", Tag: "x", Opens: 1, MachineClicks: 1}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.CountStats(ctx, one); err != nil {
				return err
			}
			return tx.CountStats(ctx, one) // summed up with the one before
		})
		want.Opens += 2
		want.MachineClicks += 2
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			list, err := tx.StatsHours(ctx, 1, "", time.Now().Add(-2*time.Hour), time.Now().Add(time.Hour))
			got := store.StatCount{Server: 1, Stream: "outbound", Tag: "x"}
			for i := range list { // an hour may have begun meanwhile
				got = got.Plus(list[i].StatCount)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			return err
		})
	})
}
