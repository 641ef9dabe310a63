package store

import (
	"context"
	"fmt"
	"time"

	"pennypost"
)

// InboundKind is what a recipient of inbound mail is.
type InboundKind string

// The kinds.
const (
	// InboundLetter is for a mailbox of ours that people read: postmaster, abuse.
	InboundLetter InboundKind = "letter"
	// InboundReturn is for a return path of ours whose signature is right.
	InboundReturn InboundKind = "return"
	// InboundUnverified has the form of a return path, and a wrong signature.
	InboundUnverified InboundKind = "unverified"
)

// InboundMail is mail addressed to us, as it came.
type InboundMail struct {
	ID         pennypost.MessageID
	ReceivedAt time.Time // set by InsertInbound when it is zero
	From       string    // envelope sender; "" for the null path
	Helo       string
	IP         string
	TLS        bool
	Content    []byte
	Recipients []InboundRecipient
}

// InboundRecipient is one envelope recipient of it.
type InboundRecipient struct {
	Address pennypost.Address
	Kind    InboundKind
	// MessageID and N are what the return path proves, for InboundReturn.
	MessageID pennypost.MessageID
	N         int
}

// InsertInbound stores mail addressed to us.
func (tx *Tx) InsertInbound(ctx context.Context, m *InboundMail) error {
	if m.ReceivedAt.IsZero() {
		m.ReceivedAt = tx.Now()
	}
	content := m.Content
	if content == nil {
		content = []byte{}
	}
	_, err := tx.exec(ctx, `INSERT INTO inbound_mails (id, received_at, sender, helo, ip, tls, content, checksum)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		m.ID[:], timeToDB(m.ReceivedAt), plain(m.From), plain(m.Helo), m.IP, flag(m.TLS), content, sumContent(m.ID[:], content))
	if err != nil {
		return fmt.Errorf("add inbound mail: %w", err)
	}
	for n := range m.Recipients {
		r := &m.Recipients[n]
		_, err := tx.exec(ctx, `INSERT INTO inbound_recipients (mail_id, n, address, kind, message_id, recipient)
			VALUES ($1, $2, $3, $4, $5, $6)`, m.ID[:], int64(n), string(r.Address), string(r.Kind), r.MessageID[:], int64(r.N))
		if err != nil {
			return fmt.Errorf("add recipient of inbound mail: %w", err)
		}
	}
	return nil
}

// InboundMails gives a page of the mail addressed to us, the newest first.
// ErrDamaged: a content is not what was stored.
func (tx *Tx) InboundMails(ctx context.Context, count, offset int) ([]InboundMail, error) {
	list, err := collect(tx, ctx, scanInbound, `SELECT id, received_at, sender, helo, ip, tls, content, checksum FROM inbound_mails
		ORDER BY received_at DESC, id DESC LIMIT $1 OFFSET $2`, int64(count), int64(offset))
	if err != nil {
		return nil, fmt.Errorf("list inbound mail: %w", err)
	}
	for i := range list {
		if list[i].Recipients, err = tx.inboundRecipients(ctx, list[i].ID); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func scanInbound(row scanner) (*InboundMail, error) {
	m := &InboundMail{}
	var id []byte
	var sum int64
	err := row.Scan(&id, intoTime(&m.ReceivedAt), &m.From, &m.Helo, &m.IP, intoBool(&m.TLS), &m.Content, &sum)
	if err != nil {
		return nil, err
	}
	copy(m.ID[:], id)
	if sumContent(id, m.Content) != sum {
		return nil, fmt.Errorf("inbound mail %x: %w", id, ErrDamaged)
	}
	return m, nil
}

func (tx *Tx) inboundRecipients(ctx context.Context, id pennypost.MessageID) ([]InboundRecipient, error) {
	list, err := collect(tx, ctx, func(row scanner) (*InboundRecipient, error) {
		r := &InboundRecipient{}
		var about []byte
		err := row.Scan(&r.Address, &r.Kind, &about, &r.N)
		copy(r.MessageID[:], about)
		return r, err
	}, `SELECT address, kind, message_id, recipient FROM inbound_recipients WHERE mail_id = $1 ORDER BY n`, id[:])
	if err != nil {
		return nil, fmt.Errorf("recipients of inbound mail: %w", err)
	}
	return list, nil
}
