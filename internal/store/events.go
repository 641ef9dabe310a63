package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"pennypost"
)

// AddEvent appends an event, and its bounce if it has one. It sets their ids
// where they are 0. What concerns no message, such as an address that the
// customer suppressed, is kept under its stream (StreamEvents).
func (tx *Tx) AddEvent(ctx context.Context, e *pennypost.Event) error {
	if e.ID == 0 {
		e.ID = tx.s.NextID()
	}
	if e.At.IsZero() {
		e.At = tx.Now()
	}
	var bounce int64
	if e.Bounce != nil {
		if err := tx.addBounce(ctx, e.Bounce); err != nil {
			return fmt.Errorf("add bounce: %w", err)
		}
		bounce = e.Bounce.ID
	}
	_, err := tx.exec(ctx, `INSERT INTO events (message_id, id, at, account_id, server_id, stream, n, recipient, type, tag,
			details, bounce_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		eventKey(e), e.ID, timeToDB(e.At), int64(e.AccountID), int64(e.ServerID), string(e.Stream), int64(e.N),
		string(e.Recipient), string(e.Type), plain(e.Tag), mapText(plainMap(e.Details)), bounce)
	if err != nil {
		return fmt.Errorf("add event: %w", err)
	}
	return nil
}

// eventRow is an event and the id of its bounce.
type eventRow struct {
	e      pennypost.Event
	bounce int64
}

func scanEvent(row scanner) (*eventRow, error) {
	r := &eventRow{}
	e := &r.e
	var id []byte
	var details string
	err := row.Scan(&id, &e.ID, intoTime(&e.At), &e.AccountID, &e.ServerID, &e.Stream, &e.N, &e.Recipient, &e.Type, &e.Tag,
		&details, &r.bounce)
	if err != nil {
		return nil, err
	}
	if !isStreamKey(id) {
		copy(e.MessageID[:], id)
	}
	e.Details, err = mapOf(details)
	return r, err
}

// Events gives the events of a message, the oldest first, with their bounces.
func (tx *Tx) Events(ctx context.Context, id pennypost.MessageID) ([]pennypost.Event, error) {
	list, err := collect(tx, ctx, scanEvent, `SELECT message_id, id, at, account_id, server_id, stream, n, recipient, type, tag,
			details, bounce_id FROM events WHERE message_id = $1 ORDER BY id`, id[:])
	if err != nil {
		return nil, fmt.Errorf("events of message %s: %w", id, err)
	}
	events := make([]pennypost.Event, len(list))
	for i := range list {
		events[i] = list[i].e
		if list[i].bounce == 0 {
			continue
		}
		if events[i].Bounce, err = tx.Bounce(ctx, events[i].ServerID, list[i].bounce); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// eventKey is what the events that belong together are kept under: their
// message, or their stream where there is none.
func eventKey(e *pennypost.Event) []byte {
	if !e.MessageID.IsZero() {
		return e.MessageID[:]
	}
	return streamKey(e.ServerID, e.Stream)
}

// streamKey names a stream where events have a message id. No id of a message
// is like it, since those are UUIDs with a version.
func streamKey(server pennypost.ServerID, stream pennypost.StreamID) []byte {
	sum := sha256.Sum256([]byte(stream))
	key := binary.BigEndian.AppendUint32(make([]byte, 8, 16), uint32(server)) //nolint:gosec // it fits (pennypost.ServerID)
	return append(key, sum[:4]...)
}

func isStreamKey(id []byte) bool { return len(id) == 16 && binary.BigEndian.Uint64(id) == 0 }

// StreamEvents gives up to n events of a stream that concern no message, the
// oldest first, from after an id on.
func (tx *Tx) StreamEvents(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, after int64, n int) ([]pennypost.Event, error) {
	list, err := collect(tx, ctx, scanEvent, `SELECT message_id, id, at, account_id, server_id, stream, n, recipient, type, tag,
			details, bounce_id FROM events WHERE message_id = $1 AND id > $2 AND server_id = $3 AND stream = $4 ORDER BY id LIMIT $5`,
		streamKey(server, stream), after, int64(server), string(stream), int64(n))
	if err != nil {
		return nil, fmt.Errorf("events of stream %q of server %d: %w", stream, server, err)
	}
	events := make([]pennypost.Event, len(list))
	for i := range list {
		events[i] = list[i].e
	}
	return events, nil
}
