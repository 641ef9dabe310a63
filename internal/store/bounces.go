package store

import (
	"context"
	"fmt"

	"pennypost"
)

const bounceColumns = `id, type, type_code, account_id, server_id, stream, message_id, n, recipient, sender, subject, tag,
	details, rule, dump, inactive, simulated, at`

// addBounce stores a bounce under the next free id. Ids are microseconds, which
// fit 53 bits until the year 2255; the next one is tried when another node had
// the same.
func (tx *Tx) addBounce(ctx context.Context, b *pennypost.Bounce) error {
	if b.At.IsZero() {
		b.At = tx.Now()
	}
	for {
		id := advance(&tx.s.lastBounce, tx.s.now().UnixMicro())
		n, err := tx.exec(ctx, `INSERT INTO bounces (`+bounceColumns+`, recipient_key)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) ON CONFLICT (id) DO NOTHING`,
			id, b.Type, int64(b.TypeCode), int64(b.AccountID), int64(b.ServerID), string(b.Stream), b.MessageID[:],
			int64(b.N), string(b.Recipient), plain(b.From), plain(b.Subject), plain(b.Tag), plain(b.Details),
			plain(b.Rule), plain(b.Dump), flag(b.Inactive), flag(b.Simulated), timeToDB(b.At), b.Recipient.Key())
		if err != nil {
			return err
		}
		if n > 0 {
			b.ID = id
			return nil
		}
	}
}

func scanBounce(row scanner) (*pennypost.Bounce, error) {
	b := &pennypost.Bounce{}
	var id []byte
	err := row.Scan(&b.ID, &b.Type, &b.TypeCode, &b.AccountID, &b.ServerID, &b.Stream, &id, &b.N, &b.Recipient, &b.From,
		&b.Subject, &b.Tag, &b.Details, &b.Rule, &b.Dump, intoBool(&b.Inactive), intoBool(&b.Simulated), intoTime(&b.At))
	if err != nil {
		return nil, err
	}
	copy(b.MessageID[:], id)
	return b, nil
}

// Bounce gives a bounce of a server, or ErrNotFound.
func (tx *Tx) Bounce(ctx context.Context, server pennypost.ServerID, id int64) (*pennypost.Bounce, error) {
	b, err := scanBounce(tx.row(ctx, `SELECT `+bounceColumns+` FROM bounces WHERE id = $1 AND server_id = $2`, id, int64(server)))
	if err != nil {
		return nil, fmt.Errorf("bounce %d: %w", id, err)
	}
	return b, nil
}

// Bounces gives a page of the bounces of a server's stream, the newest first,
// and how many there are.
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
