package bulk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/submit"
)

// Input is a request as the edge reads it.
type Input struct {
	Shared // Stream as it was named; Source and InlineCSS are set here

	TemplateID    pennypost.TemplateID // 0: none
	TemplateAlias string
	InlineCss     *bool

	Subject, HTMLBody, TextBody string
	// Messages gives the messages in order, each time that it is asked; an error
	// is one message that cannot be read, a *pennypost.Error, or ends it.
	Messages iter.Seq2[*Message, error]
	// Mistakes are those that the edge found.
	Mistakes []submit.FieldError
	// Answer gives the body of the 200 to a request that was taken. Of a request
	// with a key it is kept in the transaction that takes it; nil: it is not.
	Answer func(b *pennypost.BulkRequest) ([]byte, error)
}

func (in *Input) templated() bool { return in.TemplateID != 0 || in.TemplateAlias != "" }

// maxErrors is how many mistakes of a request are told; then the search ends.
const maxErrors = 100

// Accept takes a request: when it returns nil all of it is on stable storage and
// its messages are made. A refusal is a *pennypost.Error, or *MistakesError when there
// are several mistakes; nothing is kept of it then.
func (r *Requests) Accept(ctx context.Context, c pennypost.Caller, in *Input) (*pennypost.BulkRequest, error) {
	if err := r.conf.Door.Open(ctx); err != nil {
		return nil, err
	}
	stream, mistakes := submit.BroadcastStream(c, string(in.Stream))
	in.Stream, in.Mistakes = stream, append(in.Mistakes, mistakes...)
	list, err := r.checkContent(ctx, c, in)
	if err != nil {
		return nil, err
	}
	total, more, err := r.checkMessages(ctx, in, list)
	if err != nil {
		return nil, err
	}
	b := &pennypost.BulkRequest{
		AccountID: c.AccountID, ServerID: c.ServerID, Stream: in.Stream, Subject: in.Subject, Total: total,
	}
	if b.ID, err = r.conf.Door.NewBulkID(); err != nil {
		return nil, err
	}
	k := &keeper{r: r, caller: c, b: b, in: in, mistakes: append(list, more...)}
	if err := k.keep(ctx); err != nil {
		return nil, err
	}
	r.log.InfoContext(ctx, "bulk request taken", "bulk_id", b.ID.String(), "server", int64(b.ServerID), "messages", b.Total)
	r.wake()
	return b, nil
}

// checkContent checks what all messages share, and finds what they say.
func (r *Requests) checkContent(ctx context.Context, c pennypost.Caller, in *Input) ([]submit.FieldError, error) {
	s := in.submission(&Message{})
	s.Subject, s.HTMLBody, s.TextBody = in.Subject, in.HTMLBody, in.TextBody
	in.InlineCSS = in.InlineCss != nil && *in.InlineCss
	if in.templated() {
		in.InlineCSS = in.InlineCss == nil || *in.InlineCss
		s.Template = &submit.Template{ID: in.TemplateID, Alias: in.TemplateAlias, Model: json.RawMessage("{}")}
	}
	list := append(in.Mistakes, r.conf.Door.CheckShared(s)...) //nolint:gocritic // appendAssign: it is the list from here on
	if !in.templated() {
		in.Source = &submit.Source{Subject: in.Subject, HTML: in.HTMLBody, Text: in.TextBody}
		return append(list, checkSource(in.Source)...), nil
	}
	var err error
	in.Source, err = r.conf.Door.TemplateSource(ctx, c.ServerID, in.TemplateID, in.TemplateAlias)
	var refused *pennypost.Error
	switch {
	case errors.As(err, &refused):
		field := "TemplateId"
		if in.TemplateID == 0 {
			field = "TemplateAlias"
		}
		return append(list, submit.FieldError{Field: field, Err: refused}), nil
	case err != nil:
		return nil, err
	}
	return list, nil
}

// checkSource reads the parts alone, so that each mistake has its field.
func checkSource(s *submit.Source) []submit.FieldError {
	var list []submit.FieldError
	for _, p := range []struct {
		field string
		part  submit.Source
	}{
		{"Subject", submit.Source{Subject: s.Subject}},
		{"HtmlBody", submit.Source{HTML: s.HTML}},
		{"TextBody", submit.Source{Text: s.Text}},
	} {
		var refused *pennypost.Error
		if _, err := p.part.Content(); errors.As(err, &refused) {
			list = append(list, submit.FieldError{Field: p.field, Err: refused})
		}
	}
	return list
}

// checkMessages counts the messages and gives their mistakes, at most so many that
// maxErrors are told with those that are known. It ends with the context: how many
// messages there may be is not bounded otherwise.
func (r *Requests) checkMessages(ctx context.Context, in *Input, known []submit.FieldError) (int, []submit.FieldError, error) {
	var list []submit.FieldError
	total, most := 0, maxErrors-len(known)
	// What is shared and wrong has been told, and is not counted with each message.
	var own Shared
	headers := submit.NewSharedHeaders(nil)
	if !hasMistake(known, "Headers") {
		headers = submit.NewSharedHeaders(in.Headers)
	}
	if !hasMistake(known, "Metadata") {
		own.Metadata = in.Metadata
	}
	for m, err := range in.Messages {
		if ctx.Err() != nil {
			return 0, nil, fmt.Errorf("check bulk request: %w", ctx.Err())
		}
		var refused *pennypost.Error
		switch {
		case errors.As(err, &refused):
			list = append(list, submit.FieldError{Field: "Messages", Err: refused})
		case err != nil:
			return 0, nil, err
		default:
			list = append(list, r.conf.Door.CheckMessage(own.submission(m), headers)...)
		}
		if total++; len(list) >= most {
			return total, list[:max(most, 0)], nil
		}
	}
	if total == 0 {
		list = append(list, submit.FieldError{Field: "Messages", Err: pennypost.Invalid("Invalid 'Messages' value. At least one message is required.")})
	}
	return total, list, nil
}

