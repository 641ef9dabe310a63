package event_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/event"
	"pennypost/internal/store"
)

// message stores a message that events can happen to.
func message(t *testing.T, st *store.Store) *pennypost.Message {
	t.Helper()
	ctx := t.Context()
	m := &pennypost.Message{
		ID: pennypost.MessageID{15: 1}, AccountID: 1, ServerID: 7, Stream: pennypost.StreamOutbound, Source: pennypost.SourceHTTP,
		From: pennypost.Mailbox{Address: "news@shop.test"}, Tag: "receipt", ReceivedAt: time.Now(), Recipients: 1,
		TrackLinks: pennypost.TrackNone,
	}
	err := st.Update(ctx, func(tx *store.Tx) error {
		return tx.AddMessage(ctx, &store.NewMessage{
			Message: m, Content: []byte("From: news@shop.test\r\n\r\n"),
			Recipients: []pennypost.Recipient{{MessageID: m.ID, Address: "Ann@a.test", State: pennypost.Queued}},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func open(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

func newEvent(m *pennypost.Message, t pennypost.EventType) *pennypost.Event {
	return &pennypost.Event{
		AccountID: m.AccountID, ServerID: m.ServerID, Stream: m.Stream, MessageID: m.ID, Recipient: "Ann@a.test", Type: t, Tag: m.Tag,
	}
}

func bounced(m *pennypost.Message, t bounce.Type) *pennypost.Event {
	e := newEvent(m, pennypost.EventBounced)
	e.Bounce = &pennypost.Bounce{
		Type: t.String(), TypeCode: t.Code(), AccountID: m.AccountID, ServerID: m.ServerID, Stream: m.Stream,
		MessageID: m.ID, Recipient: "Ann@a.test", Inactive: t.Inactive(), At: time.Now(),
	}
	return e
}

// What is recorded shows in the events, the counters and the suppressions.
func TestRecord(t *testing.T) {
	type tally = store.StatCount
	tests := []struct {
		name   string
		event  func(m *pennypost.Message) *pennypost.Event
		counts tally
		reason string // of the suppression; "" for none
	}{
		{"delivered", func(m *pennypost.Message) *pennypost.Event { return newEvent(m, pennypost.EventDelivered) }, tally{Delivered: 1}, ""},
		{"transient", func(m *pennypost.Message) *pennypost.Event { return newEvent(m, pennypost.EventTransient) }, tally{Deferred: 1}, ""},
		{"held", func(m *pennypost.Message) *pennypost.Event { return newEvent(m, pennypost.EventHeld) }, tally{}, ""},
		{"soft bounce", func(m *pennypost.Message) *pennypost.Event { return bounced(m, bounce.SoftBounce) }, tally{Bounced: 1}, ""},
		{"block", func(m *pennypost.Message) *pennypost.Event { return bounced(m, bounce.Blocked) }, tally{Bounced: 1}, ""},
		{"hard bounce", func(m *pennypost.Message) *pennypost.Event { return bounced(m, bounce.HardBounce) }, tally{Bounced: 1}, "HardBounce"},
		{"complaint", func(m *pennypost.Message) *pennypost.Event { return bounced(m, bounce.SpamComplaint) }, tally{Bounced: 1}, "SpamComplaint"},
		{"refused submission", func(m *pennypost.Message) *pennypost.Event { return bounced(m, bounce.SMTPAPIError) }, tally{SMTPErrors: 1}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st := open(t)
			m := message(t, st)
			e := tt.event(m)
			ctx := t.Context()
			if err := st.Update(ctx, func(tx *store.Tx) error { return event.Record(ctx, tx, e) }); err != nil {
				t.Fatal(err)
			}
			if e.Bounce != nil && e.Bounce.ID == 0 {
				t.Error("the bounce has no id")
			}
			err := st.View(ctx, func(tx *store.Tx) error {
				tt.counts.Server, tt.counts.Stream, tt.counts.Tag = m.ServerID, m.Stream, m.Tag
				check(ctx, t, tx, m, tt.counts, tt.reason)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func check(ctx context.Context, t *testing.T, tx *store.Tx, m *pennypost.Message, counts store.StatCount, reason string) {
	t.Helper()
	hours, err := tx.StatsHours(ctx, m.ServerID, m.Stream, time.Now().Add(-2*time.Hour), time.Now().Add(2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	got := store.StatCount{Server: m.ServerID, Stream: m.Stream, Tag: m.Tag}
	for _, h := range hours {
		if h.Tag != m.Tag {
			t.Errorf("counted under tag %q", h.Tag)
		}
		got.Sent += h.Sent
		got.Delivered += h.Delivered
		got.Deferred += h.Deferred
		got.Bounced += h.Bounced
		got.SMTPErrors += h.SMTPErrors
	}
	if diff := cmp.Diff(counts, got); diff != "" {
		t.Errorf("counters: %s", diff)
	}
	events, err := tx.Events(ctx, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := 1
	if reason != "" {
		want = 2
	}
	if len(events) != want {
		t.Fatalf("%d events, want %d", len(events), want)
	}
	s, err := tx.Suppression(ctx, m.ServerID, m.Stream, "ann@a.test")
	if (err == nil) != (reason != "") {
		t.Fatalf("suppression %v, %v; want reason %q", s, err, reason)
	}
	if reason == "" {
		return
	}
	if s.Reason != reason || s.Origin != "Recipient" {
		t.Errorf("suppression %+v", s)
	}
	c := events[1]
	if c.Type != pennypost.EventSubscriptionChanged || c.Details["SuppressSending"] != "True" || c.Details["Origin"] != "Recipient" {
		t.Errorf("second event %+v", c)
	}
}

// A second bounce of an address that is on the list changes nothing there.
func TestSuppressedOnce(t *testing.T) {
	st := open(t)
	m := message(t, st)
	ctx := t.Context()
	for _, typ := range []bounce.Type{bounce.HardBounce, bounce.SpamComplaint} {
		err := st.Update(ctx, func(tx *store.Tx) error { return event.Record(ctx, tx, bounced(m, typ)) })
		if err != nil {
			t.Fatal(err)
		}
	}
	err := st.View(ctx, func(tx *store.Tx) error {
		events, err := tx.Events(ctx, m.ID)
		if err != nil {
			return err
		}
		if len(events) != 3 {
			t.Errorf("%d events, want two bounces and one change", len(events))
		}
		s, err := tx.Suppression(ctx, m.ServerID, m.Stream, "ann@a.test")
		if err == nil && s.Reason != "HardBounce" {
			t.Errorf("reason %s", s.Reason)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAccepted(t *testing.T) {
	st := open(t)
	m := message(t, st)
	ctx := t.Context()
	err := st.Update(ctx, func(tx *store.Tx) error {
		if err := event.Accepted(ctx, tx, m, 3); err != nil {
			return err
		}
		return event.Accepted(ctx, tx, m, 2)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = st.View(ctx, func(tx *store.Tx) error {
		hours, err := tx.StatsHours(ctx, m.ServerID, m.Stream, time.Now().Add(-2*time.Hour), time.Now().Add(2*time.Hour))
		sum := int64(0)
		for _, h := range hours {
			sum += h.Sent
		}
		if sum != 5 {
			t.Errorf("%d sent, want 5", sum)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A transaction that fails leaves neither event nor counter nor suppression.
func TestAllOrNothing(t *testing.T) {
	st := open(t)
	m := message(t, st)
	ctx := t.Context()
	err := st.Update(ctx, func(tx *store.Tx) error {
		if err := event.Record(ctx, tx, bounced(m, bounce.HardBounce)); err != nil {
			return err
		}
		return store.ErrLeaseLost
	})
	if err == nil {
		t.Fatal("no error")
	}
	err = st.View(ctx, func(tx *store.Tx) error {
		events, err := tx.Events(ctx, m.ID)
		if len(events) != 0 {
			t.Errorf("%d events", len(events))
		}
		if _, err := tx.Suppression(ctx, m.ServerID, m.Stream, "ann@a.test"); err == nil {
			t.Error("the address is suppressed")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
