package store

import (
	"context"
	"errors"
	"fmt"

	"pennypost"
)

// Content gives the content of a message: ErrNotFound, or ErrDamaged when it
// is not what was stored.
func (tx *Tx) Content(ctx context.Context, id pennypost.MessageID) ([]byte, error) {
	content, err := tx.summed(ctx, `SELECT content, checksum FROM contents WHERE message_id = $1`, id)
	if err != nil {
		return nil, fmt.Errorf("content of message %s: %w", id, err)
	}
	return content, nil
}

// Signature gives the DKIM-Signature fields that were kept for further
// attempts, or ErrNotFound. Damaged ones are as good as none, since they can be
// made anew.
func (tx *Tx) Signature(ctx context.Context, id pennypost.MessageID) ([]byte, error) {
	fields, err := tx.summed(ctx, `SELECT fields, checksum FROM signatures WHERE message_id = $1`, id)
	if errors.Is(err, ErrDamaged) {
		tx.s.log.WarnContext(ctx, "signature damaged", "message_id", id)
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("signature of message %s: %w", id, err)
	}
	return fields, nil
}

// summed reads a column with its checksum.
func (tx *Tx) summed(ctx context.Context, query string, id pennypost.MessageID) ([]byte, error) {
	var b []byte
	var sum int64
	if err := tx.row(ctx, query, id[:]).Scan(&b, &sum); err != nil {
		return nil, err
	}
	if sumContent(id[:], b) != sum {
		return nil, ErrDamaged
	}
	return b, nil
}

// SetSignature keeps the DKIM-Signature fields of a message that needs further
// attempts, in place of those that were made with a key now replaced.
func (tx *Tx) SetSignature(ctx context.Context, id pennypost.MessageID, fields []byte) error {
	if fields == nil {
		fields = []byte{}
	}
	_, err := tx.exec(ctx, `INSERT INTO signatures (message_id, fields, checksum) VALUES ($1, $2, $3)
		ON CONFLICT (message_id) DO UPDATE SET fields = excluded.fields, checksum = excluded.checksum`, id[:], fields, sumContent(id[:], fields))
	if err != nil {
		return fmt.Errorf("keep signature of message %s: %w", id, err)
	}
	return nil
}
