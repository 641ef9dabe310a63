package submit

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/event"
	"pennypost/internal/store"
)

// recorded tells whether a refusal concerns the message. Those of the caller as
// a whole would come again with every retry of its queue.
func recorded(e *pennypost.Error) bool {
	switch e.Code {
	case pennypost.CodeToken, pennypost.CodeNotApproved, pennypost.CodeServerUnusable, pennypost.CodeOverLimit,
		pennypost.CodeTooManyRequests, pennypost.CodeMaintenance, pennypost.CodeFault:
		return false
	case pennypost.CodeInvalid, pennypost.CodeSenderUnknown, pennypost.CodeSenderUnconfirmed, pennypost.CodeJSON,
		pennypost.CodeFieldType, pennypost.CodeInactive, pennypost.CodeHeaders, pennypost.CodeBatchSize,
		pennypost.CodeAttachmentType, pennypost.CodePendingDomain, pennypost.CodeStreamUnknown, pennypost.CodeStreamType:
	}
	return true
}

// failure is what one SMTPApiError says.
type failure struct {
	recipient pennypost.Address
	n         int // of a stored recipient, or -1
	short     string
	long      string
	code      pennypost.Code
}

// refuse records a refusal, and answers in the way of the server: with the
// refusal, or as if the message had been accepted.
func (d *Door) refuse(ctx context.Context, c pennypost.Caller, e *entry, refusal *pennypost.Error) (*Accepted, error) {
	list := failures(e, refusal)
	var way pennypost.SMTPRejection
	var at *Accepted
	err := d.conf.Store.Update(ctx, func(tx *store.Tx) error {
		state, err := d.conf.Check(ctx, tx, c)
		if err != nil {
			return err
		}
		way = state.SMTPRejection
		at = &Accepted{ID: e.id, SubmittedAt: tx.Now()}
		if _, err := usableStream(ctx, tx, c.ServerID, e.stream); err != nil {
			// Nobody finds what is kept under a stream that there is not.
			var unusable *pennypost.Error
			if !errors.As(err, &unusable) {
				return err
			}
			e.stream = pennypost.StreamOutbound
		}
		return d.record(ctx, tx, e, list)
	})
	var caller *pennypost.Error
	switch {
	case errors.As(err, &caller):
		return nil, caller // suspended or revoked in the meantime
	case err != nil && way != pennypost.RejectAccept:
		d.log.WarnContext(ctx, "refusal could not be recorded", "server", int64(c.ServerID), "code", int(refusal.Code), "err", err)
		return nil, refusal
	case err != nil:
		return nil, err // what is not on record must not be accepted
	case way == pennypost.RejectAccept:
		return at, nil
	}
	return nil, refusal
}

// failures are one for each suppressed recipient, else one for the message,
// and one for those that were too many.
func failures(e *entry, refusal *pennypost.Error) []failure {
	var list []failure
	if refusal.Code == pennypost.CodeInactive {
		for _, a := range e.inactive {
			list = append(list, failure{recipient: a, n: -1, short: title(refusal), long: refusal.Text, code: refusal.Code})
		}
	} else {
		f := failure{n: -1, short: title(refusal), long: refusal.Text, code: refusal.Code}
		if len(e.raw.Recipients) > 0 {
			f.recipient = pennypost.Address(e.raw.Recipients[0].Addr())
		}
		list = append(list, f)
	}
	return append(list, surplus(e.raw)...)
}

// surplus tells of the recipients that were refused at RCPT because there were
// too many (design §8): libraries drop such replies in silence.
func surplus(r *Raw) []failure {
	if len(r.Surplus) == 0 {
		return nil
	}
	names := make([]string, len(r.Surplus))
	for i, m := range r.Surplus {
		names[i] = m.Addr()
	}
	tooMany := errRecipients()
	return []failure{{
		recipient: pennypost.Address(r.Surplus[0].Addr()), n: -1, code: tooMany.Code, short: "Too many recipients",
		long: tooMany.Text + " These recipients were refused: " + strings.Join(names, ", ") + ".",
	}}
}

// partly records what part of a message was not taken, in the transaction that
// takes the rest.
func (in *intake) partly(ctx context.Context, e *entry) error {
	var list []failure
	if len(e.inactive) > 0 {
		refusal := errInactive(e.inactive)
		for i := range e.recipients {
			if r := &e.recipients[i]; r.State == pennypost.Suppressed {
				list = append(list, failure{recipient: r.Address, n: r.N, short: title(refusal), long: refusal.Text, code: refusal.Code})
			}
		}
	}
	list = append(list, surplus(e.raw)...)
	return in.door.record(ctx, in.tx, e, list)
}

// record writes failures as bounces of type SMTPApiError (contract/smtp.md §5).
func (d *Door) record(ctx context.Context, tx *store.Tx, e *entry, list []failure) error {
	from := e.from.Addr()
	if e.from.Domain == "" {
		from = short(e.fromText)
	}
	for _, f := range list {
		b := &pennypost.Bounce{
			Type: bounce.SMTPAPIError.String(), TypeCode: bounce.SMTPAPIError.Code(),
			AccountID: e.account, ServerID: e.server, Stream: e.stream, MessageID: e.id, N: f.n,
			Recipient: f.recipient, From: from, Subject: short(e.subject), Tag: e.tag,
			Details: f.short, Rule: "submit", Dump: dump(&f, e.raw, maxDump/len(list)), At: tx.Now(),
		}
		err := event.Record(ctx, tx, &pennypost.Event{
			At: b.At, AccountID: e.account, ServerID: e.server, Stream: e.stream, MessageID: e.id, N: f.n,
			Recipient: f.recipient, Type: pennypost.EventBounced, Tag: e.tag,
			Details: map[string]string{"Summary": b.Details}, Bounce: b,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// maxDump bounds what one refused message leaves behind.
const maxDump = 64 << 10

// dump is the long error, its code and the message (contract/smtp.md §5), in
// bounds and as text.
func dump(f *failure, r *Raw, room int) string {
	head := f.long
	if len(head) > room/2 {
		head = head[:room/2] + "…"
	}
	head += "\r\nError code: " + itoa(f.code) + "\r\n\r\n"
	data := r.Data
	if most := max(room-len(head), 0); len(data) > most {
		data = append(bytes.Clone(data[:most]), "\r\n[Message Truncated]"...)
	}
	text := head + string(data)
	if strings.IndexByte(text, 0) < 0 && utf8.ValidString(text) {
		return text
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// title is the short error.
func title(e *pennypost.Error) string {
	switch e.Code {
	case pennypost.CodeSenderUnknown:
		return "Sender signature not found"
	case pennypost.CodeSenderUnconfirmed:
		return "Sender signature not confirmed"
	case pennypost.CodeInactive:
		return "Inactive recipient"
	case pennypost.CodeAttachmentType:
		return "Attachment file type not allowed"
	case pennypost.CodePendingDomain:
		return "Account pending approval"
	case pennypost.CodeStreamUnknown:
		return "Message stream not found"
	case pennypost.CodeStreamType:
		return "Message stream does not send"
	case pennypost.CodeToken, pennypost.CodeMaintenance, pennypost.CodeFault, pennypost.CodeInvalid, pennypost.CodeJSON,
		pennypost.CodeFieldType, pennypost.CodeOverLimit, pennypost.CodeHeaders, pennypost.CodeBatchSize,
		pennypost.CodeNotApproved, pennypost.CodeServerUnusable, pennypost.CodeTooManyRequests:
	}
	if e.Status != 0 {
		return "Message too big"
	}
	return "Invalid message"
}
