package store

import (
	"context"
	"fmt"
	"time"

	"pennypost"
)

// StreamsToChange is Streams for who is about to add, archive or change one:
// until the transaction ends nobody else does, and no message is accepted.
func (tx *Tx) StreamsToChange(ctx context.Context, server pennypost.ServerID) ([]pennypost.Stream, error) {
	if err := tx.lockAccept(ctx, 0, server, false); err != nil {
		return nil, err
	}
	return tx.Streams(ctx, server)
}

// SetStream stores name, description, unsubscribe handling and the times of a
// stream; ErrNotFound.
func (tx *Tx) SetStream(ctx context.Context, s *pennypost.Stream) error {
	n, err := tx.exec(ctx, `UPDATE streams SET name = $3, description = $4, unsubscribe = $5, updated_at = $6, archived_at = $7
		WHERE server_id = $1 AND id = $2`,
		int64(s.ServerID), string(s.ID), plain(s.Name), plain(s.Description), string(s.Unsubscribe),
		timeToDB(s.UpdatedAt), timeToDB(s.ArchivedAt))
	return changed(n, err, "stream", s.ID)
}

// ArchivedBefore gives up to n streams of all servers that were archived at or
// before a time, the longest ago first, from the beginning or after a stream
// that it gave.
func (tx *Tx) ArchivedBefore(ctx context.Context, at time.Time, after *pennypost.Stream, n int) ([]pennypost.Stream, error) {
	if after == nil {
		after = &pennypost.Stream{}
	}
	list, err := collect(tx, ctx, scanStream, `SELECT `+streamColumns+` FROM streams
		WHERE archived_at <> 0 AND archived_at <= $1 AND (archived_at, server_id, id) > ($2, $3, $4)
		ORDER BY archived_at, server_id, id LIMIT $5`,
		timeToDB(at), timeToDB(after.ArchivedAt), int64(after.ServerID), string(after.ID), int64(n))
	if err != nil {
		return nil, fmt.Errorf("list archived streams: %w", err)
	}
	return list, nil
}
