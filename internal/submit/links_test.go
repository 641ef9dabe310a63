package submit

import (
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

// TestTrackedIsCounted: recipients of tracked mail, and the links in their
// copies, are counted when it is accepted (contract/stats.md §2); those who are
// suppressed get no copy.
func TestTrackedIsCounted(t *testing.T) {
	f := dressing(t)
	f.set(t, func(_ *pennypost.Account, s *pennypost.Server) {
		s.TrackOpens, s.TrackLinks = true, pennypost.TrackHTMLAndText
	})
	f.suppress(t, "gone@x.example")
	s := linked()
	s.HTMLBody = `<a href="https://a.example/">a</a> <a href="https://b.example/">b</a>`
	s.TextBody = "https://a.example/ and https://c.example/"
	s.To = "jane@x.example, joe@x.example, gone@x.example"
	f.accept(t, s)
	var got store.StatCount
	f.view(t, func(tx *store.Tx) error {
		hours, err := tx.StatsHours(t.Context(), f.server.ID, "", time.Unix(1, 0), time.Now().AddDate(10, 0, 0))
		for i := range hours {
			got = got.Plus(hours[i].StatCount)
		}
		return err
	})
	want := store.StatCount{Sent: 2, Tracked: 2, TrackedOpens: 2, TrackedLinks: 2, LinksSent: 6}
	if got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// TestCancelledIsNotTracked: of tracked mail that is cancelled nothing stays in
// the counters.
func TestCancelledIsNotTracked(t *testing.T) {
	f := dressing(t)
	f.set(t, func(_ *pennypost.Account, s *pennypost.Server) {
		s.TrackOpens, s.TrackLinks = true, pennypost.TrackHTMLAndText
	})
	s := linked()
	s.HTMLBody = `<a href="https://a.example/">a</a> <a href="https://b.example/">b</a>`
	s.TextBody = "https://a.example/"
	s.To, s.SendAt = "jane@x.example, joe@x.example", noon.Add(time.Hour)
	a := f.accept(t, s)
	if m := f.load(t, a.ID); m.Links != 2 {
		t.Errorf("%d tracked links, want 2", m.Links)
	}
	if n, err := f.door.Cancel(t.Context(), f.server.ID, a.ID); n != 2 || err != nil {
		t.Fatalf("cancelled %d (%v)", n, err)
	}
	var got store.StatCount
	f.view(t, func(tx *store.Tx) error {
		hours, err := tx.StatsHours(t.Context(), f.server.ID, "", time.Unix(1, 0), time.Now().AddDate(10, 0, 0))
		for i := range hours {
			got = got.Plus(hours[i].StatCount)
		}
		return err
	})
	if got != (store.StatCount{}) {
		t.Errorf("counted %+v, want nothing", got)
	}
}
