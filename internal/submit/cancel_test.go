package submit

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

// later is a good submission to be sent after an hour.
func later(to string) *Submission {
	s := good()
	s.To, s.SendAt = to, noon.Add(time.Hour)
	return s
}

// TestSendAtStores: jobs of a scheduled message are born free and due at its
// time; the mail is dated by it.
func TestSendAtStores(t *testing.T) {
	f := setup(t)
	s := later("jane@example.com")
	s.DeliverBy = s.SendAt.Add(time.Hour)
	got := f.load(t, f.accept(t, s).ID)
	if !got.SendAt.Equal(s.SendAt) || !got.ReceivedAt.Equal(noon) || !got.DeliverBy.Equal(s.DeliverBy) {
		t.Errorf("send at %v, received at %v, deliver by %v", got.SendAt, got.ReceivedAt, got.DeliverBy)
	}
	if j := got.jobs[0]; j.Lease != 0 || !j.RunAt.Equal(s.SendAt) {
		t.Errorf("job is %+v, want a free one due at %v", j, s.SendAt)
	}
	if r := got.recipients[0]; r.State != pennypost.Queued || !r.NextAt.Equal(s.SendAt) {
		t.Errorf("recipient is %+v", r)
	}
	if want := "\r\nDate: " + s.SendAt.Format(time.RFC1123Z) + "\r\n"; !strings.Contains(got.content, want) {
		t.Errorf("content is not dated by its time:\n%s", got.content)
	}
	if st := f.queue.Stats(); st.Tasks != 0 {
		t.Errorf("%d tasks in memory, want none", st.Tasks)
	}
}

// TestSendAtBounds: past is at once, more than 30 days is refused, and a
// deadline before it too.
func TestSendAtBounds(t *testing.T) {
	f := setup(t)
	for _, ahead := range []time.Duration{-time.Hour, 0} {
		s := good()
		s.SendAt = noon.Add(ahead)
		if got := f.load(t, f.accept(t, s).ID); !got.SendAt.IsZero() || got.jobs[0].Lease == 0 {
			t.Errorf("%v ahead: send at %v, job %+v; want at once", ahead, got.SendAt, got.jobs[0])
		}
	}
	s := later("jane@example.com")
	s.SendAt = noon.Add(30 * 24 * time.Hour)
	if got := f.load(t, f.accept(t, s).ID); !got.SendAt.Equal(s.SendAt) {
		t.Errorf("send at %v, want %v", got.SendAt, s.SendAt)
	}
	g := setup(t)
	s.SendAt = s.SendAt.Add(time.Second)
	if e := g.refused(t, s); e.Code != pennypost.CodeInvalid || !strings.Contains(e.Text, "'SendAt'") {
		t.Errorf("refused with %+v", e)
	}
	s = later("jane@example.com")
	s.DeliverBy = s.SendAt.Add(-time.Minute)
	if e := g.refused(t, s); e.Code != pennypost.CodeInvalid || !strings.Contains(e.Text, "'DeliverBy'") {
		t.Errorf("refused with %+v", e)
	}
}

// TestRawSendAt: X-PM-Send-At.
func TestRawSendAt(t *testing.T) {
	f := setup(t)
	for value, want := range map[string]time.Time{
		"3600":                      noon.Add(time.Hour),
		"2026-07-05T01:00:00+02:00": time.Date(2026, 7, 4, 23, 0, 0, 0, time.UTC),
		"-5":                        {},
		"2020-01-01T00:00:00Z":      {},
	} {
		got := f.acceptRaw(t, raw(plain+"X-PM-Send-At: "+value+"\n\nHello\n"))
		if !got.SendAt.Equal(want) {
			t.Errorf("%s: send at %v, want %v", value, got.SendAt, want)
		}
		if strings.Contains(got.content, "Send-At") {
			t.Errorf("%s: the field goes out", value)
		}
	}
	got := f.acceptRaw(t, raw(plain+"X-PM-Send-At: 3600\nX-PM-Deliver-By: 60\n\nHello\n"))
	if want := noon.Add(time.Hour + time.Minute); !got.DeliverBy.Equal(want) {
		t.Errorf("deliver by %v, want %v", got.DeliverBy, want)
	}
	for _, value := range []string{"tomorrow", "2592001", "99999999999999999999", "9999999999999"} {
		if e := f.refusedRaw(t, raw(plain+"X-PM-Send-At: "+value+"\n\nHello\n")); e.Code != pennypost.CodeInvalid || !strings.Contains(e.Text, "'SendAt'") {
			t.Errorf("%s: refused with %+v", value, e)
		}
	}
}

