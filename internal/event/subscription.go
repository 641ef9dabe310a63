package event

import (
	"context"
	"errors"
	"fmt"

	"pennypost"
	"pennypost/internal/store"
)

// SuppressByHand puts an address on a stream's list for another reason than a
// bounce, and records the change. An entry that is there stays as it is; added
// tells whether it was not. The event names no message (contract/webhooks.md
// §6.6): store.StreamEvents finds it.
func SuppressByHand(ctx context.Context, tx *store.Tx, account pennypost.AccountID, s pennypost.Suppression) (added bool, err error) {
	added, err = tx.Suppress(ctx, s)
	if err != nil || !added {
		return false, err
	}
	return true, changed(ctx, tx, &pennypost.Event{
		At: tx.Now(), AccountID: account, ServerID: s.ServerID, Stream: s.Stream, Recipient: s.Address,
		Details: map[string]string{"Origin": s.Origin, "SuppressSending": "True", "SuppressionReason": s.Reason},
	})
}

// Reactivate takes an address off a stream's list on behalf of someone, and
// records the change with the message that had bounced, if one had. Its bounces
// are no longer inactive (contract/bounces.md §9). removed tells whether it was
// on the list.
func Reactivate(ctx context.Context, tx *store.Tx, account pennypost.AccountID, s pennypost.Suppression, origin string) (removed bool, err error) {
	removed, err = tx.Unsuppress(ctx, s.ServerID, s.Stream, s.Address)
	if err != nil || !removed {
		return false, err
	}
	e := &pennypost.Event{
		At: tx.Now(), AccountID: account, ServerID: s.ServerID, Stream: s.Stream, Recipient: s.Address,
		Details: map[string]string{"Origin": origin, "SuppressSending": "False"},
	}
	b, err := tx.Reactivate(ctx, s.ServerID, s.Stream, s.Address)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return false, err
	default:
		e.MessageID, e.N, e.Recipient, e.Tag = b.MessageID, b.N, b.Recipient, b.Tag
	}
	return true, changed(ctx, tx, e)
}

func changed(ctx context.Context, tx *store.Tx, e *pennypost.Event) error {
	e.Type = pennypost.EventSubscriptionChanged
	if err := tx.AddEvent(ctx, e); err != nil {
		return fmt.Errorf("record change of subscription: %w", err)
	}
	return nil
}
