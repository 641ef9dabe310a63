package event_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/event"
	"pennypost/internal/store"
)

// Tracked mail is counted when it is accepted (contract/stats.md §2), and what
// is cancelled counts for nothing.
func TestAcceptedTracked(t *testing.T) {
	for _, tt := range []struct {
		opens bool
		links pennypost.TrackLinks
		want  store.StatCount
	}{
		{false, pennypost.TrackNone, store.StatCount{Sent: 3}},
		{false, "", store.StatCount{Sent: 3}},
		{true, pennypost.TrackNone, store.StatCount{Sent: 3, Tracked: 3, TrackedOpens: 3}},
		{false, pennypost.TrackTextOnly, store.StatCount{Sent: 3, Tracked: 3, TrackedLinks: 3, LinksSent: 6}},
		{true, pennypost.TrackHTMLAndText, store.StatCount{Sent: 3, Tracked: 3, TrackedOpens: 3, TrackedLinks: 3, LinksSent: 6}},
	} {
		st := open(t)
		m := message(t, st)
		m.TrackOpens, m.TrackLinks, m.Links = tt.opens, tt.links, 2
		ctx := t.Context()
		if err := st.Update(ctx, func(tx *store.Tx) error { return event.Accepted(ctx, tx, m, 3) }); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.want, counted(t, st, m)); d != "" {
			t.Errorf("%v, %q: %s", tt.opens, tt.links, d)
		}
		if err := st.Update(ctx, func(tx *store.Tx) error { return event.Unsent(ctx, tx, m, 3) }); err != nil {
			t.Fatal(err)
		}
		if got := counted(t, st, m); got != (store.StatCount{}) {
			t.Errorf("%v, %q: after it was cancelled %+v is counted", tt.opens, tt.links, got)
		}
	}
}

func counted(t *testing.T, st *store.Store, m *pennypost.Message) store.StatCount {
	t.Helper()
	var sum store.StatCount
	err := st.View(t.Context(), func(tx *store.Tx) error {
		hours, err := tx.StatsHours(t.Context(), m.ServerID, m.Stream, time.Now().Add(-2*time.Hour), time.Now().Add(time.Hour))
		for i := range hours {
			sum = sum.Plus(hours[i].StatCount)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func read(m *pennypost.Message, machine string) pennypost.Reading {
	return pennypost.Reading{
		AccountID: m.AccountID, ServerID: m.ServerID, Stream: m.Stream, MessageID: m.ID, Recipient: "Ann@a.test", Tag: m.Tag,
		Client: pennypost.Software{Family: "Thunderbird"}, Platform: pennypost.PlatformDesktop, Machine: machine,
	}
}

// names gives the counts of first opens and first clicks by kind and name.
func names(t *testing.T, st *store.Store, m *pennypost.Message) map[string]int64 {
	t.Helper()
	got := map[string]int64{}
	err := st.View(t.Context(), func(tx *store.Tx) error {
		for _, kind := range []store.ReadingKind{
			store.OpenPlatform, store.OpenClient, store.ClickPlatform, store.ClickBrowser, store.ClickLocation,
		} {
			list, err := tx.ReadingCounts(t.Context(), m.ServerID, m.Stream, kind, time.Now().Add(-2*time.Hour), time.Now().Add(time.Hour))
			if err != nil {
				return err
			}
			for _, c := range list {
				got[string(c.Kind)+": "+c.Name] += c.N
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Platforms, clients, browsers and locations count first opens and first clicks
// alone (contract/stats.md §3), and no machines.
func TestReadings(t *testing.T) {
	st := open(t)
	m := message(t, st)
	ctx := t.Context()
	err := st.Update(ctx, func(tx *store.Tx) error {
		for i, machine := range []string{"scanner", "", "", "scanner"} {
			o := read(m, machine)
			first, err := event.Opened(ctx, tx, &o)
			if err != nil {
				return err
			}
			c := pennypost.Click{Reading: read(m, machine), Link: 1, Location: pennypost.ClickText, Target: "https://a.test/"}
			again, err := event.Clicked(ctx, tx, &c)
			if err != nil {
				return err
			}
			if want := i < 2; first != want || again != want {
				t.Errorf("%d: first open %v, first click %v", i, first, again)
			}
		}
		unknown := read(m, "")
		unknown.N, unknown.Client, unknown.Platform = 1, pennypost.Software{}, pennypost.PlatformUnknown
		_, err := event.Opened(ctx, tx, &unknown)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := store.StatCount{Opens: 3, UniqueOpens: 2, Clicks: 2, UniqueClicks: 1, MachineOpens: 2, MachineClicks: 2}
	if d := cmp.Diff(want, counted(t, st, m)); d != "" {
		t.Errorf("counters: %s", d)
	}
	byName := map[string]int64{
		"open platform: Desktop": 1, "open platform: Unknown": 1, "open client: Thunderbird": 1, "click platform: Desktop": 1,
		"click browser: Thunderbird": 1, "click location: Text": 1,
	}
	if d := cmp.Diff(byName, names(t, st, m)); d != "" {
		t.Errorf("by name: %s", d)
	}
	var kinds []pennypost.EventType
	err = st.View(ctx, func(tx *store.Tx) error {
		list, err := tx.Events(ctx, m.ID)
		for _, e := range list {
			kinds = append(kinds, e.Type)
		}
		return err
	})
	if d := cmp.Diff([]pennypost.EventType{"Opened", "LinkClicked", "Opened"}, kinds); d != "" || err != nil {
		t.Errorf("events: %v %s", err, d)
	}
}

// Only what a recipient wished himself is his to undo (contract/bounces.md §13).
func TestSubscription(t *testing.T) {
	st := open(t)
	m := message(t, st)
	ctx := t.Context()
	to := &pennypost.Recipient{MessageID: m.ID, Address: "Ann@a.test"}
	do := func(f func(context.Context, *store.Tx, *pennypost.Message, *pennypost.Recipient) (bool, error), want bool) {
		t.Helper()
		err := st.Update(ctx, func(tx *store.Tx) error {
			changed, err := f(ctx, tx, m, to)
			if changed != want {
				t.Errorf("changed %v, want %v", changed, want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	do(event.Resubscribe, false)
	do(event.Unsubscribe, true)
	do(event.Unsubscribe, false)
	do(event.Resubscribe, true)
	do(event.Resubscribe, false)
	err := st.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Suppress(ctx, pennypost.Suppression{
			ServerID: m.ServerID, Stream: m.Stream, Address: to.Address, Reason: "SpamComplaint", Origin: "Recipient",
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	do(event.Unsubscribe, false)
	do(event.Resubscribe, false)
	err = st.View(ctx, func(tx *store.Tx) error {
		s, err := tx.Suppression(ctx, m.ServerID, m.Stream, to.Address)
		if err == nil && s.Reason != "SpamComplaint" {
			t.Errorf("the entry became %+v", s)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
