package submit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/store"
)

// FieldError is what is wrong with a field of a bulk request.
type FieldError struct {
	Field string
	Err   *pennypost.Error
}

// CheckShared checks what all messages of a bulk request have, as far as that
// needs no database: all but its placeholders and recipients. It gives every
// mistake, the first of each field.
func (d *Door) CheckShared(s *Submission) []FieldError {
	dr := &draft{source: pennypost.SourceHTTP, at: d.conf.Now()}
	return checks(s, []fieldCheck{
		{"From", dr.setOriginator},
		{"ReplyTo", dr.setReplyTo},
		{"Tag", func(s *Submission) error { return dr.setTag(s.Tag) }},
		{"Metadata", func(s *Submission) error { return dr.setMetadata(s.Metadata) }},
		{"TrackLinks", func(s *Submission) error { return dr.setTrackLinks(s.TrackLinks) }},
		{"Headers", dr.setHeaders},
		{"Attachments", dr.setFiles},
		{"Subject", func(s *Submission) error { return dr.setSubject(s.Subject) }}, // with its placeholders
		{"HtmlBody", dr.checkBodies},
		{"TemplateId", dr.checkTemplate},
	})
}

// CheckMessage checks what one message of a bulk request has of its own: its
// recipients, its headers, and its metadata with that which it shares.
func (d *Door) CheckMessage(s *Submission, shared *SharedHeaders) []FieldError {
	dr := &draft{source: pennypost.SourceHTTP, at: d.conf.Now()}
	list := checks(s, []fieldCheck{
		{"To", listCheck(&dr.to, func(s *Submission) string { return s.To }, "To")},
		{"Cc", listCheck(&dr.cc, func(s *Submission) string { return s.Cc }, "Cc")},
		{"Bcc", listCheck(&dr.bcc, func(s *Submission) string { return s.Bcc }, "Bcc")},
		{"Metadata", func(s *Submission) error { return dr.setMetadata(s.Metadata) }},
		{"Headers", func(s *Submission) error {
			if err := dr.setHeaders(s); err != nil {
				return err
			}
			return shared.fit(s.Headers)
		}},
	})
	if len(list) > 0 {
		return list
	}
	switch n := len(dr.to) + len(dr.cc) + len(dr.bcc); {
	case len(dr.to) == 0: // contract/sending.md §13: To is required
		return []FieldError{{"To", errNoRecipients()}}
	case n > maxRecipients:
		return []FieldError{{"To", errRecipients()}}
	}
	return nil
}

type fieldCheck struct {
	field string
	check func(*Submission) error
}

func checks(s *Submission, list []fieldCheck) []FieldError {
	var found []FieldError
	for _, c := range list {
		var refusal *pennypost.Error
		if err := c.check(s); errors.As(err, &refusal) {
			found = append(found, FieldError{c.field, refusal})
		}
	}
	return found
}

func listCheck(into *[]eml.Mailbox, value func(*Submission) string, field string) func(*Submission) error {
	return func(s *Submission) error {
		list, err := eml.ParseMailboxes(value(s), maxRecipients)
		if err != nil {
			return addressText(err, field)
		}
		*into = list
		return nil
	}
}

// BroadcastStream is the stream of a caller's bulk request (contract/sending.md
// §13): that of its token, the one that it names, or the first for broadcasts. A
// token that is bound to another than the one named makes a mistake.
func BroadcastStream(c pennypost.Caller, named string) (pennypost.StreamID, []FieldError) {
	if c.Stream == "" && strings.TrimSpace(named) == "" {
		return pennypost.StreamBroadcast, nil
	}
	var other *pennypost.Error
	if errors.As(otherStream(c, named), &other) {
		return streamOf(c, named), []FieldError{{"MessageStream", pennypost.Refuse(codeStreamOfServer, "%s", other.Text)}}
	}
	return streamOf(c, named), nil
}

// codeStreamOfServer is the contract's for a stream that a bulk request names
// (contract/sending.md §13).
const codeStreamOfServer pennypost.Code = 1226

