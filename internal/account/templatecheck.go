package account

import (
	"context"
	"errors"
	"time"

	"pennypost"
	"pennypost/internal/inline"
	"pennypost/internal/mustache"
	"pennypost/internal/store"
)

// TemplateCheck is a template that is to be tried out (contract/templates.md
// A4); a part that is nil was not sent.
type TemplateCheck struct {
	Subject, HTMLBody, TextBody *string
	Type                        *string
	Layout                      *string        // alias; nil or "": none
	Model                       map[string]any // of TestRenderModel, numbers as json.Number
	InlineCSS                   bool
}

// TemplateReport is what came of it. A part is nil when it was not sent.
type TemplateReport struct {
	Valid                   bool
	Subject, HTML, Text     *PartReport
	SuggestedModel          map[string]any // nil when a part is not valid
	subject, html, textBody *mustache.Template
}

// PartReport is about one part.
type PartReport struct {
	Errors   []TemplateError // none: it is valid
	Rendered string
}

// TemplateError is one mistake. Line and Position count from 1; 0 is unknown.
type TemplateError struct {
	Message        string
	Line, Position int
}

// ValidateTemplate parses a template and renders it with the model that it
// suggests, overlaid with the one that is given.
func (a *Accounts) ValidateTemplate(ctx context.Context, server pennypost.ServerID, in *TemplateCheck) (*TemplateReport, error) {
	if !given(in.Subject) && !given(in.HTMLBody) && !given(in.TextBody) {
		return nil, pennypost.TemplateFieldMissing("Subject", "HtmlBody", "TextBody")
	}
	typ, err := templateType(in.Type)
	if err != nil {
		return nil, err
	}
	var layout pennypost.Template
	switch {
	case typ == pennypost.TemplateLayout && given(in.Subject):
		return nil, pennypost.TemplateFieldNotAllowed("The 'Subject' field is not allowed on a layout.")
	case typ == pennypost.TemplateLayout && given(in.Layout):
		return nil, pennypost.TemplateFieldNotAllowed("The 'LayoutTemplate' field is not allowed on a layout.")
	case given(in.Layout):
		err := a.view(ctx, "read layout", func(tx *store.Tx) error {
			l, err := findLayout(ctx, tx, server, *in.Layout)
			if err == nil {
				layout = *l
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	r := &TemplateReport{}
	r.Subject, r.subject = checkPart(typ, "Subject", in.Subject)
	r.HTML, r.html = checkPart(typ, "HtmlBody", in.HTMLBody)
	r.Text, r.textBody = checkPart(typ, "TextBody", in.TextBody)
	if err := r.within(&layout); err != nil {
		return nil, err
	}
	if err := r.render(ctx, in); err != nil {
		return nil, err
	}
	r.Valid = true
	for _, p := range []*PartReport{r.Subject, r.HTML, r.Text} {
		r.Valid = r.Valid && (p == nil || len(p.Errors) == 0)
	}
	if !r.Valid {
		r.SuggestedModel = nil
	}
	return r, nil
}

// checkPart parses a part. The template is nil when it was not sent or is not
// valid.
func checkPart(typ pennypost.TemplateType, field string, text *string) (*PartReport, *mustache.Template) {
	if text == nil {
		return nil, nil
	}
	parsed, err := parseTemplate(*text)
	if err != nil {
		return &PartReport{Errors: templateErrors(err)}, nil
	}
	if *text != "" {
		if text := placeholderText(typ, field, parsed.Placeholders()); text != "" {
			return &PartReport{Errors: []TemplateError{{Message: text}}}, nil
		}
	}
	return &PartReport{}, parsed
}

// templateErrors lists what is wrong with a template, or with it and its model.
func templateErrors(err error) []TemplateError {
	var syntax mustache.SyntaxErrors
	var limit *mustache.LimitError
	var model *mustache.ModelError
	switch {
	case errors.As(err, &syntax):
		list := make([]TemplateError, len(syntax))
		for n, e := range syntax {
			list[n] = TemplateError{Message: e.Message, Line: e.Line, Position: e.Position}
		}
		return list
	case errors.As(err, &limit):
		return []TemplateError{{Message: limit.Error(), Line: limit.Line, Position: limit.Position}}
	case errors.As(err, &model):
		return []TemplateError{{Message: model.Error(), Line: model.Line, Position: model.Position}}
	}
	return []TemplateError{{Message: err.Error()}}
}

// within puts the bodies into a layout; one that the layout has not stands alone.
func (r *TemplateReport) within(layout *pennypost.Template) error {
	for _, p := range []struct {
		body   **mustache.Template
		layout string
	}{{&r.html, layout.HTMLBody}, {&r.textBody, layout.TextBody}} {
		if *p.body == nil || p.layout == "" {
			continue
		}
		around, err := parseTemplate(p.layout)
		if err != nil { // it was parsed when it was stored
			return errors.New("parse layout: " + err.Error())
		}
		*p.body = around.Wrap(*p.body)
	}
	return nil
}

// render renders the parts that are valid with one model.
func (r *TemplateReport) render(ctx context.Context, in *TemplateCheck) error {
	r.SuggestedModel = mustache.Merge(mustache.Suggest(r.subject, r.html, r.textBody), in.Model)
	for _, p := range []struct {
		report   *PartReport
		from     *mustache.Template
		escaping mustache.Escaping
	}{
		{r.Subject, r.subject, mustache.EscapeNone}, {r.HTML, r.html, mustache.EscapeHTML}, {r.Text, r.textBody, mustache.EscapeNone},
	} {
		if p.from == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		out, err := p.from.Render(r.SuggestedModel, p.escaping)
		if err != nil {
			p.report.Errors = templateErrors(err)
			continue
		}
		p.report.Rendered = out
	}
	if r.html == nil || len(r.HTML.Errors) > 0 || !in.InlineCSS {
		return nil
	}
	return r.inline(ctx)
}

// inlineWithin bounds the time that CSS may take.
const inlineWithin = 2 * time.Second

// inline makes a complete document of the HTML, its CSS in its elements
// (contract/templates.md A4). What is too much for that stays as it is, as when
// it is sent.
func (r *TemplateReport) inline(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, inlineWithin)
	defer cancel()
	out, err := inline.Inline(within, []byte(r.HTML.Rendered), inline.Options{Document: true, Limits: inline.Limits{Output: maxTemplateBody}})
	var syntax *inline.SyntaxError
	switch {
	case err == nil:
		r.HTML.Rendered = string(out)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &syntax):
		r.HTML.Rendered, r.HTML.Errors = "", []TemplateError{{Message: "The CSS could not be parsed: " + syntax.Reason + "."}}
	}
	return nil
}
