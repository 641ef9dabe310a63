package event_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/event"
	"pennypost/internal/store"
)

// What is done by hand leaves one event for each change that was one.
func TestByHand(t *testing.T) {
	st := open(t)
	m := message(t, st)
	ctx := t.Context()
	bob := pennypost.Suppression{
		ServerID: 7, Stream: pennypost.StreamOutbound, Address: "Bob@a.test", Reason: pennypost.ReasonManual, Origin: pennypost.OriginRecipient,
	}
	ann := pennypost.Suppression{ServerID: 7, Stream: pennypost.StreamOutbound, Address: "ann@a.test"}
	err := st.Update(ctx, func(tx *store.Tx) error {
		for n, want := range []bool{true, false} {
			if added, err := event.SuppressByHand(ctx, tx, 1, bob); err != nil || added != want {
				t.Errorf("call %d: added %v, %v", n, added, err)
			}
		}
		for n, want := range []bool{true, false} {
			if removed, err := event.Reactivate(ctx, tx, 1, bob, pennypost.OriginAdmin); err != nil || removed != want {
				t.Errorf("call %d: removed %v, %v", n, removed, err)
			}
		}
		if err := event.Record(ctx, tx, bounced(m, bounce.HardBounce)); err != nil {
			return err
		}
		_, err := event.Reactivate(ctx, tx, 1, ann, pennypost.OriginCustomer)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		Recipient pennypost.Address
		Type      pennypost.EventType
		Tag       string
		Details   map[string]string
	}
	lines := func(list []pennypost.Event, err error) (out []line) {
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			out = append(out, line{e.Recipient, e.Type, e.Tag, e.Details})
		}
		return out
	}
	err = st.View(ctx, func(tx *store.Tx) error {
		changed := pennypost.EventSubscriptionChanged
		want := []line{
			{"Bob@a.test", changed, "", map[string]string{"Origin": "Recipient", "SuppressSending": "True", "SuppressionReason": "ManualSuppression"}},
			{"Bob@a.test", changed, "", map[string]string{"Origin": "Admin", "SuppressSending": "False"}},
		}
		if diff := cmp.Diff(want, lines(tx.StreamEvents(ctx, 7, pennypost.StreamOutbound, 0, 10))); diff != "" {
			t.Errorf("without a message -want +got:\n%s", diff)
		}
		got := lines(tx.Events(ctx, m.ID))
		want = []line{{"Ann@a.test", changed, "", map[string]string{"Origin": "Customer", "SuppressSending": "False"}}}
		if len(got) != 3 {
			t.Fatalf("%d events of the message, want bounce, suppression and reactivation", len(got))
		}
		if diff := cmp.Diff(want, got[2:]); diff != "" {
			t.Errorf("with the bounce's message -want +got:\n%s", diff)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
