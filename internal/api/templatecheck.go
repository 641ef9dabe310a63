package api

import (
	"context"
	"encoding/json"

	"pennypost/internal/account"
	"pennypost/internal/submit"
)

// wireCheck is the body of contract/templates.md A4.
type wireCheck struct {
	Subject, HtmlBody, TextBody  *string
	TestRenderModel              wireModel
	InlineCssForHtmlTestRender   *bool
	TemplateType, LayoutTemplate *string
}

// wireModel is a model: an object, or the empty array that a client sends for an
// empty one (contract/sending.md §12). Nil: it was not given.
type wireModel json.RawMessage

// UnmarshalJSON keeps the text, which is decoded where it is put in.
func (m *wireModel) UnmarshalJSON(b []byte) error {
	*m = nil
	switch {
	case string(b) == "null", string(b) == `""`:
	case b[0] == '{', len(b) <= 16 && isEmptyList(b):
		*m = append(wireModel{}, b...)
	default:
		return typeError[wireModel]()
	}
	return nil
}

func isEmptyList(b []byte) bool {
	var list []json.RawMessage
	return json.Unmarshal(b, &list) == nil && len(list) == 0
}

// checkAnswer is the answer; a part that was not sent is null.
type checkAnswer struct {
	AllContentIsValid           bool
	HtmlBody, TextBody, Subject *checkedPart
	SuggestedTemplateModel      map[string]any
}

type checkedPart struct {
	ContentIsValid   bool
	ValidationErrors []validationError
	RenderedContent  *string
}

// validationError has null for what is not known.
type validationError struct {
	Message           string
	Line              *int
	CharacterPosition *int
}

func newCheckedPart(p *account.PartReport) *checkedPart {
	if p == nil {
		return nil
	}
	w := &checkedPart{ContentIsValid: len(p.Errors) == 0, ValidationErrors: make([]validationError, len(p.Errors))}
	for n, e := range p.Errors {
		w.ValidationErrors[n].Message = e.Message
		if e.Line > 0 {
			w.ValidationErrors[n].Line, w.ValidationErrors[n].CharacterPosition = &e.Line, &e.Position
		}
	}
	if w.ContentIsValid {
		w.RenderedContent = &p.Rendered
	}
	return w
}

// validateTemplate is POST /templates/validate.
func (a *API) validateTemplate(ctx context.Context, c *call) (any, error) {
	var w wireCheck
	if err := decode(c.body, &w); err != nil {
		return nil, err
	}
	model, err := submit.DecodeModel(json.RawMessage(w.TestRenderModel))
	if err != nil {
		return nil, fieldError("TestRenderModel")
	}
	r, err := a.conf.Accounts.ValidateTemplate(ctx, c.who.ServerID, &account.TemplateCheck{
		Subject: w.Subject, HTMLBody: w.HtmlBody, TextBody: w.TextBody, Type: w.TemplateType, Layout: w.LayoutTemplate,
		Model: model, InlineCSS: w.InlineCssForHtmlTestRender == nil || *w.InlineCssForHtmlTestRender,
	})
	if err != nil {
		return nil, err
	}
	size := 0
	for _, p := range []*account.PartReport{r.Subject, r.HTML, r.Text} {
		if p != nil {
			size += len(p.Rendered)
		}
	}
	if err := a.makeRoom(ctx, c, size); err != nil {
		return nil, err
	}
	return checkAnswer{
		AllContentIsValid: r.Valid, HtmlBody: newCheckedPart(r.HTML), TextBody: newCheckedPart(r.Text), Subject: newCheckedPart(r.Subject),
		SuggestedTemplateModel: r.SuggestedModel,
	}, nil
}
