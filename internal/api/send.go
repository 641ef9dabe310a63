package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/submit"
	"pennypost/internal/web"
)

// maxBatch is the number of messages of a batch (contract/common.md §8).
const maxBatch = 500

// wireMessage is the message object of contract/sending.md §1.
type wireMessage struct {
	From, To, Cc, Bcc, ReplyTo string
	Subject                    string
	HtmlBody, TextBody         string
	Tag                        string
	Headers                    []wireHeader
	TrackOpens                 *bool
	TrackLinks                 string
	Metadata                   wireMetadata
	Attachments                []wireAttachment
	MessageStream              string
	SendAt                     wireMoment
	DeliverBy                  wireMoment
}

type wireHeader struct{ Name, Value string }

type wireAttachment struct{ Name, Content, ContentType, ContentID string }

// wireMetadata keeps the order, so that names equal but for case are seen.
type wireMetadata []submit.Pair

// UnmarshalJSON reads an object of strings; numbers and booleans become the
// text that they were written as (contract/sending.md §6).
func (m *wireMetadata) UnmarshalJSON(b []byte) error {
	*m = nil
	if isAbsent(b, reflect.TypeFor[wireMetadata]()) {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return typeError[wireMetadata]()
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		value, err := dec.Token()
		if err != nil {
			return err
		}
		key, ok := name.(string)
		if !ok {
			return typeError[wireMetadata]()
		}
		switch v := value.(type) {
		case string:
			*m = append(*m, submit.Pair{Key: key, Value: v})
		case json.Number:
			*m = append(*m, submit.Pair{Key: key, Value: v.String()})
		case bool:
			*m = append(*m, submit.Pair{Key: key, Value: strconv.FormatBool(v)})
		case nil:
		default:
			return typeError[wireMetadata]()
		}
	}
	return nil
}

// wireMoment is SendAt or DeliverBy: seconds from now, or a time with its zone.
type wireMoment struct {
	seconds int64
	at      time.Time
}

// UnmarshalJSON reads a whole number or a time (RFC 3339).
func (d *wireMoment) UnmarshalJSON(b []byte) error {
	*d = wireMoment{}
	switch {
	case isAbsent(b, reflect.TypeFor[wireMoment]()):
		return nil
	case b[0] != '"':
		n, err := strconv.ParseInt(string(b), 10, 64)
		if err != nil {
			return typeError[wireMoment]()
		}
		if d.seconds = n; n == 0 {
			d.seconds = -1 // as much in the past; zero is absence
		}
		return nil
	}
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return typeError[wireMoment]()
	}
	d.at = at.UTC()
	return nil
}

func typeError[T any]() error {
	return &json.UnmarshalTypeError{Value: "value", Type: reflect.TypeFor[T]()}
}

// maxDeadline is how far away DeliverBy may be, in seconds.
const maxDeadline = 366 * 24 * 3600

// sendAt gives when to send, or zero when nothing was said. Package submit knows
// what is too far.
func (d wireMoment) sendAt(now time.Time) time.Time {
	if d.seconds == 0 {
		return d.at
	}
	return now.Add(time.Duration(min(max(d.seconds, 0), maxDeadline)) * time.Second)
}

// deadline gives the deadline, or zero when none was asked for. Seconds count
// from the beginning of delivery.
func (d wireMoment) deadline(now time.Time) (time.Time, error) {
	at := d.at
	if d.seconds != 0 {
		if d.seconds < 0 || d.seconds > maxDeadline {
			return at, pennypost.Invalid("Invalid 'DeliverBy' value.")
		}
		at = now.Add(time.Duration(d.seconds) * time.Second)
	}
	if !at.IsZero() && (!at.After(now) || at.Sub(now) > maxDeadline*time.Second) {
		return at, pennypost.Invalid("Invalid 'DeliverBy' value.")
	}
	return at, nil
}