// TestCancel: all recipients end, the jobs go, usage is given back.
func TestCancel(t *testing.T) {
	f := setup(t)
	f.suppress(t, "gone@example.com")
	a := f.accept(t, later("jane@example.com, gone@example.com, sam@example.org"))
	if n := f.used(t); n != 2 {
		t.Fatalf("%d recipients counted, want 2", n)
	}
	for _, want := range []int{2, 0} { // the second time nothing is left
		if n, err := f.door.Cancel(t.Context(), f.server.ID, a.ID); n != want || err != nil {
			t.Fatalf("cancelled %d (%v), want %d", n, err, want)
		}
	}
	got := f.load(t, a.ID)
	for i, want := range []pennypost.RecipientState{pennypost.Cancelled, pennypost.Suppressed, pennypost.Cancelled} {
		if r := got.recipients[i]; r.State != want || !r.NextAt.IsZero() {
			t.Errorf("recipient %d is %+v, want %v", i, r, want)
		}
	}
	if len(got.jobs) != 0 {
		t.Errorf("%d jobs are left", len(got.jobs))
	}
	if n := f.used(t); n != 0 {
		t.Errorf("%d recipients counted, want none", n)
	}
	f.view(t, func(tx *store.Tx) error {
		events, err := tx.Events(t.Context(), a.ID)
		if err != nil {
			return err
		}
		if len(events) != 2 || events[0].Type != pennypost.EventCancelled || events[1].Recipient != "sam@example.org" {
			t.Errorf("events are %+v", events)
		}
		hours, err := tx.StatsHours(t.Context(), f.server.ID, "", noon.Add(-time.Hour), noon.Add(time.Hour))
		if err != nil {
			return err
		}
		sent := int64(0)
		for _, h := range hours {
			sent += h.Sent
		}
		if sent != 0 {
			t.Errorf("%d are counted as sent", sent)
		}
		return nil
	})
}

// TestCancelRefused: what a worker has taken is delivered, all of it.
func TestCancelRefused(t *testing.T) {
	f := setup(t)
	refused := func(id pennypost.MessageID, server pennypost.ServerID, want pennypost.Code) {
		t.Helper()
		_, err := f.door.Cancel(t.Context(), server, id)
		var e *pennypost.Error
		if !errors.As(err, &e) || e.Code != want {
			t.Errorf("got %v, want a refusal of code %d", err, want)
		}
	}
	at := f.accept(t, good())
	refused(at.ID, f.server.ID, 790)
	refused(pennypost.MessageID{1}, f.server.ID, 701)
	s := later("jane@example.com, sam@example.org")
	s.SendAt = noon.Add(time.Second)
	a := f.accept(t, s)
	refused(a.ID, f.server.ID+1, 701)
	f.ahead.Store(int64(time.Second))
	f.update(t, func(tx *store.Tx) error {
		jobs, _, err := tx.ClaimJobs(t.Context(), pennypost.JobDeliver, "example.org", 1)
		if err == nil && len(jobs) != 1 {
			t.Errorf("claimed %d jobs, want 1", len(jobs))
		}
		return err
	})
	refused(a.ID, f.server.ID, 791)
	// Due and free: a process that died may have delivered it.
	due := later("bob@example.net")
	due.SendAt = noon.Add(2 * time.Second)
	b := f.accept(t, due)
	f.ahead.Store(int64(2 * time.Second))
	refused(b.ID, f.server.ID, 791)
	got := f.load(t, a.ID)
	if len(got.jobs) != 2 || got.recipients[0].State != pennypost.Queued || got.recipients[1].State != pennypost.Queued {
		t.Errorf("%d jobs, recipients %+v; want them as they were", len(got.jobs), got.recipients)
	}
}
