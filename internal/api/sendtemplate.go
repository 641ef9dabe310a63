package api

import (
	"context"
	"encoding/json"
	"time"

	"pennypost"
	"pennypost/internal/submit"
)

// wireTemplated is the templated message of contract/sending.md §12.
type wireTemplated struct {
	wireMessage
	TemplateId    pennypost.TemplateID
	TemplateAlias string
	TemplateModel wireModel
	InlineCss     *bool
}

// submission does what that of a plain message does.
func (m *wireTemplated) submission(now time.Time) (*submit.Submission, error) {
	s, err := m.wireMessage.submission(now)
	if err != nil {
		return nil, err
	}
	s.Template = &submit.Template{
		ID: m.TemplateId, Alias: m.TemplateAlias, Model: json.RawMessage(m.TemplateModel), InlineCSS: m.InlineCss,
	}
	return s, nil
}

// sendTemplate is POST /email/withTemplate.
func (a *API) sendTemplate(ctx context.Context, c *call) (any, error) {
	var m wireTemplated
	if err := decode(c.body, &m); err != nil {
		return nil, err
	}
	return a.sendOne(ctx, c, &m)
}

// sendTemplates is POST /email/batchWithTemplates: a batch inside of an object.
func (a *API) sendTemplates(ctx context.Context, c *call) (any, error) {
	var w struct{ Messages unread }
	if err := decode(c.body, &w); err != nil {
		return nil, err
	}
	if isEmpty(w.Messages) {
		return nil, fieldError("Messages")
	}
	items, err := decodeBatch[wireTemplated](w.Messages)
	if err != nil {
		return nil, err
	}
	return a.sendItems(ctx, c, items)
}

// unread is a value that is decoded later. It is no copy, since a batch is large,
// and so is good for as long as the body.
type unread []byte

// UnmarshalJSON keeps the text.
func (u *unread) UnmarshalJSON(b []byte) error {
	*u = b
	return nil
}
