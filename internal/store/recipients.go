package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"pennypost"
)

// addressNo is what recipients are searched by: a hash, so that the index stays
// small. Two addresses that meet in it would be shown for each other, in one
// server's search in 2^63.
func addressNo(key string) int64 {
	sum := sha256.Sum256([]byte(key))
	return int64(binary.BigEndian.Uint64(sum[:8]) >> 1)
}

// dayNo is the day of a message in the index of addresses. Without it each new
// entry would lie anywhere in an index of all mail, which does not fit the
// memory; the entries of a day do.
func dayNo(received time.Time) int64 { return timeToDB(received) / (24 * time.Hour).Microseconds() }

// sumRecipient covers what does not change: who gets which message.
func sumRecipient(id []byte, n int64, address string) int64 {
	s := seal{buf: make([]byte, 0, 128)}
	return s.bytes(id).num(n).text(address).sum()
}

// recipientsAtOnce are stored with one statement.
const recipientsAtOnce = 10

func (tx *Tx) addRecipients(ctx context.Context, m *NewMessage) error {
	jobs, err := jobIDs(m)
	if err != nil {
		return err
	}
	day := dayNo(m.Message.ReceivedAt)
	args := make([]any, 0, 15*min(len(m.Recipients), recipientsAtOnce))
	return inGroups(m.Recipients, recipientsAtOnce, func(group []pennypost.Recipient) error {
		args = args[:0]
		for i := range group {
			r := &group[i]
			n := int64(r.N)
			args = append(args, m.Message.ID[:], n, int64(m.Message.ServerID), day, string(r.Address), addressNo(r.Address.Key()),
				jobs[r.N], int64(r.State), int64(r.Attempts), timeToDB(r.NextAt), plain(r.Rule), plain(r.Reply),
				timeToDB(r.ChangedAt), r.HeldFor.Microseconds(), sumRecipient(m.Message.ID[:], n, string(r.Address)))
		}
		_, err := tx.exec(ctx, insertMany(`INSERT INTO recipients (message_id, n, server_id, day, address, address_no, job_id, state,
			attempts, next_at, rule, reply, changed_at, held_us, checksum) VALUES `, 15, len(group)), args...)
		return err
	})
}

// jobIDs gives the job of each recipient, by number.
func jobIDs(m *NewMessage) ([]int64, error) {
	ids := make([]int64, 0, len(m.Recipients))
	for i := range m.Recipients {
		for len(ids) <= m.Recipients[i].N {
			ids = append(ids, 0)
		}
	}
	for i := range m.Jobs {
		id, n, err := ParseJobRef(m.Jobs[i].Ref)
		if err != nil {
			return nil, err
		}
		if id != m.Message.ID || n >= len(ids) {
			return nil, fmt.Errorf("job %d is not of a recipient of the message", m.Jobs[i].ID)
		}
		ids[n] = m.Jobs[i].ID
	}
	return ids, nil
}

const recipientColumns = `message_id, n, address, state, attempts, next_at, rule, reply, changed_at, held_us, checksum`

func scanRecipient(row scanner) (*pennypost.Recipient, error) {
	r := &pennypost.Recipient{}
	var id []byte
	var held, checksum int64
	err := row.Scan(&id, &r.N, &r.Address, &r.State, &r.Attempts, intoTime(&r.NextAt), &r.Rule, &r.Reply,
		intoTime(&r.ChangedAt), &held, &checksum)
	if err != nil {
		return nil, err
	}
	copy(r.MessageID[:], id)
	r.HeldFor = time.Duration(held) * time.Microsecond
	if sumRecipient(id, int64(r.N), string(r.Address)) != checksum {
		return nil, fmt.Errorf("recipient %d of message %x: %w", r.N, id, ErrDamaged)
	}
	return r, nil
}

// Recipients gives the recipients of a message by number.
func (tx *Tx) Recipients(ctx context.Context, id pennypost.MessageID) ([]pennypost.Recipient, error) {
	list, err := collect(tx, ctx, scanRecipient,
		`SELECT `+recipientColumns+` FROM recipients WHERE message_id = $1 ORDER BY n`, id[:])
	if err != nil {
		return nil, fmt.Errorf("recipients of message %s: %w", id, err)
	}
	return list, nil
}

// Recipient gives one recipient of a message, ErrNotFound or ErrDamaged.
func (tx *Tx) Recipient(ctx context.Context, id pennypost.MessageID, n int) (*pennypost.Recipient, error) {
	r, err := scanRecipient(tx.row(ctx, `SELECT `+recipientColumns+` FROM recipients WHERE message_id = $1 AND n = $2`,
		id[:], int64(n)))
	if err != nil {
		return nil, fmt.Errorf("recipient %d of message %s: %w", n, id, err)
	}
	return r, nil
}

// SetRecipient stores where a recipient stands; ErrNotFound.
func (tx *Tx) SetRecipient(ctx context.Context, r *pennypost.Recipient) error {
	n, err := tx.exec(ctx, `UPDATE recipients SET state = $3, attempts = $4, next_at = $5, rule = $6, reply = $7,
		changed_at = $8, held_us = $9 WHERE message_id = $1 AND n = $2`,
		r.MessageID[:], int64(r.N), int64(r.State), int64(r.Attempts), timeToDB(r.NextAt), plain(r.Rule), plain(r.Reply),
		timeToDB(r.ChangedAt), r.HeldFor.Microseconds())
	return changed(n, err, "recipient of message", r.MessageID)
}
