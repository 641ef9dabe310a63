package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"pennypost"
)

// AddEvent appends an event and sets its ID; a bounce that it has is stored
// with it and gets an ID too.
func (tx *Tx) AddEvent(ctx context.Context, e *pennypost.Event) error {
	if e.ID == 0 {
		e.ID = tx.s.NextID()
	}
	var bounce int64
	if b := e.Bounce; b != nil {
		if err := tx.addBounce(ctx, b); err != nil {
			return err
		}
		bounce = b.ID
	}
	details, err := json.Marshal(e.Details)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	_, err = tx.exec(ctx, `INSERT INTO events (id, at, account_id, server_id, stream, message_id, n, recipient, type, tag, details, bounce_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		e.ID, timeToDB(e.At), int64(e.AccountID), int64(e.ServerID), string(e.Stream), e.MessageID[:], int64(e.N),
		string(e.Recipient), string(e.Type), e.Tag, string(details), bounce)
	if err != nil {
		return fmt.Errorf("add event: %w", err)
	}
	return nil
}

// Events gives the events of a message, oldest first, with their bounces.
func (tx *Tx) Events(ctx context.Context, id pennypost.MessageID) ([]pennypost.Event, error) {
	type entry struct {
		pennypost.Event
		bounce int64
	}
	list, err := collect(tx, ctx, func(row scanner) (*entry, error) {
		e := &entry{}
		e.MessageID = id
		var details string
		err := row.Scan(&e.ID, intoTime(&e.At), &e.AccountID, &e.ServerID, &e.Stream, &e.N, &e.Recipient, &e.Type, &e.Tag, &details, &e.bounce)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(details), &e.Details); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return e, nil
	}, `SELECT id, at, account_id, server_id, stream, n, recipient, type, tag, details, bounce_id FROM events
		WHERE message_id = $1 ORDER BY id`, id[:])
	if err != nil {
		return nil, fmt.Errorf("events of %v: %w", id, err)
	}
	events := make([]pennypost.Event, len(list))
	for i := range list {
		events[i] = list[i].Event
		if list[i].bounce == 0 {
			continue
		}
		b, err := tx.Bounce(ctx, list[i].ServerID, list[i].bounce)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		events[i].Bounce = b
	}
	return events, nil
}

const bounceColumns = `id, type_code, account_id, server_id, stream, message_id, n, recipient, sender, subject, tag, details, rule, dump, inactive, at, type`

func scanBounce(row scanner) (*pennypost.Bounce, error) {
	b := &pennypost.Bounce{}
	err := row.Scan(&b.ID, &b.TypeCode, &b.AccountID, &b.ServerID, &b.Stream, &b.MessageID, &b.N, &b.Recipient, &b.From,
		&b.Subject, &b.Tag, &b.Details, &b.Rule, &b.Dump, intoBool(&b.Inactive), intoTime(&b.At), &b.Type)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// addBounce stores a bounce and sets its ID, which grows and stays below 2^53
// (contract/bounces.md §4).
func (tx *Tx) addBounce(ctx context.Context, b *pennypost.Bounce) error {
	id, err := tx.next(ctx, "bounce")
	if err != nil {
		return err
	}
	b.ID = id
	_, err = tx.exec(ctx, `INSERT INTO bounces (`+bounceColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
		b.ID, int64(b.TypeCode), int64(b.AccountID), int64(b.ServerID), string(b.Stream), b.MessageID[:], int64(b.N),
		string(b.Recipient), b.From, b.Subject, b.Tag, b.Details, b.Rule, b.Dump, flag(b.Inactive), timeToDB(b.At), b.Type)
	if err != nil {
		return fmt.Errorf("add bounce: %w", err)
	}
	return nil
}

// Bounce gives a bounce of a server, or ErrNotFound.
func (tx *Tx) Bounce(ctx context.Context, server pennypost.ServerID, id int64) (*pennypost.Bounce, error) {
	b, err := scanBounce(tx.row(ctx, `SELECT `+bounceColumns+` FROM bounces WHERE id = $1 AND server_id = $2`, id, int64(server)))
	if err != nil {
		return nil, fmt.Errorf("bounce %d: %w", id, err)
	}
	return b, nil
}

// Bounces gives a page of a stream's bounces, newest first, and how many there
// are.
func (tx *Tx) Bounces(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, count, offset int) ([]pennypost.Bounce, int, error) {
	var total int
	err := tx.row(ctx, `SELECT COUNT(*) FROM bounces WHERE server_id = $1 AND stream = $2`, int64(server), string(stream)).Scan(&total)
	if err != nil {
		return nil, 0, fmt.Errorf("count bounces: %w", err)
	}
	list, err := collect(tx, ctx, scanBounce, `SELECT `+bounceColumns+` FROM bounces WHERE server_id = $1 AND stream = $2
		ORDER BY id DESC LIMIT $3 OFFSET $4`, int64(server), string(stream), int64(count), int64(offset))
	if err != nil {
		return nil, 0, fmt.Errorf("list bounces: %w", err)
	}
	return list, total, nil
}
