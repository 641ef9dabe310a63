package store

import (
	"context"
	"fmt"

	"pennypost"
)

// NewMessage is a message to be accepted, with all that its delivery needs.
type NewMessage struct {
	Message *pennypost.Message
	// Content is the canonical MIME as it will be signed: without Return-Path,
	// DKIM-Signature and X-PM-RCPT.
	Content    []byte
	Recipients []pennypost.Recipient // Queued, Suppressed or Bounced, in the order of their numbers
	// Jobs are those of the recipients to deliver, with an id of NextID; born
	// leased (Lease is Session) or free.
	Jobs []pennypost.Job
}

// AddMessage stores a message, its content, recipients and jobs.
func (tx *Tx) AddMessage(ctx context.Context, m *NewMessage) error {
	if err := tx.addEnvelope(ctx, m.Message); err != nil {
		return fmt.Errorf("add message: %w", err)
	}
	id := m.Message.ID[:]
	content := m.Content
	if content == nil {
		content = []byte{}
	}
	_, err := tx.exec(ctx, `INSERT INTO contents (message_id, content, checksum) VALUES ($1, $2, $3)`,
		id, content, sumContent(id, content))
	if err != nil {
		return fmt.Errorf("add content: %w", err)
	}
	if err := tx.addRecipients(ctx, m); err != nil {
		return fmt.Errorf("add recipients: %w", err)
	}
	return tx.AddJobs(ctx, m.Jobs)
}

const messageColumns = `id, account_id, server_id, stream, received_at, source, flags, from_name, from_address, from_key,
	to_list, cc_list, bcc_list, reply_to, subject, tag, metadata, attachments, track_links, header_id, sign_domain,
	return_domain, deliver_by, size, recipients, checksum, send_at`

// The bits of the column flags. Those from linksShift on are the number of
// tracked links.
const (
	flagBroadcast = 1 << iota
	flagSandbox
	flagTrackOpens
	flagSMTPUTF8
	flagPersonal
)

const linksShift = 32

// messageRow is a message as its columns hold it.
type messageRow struct {
	m                     *pennypost.Message
	id                    []byte
	received, deliverBy   int64
	sendAt                int64
	flags                 int64
	fromKey               string
	to, cc, bcc, replyTo  string
	metadata, attachments string
	checksum              int64
}

func (r *messageRow) sum() int64 {
	m := r.m
	s := seal{buf: make([]byte, 0, 512)}
	s.bytes(r.id).num(int64(m.AccountID), int64(m.ServerID), r.received, r.flags, r.deliverBy, m.Size, int64(m.Recipients))
	s.text(string(m.Stream), string(m.Source), m.From.Name, string(m.From.Address), r.fromKey, r.to, r.cc, r.bcc,
		r.replyTo, m.Subject, m.Tag, r.metadata, r.attachments, string(m.TrackLinks), m.HeaderID, m.SignDomain, m.ReturnDomain)
	if r.sendAt != 0 { // the column is younger than the checksum
		s.num(r.sendAt)
	}
	return s.sum()
}

