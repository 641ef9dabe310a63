package deliver

import (
	"context"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/event"
	"pennypost/internal/store"
)

// isUnwanted tells whether the address of a letter came onto the suppression list
// of its stream while it waited before its first attempt: because it was scheduled
// or held, or is of a bulk request. What began goes on, as other mail does. When the store cannot
// say it waits; a letter must not go to who does not want it.
func (d *Deliverer) isUnwanted(ctx context.Context, k *letter) bool {
	waited := !k.m.SendAt.IsZero() || k.rcpt.HeldFor > 0 || k.job.Priority == pennypost.PriorityRequest
	if !waited || k.rcpt.Attempts > 0 {
		return false
	}
	unwanted := false
	err := d.patiently(ctx, func() error {
		return d.c.Store.View(ctx, func(tx *store.Tx) (err error) {
			unwanted, err = isSuppressed(ctx, tx, k)
			return err
		})
	})
	if err != nil && ctx.Err() == nil {
		d.c.Log.ErrorContext(ctx, "suppressions cannot be read", "message_id", k.rcpt.MessageID, "err", err)
	}
	return unwanted || err != nil
}

func isSuppressed(ctx context.Context, tx *store.Tx, k *letter) (bool, error) {
	list, err := tx.Suppressed(ctx, k.m.ServerID, k.m.Stream, []pennypost.Address{k.rcpt.Address})
	return len(list) > 0, err
}

// suppress ends a letter whose address must not be written to. The
// transaction looks again. False: the letter is to go.
func (d *Deliverer) suppress(ctx context.Context, k *letter) bool {
	r := result{
		outcome: pennypost.OutcomeSuppressed, verdict: bounce.Verdict{Rule: "suppressed"},
		text: ours + "5.7.1 the address was on the suppression list of the stream when the message was due",
	}
	is := false
	err := d.persist(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if is, err = isSuppressed(ctx, tx, k); err != nil || !is {
			return err
		}
		rcpt, err := moved(k, &r, tx.Now())
		if err != nil {
			return err
		}
		if err := tx.FinishJob(ctx, k.job.ID); err != nil {
			return err
		}
		if err := tx.SetRecipient(ctx, rcpt); err != nil {
			return err
		}
		if err := event.Unsent(ctx, tx, k.m, 1); err != nil {
			return err
		}
		return event.Record(ctx, tx, newEvent(k, pennypost.EventSuppressed, tx.Now()))
	})
	if err == nil && !is {
		return false
	}
	d.ended(ctx, k, &r, err)
	return true
}