// CheckBulk tells, in the transaction that stores a bulk request, whether the
// caller may send it: the error refuses the whole of it, the list names what is
// wrong with stream and sender.
func (d *Door) CheckBulk(ctx context.Context, tx *store.Tx, c pennypost.Caller, s *Submission) ([]FieldError, error) {
	in := &intake{door: d, tx: tx, caller: c}
	if err := in.begin(ctx); err != nil {
		return nil, err
	}
	err := tx.CheckUsage(ctx, in.state.AccountID, in.state.ServerID, in.state.Limits)
	var over *store.OverLimitError
	switch {
	case errors.As(err, &over): // none of it could be sent
		return nil, pennypost.Refuse(pennypost.CodeOverLimit, "%s", over.Error())
	case err != nil:
		return nil, err
	}
	var found []FieldError
	note := func(field string, err error) error {
		var refusal *pennypost.Error
		if !errors.As(err, &refusal) {
			return err
		}
		if refusal.Code == pennypost.CodeStreamUnknown {
			refusal = pennypost.Refuse(codeStreamOfServer, "%s", refusal.Text)
		}
		found = append(found, FieldError{field, refusal})
		return nil
	}
	stream, err := in.stream(ctx, pennypost.StreamID(s.Stream))
	if err == nil && stream.Type != pennypost.StreamBroadcasts {
		err = pennypost.Refuse(pennypost.CodeStreamType, "Sending is not supported for this stream type.")
	}
	if err := note("MessageStream", err); err != nil {
		return nil, err
	}
	dr := &draft{}
	if err := dr.setOriginator(s); err == nil { // else CheckShared tells
		_, err = in.sender(ctx, &entry{draft: dr})
		if err := note("From", err); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// BulkStep is what a step of a bulk request does beside its messages, in their
// transaction.
type BulkStep struct {
	AccountID pennypost.AccountID
	ServerID  pennypost.ServerID
	// Begin takes the step and gives the state of the server; an error refuses
	// the step.
	Begin func(ctx context.Context, tx *store.Tx) (*pennypost.ServerState, error)
	// End writes what came of the first messages of the step; the others had no
	// room in it.
	End func(ctx context.Context, tx *store.Tx, results []Result) error
}

// bulkBytes is how much of rendered messages makes a step. It is small, since
// other mail waits for the transaction.
const bulkBytes = 512 << 10

// bulkWithin is after how much rendering a step begins no other message: the
// requests of others wait for it.
const bulkWithin = 200 * time.Millisecond

// AcceptStep accepts messages of a bulk request: each succeeds or fails alone,
// but all that is written is written with End, in one transaction. Their jobs wait
// in the store, behind all other mail of their domains, and take no room in memory
// from it. It gives what End was given. An error says that nothing was written, or, with store.ErrUnknown, that
// nobody knows.
func (d *Door) AcceptStep(ctx context.Context, step *BulkStep, list []*Submission) ([]Result, error) {
	room, err := d.letIn(ctx, stepSize(list[:1]))
	if err != nil {
		return nil, err
	}
	defer room.close()
	c := pennypost.Caller{Kind: pennypost.CallerAPI, AccountID: step.AccountID, ServerID: step.ServerID}
	entries := make([]*entry, 0, len(list)) // nil: refused before
	defer func() {
		for _, e := range entries {
			if e != nil {
				e.release()
			}
		}
	}()
	results := make([]Result, 0, len(list))
	began := d.conf.Now()
	for size := 0; len(entries) < len(list) && size < bulkBytes; {
		if len(entries) > 0 && d.conf.Now().Sub(began) >= bulkWithin {
			break
		}
		e, err := d.enter(ctx, c, list[len(entries)], room)
		var refusal *pennypost.Error
		if err != nil && !errors.As(err, &refusal) {
			return nil, err
		}
		entries, results = append(entries, e), append(results, Result{Err: err})
		if err == nil {
			size += len(e.content)
		}
	}
	err = d.storeStep(ctx, c, step, entries, results)
	for try := 1; errors.Is(err, errStale) && try < maxStale; try++ {
		for i, e := range entries {
			if e == nil || !errors.Is(e.err, errStale) {
				continue
			}
			err := d.redo(ctx, c, e, room)
			var refusal *pennypost.Error
			switch {
			case errors.As(err, &refusal): // of this message, and not of the step
				e.release()
				entries[i], results[i] = nil, Result{Err: err}
			case err != nil:
				return nil, err
			}
		}
		err = d.storeStep(ctx, c, step, entries, results)
	}
	return results, err
}

// storeStep is the transaction of a step. It waits for others to share its sync:
// nobody waits for it.
func (d *Door) storeStep(ctx context.Context, c pennypost.Caller, step *BulkStep, entries []*entry, results []Result) error {
	list := make([]*entry, 0, len(entries))
	for _, e := range entries {
		if e != nil {
			list = append(list, e)
		}
	}
	err := d.conf.Store.UpdateSoon(ctx, func(tx *store.Tx) error {
		in := &intake{door: d, tx: tx, caller: c, bulk: step}
		if err := in.begin(ctx); err != nil {
			return err
		}
		var stale error
		for i, e := range entries {
			if e == nil {
				continue
			}
			err := in.take(ctx, e)
			var refusal *pennypost.Error
			switch {
			case errors.Is(err, errStale):
				stale = err
			case err != nil && !errors.As(err, &refusal):
				return err
			}
			if e.err, results[i] = err, (Result{Err: err}); err == nil {
				results[i].Accepted = e.result()
			}
		}
		if stale != nil {
			return stale // of none is anything written: all of them come again
		}
		return step.End(ctx, tx, results)
	})
	if err = d.settle(ctx, err, list...); err != nil {
		return fmt.Errorf("store step of a bulk request: %w", err)
	}
	for _, e := range list {
		if e.err == nil {
			d.hand(e)
		}
	}
	for i := range results {
		d.count(pennypost.SourceHTTP, results[i].Err)
	}
	return nil
}

// NewBulkID names a new bulk request.
func (d *Door) NewBulkID() (pennypost.BulkID, error) {
	id, err := d.newID(d.conf.Now())
	return pennypost.BulkID(id), err
}
