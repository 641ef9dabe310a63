package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pennypost"
)

// MessageFilter says which messages of a server are looked for
// (contract/messages.md §2). What is empty is not asked for.
type MessageFilter struct {
	Server    pennypost.ServerID
	Stream    pennypost.StreamID
	Recipient string // whole address, in any case
	From      string // whole address, in any case
	Tag       string
	Subject   string // a part of it, in any case
	// Status is "scheduled" (not due yet), "queued" (nothing was tried yet for
	// some recipient), "failed" (cancelled) or "sent" (all others).
	Status string
	// MetadataKey is compared in any case, MetadataValue as it is.
	MetadataKey, MetadataValue string
	After                      time.Time // received at or after
	Before                     time.Time // received before
}

// SearchMessages gives a page of the messages that a filter finds, the newest
// first, and how many it finds in all.
func (tx *Tx) SearchMessages(ctx context.Context, f MessageFilter, count, offset int) ([]pennypost.Message, int, error) {
	d, err := tx.searchDays(ctx, &f)
	if err != nil {
		return nil, 0, fmt.Errorf("search messages: %w", err)
	}
	from, args := f.query(d, tx.Now())
	if f.Subject != "" || f.MetadataKey != "" {
		return tx.siftMessages(ctx, &f, from, args, count, offset)
	}
	var total int
	if err := tx.row(ctx, `SELECT COUNT(*)`+from, args...).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count messages: %w", err)
	}
	n := len(args)
	list, err := collect(tx, ctx, scanMessage, fmt.Sprintf(`SELECT %s%s%s LIMIT $%d OFFSET $%d`,
		searchColumns(), from, newestFirst, n+1, n+2), append(args, int64(count), int64(offset))...)
	if err != nil {
		return nil, 0, fmt.Errorf("search messages: %w", err)
	}
	return list, total, nil
}

const newestFirst = ` ORDER BY m.received_at DESC, m.id DESC`

func searchColumns() string {
	return `m.` + strings.ReplaceAll(strings.Join(strings.Fields(messageColumns), " "), ", ", ", m.")
}

// days are the first and the last day that a recipient is looked for in.
type days struct{ first, last int64 }

func (tx *Tx) searchDays(ctx context.Context, f *MessageFilter) (days, error) {
	var d days
	if f.Recipient == "" {
		return d, nil
	}
	err := tx.row(ctx, `SELECT COALESCE(MIN(day), 0), COALESCE(MAX(day), -1) FROM recipients WHERE server_id = $1`,
		int64(f.Server)).Scan(&d.first, &d.last)
	if !f.After.IsZero() {
		d.first = max(d.first, dayNo(f.After))
	}
	if !f.Before.IsZero() {
		d.last = min(d.last, dayNo(f.Before))
	}
	return d, err
}

// byRecipient looks into the index of addresses day by day.
const byRecipient = ` FROM (
	WITH RECURSIVE span(day) AS (
		SELECT CAST($3 AS BIGINT) WHERE CAST($3 AS BIGINT) <= CAST($4 AS BIGINT)
		UNION ALL SELECT day + 1 FROM span WHERE day < CAST($4 AS BIGINT))
	SELECT DISTINCT i.message_id FROM span CROSS JOIN recipients i
	WHERE i.server_id = $1 AND i.day = span.day AND i.address_no = $2) r CROSS JOIN messages m`

