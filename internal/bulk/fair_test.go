package bulk

import (
	"context"
	"errors"
	"strings"
	"testing"

	"pennypost"
	"pennypost/internal/store"
)

// TestServersTakeTurns: one with many requests gets no more than one with few.
func TestServersTakeTurns(t *testing.T) {
	w := newWorld(t)
	var many []*pennypost.BulkRequest
	for range 5 {
		many = append(many, w.accept(t, w.callers[0], 100))
	}
	one := w.accept(t, w.callers[1], 100)
	for range 6 {
		w.turn(t, true)
	}
	sum := 0
	for _, b := range many {
		sum += w.look(t, b).Released
	}
	if got := w.look(t, one).Released; got != 60 || sum != 60 {
		t.Errorf("made %d of the one and %d of the many, want 60 of both", got, sum)
	}
}

func refusedWith(t *testing.T, err error, code pennypost.Code, part string) {
	t.Helper()
	var refused *pennypost.Error
	if !errors.As(err, &refused) || refused.Code != code || refused.Status != 0 || !strings.Contains(refused.Text, part) {
		t.Errorf("got %v, want code %d with %q", err, code, part)
	}
}

// TestOpenRequests: their number has an end for each server.
func TestOpenRequests(t *testing.T) {
	w := newWorld(t)
	var b *pennypost.BulkRequest
	for range 20 {
		b = w.accept(t, w.callers[0], 1)
	}
	_, err := w.req.Accept(t.Context(), w.callers[0], mail(1))
	refusedWith(t, err, 792, "at most 20")
	w.accept(t, w.callers[1], 1)
	if _, err := w.req.Cancel(t.Context(), b.ServerID, b.ID); err != nil {
		t.Fatal(err)
	}
	w.accept(t, w.callers[0], 1)
}

// TestMonthUsedUp: a request of which nothing could be sent is refused like a
// single message (contract/common.md §6.2).
func TestMonthUsedUp(t *testing.T) {
	w := newWorld(t)
	use := func(n int, limit int64) {
		t.Helper()
		w.account.MonthlyLimit = limit
		w.update(t, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.SetAccount(ctx, &w.account); err != nil {
				return err
			}
			return tx.AddUsage(ctx, w.account.ID, w.callers[1].ServerID, n, pennypost.Limits{})
		})
	}
	use(9, 10)
	w.accept(t, w.callers[0], 1)
	use(1, 10)
	_, err := w.req.Accept(t.Context(), w.callers[0], mail(1))
	refusedWith(t, err, pennypost.CodeOverLimit, "the monthly limit of 10 is used up")
	use(0, 11)
	w.accept(t, w.callers[0], 1)
}