func (tx *Tx) addEnvelope(ctx context.Context, given *pennypost.Message) error {
	copied := *given
	m := &copied
	m.From.Name, m.Subject, m.Tag, m.HeaderID = plain(m.From.Name), plain(m.Subject), plain(m.Tag), plain(m.HeaderID)
	r := messageRow{
		m: m, id: m.ID[:], received: timeToDB(m.ReceivedAt), deliverBy: timeToDB(m.DeliverBy), sendAt: timeToDB(m.SendAt),
		flags: flag(m.Broadcast)*flagBroadcast | flag(m.Sandbox)*flagSandbox |
			flag(m.TrackOpens)*flagTrackOpens | flag(m.NeedsSMTPUTF8)*flagSMTPUTF8 |
			flag(m.Personal)*flagPersonal | int64(m.Links)<<linksShift,
		fromKey: m.From.Address.Key(), to: mailboxText(m.To), cc: mailboxText(m.Cc), bcc: mailboxText(m.Bcc),
		replyTo: mailboxText(m.ReplyTo), metadata: mapText(m.Metadata), attachments: namesText(m.Attachments),
	}
	_, err := tx.exec(ctx, `INSERT INTO messages (`+messageColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
			$11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)`,
		r.id, int64(m.AccountID), int64(m.ServerID), string(m.Stream), r.received, string(m.Source), r.flags,
		m.From.Name, string(m.From.Address), r.fromKey, r.to, r.cc, r.bcc, r.replyTo, m.Subject, m.Tag, r.metadata,
		r.attachments, string(m.TrackLinks), m.HeaderID, m.SignDomain, m.ReturnDomain, r.deliverBy, m.Size,
		int64(m.Recipients), r.sum(), r.sendAt)
	return err
}

func scanMessage(row scanner) (*pennypost.Message, error) {
	m := &pennypost.Message{}
	r := messageRow{m: m}
	err := row.Scan(&r.id, &m.AccountID, &m.ServerID, &m.Stream, &r.received, &m.Source, &r.flags, &m.From.Name,
		&m.From.Address, &r.fromKey, &r.to, &r.cc, &r.bcc, &r.replyTo, &m.Subject, &m.Tag, &r.metadata, &r.attachments,
		&m.TrackLinks, &m.HeaderID, &m.SignDomain, &m.ReturnDomain, &r.deliverBy, &m.Size, &m.Recipients, &r.checksum, &r.sendAt)
	if err != nil {
		return nil, err
	}
	copy(m.ID[:], r.id)
	if len(r.id) != len(m.ID) || r.sum() != r.checksum {
		return nil, fmt.Errorf("envelope of message %x: %w", r.id, ErrDamaged)
	}
	return m, r.fill()
}

// fill sets what the columns hold encoded.
func (r *messageRow) fill() (err error) {
	m := r.m
	m.ReceivedAt, m.DeliverBy = timeFromDB(r.received), timeFromDB(r.deliverBy)
	m.SendAt = timeFromDB(r.sendAt)
	m.Broadcast, m.Sandbox = r.flags&flagBroadcast != 0, r.flags&flagSandbox != 0
	m.TrackOpens, m.NeedsSMTPUTF8 = r.flags&flagTrackOpens != 0, r.flags&flagSMTPUTF8 != 0
	m.Personal, m.Links = r.flags&flagPersonal != 0, int(r.flags>>linksShift)
	for _, list := range []struct {
		text string
		into *[]pennypost.Mailbox
	}{{r.to, &m.To}, {r.cc, &m.Cc}, {r.bcc, &m.Bcc}, {r.replyTo, &m.ReplyTo}} {
		if *list.into, err = mailboxesOf(list.text); err != nil {
			return err
		}
	}
	if m.Metadata, err = mapOf(r.metadata); err != nil {
		return err
	}
	m.Attachments, err = namesOf(r.attachments)
	return err
}

// Message gives a message of a server, or ErrNotFound.
func (tx *Tx) Message(ctx context.Context, server pennypost.ServerID, id pennypost.MessageID) (*pennypost.Message, error) {
	m, err := scanMessage(tx.row(ctx, `SELECT `+messageColumns+` FROM messages WHERE id = $1 AND server_id = $2`,
		id[:], int64(server)))
	if err != nil {
		return nil, fmt.Errorf("message %s: %w", id, err)
	}
	return m, nil
}

// AnyMessage gives a message of whichever server, for our own work, or
// ErrNotFound.
func (tx *Tx) AnyMessage(ctx context.Context, id pennypost.MessageID) (*pennypost.Message, error) {
	m, err := scanMessage(tx.row(ctx, `SELECT `+messageColumns+` FROM messages WHERE id = $1`, id[:]))
	if err != nil {
		return nil, fmt.Errorf("message %s: %w", id, err)
	}
	return m, nil
}
