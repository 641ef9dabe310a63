package store

import (
	"context"
	"fmt"
	"time"

	"pennypost"
)

// InboundKind says what mail addressed to us is.
type InboundKind string

// The kinds.
const (
	// InboundReturn came to a return path of ours whose signature is right.
	InboundReturn InboundKind = "return"
	// InboundUnverified came to one whose signature is not.
	InboundUnverified InboundKind = "unverified"
	// InboundLetter came to postmaster@ or abuse@ one of our names.
	InboundLetter InboundKind = "letter"
)

// InboundMail is a mail addressed to us, stored raw.
type InboundMail struct {
	ID         pennypost.MessageID
	From       string // envelope sender, "" for the null path
	Helo, IP   string
	TLS        bool
	Content    []byte
	ReceivedAt time.Time // set by the store
	Recipients []InboundRecipient
}

// InboundRecipient is one recipient of such a mail.
type InboundRecipient struct {
	Address pennypost.Address
	Kind    InboundKind
	// MessageID and N name the recipient of our message that a return is about.
	MessageID pennypost.MessageID
	N         int
}

// InsertInbound stores a mail addressed to us with all its recipients.
func (tx *Tx) InsertInbound(ctx context.Context, m *InboundMail) error {
	m.ReceivedAt = tx.Now()
	_, err := tx.exec(ctx, `INSERT INTO inbound_mail (id, sender, helo, ip, tls, received_at, checksum, raw)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		m.ID[:], m.From, m.Helo, m.IP, flag(m.TLS), timeToDB(m.ReceivedAt), checksum(m.Content), m.Content)
	if err != nil {
		return fmt.Errorf("add inbound mail: %w", err)
	}
	for i := range m.Recipients {
		r := &m.Recipients[i]
		_, err := tx.exec(ctx, `INSERT INTO inbound_recipients (mail_id, pos, address, kind, message_id, n, handled_at)
			VALUES ($1, $2, $3, $4, $5, $6, 0)`, m.ID[:], int64(i), string(r.Address), string(r.Kind), r.MessageID[:], int64(r.N))
		if err != nil {
			return fmt.Errorf("add recipient of inbound mail: %w", err)
		}
	}
	return nil
}

// InboundMails gives a page of the mail addressed to us, newest first.
func (tx *Tx) InboundMails(ctx context.Context, count, offset int) ([]InboundMail, error) {
	list, err := collect(tx, ctx, func(row scanner) (*InboundMail, error) {
		m := &InboundMail{}
		var sum int64
		err := row.Scan(&m.ID, &m.From, &m.Helo, &m.IP, intoBool(&m.TLS), intoTime(&m.ReceivedAt), &sum, &m.Content)
		if err == nil && checksum(m.Content) != sum {
			err = ErrDamaged
		}
		return m, err
	}, `SELECT id, sender, helo, ip, tls, received_at, checksum, raw FROM inbound_mail ORDER BY id DESC LIMIT $1 OFFSET $2`,
		int64(count), int64(offset))
	if err != nil {
		return nil, fmt.Errorf("list inbound mail: %w", err)
	}
	for i := range list {
		m := &list[i]
		m.Recipients, err = collect(tx, ctx, func(row scanner) (*InboundRecipient, error) {
			r := &InboundRecipient{}
			return r, row.Scan(&r.Address, &r.Kind, &r.MessageID, &r.N)
		}, `SELECT address, kind, message_id, n FROM inbound_recipients WHERE mail_id = $1 ORDER BY pos`, m.ID[:])
		if err != nil {
			return nil, fmt.Errorf("recipients of inbound mail %v: %w", m.ID, err)
		}
	}
	return list, nil
}

// ReturnDomain tells whether a domain is the verified return-path domain of
// some account.
func (tx *Tx) ReturnDomain(ctx context.Context, domain string) (bool, error) {
	return tx.exists(ctx, `SELECT 1 FROM domains WHERE return_path = $1 AND return_path <> '' AND return_path_verified = 1`, domain)
}
