package submit

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pennypost"
	"pennypost/internal/store"
)

// withKey gives a caller whose request has a key, as it is known to the store.
func (f *fixture) withKey(t *testing.T, key string) pennypost.Caller {
	t.Helper()
	c := f.api
	c.Request = &pennypost.Request{Key: key, Hash: []byte("the same body")}
	err := f.store.View(t.Context(), func(tx *store.Tx) error {
		kept, err := tx.Request(t.Context(), c.ServerID, key)
		if err == nil {
			c.Request = &kept.Request
		}
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return c
}

// A batch is stored in steps. When one of them fails, or we die between two, a
// repeat of the request accepts what is missing and nothing twice.
func TestRepeatedBatchFinishesTheRest(t *testing.T) {
	f := setup(t)
	var list []*Submission
	for i := range 120 { // three steps
		list = append(list, &Submission{From: "orders@acme.example", To: fmt.Sprintf("m%d@example.com", i), TextBody: "Hello"})
	}
	list[3].To = "nobody" // refused, each time
	check, calls := f.door.conf.Check, 0
	f.door.conf.Check = func(ctx context.Context, tx *store.Tx, c pennypost.Caller) (*pennypost.ServerState, error) {
		if calls++; calls == 2 {
			return nil, store.ErrUnavailable
		}
		return check(ctx, tx, c)
	}
	c := f.withKey(t, "k")
	first := f.door.AcceptBatch(t.Context(), c, list)
	if !c.Request.Fault {
		t.Error("a fault of our own is not noted: the answer would be kept as the last")
	}
	stored := f.messages(t)
	if stored == 0 || stored == 119 {
		t.Fatalf("%d messages stored: the test shows nothing", stored)
	}
	c = f.withKey(t, "k")
	second := f.door.AcceptBatch(t.Context(), c, list)
	for i := range list {
		a, b := first[i].Accepted, second[i].Accepted
		switch {
		case i == 3:
			if a != nil || b != nil {
				t.Error("what cannot be sent was accepted")
			}
		case b == nil:
			t.Errorf("message %d: %v", i, second[i].Err)
		case a != nil && (a.ID != b.ID || !a.SubmittedAt.Equal(b.SubmittedAt)):
			t.Errorf("message %d was %v and is %v", i, a, b)
		}
	}
	if c.Request.Fault {
		t.Error("a fault is noted where there was none")
	}
	if n := f.messages(t); n != 119 {
		t.Errorf("%d messages stored, want 119", n)
	}
	if n := f.used(t); n != 119 {
		t.Errorf("%d recipients counted, want 119", n)
	}
	third := f.door.AcceptBatch(t.Context(), f.withKey(t, "k"), list)
	if n := f.messages(t); n != 119 || third[0].Accepted.ID != first[0].Accepted.ID {
		t.Errorf("repeated once more: %d messages", n)
	}
}

// A request whose key another call has used meanwhile accepts nothing.
func TestKeyUsedMeanwhile(t *testing.T) {
	f := setup(t)
	s := func() *Submission {
		return &Submission{From: "orders@acme.example", To: "jane@example.com, gone@example.com", TextBody: "Hello"}
	}
	f.suppress(t, "gone@example.com")
	late := f.withKey(t, "k")
	a, err := f.door.Accept(t.Context(), f.withKey(t, "k"), s())
	if err != nil {
		t.Fatal(err)
	}
	var refused *pennypost.Error
	if _, err := f.door.Accept(t.Context(), late, s()); !errors.As(err, &refused) || refused.Code != CodeUnderWay || refused.Status != 409 {
		t.Errorf("the late one: %v, want code %d", err, CodeUnderWay)
	}
	if n := f.messages(t); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
	b, err := f.door.Accept(t.Context(), f.withKey(t, "k"), s())
	if err != nil || b.ID != a.ID || len(b.Inactive) != 1 || b.Inactive[0] != "gone@example.com" {
		t.Errorf("repeated: %+v, %v, want %+v", b, err, a)
	}
	if n := f.used(t); n != 1 {
		t.Errorf("%d recipients counted, want 1", n)
	}
}

// What is refused leaves nothing behind that would stop a repeat.
func TestRefusedRequestLeavesNoNote(t *testing.T) {
	f := setup(t)
	c := f.withKey(t, "k")
	if _, err := f.door.Accept(t.Context(), c, &Submission{From: "x@other.example", To: "jane@example.com", TextBody: "Hello"}); err == nil {
		t.Fatal("accepted")
	}
	if _, err := f.door.Accept(t.Context(), c, &Submission{From: "orders@acme.example", To: "jane@example.com", TextBody: "Hello"}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// An API token that is bound to a stream sends by that one alone.
func TestBoundAPIToken(t *testing.T) {
	f := setup(t)
	c := f.api
	c.Stream = pennypost.StreamBroadcast
	for named, want := range map[string]pennypost.Code{"": 0, " ": 0, "broadcast": 0, "outbound": 1235, "nothing": 1235, "Broadcast": 1235} {
		s := &Submission{From: "orders@acme.example", To: "jane@example.com", TextBody: "Hello", Stream: named}
		a, err := f.door.Accept(t.Context(), c, s)
		var refused *pennypost.Error
		switch {
		case want == 0 && err != nil:
			t.Errorf("%q: %v", named, err)
		case want == 0:
			if got := f.load(t, a.ID).Stream; got != pennypost.StreamBroadcast {
				t.Errorf("%q went by %s", named, got)
			}
		case !errors.As(err, &refused) || refused.Code != want:
			t.Errorf("%q: %v, want code %d", named, err, want)
		}
	}
}
