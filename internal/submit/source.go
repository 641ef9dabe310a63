package submit

import (
	"context"
	"fmt"

	"pennypost"
	"pennypost/internal/store"
)

// Source is what a Content is read from, in a form that can be kept.
type Source struct {
	Subject, HTML, Text string
	Layout              *Source `json:",omitempty"`
}

// Content parses the source; the error is that of ParseContent.
func (s *Source) Content() (*Content, error) {
	c, err := ParseContent(s.Subject, s.HTML, s.Text)
	if err != nil || s.Layout == nil {
		return c, err
	}
	layout, err := s.Layout.Content()
	if err != nil {
		return nil, err
	}
	return c.Within(layout), nil
}

// TemplateSource gives what a template of a server, with its layout, says now.
// The error is a *pennypost.Error of code 1101, or a fault of ours.
func (d *Door) TemplateSource(ctx context.Context, server pennypost.ServerID, id pennypost.TemplateID, alias string) (*Source, error) {
	ref, err := d.templateRef(ctx, server, &Template{ID: id, Alias: alias})
	if err != nil {
		return nil, err
	}
	return d.readSource(ctx, ref)
}

func (d *Door) readSource(ctx context.Context, ref store.TemplateRef) (*Source, error) {
	s := &Source{}
	err := d.conf.Store.View(ctx, func(tx *store.Tx) (err error) {
		s.Subject, s.HTML, s.Text, err = tx.TemplateVersion(ctx, ref.ID, ref.Version)
		if err == nil && ref.Layout != 0 {
			s.Layout = &Source{}
			_, s.Layout.HTML, s.Layout.Text, err = tx.TemplateVersion(ctx, ref.Layout, ref.LayoutVersion)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read template: %w", err)
	}
	return s, nil
}
