package main

import (
	"context"
	"strconv"

	"github.com/mrz1836/postmark"
)

// templates makes, edits, tries out, sends and removes templates. The client
// knows no aliases, layouts and pushes of its own.
func (s *session) templates(ctx context.Context) error {
	made, err := s.client.CreateTemplate(ctx, postmark.Template{
		Name: "Receipt", Subject: "{{subject}}", HTMLBody: "<style>b{color:red}</style><b>{{name}}</b>", TextBody: "Dear {{name}}", Active: true,
	})
	if _, err := keep(s, "made", made, err); err != nil {
		return err
	}
	id := strconv.FormatInt(made.TemplateID, 10)
	edited, err := s.client.EditTemplate(ctx, id, postmark.Template{
		TemplateID: made.TemplateID, Name: "Bill", Subject: "{{subject}}", HTMLBody: "<style>b{color:red}</style><b>{{name}}</b>", TextBody: "Dear {{name}}, {{n}}", Active: true,
	})
	if _, err := keep(s, "edited", edited, err); err != nil {
		return err
	}
	read, err := s.client.GetTemplate(ctx, id)
	if _, err := keep(s, "read", read, err); err != nil {
		return err
	}
	list, total, err := s.client.GetTemplates(ctx, 100, 0)
	if err := keepPage(s, "templates", list, total, err); err != nil {
		return err
	}
	valid, err := s.client.ValidateTemplate(ctx, postmark.ValidateTemplateBody{
		Subject: "{{s}}", HTMLBody: "<style>b{color:red}</style><b>{{h}}</b>", TextBody: "{{#each xs}}{{.}}{{/each}}",
		TestRenderModel: map[string]any{"h": "H"}, InlineCSSForHTMLTestRender: true,
	})
	if _, err := keep(s, "valid", valid, err); err != nil {
		return err
	}
	invalid, err := s.client.ValidateTemplate(ctx, postmark.ValidateTemplateBody{Subject: "a", TextBody: "a\n  {{#each}}{{/each}}"})
	if _, err := keep(s, "invalid", invalid, err); err != nil {
		return err
	}
	if err := s.sendTemplates(ctx, made.TemplateID); err != nil {
		return err
	}
	if err := s.done("removed", s.client.DeleteTemplate(ctx, id)); err != nil {
		return err
	}
	inactive, err := s.client.GetTemplate(ctx, id)
	if _, err := keep(s, "inactive template", inactive, err); err != nil {
		return err
	}
	s.failed("removed again", s.client.DeleteTemplate(ctx, id))
	return nil
}

func (s *session) sendTemplates(ctx context.Context, id int64) error {
	mail := postmark.TemplatedEmail{
		TemplateID: id, TemplateModel: map[string]any{"subject": "from a Go template", "name": "Zoë & co", "n": 1.50}, InlineCSS: true,
		From: s.From, To: "go-template@" + s.Customers, Tag: "go-template", Metadata: map[string]any{"items": 6}, MessageStream: "outbound",
	}
	one, err := s.client.SendTemplatedEmail(ctx, mail)
	if _, err := keep(s, "templated", one, err); err != nil {
		return err
	}
	second, third := mail, mail
	second.To, second.TemplateModel = "go-templates@"+s.Customers, map[string]any{"subject": "from a Go template batch", "name": "B"}
	third.TemplateID, third.TemplateAlias = 0, "unknown"
	batch, err := s.client.SendTemplatedEmailBatch(ctx, []postmark.TemplatedEmail{second, third})
	if _, err := keep(s, "templated batch", batch, err); err != nil {
		return err
	}
	mail.TemplateModel = nil
	_, err = s.client.SendTemplatedEmail(ctx, mail)
	s.failed("no model", err)
	return nil
}
