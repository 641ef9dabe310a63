package submit

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/shed"
	"pennypost/internal/store"
)

// What cannot be rendered is outside of the month's limit, but not open to who
// has used it up, and its files are not kept.
func TestUnrenderedKeepsWithinTheLimits(t *testing.T) {
	f := setup(t)
	f.addTemplate(t, &pennypost.Template{Alias: "u", Subject: "s", TextBody: "{{#each a}}{{/each}}"})
	inner := f.door.conf.Check
	f.door.conf.Check = func(ctx context.Context, tx *store.Tx, c pennypost.Caller) (*pennypost.ServerState, error) {
		s, err := inner(ctx, tx, c)
		if s != nil {
			s.Limits = pennypost.Limits{Account: 1, Server: 1}
		}
		return s, err
	}
	broken := func() *Submission {
		s := templated(&Template{Alias: "u", Model: json.RawMessage(`{"a":1}`)})
		s.Attachments = []Attachment{{Name: "a.txt", ContentType: "text/plain", Content: make([]byte, 1<<20)}}
		return s
	}
	a, err := f.door.Accept(t.Context(), f.api, broken())
	if err != nil || !a.Unrendered {
		t.Fatalf("got %+v, %v", a, err)
	}
	if n := len(f.load(t, a.ID).content); n > 10_000 {
		t.Errorf("%d octets are kept of a message that nobody gets", n)
	}
	f.accept(t, good()) // the month's one
	_, err = f.door.Accept(t.Context(), f.api, broken())
	var refusal *pennypost.Error
	if !errors.As(err, &refusal) || refusal.Code != pennypost.CodeOverLimit {
		t.Errorf("got %v, want code %d", err, pennypost.CodeOverLimit)
	}
}

// Whoever comes onto the list while a message of a bulk request waits gets none.
func TestSuppressedWhileABulkMessageWaits(t *testing.T) {
	m := newMailing(t)
	step := &BulkStep{
		AccountID: m.account.ID, ServerID: m.server.ID,
		Begin: func(ctx context.Context, tx *store.Tx) (*pennypost.ServerState, error) {
			return m.auth.CheckServer(ctx, tx, m.account.ID, m.server.ID)
		},
		End: func(context.Context, *store.Tx, []Result) error { return nil },
	}
	q := m.door.conf.Queue
	m.door.conf.Queue = nil // nobody is woken: the job waits behind other mail
	s := &Submission{From: "orders@acme.example", To: "jane@example.com", TextBody: "Hello", Stream: "broadcast"}
	res, err := m.door.AcceptStep(t.Context(), step, []*Submission{s})
	if err != nil || res[0].Err != nil {
		t.Fatal(err, res)
	}
	m.update(t, func(tx *store.Tx) error {
		_, err := tx.Suppress(t.Context(), pennypost.Suppression{
			ServerID: m.server.ID, Stream: "broadcast", Address: "jane@example.com", Reason: "ManualSuppression", Origin: "Recipient",
		})
		return err
	})
	q.Wake("example.com")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		r := m.load(t, res[0].Accepted.ID).recipients[0]
		if r.State == pennypost.Suppressed && r.Attempts == 0 {
			return
		}
		if r.State.Final() || time.Now().After(end) {
			t.Fatalf("got %+v", r)
		}
	}
}

// A message that waits for memory keeps nobody from a turn at rendering.
func TestWaitingForMemoryHoldsNoTurn(t *testing.T) {
	f := setup(t)
	f.door.templates.turns = make(chan struct{}, 1)
	f.door.conf.Work = shed.NewMemory(16<<20, nil).FavourSmall()
	f.addTemplate(t, &pennypost.Template{Alias: "big", Subject: "s", TextBody: "{{#each a}}{{../../b}}{{/each}}"})
	f.addTemplate(t, &pennypost.Template{Alias: "small", Subject: "s", TextBody: "hello"})
	held, err := f.door.conf.Work.Take(t.Context(), 13<<20, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer f.door.conf.Work.Give(held)
	list := make([]int, 3000)
	model, err := json.Marshal(map[string]any{"a": list, "b": strings.Repeat("x", 400)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := f.door.Accept(t.Context(), f.api, templated(&Template{Alias: "big", Model: model}))
		done <- err
	}()
	time.Sleep(time.Second) // it is rendered and waits
	began := time.Now()
	if _, err := f.door.Accept(t.Context(), f.api, templated(&Template{Alias: "small", Model: json.RawMessage(`{}`)})); err != nil {
		t.Errorf("the small one: %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the small one took %v", took)
	}
	var closed *ClosedError
	if err := <-done; !errors.As(err, &closed) {
		t.Errorf("the large one: %v, want that there is no room", err)
	}
}

// A batch of which a message finds no room any more ends there: nothing is
// stored that no memory is counted for.
func TestBatchEndsWithoutRoom(t *testing.T) {
	f := setup(t)
	f.door.conf.Work = shed.NewMemory(8<<20, nil)
	f.addTemplate(t, &pennypost.Template{Alias: "big", Subject: "s", TextBody: "{{#each a}}{{../../b}}{{/each}}"})
	list := make([]int, 5000)
	model, err := json.Marshal(map[string]any{"a": list, "b": strings.Repeat("x", 400)})
	if err != nil {
		t.Fatal(err)
	}
	held, err := f.door.conf.Work.Take(t.Context(), 6<<20, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer f.door.conf.Work.Give(held)
	big := func() *Submission { return templated(&Template{Alias: "big", Model: model}) }
	began := time.Now()
	got := f.door.AcceptBatch(t.Context(), f.api, []*Submission{good(), big(), big(), good()})
	if took := time.Since(began); took > workWithin+3*time.Second {
		t.Errorf("it took %v: more than one wait for room", took)
	}
	var closed *ClosedError
	if got[0].Err != nil || !errors.As(got[1].Err, &closed) || !errors.As(got[2].Err, &closed) || !errors.As(got[3].Err, &closed) {
		t.Errorf("got %+v", got)
	}
}
