package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"math"
	"net/http"

	"pennypost"
	"pennypost/internal/bulk"
	"pennypost/internal/submit"
	"pennypost/internal/web"
)

// wireBulk is a bulk request (contract/sending.md §13).
type wireBulk struct {
	From, ReplyTo               string
	Subject, HtmlBody, TextBody string
	TemplateId                  pennypost.TemplateID
	TemplateAlias               string
	InlineCss                   *bool
	Tag                         string
	TrackOpens                  *bool
	TrackLinks                  string
	Attachments                 []wireAttachment
	Metadata                    wireMetadata
	Headers                     []wireHeader
	MessageStream               string
	Messages                    unread
}

// wireBulkMessage is one message of it.
type wireBulkMessage struct {
	To, Cc, Bcc   string
	TemplateModel wireModel
	Metadata      wireMetadata
	Headers       []wireHeader
}

func (m *wireBulkMessage) message() *bulk.Message {
	return &bulk.Message{
		To: m.To, Cc: m.Cc, Bcc: m.Bcc, Model: json.RawMessage(m.TemplateModel), Metadata: m.Metadata, Headers: headerPairs(m.Headers),
	}
}

func headerPairs(list []wireHeader) []submit.Pair {
	pairs := make([]submit.Pair, len(list))
	for n, h := range list {
		pairs[n] = submit.Pair{Key: h.Name, Value: h.Value}
	}
	return pairs
}

// maxBulkValues bounds the JSON values of a bulk request, which are decoded a
// message at a time. 50 MB of messages have less, unless they say nothing.
const maxBulkValues = 10_000_000

// input decodes all but the messages.
func (m *wireBulk) input() *bulk.Input {
	in := &bulk.Input{
		Shared: bulk.Shared{
			From: m.From, ReplyTo: m.ReplyTo, Tag: m.Tag, TrackOpens: m.TrackOpens, TrackLinks: m.TrackLinks,
			Headers: headerPairs(m.Headers), Metadata: m.Metadata, Stream: pennypost.StreamID(m.MessageStream),
		},
		TemplateID: m.TemplateId, TemplateAlias: m.TemplateAlias, InlineCss: m.InlineCss,
		Subject: m.Subject, HTMLBody: m.HtmlBody, TextBody: m.TextBody, Messages: bulkMessages(m.Messages),
	}
	var err error
	var refused *pennypost.Error
	if in.Attachments, err = decodeAttachments(m.Attachments); errors.As(err, &refused) {
		in.Mistakes = append(in.Mistakes, submit.FieldError{Field: "Attachments", Err: refused})
	}
	return in
}

// bulkMessages gives the messages of a JSON array, one decoded at a time. What is
// no such array has no messages that could be read.
func bulkMessages(array []byte) iter.Seq2[*bulk.Message, error] {
	return func(yield func(*bulk.Message, error) bool) {
		if isEmpty(array) {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(array))
		if t, err := dec.Token(); err != nil || t != json.Delim('[') {
			yield(nil, fieldError("Messages"))
			return
		}
		for dec.More() {
			var raw json.RawMessage
			if err := dec.Decode(&raw); err != nil {
				yield(nil, errJSON())
				return
			}
			var m wireBulkMessage
			err := decode(raw, &m)
			if err == nil && bytes.TrimSpace(raw)[0] != '{' {
				err = fieldError("Messages")
			}
			if !yield(m.message(), err) {
				return
			}
		}
	}
}

// sendBulk is POST /email/bulk.
func (a *API) sendBulk(ctx context.Context, c *call) (any, error) {
	if err := a.conf.Bulk.Allowed(ctx, c.who.AccountID); err != nil {
		return nil, err
	}
	var w wireBulk
	if err := decodeUpTo(c.body, &w, maxBulkValues); err != nil {
		return nil, err
	}
	in := w.input()
	in.Answer = func(b *pennypost.BulkRequest) ([]byte, error) { return web.Encode(newBulkTaken(b)) }
	b, err := a.conf.Bulk.Accept(ctx, c.who, in)
	var several *bulk.MistakesError
	if errors.As(err, &several) {
		return nil, &mistakesError{several}
	}
	if err != nil {
		return nil, err
	}
	return newBulkTaken(b), nil
}

