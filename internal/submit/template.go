package submit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/eml"
	"pennypost/internal/event"
	"pennypost/internal/store"
)

// Template says that subject and bodies of a submission come from a template,
// and with which model (contract/sending.md §12).
type Template struct {
	ID    pennypost.TemplateID // 0: by Alias
	Alias string
	// Content, when it is set, is rendered in place of a template of the server:
	// nothing is looked up. It serves many submissions.
	Content *Content
	// Model is the JSON object that is put into it. Nil is an empty one with
	// Content, and else refused.
	Model json.RawMessage
	// InlineCSS writes the CSS of the HTML into its elements; nil is true.
	InlineCSS *bool
}

func (t *Template) inlineCSS() bool { return t.InlineCSS == nil || *t.InlineCSS }

// RuleTemplate is the rule of recipients whose message could not be rendered.
const RuleTemplate = "template"

// maxAlias is more than any alias has.
const maxAlias = 1000

// checkTemplate makes the checks of a templated message that need no database.
func (dr *draft) checkTemplate(s *Submission) error {
	t := s.Template
	if t == nil {
		return nil
	}
	for _, f := range []struct{ name, value string }{{"Subject", s.Subject}, {"HtmlBody", s.HTMLBody}, {"TextBody", s.TextBody}} {
		if f.value != "" {
			return pennypost.TemplateFieldNotAllowed("The '%s' field is not allowed when a template is used.", f.name)
		}
	}
	switch {
	case t.Content != nil:
	case t.ID == 0 && t.Alias == "":
		return pennypost.NoTemplateID()
	case t.Model == nil:
		return pennypost.TemplateFieldMissing("TemplateModel")
	}
	return nil
}

// fillIn renders the template of a submission into its draft. A content and a
// model that do not go together are no refusal: the message is taken, and
// bounces (contract/sending.md §12).
func (d *Door) fillIn(ctx context.Context, dr *draft, s *Submission, room *share) error {
	r, err := d.rendered(ctx, dr, s.Template)
	if err != nil {
		return err
	}
	// After the turn: whoever waits for a turn has memory that is waited for here.
	if err := room.grow(ctx, dr, r.size()-int64(len(s.Template.Model))); err != nil {
		return err
	}
	return dr.setRendered(r)
}

// rendered renders a template. A model takes many times its size once it is
// decoded, and what is parsed and rendered is in no measure until it is there: so
// many at a time as there are processors.
func (d *Door) rendered(ctx context.Context, dr *draft, t *Template) (*Rendered, error) {
	find := func(context.Context) (*Content, error) { return t.Content, nil }
	if t.Content == nil {
		var err error
		if find, err = d.findTemplate(ctx, dr.server, t); err != nil {
			return nil, err
		}
	}
	done, err := d.templates.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	model, err := DecodeModel(t.Model)
	if err != nil {
		return nil, err
	}
	c, err := find(ctx)
	if err != nil {
		return nil, err
	}
	r, err := c.Render(ctx, model, t.inlineCSS())
	var failed *RenderError
	if !errors.As(err, &failed) {
		return r, err
	}
	dr.unrendered, dr.parts = failed.Error(), nil // nobody gets the files
	r = &Rendered{Subject: c.source}
	if units(r.Subject, maxSubject) > maxSubject {
		r.Subject = ""
	}
	return r, nil
}

// setRendered does for a rendered content what setTexts and setFiles do for
// fields.
func (dr *draft) setRendered(r *Rendered) error {
	if err := dr.setSubject(r.Subject); err != nil {
		return err
	}
	size := len(r.HTML) + len(r.Text)
	for _, f := range dr.parts {
		size += encoded(len(f.Content))
	}
	if size > maxMessage {
		return errTooBig()
	}
	dr.compose(r.Text, r.HTML)
	return nil
}

// compose makes the tree of bodies and files.
func (dr *draft) compose(text, html string) {
	dr.root = eml.Compose(text, html, dr.parts)
	if len(dr.parts) > 0 {
		dr.files = dr.root.AttachmentNames()
	}
	dr.parts = nil
}

// Template finds a template of a server by its id or else its alias, in its
// current version and within its layout. The error is a *pennypost.Error of code
// 1101, or a fault of ours.
func (d *Door) Template(ctx context.Context, server pennypost.ServerID, id pennypost.TemplateID, alias string) (*Content, error) {
	find, err := d.findTemplate(ctx, server, &Template{ID: id, Alias: alias})
	if err != nil {
		return nil, err
	}
	done, err := d.templates.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return find(ctx)
}

// findTemplate reads which version is the current one, each time, so that an
// edit counts at once on every node. What it gives parses it, or takes it from
// the cache.
func (d *Door) findTemplate(ctx context.Context, server pennypost.ServerID, t *Template) (func(context.Context) (*Content, error), error) {
	ref, err := d.templateRef(ctx, server, t)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (*Content, error) {
		if c := d.templates.get(ref); c != nil {
			return c, nil
		}
		c, err := d.readTemplate(ctx, ref)
		if err == nil {
			d.templates.put(ref, c)
		}
		return c, err
	}, nil
}

// templateRef finds which template, in which version, is named.
func (d *Door) templateRef(ctx context.Context, server pennypost.ServerID, t *Template) (store.TemplateRef, error) {
	var ref store.TemplateRef
	if len(t.Alias) > maxAlias || strings.IndexByte(t.Alias, 0) >= 0 || !utf8.ValidString(t.Alias) {
		return ref, pennypost.NoTemplateAlias()
	}
	err := d.conf.Store.View(ctx, func(tx *store.Tx) (err error) {
		if t.ID != 0 {
			ref, err = tx.TemplateRef(ctx, server, t.ID)
		} else {
			ref, err = tx.TemplateRefByAlias(ctx, server, t.Alias)
		}
		return err
	})
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return ref, fmt.Errorf("find template: %w", err)
	case err == nil && ref.Type == pennypost.TemplateStandard:
		return ref, nil
	case t.ID != 0:
		return ref, pennypost.NoTemplateID() // a layout cannot be sent
	}
	return ref, pennypost.NoTemplateAlias()
}

func (d *Door) readTemplate(ctx context.Context, ref store.TemplateRef) (*Content, error) {
	source, err := d.readSource(ctx, ref)
	if err != nil {
		return nil, err
	}
	c, err := source.Content()
	if err != nil { // what is stored was parsed before: this is no mistake of the sender
		return nil, fmt.Errorf("parse template %d, version %d: %s", ref.ID, ref.Version, err.Error())
	}
	return c, nil
}

// bounceUnrendered records that a message could not be rendered, for each
// recipient that would have got it.
func (in *intake) bounceUnrendered(ctx context.Context, e *entry) error {
	for i := range e.recipients {
		r := &e.recipients[i]
		if r.State != pennypost.Bounced {
			continue
		}
		b := &pennypost.Bounce{
			Type: bounce.TemplateRenderingFailed.String(), TypeCode: bounce.TemplateRenderingFailed.Code(),
			AccountID: e.account, ServerID: e.server, Stream: e.stream, MessageID: e.id, N: r.N, Recipient: r.Address,
			From: e.from.Addr(), Subject: e.subject, Tag: e.tag, Details: r.Reply, Rule: r.Rule, Dump: r.Reply, At: in.tx.Now(),
		}
		err := event.Record(ctx, in.tx, &pennypost.Event{
			At: b.At, AccountID: e.account, ServerID: e.server, Stream: e.stream, MessageID: e.id, N: r.N,
			Recipient: r.Address, Type: pennypost.EventBounced, Tag: e.tag,
			Details: map[string]string{"Summary": b.Details}, Bounce: b,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
