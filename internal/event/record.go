package event

import (
	"context"
	"fmt"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/store"
)

// Record appends an event in the transaction in which it happened, and does
// what follows from it. A bounce that makes its address inactive puts it on the
// stream's suppression list; if it was not there, that is an event too.
func Record(ctx context.Context, tx *store.Tx, e *pennypost.Event) error {
	if e.At.IsZero() {
		e.At = tx.Now()
	}
	if err := tx.AddEvent(ctx, e); err != nil {
		return fmt.Errorf("record event: %w", err)
	}
	if err := count(ctx, tx, e); err != nil {
		return err
	}
	if e.Bounce != nil && e.Bounce.Inactive {
		return suppress(ctx, tx, e)
	}
	return nil
}

// Accepted counts n recipients of a message that was accepted.
func Accepted(ctx context.Context, tx *store.Tx, m *pennypost.Message, n int) error {
	if err := tx.CountStats(ctx, accepted(m, n)); err != nil {
		return fmt.Errorf("count accepted: %w", err)
	}
	return nil
}

// accepted is what n recipients of a message count for; a negative n is taken
// back.
func accepted(m *pennypost.Message, n int) store.StatCount {
	c := store.StatCount{Server: m.ServerID, Stream: m.Stream, Tag: m.Tag, Sent: int64(n)}
	trackLinks := m.TrackLinks != "" && m.TrackLinks != pennypost.TrackNone
	if m.TrackOpens {
		c.TrackedOpens = int64(n)
	}
	if trackLinks {
		c.TrackedLinks, c.LinksSent = int64(n), int64(n)*int64(m.Links)
	}
	if m.TrackOpens || trackLinks {
		c.Tracked = int64(n)
	}
	return c
}

// Unsent takes n recipients of a message that was accepted ahead of its time out
// of the counters again: nothing is sent to them.
func Unsent(ctx context.Context, tx *store.Tx, m *pennypost.Message, n int) error {
	if err := tx.UncountStats(ctx, accepted(m, -n), m.ReceivedAt); err != nil {
		return err
	}
	return tx.TakeBackUsage(ctx, m.AccountID, m.ServerID, n, m.ReceivedAt)
}

func count(ctx context.Context, tx *store.Tx, e *pennypost.Event) error {
	c := store.StatCount{Server: e.ServerID, Stream: e.Stream, Tag: e.Tag}
	switch e.Type {
	case pennypost.EventDelivered:
		c.Delivered = 1
	case pennypost.EventTransient:
		c.Deferred = 1
	case pennypost.EventBounced:
		if e.Bounce != nil && e.Bounce.TypeCode == bounce.SMTPAPIError.Code() {
			c.SMTPErrors = 1
		} else {
			c.Bounced = 1
		}
	case pennypost.EventOpened, pennypost.EventClicked, pennypost.EventSubscriptionChanged,
		pennypost.EventHeld, pennypost.EventReleased, pennypost.EventCancelled, pennypost.EventSuppressed:
		return nil
	}
	if err := tx.CountStats(ctx, c); err != nil {
		return fmt.Errorf("count event: %w", err)
	}
	return nil
}

// The reasons and the origin of contract/bounces.md §13.
const (
	reasonHardBounce = "HardBounce"
	reasonComplaint  = "SpamComplaint"
	reasonManual     = "ManualSuppression"
	originRecipient  = "Recipient"
)

// suppress takes the address of a bounce out of use in its stream, and tells
// of it (contract/bounces.md §6). An entry that is there stays as it is.
func suppress(ctx context.Context, tx *store.Tx, e *pennypost.Event) error {
	added, err := tx.Suppress(ctx, pennypost.Suppression{
		ServerID: e.ServerID, Stream: e.Stream, Address: e.Bounce.Recipient, Reason: reason(e.Bounce), Origin: originRecipient,
	})
	if err != nil || !added {
		return err
	}
	changed := &pennypost.Event{
		At: e.At, AccountID: e.AccountID, ServerID: e.ServerID, Stream: e.Stream, MessageID: e.MessageID, N: e.N,
		Recipient: e.Recipient, Type: pennypost.EventSubscriptionChanged, Tag: e.Tag,
		Details: map[string]string{"Origin": originRecipient, "SuppressSending": "True"},
	}
	if err := tx.AddEvent(ctx, changed); err != nil {
		return fmt.Errorf("record suppression: %w", err)
	}
	return nil
}

func reason(b *pennypost.Bounce) string {
	switch b.TypeCode {
	case bounce.SpamComplaint.Code():
		return reasonComplaint
	case bounce.ManuallyDeactivated.Code():
		return reasonManual
	}
	return reasonHardBounce
}
