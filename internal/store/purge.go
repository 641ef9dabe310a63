package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pennypost"
)

// Place is where a walk over the messages of a stream has come to; its zero
// value is before the first.
type Place struct {
	at int64
	id []byte
}

// messagesAfter gives the ids of up to n messages of a stream, the oldest
// first, and the place of the last.
func (tx *Tx) messagesAfter(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, from Place, n int) ([]any, Place, error) {
	if from.id == nil {
		from = Place{at: -1, id: []byte{}}
	}
	list, err := collect(tx, ctx, func(row scanner) (*Place, error) {
		p := &Place{}
		return p, row.Scan(&p.at, &p.id)
	}, `SELECT received_at, id FROM messages WHERE server_id = $1 AND stream = $2 AND (received_at, id) > ($3, $4)
		ORDER BY received_at, id LIMIT $5`, int64(server), string(stream), from.at, from.id, int64(n))
	ids := make([]any, len(list))
	for i := range list {
		ids[i], from = list[i].id, list[i]
	}
	return ids, from, err
}

// AnyWaiting tells whether jobs wait for one of the next n messages of a
// stream. next is where to go on, nil at the end.
func (tx *Tx) AnyWaiting(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, from Place, n int) (waiting bool, next *Place, err error) {
	ids, last, err := tx.messagesAfter(ctx, server, stream, from, n)
	if err == nil && len(ids) > 0 {
		waiting, err = tx.exists(ctx, `SELECT 1 FROM recipients r JOIN jobs j ON j.id = r.job_id
			WHERE r.message_id IN (`+places(1, len(ids))+`)`, ids...)
	}
	if err != nil {
		return false, nil, fmt.Errorf("jobs of stream %q of server %d: %w", stream, server, err)
	}
	if len(ids) < n {
		return waiting, nil, nil
	}
	return waiting, &last, nil
}

// ofMessage are the tables that hold what belongs to a message, by its id.
func ofMessage() []string {
	return []string{"contents", "signatures", "recipients", "attempts", "events", "opens", "clicks"}
}

// PurgeStream deletes up to n messages of a stream that was archived at or
// before a time, or as many of its other rows, for good. It tells whether there
// may be more; the stream itself goes last, with its tokens. ErrNotFound: there
// is no such stream, or it is archived no longer. Statistics stay.
func (tx *Tx) PurgeStream(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, before time.Time, n int) (more bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("purge stream %q of server %d: %w", stream, server, err)
		}
	}()
	s, err := tx.Stream(ctx, server, stream)
	switch {
	case err != nil:
		return false, err
	case s.ArchivedAt.IsZero() || s.ArchivedAt.After(before):
		return false, ErrNotFound
	}
	for _, step := range []func(context.Context, pennypost.ServerID, pennypost.StreamID, int) (bool, error){
		tx.purgeBulk, tx.purgeMessages, tx.purgeBounces, tx.purgeEvents, tx.purgeSuppressions, tx.purgeImports,
	} {
		if did, err := step(ctx, server, stream, n); err != nil || did {
			return true, err
		}
	}
	return false, tx.removeStream(ctx, server, stream)
}

// purgeOctets is about how much mail is deleted with a transaction.
const purgeOctets = 8 << 20

// sized is a message and its size.
type sized struct {
	id   []byte
	size int64
}

// purgeMessages deletes the messages first, so that KeepMessage is either
// waited for, and what it was kept for is seen, or finds nothing.
func (tx *Tx) purgeMessages(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, n int) (bool, error) {
	list, err := collect(tx, ctx, func(row scanner) (*sized, error) {
		m := &sized{}
		return m, row.Scan(&m.id, &m.size)
	}, `SELECT id, size FROM messages WHERE server_id = $1 AND stream = $2 ORDER BY received_at, id LIMIT $3`,
		int64(server), string(stream), int64(n))
	if err != nil || len(list) == 0 {
		return false, err
	}
	ids := make([]any, 0, len(list))
	octets := int64(0)
	for i := range list {
		if octets += list[i].size; i > 0 && octets > purgeOctets {
			break
		}
		ids = append(ids, list[i].id)
	}
	if _, err = tx.exec(ctx, `DELETE FROM messages WHERE id IN (`+places(1, len(ids))+`)`, ids...); err != nil {
		return false, err
	}
	for _, table := range ofMessage() {
		if _, err := tx.exec(ctx, `DELETE FROM `+table+` WHERE message_id IN (`+places(1, len(ids))+`)`, ids...); err != nil {
			return false, err
		}
	}
	return true, nil
}

// purgeBounces deletes bounces, and the events of messages that were refused
// over SMTP: they have no other row.
func (tx *Tx) purgeBounces(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, n int) (bool, error) {
	ids, err := collect(tx, ctx, func(row scanner) (*[]byte, error) {
		var id []byte
		return &id, row.Scan(&id)
	}, `DELETE FROM bounces WHERE id IN (SELECT id FROM bounces WHERE server_id = $1 AND stream = $2 ORDER BY id LIMIT $3)
		RETURNING message_id`, int64(server), string(stream), int64(n))
	if err != nil || len(ids) == 0 {
		return false, err
	}
	args := make([]any, 0, len(ids)+2)
	args = append(args, int64(server), string(stream))
	for _, id := range ids {
		args = append(args, id)
	}
	_, err = tx.exec(ctx, `DELETE FROM events WHERE server_id = $1 AND stream = $2 AND message_id IN (`+places(3, len(ids))+`)`, args...)
	return true, err
}

func (tx *Tx) purgeEvents(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, n int) (bool, error) {
	key := streamKey(server, stream)
	return tx.purged(ctx, `DELETE FROM events WHERE message_id = $1 AND id IN (
			SELECT id FROM events WHERE message_id = $1 AND server_id = $2 AND stream = $3 ORDER BY id LIMIT $4)`,
		key, int64(server), string(stream), int64(n))
}

func (tx *Tx) purgeSuppressions(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, n int) (bool, error) {
	return tx.purged(ctx, `DELETE FROM suppressions WHERE server_id = $1 AND stream = $2 AND address_key IN (
			SELECT address_key FROM suppressions WHERE server_id = $1 AND stream = $2 ORDER BY address_key LIMIT $3)`,
		int64(server), string(stream), int64(n))
}

func (tx *Tx) purgeImports(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, _ int) (bool, error) {
	var id pennypost.ImportID
	err := tx.row(ctx, `SELECT id FROM imports WHERE server_id = $1 AND stream = $2 ORDER BY id LIMIT 1`,
		int64(server), string(stream)).Scan(&id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = tx.DeleteImport(ctx, id)
	return true, err
}

func (tx *Tx) purged(ctx context.Context, query string, args ...any) (bool, error) {
	n, err := tx.exec(ctx, query, args...)
	return n > 0, err
}

// removeStream deletes the row of a stream and the tokens bound to it.
func (tx *Tx) removeStream(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID) error {
	if err := tx.lockAccept(ctx, 0, server, false); err != nil {
		return err
	}
	const tokens = ` server_id = $1 AND kind IN (1, 3) AND stream = $2` //nolint:gosec // names of columns
	for _, query := range []string{
		`DELETE FROM smtp_secrets WHERE token_id IN (SELECT id FROM tokens WHERE` + tokens + `)`,
		`DELETE FROM tokens WHERE` + tokens,
		`DELETE FROM streams WHERE server_id = $1 AND id = $2`,
	} {
		if _, err := tx.exec(ctx, query, int64(server), string(stream)); err != nil {
			return err
		}
	}
	return tx.BumpAuth(ctx)
}
