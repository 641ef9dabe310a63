package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pennypost"
)

const recipientColumns = `message_id, n, address, state, attempts, next_at, rule, reply, changed_at, held_for, checksum`

func recipientSum(id pennypost.MessageID, n int, address pennypost.Address) int64 {
	return checksum(id[:], strconv.AppendInt(nil, int64(n), 10), []byte(address))
}

func scanRecipient(row scanner) (*pennypost.Recipient, error) {
	r := &pennypost.Recipient{}
	var heldFor, sum int64
	err := row.Scan(&r.MessageID, &r.N, &r.Address, &r.State, &r.Attempts, intoTime(&r.NextAt), &r.Rule, &r.Reply,
		intoTime(&r.ChangedAt), &heldFor, &sum)
	if err != nil {
		return nil, err
	}
	if recipientSum(r.MessageID, r.N, r.Address) != sum {
		return nil, fmt.Errorf("recipient %d of %v: %w", r.N, r.MessageID, ErrDamaged)
	}
	r.HeldFor = time.Duration(heldFor) * time.Microsecond
	return r, nil
}

// addRecipients stores the recipients of a message, up to fifty.
func (tx *Tx) addRecipients(ctx context.Context, server pennypost.ServerID, list []pennypost.Recipient) error {
	const columns = 13
	var sql strings.Builder
	sql.WriteString(`INSERT INTO recipients (message_id, n, server_id, address, address_key, state, attempts, next_at, rule, reply, changed_at, held_for, checksum) VALUES `)
	args := make([]any, 0, columns*len(list))
	for i := range list {
		r := &list[i]
		values(&sql, i, columns)
		args = append(args, r.MessageID[:], int64(r.N), int64(server), string(r.Address), r.Address.Key(), int64(r.State),
			int64(r.Attempts), timeToDB(r.NextAt), r.Rule, r.Reply, timeToDB(r.ChangedAt), r.HeldFor.Microseconds(),
			recipientSum(r.MessageID, r.N, r.Address))
	}
	if len(list) == 0 {
		return nil
	}
	if _, err := tx.exec(ctx, sql.String(), args...); err != nil {
		return fmt.Errorf("add recipients: %w", err)
	}
	return nil
}

// values writes the i-th group of n parameters.
func values(sql *strings.Builder, i, n int) {
	if i > 0 {
		sql.WriteString(", ")
	}
	for k := range n {
		sql.WriteByte("(,"[min(k, 1)])
		sql.WriteByte('$')
		sql.WriteString(strconv.Itoa(i*n + k + 1))
	}
	sql.WriteByte(')')
}

// Recipients gives the recipients of a message in their order.
func (tx *Tx) Recipients(ctx context.Context, id pennypost.MessageID) ([]pennypost.Recipient, error) {
	list, err := collect(tx, ctx, scanRecipient, `SELECT `+recipientColumns+` FROM recipients WHERE message_id = $1 ORDER BY n`, id[:])
	if err != nil {
		return nil, fmt.Errorf("recipients of %v: %w", id, err)
	}
	return list, nil
}

// Recipient gives one recipient of a message, or ErrNotFound.
func (tx *Tx) Recipient(ctx context.Context, id pennypost.MessageID, n int) (*pennypost.Recipient, error) {
	r, err := scanRecipient(tx.row(ctx, `SELECT `+recipientColumns+` FROM recipients WHERE message_id = $1 AND n = $2`, id[:], int64(n)))
	if err != nil {
		return nil, fmt.Errorf("recipient %d of %v: %w", n, id, err)
	}
	return r, nil
}

// SetRecipient stores all that changes of a recipient; ErrNotFound.
func (tx *Tx) SetRecipient(ctx context.Context, r *pennypost.Recipient) error {
	n, err := tx.exec(ctx, `UPDATE recipients SET state = $3, attempts = $4, next_at = $5, rule = $6, reply = $7,
		changed_at = $8, held_for = $9 WHERE message_id = $1 AND n = $2`,
		r.MessageID[:], int64(r.N), int64(r.State), int64(r.Attempts), timeToDB(r.NextAt), r.Rule, r.Reply,
		timeToDB(r.ChangedAt), r.HeldFor.Microseconds())
	return changed(n, err, "recipient of message", r.MessageID)
}
