package submit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/inline"
	"pennypost/internal/mustache"
)

// Content is what a message says, with placeholders where a model comes in: its
// subject and bodies, parsed. It never changes, so that one serves any number of
// goroutines and models.
type Content struct {
	subject, html, text *mustache.Template // nil: there is none
	source              string             // of the subject
	cost                int64              // what it takes in memory, about
}

// tagCost is what a tag takes beside its text, about.
const tagCost = 128

// ParseContent reads subject and bodies with placeholders; those that are "" are
// not there. The error is a *pennypost.Error of code 1122 that names the field.
// A layout placeholder in them stays as it stands.
func ParseContent(subject, html, text string) (*Content, error) {
	c := &Content{source: subject}
	for _, p := range []struct {
		field, text string
		into        **mustache.Template
	}{{"Subject", subject, &c.subject}, {"HtmlBody", html, &c.html}, {"TextBody", text, &c.text}} {
		if p.text == "" {
			continue
		}
		t, err := mustache.Parse(p.text, mustache.Options{MaxOutput: maxBody})
		if err != nil {
			return nil, pennypost.TemplateUnparsable(p.field)
		}
		*p.into = t
		c.cost += int64(len(p.text) + tagCost*strings.Count(p.text, "{{"))
	}
	return c, nil
}

// Within gives the content inside of a layout. A body that the layout has not
// stands alone, and so does the subject (contract/templates.md A3).
func (c *Content) Within(layout *Content) *Content {
	w := *c
	w.cost += layout.cost
	if c.html != nil && layout.html != nil {
		w.html = layout.html.Wrap(c.html)
	}
	if c.text != nil && layout.text != nil {
		w.text = layout.text.Wrap(c.text)
	}
	return &w
}

// Rendered is a content with a model in it.
type Rendered struct{ Subject, HTML, Text string }

func (r *Rendered) size() int64 { return int64(len(r.Subject) + len(r.HTML) + len(r.Text)) }

// RenderError says that a content and a model do not go together: the author of
// one of them has to change it.
type RenderError struct {
	Part           string // Subject, HtmlBody or TextBody
	Line, Position int    // in the part, or in its layout; 0 when unknown
	Err            error
}

// Error is for the author.
func (e *RenderError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.Part, e.Err)
	}
	return fmt.Sprintf("%s, line %d, character %d: %v", e.Part, e.Line, e.Position, e.Err)
}

// Unwrap gives the cause.
func (e *RenderError) Unwrap() error { return e.Err }

// inlineWithin bounds the time that the CSS of one message may take.
const inlineWithin = 2 * time.Second

// Render puts a model, as DecodeModel gives it, into the content, and the CSS of
// the HTML into its elements when that is wanted. Values are escaped in the HTML
// alone (contract/templates.md B6). The error is a *RenderError, or that of the
// context.
func (c *Content) Render(ctx context.Context, model map[string]any, inlineCSS bool) (*Rendered, error) {
	var r Rendered
	for _, p := range []struct {
		part     string
		from     *mustache.Template
		escaping mustache.Escaping
		into     *string
	}{
		{"Subject", c.subject, mustache.EscapeNone, &r.Subject},
		{"HtmlBody", c.html, mustache.EscapeHTML, &r.HTML},
		{"TextBody", c.text, mustache.EscapeNone, &r.Text},
	} {
		if p.from == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var err error
		if *p.into, err = p.from.Render(model, p.escaping); err != nil {
			return nil, renderError(p.part, err)
		}
	}
	if !inlineCSS || c.html == nil {
		return &r, nil
	}
	var err error
	r.HTML, err = inlined(ctx, r.HTML)
	return &r, err
}

func renderError(part string, err error) error {
	e := &RenderError{Part: part, Err: err}
	var model *mustache.ModelError
	if errors.As(err, &model) {
		e.Line, e.Position = model.Line, model.Position
	}
	return e
}

// inlined gives HTML with its CSS in its elements. What is too much for that is
// sent as it is; a stylesheet that cannot be read is an error
// (contract/templates.md part C).
func inlined(ctx context.Context, html string) (string, error) {
	within, cancel := context.WithTimeout(ctx, inlineWithin)
	defer cancel()
	out, err := inline.Inline(within, []byte(html), inline.Options{Limits: inline.Limits{HTML: maxBody, Output: maxBody}})
	var syntax *inline.SyntaxError
	switch {
	case err == nil:
		return string(out), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &syntax):
		return "", &RenderError{Part: "HtmlBody", Err: err}
	}
	return html, nil
}

// DecodeModel reads a TemplateModel: an object, or the empty array that a client
// sends for an empty one (contract/sending.md §12). Nothing is an empty model.
// The error is a *pennypost.Error of code 403.
func DecodeModel(raw json.RawMessage) (map[string]any, error) {
	if len(raw) == 0 {
		return map[string]any{}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // package mustache tells 0 from 0.0
	var v any
	err := dec.Decode(&v)
	switch m := v.(type) {
	case map[string]any:
		if err == nil {
			return m, nil
		}
	case []any:
		if err == nil && len(m) == 0 {
			return map[string]any{}, nil
		}
	}
	return nil, pennypost.Refuse(pennypost.CodeFieldType, "Invalid request field(s): 'TemplateModel'.")
}
