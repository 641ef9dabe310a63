package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"pennypost"
	"pennypost/internal/account"
)

// codeTemplatePaging is that of the list (contract/common.md §6.3).
const codeTemplatePaging pennypost.Code = 1100

// templateSummary is the answer to create and edit, and a row of the list
// (contract/templates.md A2).
type templateSummary struct {
	TemplateId     pennypost.TemplateID
	Name           string
	Active         bool
	Alias          *string
	TemplateType   pennypost.TemplateType
	LayoutTemplate *string
}

func newTemplateSummary(t *pennypost.Template) templateSummary {
	return templateSummary{
		TemplateId: t.ID, Name: t.Name, Active: t.Active(), Alias: textOrNull(t.Alias),
		TemplateType: t.Type, LayoutTemplate: textOrNull(t.LayoutAlias),
	}
}

// wireTemplate is the template object of contract/templates.md A1.
type wireTemplate struct {
	templateSummary
	Subject            *string
	HtmlBody           *string
	TextBody           *string
	AssociatedServerId pennypost.ServerID
}

// wireTemplateInput is the body of create and edit.
type wireTemplateInput struct {
	Name, Alias, TemplateType   *string
	Subject, HtmlBody, TextBody *string
	LayoutTemplate              *string
}

// templateInput is nil when there is no body.
func (c *call) templateInput() (*account.TemplateInput, error) {
	if isEmpty(c.body) {
		return nil, nil //nolint:nilnil // nil is how account is told that there was no body
	}
	var w wireTemplateInput
	if err := decode(c.body, &w); err != nil {
		return nil, err
	}
	return &account.TemplateInput{
		Name: w.Name, Alias: w.Alias, Type: w.TemplateType, Subject: w.Subject, HTMLBody: w.HtmlBody, TextBody: w.TextBody,
		Layout: w.LayoutTemplate,
	}, nil
}

func summaryAnswer(t *pennypost.Template, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return newTemplateSummary(t), nil
}

// createTemplate is POST /templates.
func (a *API) createTemplate(ctx context.Context, c *call) (any, error) {
	in, err := c.templateInput()
	if err != nil {
		return nil, err
	}
	return summaryAnswer(a.conf.Accounts.CreateTemplate(ctx, c.who.ServerID, in))
}

// editTemplate is PUT /templates/{idOrAlias}.
func (a *API) editTemplate(ctx context.Context, c *call) (any, error) {
	in, err := c.templateInput()
	if err != nil {
		return nil, err
	}
	return summaryAnswer(a.conf.Accounts.EditTemplate(ctx, c.who.ServerID, c.ids[0], in))
}

// getTemplate is GET /templates/{idOrAlias}.
func (a *API) getTemplate(ctx context.Context, c *call) (any, error) {
	t, err := a.conf.Accounts.Template(ctx, c.who.ServerID, c.ids[0])
	if err != nil {
		return nil, err
	}
	if err := a.makeRoom(ctx, c, len(t.Subject)+len(t.HTMLBody)+len(t.TextBody)); err != nil {
		return nil, err
	}
	return wireTemplate{
		templateSummary: newTemplateSummary(t), AssociatedServerId: t.ServerID,
		Subject: textOrNull(t.Subject), HtmlBody: textOrNull(t.HTMLBody), TextBody: textOrNull(t.TextBody),
	}, nil
}

// makeRoom waits for the memory of an answer that holds so many octets of text,
// beside them.
func (a *API) makeRoom(ctx context.Context, c *call, size int) error {
	release, err := a.bodies.Reserve(ctx, 2*int64(size))
	if err == nil {
		c.done = release
	}
	return err
}

// deleteTemplate is DELETE /templates/{idOrAlias}.
func (a *API) deleteTemplate(ctx context.Context, c *call) (any, error) {
	t, err := a.conf.Accounts.DeleteTemplate(ctx, c.who.ServerID, c.ids[0])
	if err != nil {
		return nil, err
	}
	return done{Message: fmt.Sprintf("Template %d removed.", t.ID)}, nil
}

type templateList struct {
	TotalCount int
	Templates  []templateSummary
}

// listTemplates is GET /templates.
func (a *API) listTemplates(ctx context.Context, c *call) (any, error) {
	count, offset, err := c.query.paging(codeTemplatePaging, 0)
	if err != nil {
		return nil, err
	}
	f := account.TemplateFilter{Type: c.query["templatetype"], Layout: c.query["layouttemplate"]}
	templates, total, err := a.conf.Accounts.Templates(ctx, c.who.ServerID, f, count, offset)
	if err != nil {
		return nil, err
	}
	list := templateList{TotalCount: total, Templates: make([]templateSummary, len(templates))}
	for n := range templates {
		list.Templates[n] = newTemplateSummary(&templates[n])
	}
	return list, nil
}

// wireNumber is an id that some clients send as a string (contract/clients.md
// 1.7). What names nothing is 0.
type wireNumber int64

// UnmarshalJSON reads a number, or a string of one.
func (n *wireNumber) UnmarshalJSON(b []byte) error {
	*n = 0
	text := string(b)
	if b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	} else if _, err := strconv.ParseFloat(text, 64); err != nil && text != "null" {
		return typeError[wireNumber]()
	}
	if v, err := strconv.ParseInt(text, 10, 32); err == nil && v > 0 {
		*n = wireNumber(v)
	}
	return nil
}

// wirePush is the body of a push (contract/templates.md A5).
type wirePush struct {
	SourceServerID, DestinationServerID wireNumber
	PerformChanges                      *bool
}

// pushedTemplate is a template of its answer.
type pushedTemplate struct {
	Action       string
	TemplateId   pennypost.TemplateID `json:",omitempty"`
	Alias        string
	Name         string
	TemplateType pennypost.TemplateType
}

type pushedList struct {
	TotalCount int
	Templates  []pushedTemplate
}

// pushTemplates is PUT /templates/push.
func (a *API) pushTemplates(ctx context.Context, c *call) (any, error) {
	var w wirePush
	if err := decode(c.body, &w); err != nil {
		return nil, err
	}
	if w.PerformChanges == nil {
		return nil, pennypost.TemplateFieldMissing("PerformChanges")
	}
	pushed, err := a.conf.Accounts.PushTemplates(ctx, c.who.AccountID, account.PushInput{
		Source: pennypost.ServerID(w.SourceServerID), Destination: pennypost.ServerID(w.DestinationServerID), Perform: *w.PerformChanges,
	})
	if err != nil {
		return nil, err
	}
	list := pushedList{TotalCount: len(pushed), Templates: make([]pushedTemplate, len(pushed))}
	for n, p := range pushed {
		list.Templates[n] = pushedTemplate{Action: p.Action, TemplateId: p.ID, Alias: p.Alias, Name: p.Name, TemplateType: p.Type}
	}
	return list, nil
}
