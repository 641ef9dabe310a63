package submit

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"pennypost"
	"pennypost/internal/event"
	"pennypost/internal/store"
)

// intake is one accepting transaction. What it reads serves all messages of a
// batch.
type intake struct {
	door    *Door
	tx      *store.Tx
	caller  pennypost.Caller
	state   *pennypost.ServerState
	bulk    *BulkStep // that it is one of, or nil
	streams map[pennypost.StreamID]*pennypost.Stream
	senders map[pennypost.Address]*pennypost.SenderMatch
}

// begin asks whether the caller may still send.
func (in *intake) begin(ctx context.Context) error {
	check := func() (*pennypost.ServerState, error) { return in.door.conf.Check(ctx, in.tx, in.caller) }
	if in.bulk != nil {
		check = func() (*pennypost.ServerState, error) { return in.bulk.Begin(ctx, in.tx) }
	}
	state, err := check()
	if err != nil {
		return err
	}
	in.state = state
	in.streams = make(map[pennypost.StreamID]*pennypost.Stream, 1)
	in.senders = make(map[pennypost.Address]*pennypost.SenderMatch, 1)
	return nil
}

// take writes a message, or leaves no trace and gives the *pennypost.Error
// that says why.
func (in *intake) take(ctx context.Context, e *entry) error {
	e.begin()
	stream, err := in.stream(ctx, e.stream)
	if err != nil {
		return err
	}
	sender, err := in.sender(ctx, e)
	if err != nil {
		return err
	}
	if err := in.pending(e); err != nil {
		return err
	}
	s := in.settings(stream, sender)
	if err := in.fitting(e, s); err != nil {
		return err
	}
	inactive, err := in.tx.Suppressed(ctx, e.server, e.stream, e.draft.recipients)
	if err != nil {
		return err
	}
	live := len(e.draft.recipients) - len(inactive)
	counted := live
	if e.unrendered != "" {
		counted = 0 // nothing is sent; but who may not send is refused all the same
	}
	if err := in.use(ctx, e, counted); err != nil {
		return err
	}
	if live == 0 {
		e.inactive = inactive
		return errInactive(inactive)
	}
	if err := in.door.lend(e.draft, sender); err != nil {
		return err
	}
	in.fill(e, stream, sender)
	e.message.TrackOpens, e.message.TrackLinks = s.opensOf(e.draft), s.linksOf(e.draft)
	p := priority(stream)
	if in.bulk != nil {
		p = pennypost.PriorityRequest
	}
	return in.add(ctx, e, inactive, live, p)
}

func priority(s *pennypost.Stream) pennypost.Priority {
	if s.Type == pennypost.StreamBroadcasts {
		return pennypost.PriorityBulk
	}
	return pennypost.PriorityTransactional
}

// stream finds the stream of a message and refuses those that send nothing
// (contract/sending.md §7).
func (in *intake) stream(ctx context.Context, id pennypost.StreamID) (*pennypost.Stream, error) {
	if s := in.streams[id]; s != nil {
		return s, nil
	}
	s, err := usableStream(ctx, in.tx, in.caller.ServerID, id)
	if err != nil {
		return nil, err
	}
	in.streams[id] = s
	return s, nil
}

// maxStream is more than any id has (contract/streams.md §2).
const maxStream = 100

func usableStream(ctx context.Context, tx *store.Tx, server pennypost.ServerID, id pennypost.StreamID) (*pennypost.Stream, error) {
	if name := string(id); len(name) > maxStream || hasControl(name) || !utf8.ValidString(name) {
		return nil, errStream(id) // no database needs to see it
	}
	s, err := tx.Stream(ctx, server, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, errStream(id)
	case err != nil:
		return nil, err
	case s.Type == pennypost.StreamInboundType:
		return nil, pennypost.Refuse(pennypost.CodeStreamType, "Sending is not supported for this stream type.")
	case !s.ArchivedAt.IsZero():
		return nil, pennypost.Refuse(pennypost.CodeStreamUnknown, "The stream provided: '%s' has been archived on this server.", short(string(id)))
	}
	return s, nil
}

func errStream(id pennypost.StreamID) *pennypost.Error {
	return pennypost.Refuse(pennypost.CodeStreamUnknown, "The stream provided: '%s' does not exist on this server.", short(string(id)))
}

// sender refuses a From that the account may not use (contract/common.md
// §6.2).
func (in *intake) sender(ctx context.Context, e *entry) (*pennypost.SenderMatch, error) {
	from := pennypost.Address(e.from.Addr())
	m := in.senders[from]
	if m == nil {
		var err error
		if m, err = in.tx.SenderFor(ctx, in.state.AccountID, from); err != nil {
			return nil, err
		}
		in.senders[from] = m
	}
	switch m.Status {
	case pennypost.SenderConfirmed, pennypost.SenderDomain:
		return m, nil
	case pennypost.SenderUnconfirmed:
		return nil, pennypost.Refuse(pennypost.CodeSenderUnconfirmed, "Sender signature not confirmed. The 'From' address you supplied (%s) is a Sender Signature on your account that has not been confirmed yet. Please follow the link in the confirmation email in order to be able to use it in the 'From' field of your messages.", short(e.fromText))
	case pennypost.SenderUnknown:
	}
	return nil, pennypost.Refuse(pennypost.CodeSenderUnknown, "The 'From' address you supplied (%s) is not a Sender Signature on your account. Please add and confirm this address in order to be able to use it in the 'From' field of your messages.", short(e.fromText))
}

