package store

import (
	"context"
	"fmt"
	"time"

	"pennypost"
)

const streamColumns = `server_id, id, type, name, description, unsubscribe, retry_hours, created_at, updated_at, archived_at`

func scanStream(row scanner) (*pennypost.Stream, error) {
	s := &pennypost.Stream{}
	var hours int64
	err := row.Scan(&s.ServerID, &s.ID, &s.Type, &s.Name, &s.Description, &s.Unsubscribe, &hours,
		intoTime(&s.CreatedAt), intoTime(&s.UpdatedAt), intoTime(&s.ArchivedAt))
	if err != nil {
		return nil, err
	}
	s.RetryFor = time.Duration(hours) * time.Hour
	return s, nil
}

// AddStream stores a new stream and sets its CreatedAt; ErrConflict: the id is
// taken on the server.
func (tx *Tx) AddStream(ctx context.Context, s *pennypost.Stream) error {
	s.CreatedAt = tx.Now()
	_, err := tx.exec(ctx, `INSERT INTO streams (`+streamColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0)`,
		int64(s.ServerID), string(s.ID), string(s.Type), s.Name, s.Description, string(s.Unsubscribe),
		int64(s.RetryFor/time.Hour), timeToDB(s.CreatedAt))
	if err != nil {
		return fmt.Errorf("add stream: %w", err)
	}
	return nil
}

// Stream gives a stream of a server, archived ones too, or ErrNotFound.
func (tx *Tx) Stream(ctx context.Context, server pennypost.ServerID, id pennypost.StreamID) (*pennypost.Stream, error) {
	s, err := scanStream(tx.row(ctx, `SELECT `+streamColumns+` FROM streams WHERE server_id = $1 AND id = $2`,
		int64(server), string(id)))
	if err != nil {
		return nil, fmt.Errorf("stream %q of server %d: %w", id, server, err)
	}
	return s, nil
}

// Streams gives the streams of a server in order of creation, archived ones
// too.
func (tx *Tx) Streams(ctx context.Context, server pennypost.ServerID) ([]pennypost.Stream, error) {
	list, err := collect(tx, ctx, scanStream, `SELECT `+streamColumns+` FROM streams WHERE server_id = $1
		ORDER BY created_at, id`, int64(server))
	if err != nil {
		return nil, fmt.Errorf("list streams of server %d: %w", server, err)
	}
	return list, nil
}
