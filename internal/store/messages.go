package store

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"pennypost"
)

// NewMessage is all that accepting a message stores.
type NewMessage struct {
	Message *pennypost.Message
	// Content is the canonical MIME as it will be signed, without Return-Path,
	// DKIM-Signature and X-PM-RCPT.
	Content    []byte
	Recipients []pennypost.Recipient // queued or suppressed
	// Jobs of the recipients to deliver: ID from NextID; Lease is Session()
	// when born leased, else 0.
	Jobs []pennypost.Job
}

// AddMessage stores a message with its content, recipients and jobs.
func (tx *Tx) AddMessage(ctx context.Context, m *NewMessage) error {
	msg := m.Message
	envelope, err := json.Marshal(msg)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	metadata, err := json.Marshal(lowerKeys(msg.Metadata))
	if err != nil {
		return fmt.Errorf("encode metadata: %w", err)
	}
	_, err = tx.exec(ctx, `INSERT INTO messages (id, server_id, stream, from_key, tag, subject_key, metadata,
			received_at, envelope, checksum) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		msg.ID[:], int64(msg.ServerID), string(msg.Stream), msg.From.Address.Key(), msg.Tag,
		strings.ToLower(msg.Subject), string(metadata), timeToDB(msg.ReceivedAt), string(envelope),
		checksum(msg.ID[:], envelope))
	if err != nil {
		return fmt.Errorf("add message: %w", err)
	}
	_, err = tx.exec(ctx, `INSERT INTO contents (message_id, checksum, raw) VALUES ($1, $2, $3)`,
		msg.ID[:], checksum(m.Content), m.Content)
	if err != nil {
		return fmt.Errorf("add content: %w", err)
	}
	if err := tx.addRecipients(ctx, msg.ServerID, m.Recipients); err != nil {
		return err
	}
	return tx.AddJobs(ctx, m.Jobs)
}

func lowerKeys(m map[string]string) map[string]string {
	low := make(map[string]string, len(m))
	for k, v := range m {
		low[strings.ToLower(k)] = v
	}
	return low
}

// checksum is CRC-32C over all parts.
func checksum(parts ...[]byte) int64 {
	table := crc32.MakeTable(crc32.Castagnoli) // made once in hash/crc32
	var sum uint32
	for _, p := range parts {
		sum = crc32.Update(sum, table, p)
	}
	return int64(sum)
}

func scanMessage(row scanner) (*pennypost.Message, error) {
	var id pennypost.MessageID
	var envelope string
	var sum int64
	if err := row.Scan(&id, &envelope, &sum); err != nil {
		return nil, err
	}
	if checksum(id[:], []byte(envelope)) != sum {
		return nil, fmt.Errorf("message %v: %w", id, ErrDamaged)
	}
	m := &pennypost.Message{}
	if err := json.Unmarshal([]byte(envelope), m); err != nil {
		return nil, fmt.Errorf("message %v: %w: %w", id, ErrDamaged, err)
	}
	return m, nil
}

// Message gives a message of a server, or ErrNotFound.
func (tx *Tx) Message(ctx context.Context, server pennypost.ServerID, id pennypost.MessageID) (*pennypost.Message, error) {
	m, err := scanMessage(tx.row(ctx, `SELECT id, envelope, checksum FROM messages WHERE id = $1 AND server_id = $2`,
		id[:], int64(server)))
	if err != nil {
		return nil, fmt.Errorf("message %v: %w", id, err)
	}
	return m, nil
}

// AnyMessage gives a message of whichever server, for our own work.
func (tx *Tx) AnyMessage(ctx context.Context, id pennypost.MessageID) (*pennypost.Message, error) {
	m, err := scanMessage(tx.row(ctx, `SELECT id, envelope, checksum FROM messages WHERE id = $1`, id[:]))
	if err != nil {
		return nil, fmt.Errorf("message %v: %w", id, err)
	}
	return m, nil
}

// Content gives the canonical MIME of a message; ErrDamaged when it is not what
// was stored.
func (tx *Tx) Content(ctx context.Context, id pennypost.MessageID) ([]byte, error) {
	var raw []byte
	var sum int64
	if err := tx.row(ctx, `SELECT raw, checksum FROM contents WHERE message_id = $1`, id[:]).Scan(&raw, &sum); err != nil {
		return nil, fmt.Errorf("content of %v: %w", id, err)
	}
	if checksum(raw) != sum {
		return nil, fmt.Errorf("content of %v: %w", id, ErrDamaged)
	}
	return raw, nil
}

// Signature gives the DKIM-Signature fields that were kept for a message, or
// ErrNotFound.
func (tx *Tx) Signature(ctx context.Context, id pennypost.MessageID) ([]byte, error) {
	var fields []byte
	if err := tx.row(ctx, `SELECT fields FROM signatures WHERE message_id = $1`, id[:]).Scan(&fields); err != nil {
		return nil, fmt.Errorf("signature of %v: %w", id, err)
	}
	return fields, nil
}

// SetSignature keeps the DKIM-Signature fields of a message for its next
// attempts.
func (tx *Tx) SetSignature(ctx context.Context, id pennypost.MessageID, fields []byte) error {
	_, err := tx.exec(ctx, `INSERT INTO signatures (message_id, fields) VALUES ($1, $2)
		ON CONFLICT (message_id) DO UPDATE SET fields = excluded.fields`, id[:], fields)
	if err != nil {
		return fmt.Errorf("keep signature of %v: %w", id, err)
	}
	return nil
}

// MessageFilter says which messages of a stream are looked for
// (contract/messages.md §2). What is empty is not asked for.
type MessageFilter struct {
	Server  pennypost.ServerID
	Stream  pennypost.StreamID
	From    string // whole address, in any case
	Tag     string
	Subject string // a part of it, in any case
	// Recipient is a whole address, in any case.
	Recipient string
	// Status is "queued" (no attempt was begun for some recipient) or "sent".
	Status                     string
	MetadataKey, MetadataValue string
	After                      time.Time // at or after
	Before                     time.Time // before
}

// SearchMessages gives a page of the messages that a filter finds, newest
// first, and how many it finds in all.
func (tx *Tx) SearchMessages(ctx context.Context, f MessageFilter, count, offset int) ([]pennypost.Message, int, error) {
	where, args := f.where()
	var total int
	if err := tx.row(ctx, `SELECT COUNT(*) FROM messages m WHERE `+where, args...).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count messages: %w", err)
	}
	n := len(args)
	list, err := collect(tx, ctx, scanMessage, fmt.Sprintf(`SELECT m.id, m.envelope, m.checksum FROM messages m WHERE %s
		ORDER BY m.id DESC LIMIT $%d OFFSET $%d`, where, n+1, n+2), append(args, int64(count), int64(offset))...)
	if err != nil {
		return nil, 0, fmt.Errorf("search messages: %w", err)
	}
	return list, total, nil
}

// where makes the condition. A part of a text is looked for with replace, which
// both engines do alike and without regard to patterns.
func (f *MessageFilter) where() (string, []any) {
	conds := []string{"m.server_id = $1"}
	args := []any{int64(f.Server)}
	add := func(cond string, arg any) {
		args = append(args, arg)
		conds = append(conds, strings.ReplaceAll(cond, "?", fmt.Sprintf("$%d", len(args))))
	}
	if f.Stream != "" {
		add("m.stream = ?", string(f.Stream))
	}
	if f.Recipient != "" {
		add("m.id IN (SELECT r.message_id FROM recipients r WHERE r.server_id = $1 AND r.address_key = ?)", strings.ToLower(f.Recipient))
	}
	if f.From != "" {
		add("m.from_key = ?", strings.ToLower(f.From))
	}
	if f.Tag != "" {
		add("m.tag = ?", f.Tag)
	}
	if f.Subject != "" {
		add("replace(m.subject_key, ?, '') <> m.subject_key", strings.ToLower(f.Subject))
	}
	if f.MetadataKey != "" {
		add("replace(m.metadata, ?, '') <> m.metadata", metadataEntry(f.MetadataKey, f.MetadataValue))
	}
	if !f.After.IsZero() {
		add("m.received_at >= ?", timeToDB(f.After))
	}
	if !f.Before.IsZero() {
		add("m.received_at < ?", timeToDB(f.Before))
	}
	const queued = "EXISTS (SELECT 1 FROM recipients r WHERE r.message_id = m.id AND r.attempts = 0 AND r.state = ?)"
	switch f.Status {
	case "queued":
		add(queued, int64(pennypost.Queued))
	case "sent":
		add("NOT "+queued, int64(pennypost.Queued))
	}
	return strings.Join(conds, " AND "), args
}

// metadataEntry is an entry as it stands in the JSON text. No string within it
// can look so, since its quotation marks are escaped.
func metadataEntry(key, value string) string {
	b, err := json.Marshal(map[string]string{strings.ToLower(key): value})
	if err != nil { // a map of strings always encodes
		panic(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(b), "{"), "}")
}