// submission decodes what JSON could not: attachments and the deadline. All
// other checks are those of package submit.
func (m *wireMessage) submission(now time.Time) (*submit.Submission, error) {
	s := &submit.Submission{
		From: m.From, To: m.To, Cc: m.Cc, Bcc: m.Bcc, ReplyTo: m.ReplyTo,
		Subject: m.Subject, TextBody: m.TextBody, HTMLBody: m.HtmlBody,
		Tag: m.Tag, Metadata: m.Metadata, TrackOpens: m.TrackOpens, TrackLinks: m.TrackLinks,
		Stream: m.MessageStream,
	}
	for _, h := range m.Headers {
		s.Headers = append(s.Headers, eml.Field{Name: h.Name, Value: h.Value})
	}
	var err error
	if s.Attachments, err = decodeAttachments(m.Attachments); err != nil {
		return nil, err
	}
	s.SendAt = m.SendAt.sendAt(now)
	begins := now
	if s.SendAt.After(now) {
		begins = s.SendAt
	}
	s.DeliverBy, err = m.DeliverBy.deadline(begins)
	return s, err
}

// decodeAttachments reads the contents of attachments and forgets their text.
func decodeAttachments(list []wireAttachment) ([]submit.Attachment, error) {
	var files []submit.Attachment
	for n := range list {
		a := &list[n]
		// Line breaks are skipped by the decoder (contract/sending.md §5).
		content, err := base64.StdEncoding.DecodeString(a.Content)
		if err != nil {
			return nil, pennypost.Invalid("Invalid attachment: the 'Content' of '%s' is not base64.", short(a.Name))
		}
		a.Content = ""
		files = append(files, submit.Attachment{Name: a.Name, ContentType: a.ContentType, ContentID: a.ContentID, Content: content})
	}
	return files, nil
}

// short bounds a value that an error text repeats.
func short(s string) string {
	const most = 100
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most]) + "…"
}

// sendResult is the result object of contract/sending.md §2.
type sendResult struct {
	To          string `json:"To,omitempty"`
	SubmittedAt string
	MessageID   string
	ErrorCode   pennypost.Code
	Message     string
}

func newSendResult(to string, a *submit.Accepted) sendResult {
	return sendResult{To: to, SubmittedAt: timeText(a.SubmittedAt), MessageID: a.ID.String(), Message: acceptedText(a)}
}

func acceptedText(a *submit.Accepted) string {
	if a.Test {
		return "Test job accepted"
	}
	if len(a.Inactive) == 0 {
		return "OK"
	}
	list := make([]string, len(a.Inactive))
	for n, addr := range a.Inactive {
		list[n] = addr.Key()
	}
	return "Message OK, but will not deliver to these inactive addresses: " + strings.Join(list, ", ") + "."
}

// sendEmail is POST /email.
func (a *API) sendEmail(ctx context.Context, c *call) (any, error) {
	var m wireMessage
	if err := decode(c.body, &m); err != nil {
		return nil, err
	}
	return a.sendOne(ctx, c, &m)
}

// sendable is a message as a client sends it: plain or templated.
type sendable interface {
	submission(now time.Time) (*submit.Submission, error)
	addressees() string
}

// addressees is To as it was sent, for the answer.
func (m *wireMessage) addressees() string { return m.To }

func (a *API) sendOne(ctx context.Context, c *call, m sendable) (any, error) {
	s, err := m.submission(a.now())
	if err != nil {
		return nil, err
	}
	s.Answer = func(got *submit.Accepted) ([]byte, error) { return web.Encode(newSendResult(m.addressees(), got)) }
	accepted, err := a.conf.Door.Accept(ctx, c.who, s)
	if err != nil {
		return nil, err
	}
	return newSendResult(m.addressees(), accepted), nil
}

// sendBatch is POST /email/batch.
func (a *API) sendBatch(ctx context.Context, c *call) (any, error) {
	items, err := decodeBatch[wireMessage](c.body)
	if err != nil {
		return nil, err
	}
	return a.sendItems(ctx, c, items)
}

// sendItems sends those of a batch that could be read.
func (a *API) sendItems(ctx context.Context, c *call, items []batchItem) (any, error) {
	now := a.now()
	subs := make([]*submit.Submission, 0, len(items))
	for n := range items {
		if items[n].err != nil {
			continue
		}
		s, err := items[n].message.submission(now)
		if err != nil {
			items[n].err = err
			continue
		}
		s.Item = n + 1
		subs = append(subs, s)
	}
	var results []submit.Result
	if len(subs) > 0 {
		results = a.conf.Door.AcceptBatch(ctx, c.who, subs)
	}
	return a.batchAnswer(ctx, items, results)
}

