package submit

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

// TestAcceptStepRefusedAgain: a message that is refused when it is rendered again
// is refused alone; the others of the step are made.
func TestAcceptStepRefusedAgain(t *testing.T) {
	f := dressing(t)
	f.set(t, func(_ *pennypost.Account, s *pennypost.Server) { s.TrackOpens = true }) // nobody expects it
	late := linked()
	late.DeliverBy = noon.Add(time.Second)
	var ended []Result
	step := &BulkStep{
		AccountID: f.account.ID, ServerID: f.server.ID,
		Begin: func(ctx context.Context, tx *store.Tx) (*pennypost.ServerState, error) {
			f.ahead.Store(int64(time.Minute)) // its time is over when it comes again
			return f.auth.CheckServer(ctx, tx, f.account.ID, f.server.ID)
		},
		End: func(_ context.Context, _ *store.Tx, results []Result) error { ended = results; return nil },
	}
	got, err := f.door.AcceptStep(t.Context(), step, []*Submission{linked(), late, linked()})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || len(ended) != 3 || got[0].Err != nil || got[2].Err != nil {
		t.Fatalf("got %+v, and %+v at the end", got, ended)
	}
	if e := refusal(t, got[1].Err); e.Code != pennypost.CodeInvalid {
		t.Errorf("the second is refused with %d %q", e.Code, e.Text)
	}
	if n := f.messages(t); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

// slow is a source of ids during which time passes.
type slow struct{ f *fixture }

func (s slow) Read(b []byte) (int, error) {
	s.f.ahead.Add(int64(150 * time.Millisecond))
	return rand.Read(b)
}

// TestAcceptStepTime: a step that takes long to make is a small one.
func TestAcceptStepTime(t *testing.T) {
	f := setup(t)
	conf := f.door.conf
	conf.Rand = slow{f}
	door, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	step := &BulkStep{
		AccountID: f.account.ID, ServerID: f.server.ID,
		Begin: func(ctx context.Context, tx *store.Tx) (*pennypost.ServerState, error) {
			return f.auth.CheckServer(ctx, tx, f.account.ID, f.server.ID)
		},
		End: func(context.Context, *store.Tx, []Result) error { return nil },
	}
	got, err := door.AcceptStep(t.Context(), step, []*Submission{linked(), linked(), linked(), linked()})
	if err != nil || len(got) != 2 || f.messages(t) != 2 {
		t.Errorf("made %d messages (%v), want 2", len(got), err)
	}
}