// mistakesError is the answer to a bulk request with more than one mistake
// (contract/common.md §5).
type mistakesError struct{ *bulk.MistakesError }

// ErrorBody gives the object of code 11.
func (e *mistakesError) ErrorBody() (status int, code pennypost.Code, body any) {
	r := e.Refusal()
	w := struct {
		web.ErrorBody
		Errors map[string][]web.ErrorBody
	}{web.ErrorBody{ErrorCode: r.Code, Message: r.Text}, map[string][]web.ErrorBody{}}
	for _, f := range e.List {
		w.Errors[f.Field] = append(w.Errors[f.Field], web.ErrorBody{ErrorCode: f.Err.Code, Message: f.Err.Text})
	}
	return http.StatusUnprocessableEntity, r.Code, w
}

// bulkStatus is the status object of contract/sending.md §13. What has no value
// is left out.
type bulkStatus struct {
	Id                  string
	SubmittedAt         string
	Status              string
	TotalMessages       int
	PercentageCompleted float64
	ReleasedCount       int
	FailedCount         int
	Subject             string `json:",omitempty"`
}

// bulkTaken has the identifier under both names that clients look for
// (contract/README.md, settled contradictions).
type bulkTaken struct {
	ID string
	bulkStatus
}

func newBulkTaken(b *pennypost.BulkRequest) bulkTaken {
	s := newBulkStatus(b)
	return bulkTaken{ID: s.Id, bulkStatus: s}
}

func newBulkStatus(b *pennypost.BulkRequest) bulkStatus {
	s := bulkStatus{
		Id: b.ID.String(), SubmittedAt: timeText(b.SubmittedAt), Status: b.State.String(), TotalMessages: b.Total,
		ReleasedCount: b.Released, FailedCount: b.Failed, Subject: b.Subject,
	}
	if b.Total > 0 {
		s.PercentageCompleted = math.Floor(10_000*float64(b.Done())/float64(b.Total)) / 100
	}
	return s
}

// bulkRequest gives the id of the path. What is no id names nothing.
func (a *API) bulkRequest(ctx context.Context, c *call) (pennypost.BulkID, error) {
	if err := a.conf.Bulk.Allowed(ctx, c.who.AccountID); err != nil {
		return pennypost.BulkID{}, err
	}
	id, err := pennypost.ParseBulkID(c.ids[0])
	if err != nil {
		id = pennypost.BulkID{}
	}
	return id, nil
}

// getBulk is GET /email/bulk/{id}.
func (a *API) getBulk(ctx context.Context, c *call) (any, error) {
	id, err := a.bulkRequest(ctx, c)
	if err != nil {
		return nil, err
	}
	b, err := a.conf.Bulk.Request(ctx, c.who.ServerID, id)
	if err != nil {
		return nil, err
	}
	return newBulkStatus(b), nil
}

// cancelBulk is POST /email/bulk/{id}/cancel (docs/api.md).
func (a *API) cancelBulk(ctx context.Context, c *call) (any, error) {
	id, err := a.bulkRequest(ctx, c)
	if err != nil {
		return nil, err
	}
	b, err := a.conf.Bulk.Cancel(ctx, c.who.ServerID, id)
	if err != nil {
		return nil, err
	}
	return newBulkStatus(b), nil
}

// bulkPage is a page of the list.
type bulkPage struct {
	Requests      []bulkStatus
	PaginationKey string `json:",omitempty"` // absent on the last page
}

// listBulk is GET /email/bulk.
func (a *API) listBulk(ctx context.Context, c *call) (any, error) {
	if err := a.conf.Bulk.Allowed(ctx, c.who.AccountID); err != nil {
		return nil, err
	}
	q := query{"count": c.query["count"], "offset": "0"}
	if q["count"] == "" {
		q["count"] = "100"
	}
	count, _, err := q.paging(pennypost.CodeInvalid, 0)
	if err != nil {
		return nil, err
	}
	list, key, err := a.conf.Bulk.Page(ctx, c.who.ServerID, c.query["paginationkey"], count)
	if err != nil {
		return nil, err
	}
	page := bulkPage{Requests: make([]bulkStatus, len(list)), PaginationKey: key}
	for n := range list {
		page.Requests[n] = newBulkStatus(&list[n])
	}
	return page, nil
}