// pending keeps the mail of an account that is not approved within the
// sender's domain (contract/account.md §3).
func (in *intake) pending(e *entry) error {
	if !in.state.Pending {
		return nil
	}
	for _, a := range e.draft.recipients {
		if a.Domain() != e.from.Domain {
			return pennypost.Refuse(pennypost.CodePendingDomain, "While your account is pending approval, all recipient addresses must share the same domain as the 'From' address. The domain of the 'From' address is '%s'.", e.from.Domain)
		}
	}
	return nil
}

// use counts the recipients that will get a copy. When the month is used up,
// or nobody would get one, what was counted is taken back, since the other
// messages of a batch stay.
func (in *intake) use(ctx context.Context, e *entry, live int) error {
	n := live
	if n == 0 {
		n = len(e.draft.recipients)
	}
	err := in.tx.AddUsage(ctx, in.state.AccountID, in.state.ServerID, n, in.state.Limits)
	var over *store.OverLimitError
	if err != nil && !errors.As(err, &over) {
		return err
	}
	if over != nil || live == 0 {
		if err := in.tx.AddUsage(ctx, in.state.AccountID, in.state.ServerID, -n, pennypost.Limits{}); err != nil {
			return err
		}
	}
	if over != nil {
		return pennypost.Refuse(pennypost.CodeOverLimit, "%s", over.Error())
	}
	return nil
}

// errInactive has the wording of a single send; the edge rewords it for a batch
// (contract/sending.md §9).
func errInactive(list []pennypost.Address) *pennypost.Error {
	keys := make([]string, len(list))
	for i, a := range list {
		keys[i] = a.Key()
	}
	return pennypost.Refuse(pennypost.CodeInactive, "You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: %s. Inactive recipients are ones that have generated a hard bounce, a spam complaint, or a manual suppression.", strings.Join(keys, ", "))
}

// fill makes the noun of the message.
func (in *intake) fill(e *entry, stream *pennypost.Stream, sender *pennypost.SenderMatch) {
	m := newMessage(e.draft, in.tx)
	m.Broadcast = stream.Type == pennypost.StreamBroadcasts
	m.Sandbox = in.state.Sandbox
	m.SignDomain = sender.SignDomain
	if sender.ReturnDomain != "" {
		m.ReturnDomain = sender.ReturnDomain
	} else {
		m.ReturnDomain = in.door.conf.BounceDomain
	}
	e.message = m
}

func newMessage(dr *draft, tx *store.Tx) *pennypost.Message {
	return &pennypost.Message{
		ID: dr.id, AccountID: dr.account, ServerID: dr.server, Stream: dr.stream, Source: dr.source,
		From: mailbox(dr.from), To: mailboxes(dr.to), Cc: mailboxes(dr.cc), Bcc: mailboxes(dr.bcc),
		ReplyTo: mailboxes(dr.replyTo), Subject: dr.subject, Tag: dr.tag, Metadata: dr.metadata,
		Attachments: dr.files, TrackLinks: pennypost.TrackNone, HeaderID: dr.headerID,
		ReceivedAt: tx.Now(), SendAt: dr.sendAt, DeliverBy: dr.deliverBy, Size: int64(len(dr.content)),
		NeedsSMTPUTF8: dr.needsUTF8, Personal: dr.personal, Links: dr.links, Recipients: len(dr.recipients),
	}
}

// add writes the message with its recipients, jobs and counters.
func (in *intake) add(ctx context.Context, e *entry, inactive []pennypost.Address, live int, p pennypost.Priority) error {
	e.inactive = inactive
	for n, a := range e.draft.recipients {
		r := pennypost.Recipient{
			MessageID: e.id, N: n, Address: a, State: pennypost.Queued,
			NextAt: e.message.Begins(), ChangedAt: in.tx.Now(),
		}
		if len(inactive) > 0 && inactive[0] == a {
			r.State, r.NextAt = pennypost.Suppressed, time.Time{}
			inactive = inactive[1:]
		} else if e.unrendered != "" {
			r.State, r.NextAt, r.Rule, r.Reply = pennypost.Bounced, time.Time{}, RuleTemplate, e.unrendered
		}
		e.recipients = append(e.recipients, r)
	}
	for i := range e.recipients {
		if e.recipients[i].State == pennypost.Queued {
			in.door.plan(e, &e.recipients[i], p, live)
		}
	}
	err := in.tx.AddMessage(ctx, &store.NewMessage{
		Message: e.message, Content: e.content, Recipients: e.recipients, Jobs: e.jobs,
	})
	if err != nil {
		return err
	}
	if err := event.Accepted(ctx, in.tx, e.message, live); err != nil {
		return err
	}
	switch {
	case e.raw != nil:
		return in.partly(ctx, e)
	case e.unrendered != "":
		return in.bounceUnrendered(ctx, e)
	}
	return nil
}