func hasMistake(list []submit.FieldError, field string) bool {
	return slices.ContainsFunc(list, func(f submit.FieldError) bool { return f.Field == field })
}

// partBytes is how much of the messages is stored with one transaction, and makes
// a part.
const partBytes = 256 << 10

// A keeper stores one request.
type keeper struct {
	r        *Requests
	caller   pennypost.Caller
	b        *pennypost.BulkRequest
	in       *Input
	mistakes []submit.FieldError

	begun bool
	first int             // number of the first message in part
	part  strings.Builder // JSON array without its end
	held  int             // messages in part
}

// keep stores the parts; the last one makes the request visible.
func (k *keeper) keep(ctx context.Context) error {
	if len(k.mistakes) > 0 {
		return k.flush(ctx, true) // for the mistakes that only a transaction finds
	}
	for m, err := range k.in.Messages {
		if err != nil {
			return err
		}
		text, err := json.Marshal(m)
		if err != nil {
			return fmt.Errorf("keep message of a bulk request: %w", err)
		}
		if k.held > 0 && k.part.Len()+len(text) > partBytes {
			if err := k.flush(ctx, false); err != nil {
				return err
			}
		}
		k.part.WriteByte("[,"[min(k.held, 1)])
		k.part.Write(text)
		k.held++
	}
	return k.flush(ctx, true)
}

// flush stores the part that was put together. The first and the last
// transaction ask whether the caller may send: between them nothing shows.
func (k *keeper) flush(ctx context.Context, last bool) error {
	var shared []byte
	if !k.begun {
		var err error
		if shared, err = json.Marshal(&k.in.Shared); err != nil {
			return fmt.Errorf("keep bulk request: %w", err)
		}
	}
	var list []submit.FieldError
	err := k.r.conf.Store.Update(ctx, func(tx *store.Tx) error {
		list = k.mistakes
		if !k.begun || last {
			s := &submit.Submission{From: k.in.From, Stream: string(k.in.Stream)}
			found, err := k.r.conf.Door.CheckBulk(ctx, tx, k.caller, s)
			if err == nil {
				err = checkOpen(ctx, tx, k.caller.ServerID)
			}
			if err != nil {
				return err
			}
			if list = append(found, k.mistakes...); len(list) > 0 {
				return nil
			}
		}
		return k.write(ctx, tx, shared, last)
	})
	if last && errors.Is(err, store.ErrUnknown) {
		err = k.settle(ctx, err)
	}
	if err == nil {
		err = refusal(list)
	}
	if err == nil && last && k.caller.Request != nil {
		k.caller.Request.Answered = k.in.Answer != nil
	}
	k.begun, k.first, k.held = true, k.first+k.held, 0
	k.part.Reset()
	return err
}

// settleWithin bounds the question whether a request was stored after all.
const settleWithin = 5 * time.Second

// settle finds out what became of a request whose last commit ended without an
// answer: nil when it is stored. Otherwise nothing may come of it later, since its
// client is told of a fault and may send it again.
func (k *keeper) settle(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	found := k.r.conf.Store.View(ctx, func(tx *store.Tx) error {
		_, err := tx.Bulk(ctx, k.b.ServerID, k.b.ID)
		return err
	})
	if found == nil {
		return nil
	}
	if ended := k.r.conf.Store.Update(ctx, func(tx *store.Tx) error { return tx.DisownBulk(ctx, k.b) }); ended != nil {
		k.r.log.WarnContext(ctx, "a bulk request of an unknown commit may still be made", "bulk_id", k.b.ID.String(), "err", ended)
	}
	return err
}

func (k *keeper) write(ctx context.Context, tx *store.Tx, shared []byte, last bool) error {
	if !k.begun {
		if err := tx.BeginBulk(ctx, k.b, shared); err != nil {
			return err
		}
	}
	if err := tx.AddBulkPart(ctx, k.b.ID, k.first, []byte(k.part.String()+"]")); err != nil {
		return err
	}
	if !last {
		return nil
	}
	if err := tx.OpenBulk(ctx, k.b); err != nil {
		return err
	}
	return k.note(ctx, tx)
}

// note keeps the answer under the key of the request: whoever repeats it, even
// after a crash that comes now, gets that and no second one.
func (k *keeper) note(ctx context.Context, tx *store.Tx) error {
	r := k.caller.Request
	if r == nil || k.in.Answer == nil {
		return nil
	}
	body, err := k.in.Answer(k.b)
	if err != nil {
		return err
	}
	err = tx.AnswerRequest(ctx, k.b.ServerID, r, http.StatusOK, body)
	if errors.Is(err, store.ErrConflict) {
		return submit.ErrUnderWay()
	}
	return err
}