// query makes the part from FROM on of what SQL compares. A recipient is looked
// for first (CROSS JOIN keeps SQLite to that order), since nobody gets many
// messages; otherwise the index of the stream gives the order.
func (f *MessageFilter) query(d days, now time.Time) (string, []any) {
	from := ` FROM messages m`
	where := []string{`m.server_id = $1`}
	args := []any{int64(f.Server)}
	add := func(cond string, arg any) {
		args = append(args, arg)
		where = append(where, fmt.Sprintf(cond, len(args)))
	}
	if f.Recipient != "" {
		args = append(args, addressNo(strings.ToLower(f.Recipient)), d.first, d.last)
		from = byRecipient
		where = append(where, `m.id = r.message_id`)
	}
	if f.Stream != "" {
		add(`m.stream = $%d`, string(f.Stream))
	}
	if !f.After.IsZero() {
		add(`m.received_at >= $%d`, timeToDB(f.After))
	}
	if !f.Before.IsZero() {
		add(`m.received_at < $%d`, timeToDB(f.Before))
	}
	if f.From != "" {
		add(`m.from_key = $%d`, strings.ToLower(f.From))
	}
	if f.Tag != "" {
		add(`m.tag = $%d`, f.Tag)
	}
	const queued = `EXISTS (SELECT 1 FROM recipients q WHERE q.message_id = m.id AND q.attempts = 0 AND q.state = $%d)`
	const waiting = `EXISTS (SELECT 1 FROM recipients w WHERE w.message_id = m.id AND w.state <= $%d)`
	const cancelled = `EXISTS (SELECT 1 FROM recipients c WHERE c.message_id = m.id AND c.state = $%d)`
	switch f.Status {
	case "scheduled":
		add(`m.send_at > $%d`, timeToDB(now))
		add(waiting, int64(pennypost.Held)) // the states before it wait too
	case "queued":
		add(`m.send_at <= $%d`, timeToDB(now))
		add(queued, int64(pennypost.Queued))
	case "failed":
		add(cancelled, int64(pennypost.Cancelled))
	case "sent":
		add(`NOT `+queued, int64(pennypost.Queued))
		add(`NOT `+cancelled, int64(pennypost.Cancelled))
		add(`(m.send_at <= $%d`, timeToDB(now))
		args = append(args, int64(pennypost.Held))
		where[len(where)-1] += fmt.Sprintf(` OR NOT `+waiting+`)`, len(args))
	}
	return from + ` WHERE ` + strings.Join(where, ` AND `), args
}

// sifted is what a search that SQL cannot do looks at: SQLite's lower() knows
// ASCII alone, and the engines read JSON in different ways.
type sifted struct {
	id                []byte
	subject, metadata string
}

// siftMessages looks through the messages that SQL finds.
func (tx *Tx) siftMessages(ctx context.Context, f *MessageFilter, from string, args []any, count, offset int) ([]pennypost.Message, int, error) {
	var page []pennypost.MessageID
	total := 0
	_, err := collect(tx, ctx, func(row scanner) (*struct{}, error) { // a list of nothing takes no room
		var s sifted
		if err := row.Scan(&s.id, &s.subject, &s.metadata); err != nil {
			return nil, err
		}
		ok, err := f.sift(&s)
		if err != nil || !ok {
			return &struct{}{}, err
		}
		if total >= offset && len(page) < count {
			page = append(page, pennypost.MessageID(s.id))
		}
		total++
		return &struct{}{}, nil
	}, `SELECT m.id, m.subject, m.metadata`+from+newestFirst, args...)
	if err != nil {
		return nil, 0, fmt.Errorf("search messages: %w", err)
	}
	list := make([]pennypost.Message, 0, len(page))
	for _, id := range page {
		m, err := tx.AnyMessage(ctx, id)
		if err != nil {
			return nil, 0, err
		}
		list = append(list, *m)
	}
	return list, total, nil
}

func (f *MessageFilter) sift(s *sifted) (bool, error) {
	if f.Subject != "" && !strings.Contains(strings.ToLower(s.subject), strings.ToLower(f.Subject)) {
		return false, nil
	}
	if f.MetadataKey == "" {
		return true, nil
	}
	metadata, err := mapOf(s.metadata)
	if err != nil {
		return false, fmt.Errorf("metadata of message %x: %w", s.id, err)
	}
	for k, v := range metadata {
		if v == f.MetadataValue && strings.EqualFold(k, f.MetadataKey) {
			return true, nil
		}
	}
	return false, nil
}
