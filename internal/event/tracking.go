package event

import (
	"context"
	"errors"
	"fmt"

	"pennypost"
	"pennypost/internal/store"
)

// Opened records that a recipient's copy was opened, and whether it was the
// first time. The first one is an event; all are counted. What a machine opened
// is kept apart (contract/tracking.md §2).
func Opened(ctx context.Context, tx *store.Tx, r *pennypost.Reading) (first bool, err error) {
	if first, err = tx.AddOpen(ctx, r); err != nil {
		return false, err
	}
	c := store.StatCount{Server: r.ServerID, Stream: r.Stream, Tag: r.Tag}
	switch {
	case r.Machine != "":
		c.MachineOpens = 1
	case first:
		c.Opens, c.UniqueOpens = 1, 1
	default:
		c.Opens = 1
	}
	if err := tx.CountStats(ctx, c); err != nil || !first || r.Machine != "" {
		return first, err
	}
	if err := countReading(ctx, tx, r, store.OpenPlatform, store.OpenClient); err != nil {
		return first, err
	}
	summary := "Email opened"
	if r.UserAgent != "" {
		summary += " with " + r.UserAgent
	}
	return first, tell(ctx, tx, r, pennypost.EventOpened, map[string]string{"Summary": summary})
}

// Clicked records that a recipient followed a link, likewise
// (contract/tracking.md §3).
func Clicked(ctx context.Context, tx *store.Tx, k *pennypost.Click) (first bool, err error) {
	if first, err = tx.AddClick(ctx, k); err != nil {
		return false, err
	}
	r := &k.Reading
	c := store.StatCount{Server: r.ServerID, Stream: r.Stream, Tag: r.Tag}
	switch {
	case r.Machine != "":
		c.MachineClicks = 1
	case first:
		c.Clicks, c.UniqueClicks = 1, 1
	default:
		c.Clicks = 1
	}
	if err := tx.CountStats(ctx, c); err != nil || !first || r.Machine != "" {
		return first, err
	}
	if err := countReading(ctx, tx, r, store.ClickPlatform, store.ClickBrowser); err != nil {
		return first, err
	}
	if err := tx.CountReading(ctx, r, store.ClickLocation, string(k.Location)); err != nil {
		return first, err
	}
	return first, tell(ctx, tx, r, pennypost.EventClicked, map[string]string{
		"Summary": "Link clicked from " + string(k.Location) + " body", "Link": k.Target, "ClickLocation": string(k.Location),
	})
}

func countReading(ctx context.Context, tx *store.Tx, r *pennypost.Reading, platform, client store.ReadingKind) error {
	if err := tx.CountReading(ctx, r, platform, string(r.Platform)); err != nil {
		return err
	}
	if r.Client.Family == "" {
		return nil
	}
	return tx.CountReading(ctx, r, client, r.Client.Family)
}

func tell(ctx context.Context, tx *store.Tx, r *pennypost.Reading, t pennypost.EventType, details map[string]string) error {
	e := &pennypost.Event{
		ID: r.ID, At: r.At, AccountID: r.AccountID, ServerID: r.ServerID, Stream: r.Stream, MessageID: r.MessageID, N: r.N,
		Recipient: r.Recipient, Type: t, Tag: r.Tag, Details: details,
	}
	if err := tx.AddEvent(ctx, e); err != nil {
		return fmt.Errorf("record %s: %w", t, err)
	}
	return nil
}

// Unsubscribe takes a recipient of a message off its stream at his own wish,
// and tells whether he was on it (contract/sending.md §14). An entry that is
// there stays as it is.
func Unsubscribe(ctx context.Context, tx *store.Tx, m *pennypost.Message, r *pennypost.Recipient) (bool, error) {
	added, err := tx.Suppress(ctx, pennypost.Suppression{
		ServerID: m.ServerID, Stream: m.Stream, Address: r.Address, Reason: reasonManual, Origin: originRecipient,
	})
	if err != nil || !added {
		return false, err
	}
	return true, subscription(ctx, tx, m, r, "True")
}

// Resubscribe undoes Unsubscribe, and nothing else: who complained or was
// taken off by the sender stays off. It tells whether there was something to
// undo.
func Resubscribe(ctx context.Context, tx *store.Tx, m *pennypost.Message, r *pennypost.Recipient) (bool, error) {
	s, err := tx.Suppression(ctx, m.ServerID, m.Stream, r.Address)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case !OwnWish(s):
		return false, nil
	}
	gone, err := tx.Unsuppress(ctx, m.ServerID, m.Stream, r.Address)
	if err != nil || !gone {
		return false, err
	}
	return true, subscription(ctx, tx, m, r, "False")
}

// OwnWish tells whether a suppression is that of a recipient who unsubscribed,
// and so his to undo.
func OwnWish(s *pennypost.Suppression) bool {
	return s.Reason == reasonManual && s.Origin == originRecipient
}

func subscription(ctx context.Context, tx *store.Tx, m *pennypost.Message, r *pennypost.Recipient, suppress string) error {
	e := &pennypost.Event{
		AccountID: m.AccountID, ServerID: m.ServerID, Stream: m.Stream, MessageID: m.ID, N: r.N, Recipient: r.Address,
		Type: pennypost.EventSubscriptionChanged, Tag: m.Tag,
		Details: map[string]string{"Origin": originRecipient, "SuppressSending": suppress},
	}
	if err := tx.AddEvent(ctx, e); err != nil {
		return fmt.Errorf("record subscription: %w", err)
	}
	return nil
}
