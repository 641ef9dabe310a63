package submit

import (
	"context"
	"errors"
	"slices"
	"time"

	"pennypost"
	"pennypost/internal/event"
	"pennypost/internal/store"
)

// The codes of a cancellation; the first is the contract's
// (contract/common.md §6.5), the others are ours.
const (
	codeMessageUnknown pennypost.Code = 701
	codeNotScheduled   pennypost.Code = 790
	codeTaken          pennypost.Code = 791
)

// Cancel calls a scheduled message back that nobody has begun to deliver, as a
// whole or not at all: what Cancel has answered for is never delivered. It gives
// how many recipients that were; none when it was cancelled before.
func (d *Door) Cancel(ctx context.Context, server pennypost.ServerID, id pennypost.MessageID) (int, error) {
	n := 0
	err := d.conf.Store.Update(ctx, func(tx *store.Tx) error {
		n = 0
		m, err := tx.Message(ctx, server, id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return pennypost.Refuse(codeMessageUnknown, "This message was not found.")
		case err != nil:
			return err
		case m.SendAt.IsZero():
			return pennypost.Refuse(codeNotScheduled, "This message cannot be cancelled: it was not scheduled with 'SendAt'.")
		}
		n, err = cancel(ctx, tx, m)
		return err
	})
	return n, err
}

// cancel ends all recipients of a message that wait. A job that is in a
// worker's hands, or was, refuses it for all of them.
func cancel(ctx context.Context, tx *store.Tx, m *pennypost.Message) (int, error) {
	jobs, err := tx.JobsOf(ctx, m.ID)
	if err != nil {
		return 0, err
	}
	list, err := tx.Recipients(ctx, m.ID)
	if err != nil {
		return 0, err
	}
	waits := slices.ContainsFunc(list, func(r pennypost.Recipient) bool { return !r.State.Final() })
	if waits && !tx.Now().Before(m.SendAt) {
		// A process that had the job may have died behind the dot: its job is free.
		return 0, errTaken()
	}
	for i := range list {
		if r := &list[i]; r.Attempts > 0 || r.State.Final() && r.State != pennypost.Suppressed && r.State != pennypost.Cancelled {
			return 0, errTaken()
		}
	}
	for i := range jobs {
		err := tx.CancelJob(ctx, jobs[i].ID)
		if errors.Is(err, store.ErrNotFound) {
			return 0, errTaken()
		}
		if err != nil {
			return 0, err
		}
	}
	n := 0
	for i := range list {
		r := &list[i]
		if r.State.Final() {
			continue
		}
		if err := cancelOne(ctx, tx, m, r); err != nil {
			return 0, err
		}
		n++
	}
	if n > 0 {
		err = event.Unsent(ctx, tx, m, n)
	}
	return n, err
}

func cancelOne(ctx context.Context, tx *store.Tx, m *pennypost.Message, r *pennypost.Recipient) (err error) {
	if r.State, err = r.State.After(pennypost.OutcomeCancelled); err != nil {
		return err
	}
	r.NextAt, r.ChangedAt, r.Rule, r.Reply = time.Time{}, tx.Now(), "cancelled", ""
	if err := tx.SetRecipient(ctx, r); err != nil {
		return err
	}
	return event.Record(ctx, tx, &pennypost.Event{
		At: tx.Now(), AccountID: m.AccountID, ServerID: m.ServerID, Stream: m.Stream, MessageID: m.ID, N: r.N,
		Recipient: r.Address, Type: pennypost.EventCancelled, Tag: m.Tag,
	})
}

func errTaken() *pennypost.Error {
	return pennypost.Refuse(codeTaken, "This message cannot be cancelled any more: its delivery has begun.")
}
