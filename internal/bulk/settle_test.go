package bulk

import (
	"errors"
	"fmt"
	"testing"

	"pennypost"
	"pennypost/internal/store"
)

// TestUnknownCommit: a request whose last commit ended without an answer is looked
// for; nothing comes of one that is not there.
func TestUnknownCommit(t *testing.T) {
	w := newWorld(t)
	lost := fmt.Errorf("lost: %w", store.ErrUnknown)
	var id pennypost.BulkID
	c := w.callers[0]
	c.Request = &pennypost.Request{Key: "k", Hash: []byte("h")}
	in := mail(2)
	in.Answer = func(b *pennypost.BulkRequest) ([]byte, error) { id = b.ID; return nil, lost }
	if _, err := w.req.Accept(t.Context(), c, in); !errors.Is(err, store.ErrUnknown) || c.Request.Answered {
		t.Errorf("one that is not there: %v, answered %v", err, c.Request.Answered)
	}
	late := &pennypost.BulkRequest{ID: id, AccountID: c.AccountID, ServerID: c.ServerID, Stream: "broadcast", Total: 2}
	err := w.store.Update(t.Context(), func(tx *store.Tx) error { return tx.BeginBulk(t.Context(), late, []byte("{}")) })
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("it can come to be later: %v, want ErrConflict", err)
	}
	var refused *pennypost.Error
	if _, err := w.req.Request(t.Context(), c.ServerID, id); !errors.As(err, &refused) || refused.Code != codeUnknown {
		t.Errorf("it shows: %v", err)
	}

	there := w.accept(t, w.callers[0], 1)
	k := &keeper{r: w.req, caller: c, b: there, in: in}
	if err := k.settle(t.Context(), lost); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	w.turn(t, true)
	if b := w.look(t, there); b.State != pennypost.BulkCompleted {
		t.Errorf("it is %v, want Completed", b.State)
	}
}