// batchItem is one message of a batch, or why it cannot be read.
type batchItem struct {
	message sendable
	err     error
}

// decodeBatch reads a bare array of messages of type T. A message of which a
// field has the wrong type fails alone (contract/sending.md §10).
func decodeBatch[T any, P interface {
	*T
	sendable
}](body []byte) ([]batchItem, error) {
	if isEmpty(body) {
		return nil, fieldError()
	}
	s, err := scan(body, 2)
	if err != nil {
		return nil, err
	}
	if s.items > maxBatch {
		if !json.Valid(body) {
			return nil, errJSON()
		}
		if bytes.TrimSpace(body)[0] != '[' {
			return nil, fieldError()
		}
		return nil, pennypost.Refuse(pennypost.CodeBatchSize, "You may only send up to 500 messages in a single batched request.")
	}
	if !s.repeats {
		messages := make([]T, 0, s.items)
		if err = json.Unmarshal(body, &messages); err == nil {
			items := make([]batchItem, len(messages))
			for n := range messages {
				items[n].message = P(&messages[n])
			}
			return items, nil
		}
		if !isTypeError(err) {
			return nil, errJSON()
		}
	}
	return decodeItems[T, P](body)
}

// decodeItems reads the messages one by one, which is slower.
func decodeItems[T any, P interface {
	*T
	sendable
}](body []byte) ([]batchItem, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		if isTypeError(err) {
			return nil, fieldError()
		}
		return nil, errJSON()
	}
	items := make([]batchItem, len(raw))
	for n := range raw {
		m := new(T)
		items[n].message, items[n].err = P(m), decode(raw[n], m)
	}
	return items, nil
}

// batchAnswer puts the results in the order of the request. When nothing was
// accepted and the fault is ours or concerns the whole request, the whole
// request fails; once something was accepted it never does, since clients
// repeat a request that failed as a whole (contract/clients.md 1.13).
func (a *API) batchAnswer(ctx context.Context, items []batchItem, results []submit.Result) (any, error) {
	answers := make([]any, len(items))
	var whole error
	accepted := false
	for n := range items {
		err := items[n].err
		var got *submit.Accepted
		if err == nil {
			if len(results) == 0 {
				return nil, errShortBatch
			}
			got, err = results[0].Accepted, results[0].Err
			results = results[1:]
		}
		if err != nil {
			if concernsAll(err) && whole == nil {
				whole = err
			}
			answers[n] = a.batchError(ctx, err)
			continue
		}
		accepted = true
		answers[n] = newSendResult(items[n].message.addressees(), got)
	}
	if whole != nil && !accepted {
		return nil, whole
	}
	return answers, nil
}

var errShortBatch = errors.New("fewer results than messages")

func concernsAll(err error) bool {
	var refusal *pennypost.Error
	if !errors.As(err, &refusal) {
		return true
	}
	return refusal.Status != 0 && refusal.Status != http.StatusUnprocessableEntity
}

// batchError is exactly two keys (contract/sending.md §10).
func (a *API) batchError(ctx context.Context, err error) web.ErrorBody {
	var refusal *pennypost.Error
	var closed *submit.ClosedError
	if errors.As(err, &closed) {
		err = errClosed()
	}
	if !errors.As(err, &refusal) {
		id := web.RequestID(ctx)
		a.log.ErrorContext(ctx, "message of a batch failed", "request_id", id, "err", err)
		return web.ErrorBody{ErrorCode: pennypost.CodeFault, Message: "An unexpected error occurred. Please try again. Error ID: " + id}
	}
	text := refusal.Text
	if refusal.Code == pennypost.CodeInactive {
		// contract/README.md, settled contradictions: a batch item has the
		// documented wording, with its blank at the end.
		text = strings.Replace(text, "recipient(s) that have been", "a recipient that has been", 1)
		text = strings.TrimRight(text, " ") + " "
	}
	return web.ErrorBody{ErrorCode: refusal.Code, Message: text}
}
