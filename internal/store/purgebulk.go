package store

import (
	"context"
	"errors"
	"fmt"

	"pennypost"
)

// purgeBulk cancels and deletes bulk requests: one that has messages left a
// little at a time, and up to n of the others. Those that were never whole show
// nowhere, and are swept away anyhow (SweepBulk).
func (tx *Tx) purgeBulk(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, n int) (bool, error) {
	const of = ` FROM bulk_requests WHERE server_id = $1 AND stream = $2 AND state <> 0`
	var id []byte
	err := tx.row(ctx, `SELECT id`+of+` AND stored = 1 LIMIT 1`, int64(server), string(stream)).Scan(&id)
	if err == nil {
		return true, tx.purgeBulkRequest(ctx, server, id)
	}
	if !errors.Is(err, ErrNotFound) {
		return false, err
	}
	return tx.purged(ctx, `DELETE FROM bulk_requests WHERE id IN (SELECT id`+of+` AND stored = 0 LIMIT $3)`,
		int64(server), string(stream), int64(n))
}

func (tx *Tx) purgeBulkRequest(ctx context.Context, server pennypost.ServerID, id []byte) error {
	if _, err := tx.CancelBulk(ctx, server, pennypost.BulkID(id)); err != nil {
		return err
	}
	n, err := tx.exec(ctx, deleteBulkParts, id)
	if err != nil || n > 0 {
		return err
	}
	for _, query := range []string{`DELETE FROM bulk_shared WHERE request_id = $1`, `DELETE FROM bulk_requests WHERE id = $1`} {
		if _, err := tx.exec(ctx, query, id); err != nil {
			return err
		}
	}
	return nil
}

// KeepMessage has a message stay until the transaction ends, for what is about
// to be stored of it; ErrNotFound when it is gone.
func (tx *Tx) KeepMessage(ctx context.Context, id pennypost.MessageID) error {
	lock := ``
	if tx.postgres() { // where a purge may run beside it
		lock = ` FOR KEY SHARE`
	}
	var one int64
	if err := tx.row(ctx, `SELECT 1 FROM messages WHERE id = $1`+lock, id[:]).Scan(&one); err != nil {
		return fmt.Errorf("keep message %s: %w", id, err)
	}
	return nil
}
