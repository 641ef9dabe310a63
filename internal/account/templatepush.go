package account

import (
	"context"
	"errors"
	"slices"
	"strings"

	"pennypost"
	"pennypost/internal/store"
)

// PushInput says which templates are copied (contract/templates.md A5). A server
// that is 0 is none.
type PushInput struct {
	Source, Destination pennypost.ServerID
	Perform             bool // else it is only told what would be done
}

// What a push does with a template.
const (
	PushCreate = "Create"
	PushEdit   = "Edit"
)

// Pushed is what was or would be done with one template.
type Pushed struct {
	Action string
	ID     pennypost.TemplateID // on the destination; 0 when it is not there yet
	Alias  string
	Name   string
	Type   pennypost.TemplateType
}

// PushTemplates copies the templates of a server to another of the account, by
// their aliases, layouts first. What is the same already is not told.
func (a *Accounts) PushTemplates(ctx context.Context, account pennypost.AccountID, in PushInput) ([]Pushed, error) {
	var list []Pushed
	work := func(tx *store.Tx) error {
		p := &push{in: in, tx: tx}
		if err := p.run(ctx, account); err != nil {
			return err
		}
		list = p.list
		return nil
	}
	if !in.Perform {
		return list, a.view(ctx, "compare templates", func(tx *store.Tx) error { return work(tx) })
	}
	if err := a.update(ctx, "push templates", work); err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "templates pushed", "account", int64(account), "server", int64(in.Destination), "source", int64(in.Source), "templates", len(list))
	return list, nil
}

// push is one transaction of it.
type push struct {
	in      PushInput
	tx      *store.Tx
	list    []Pushed
	created int
}

func (p *push) run(ctx context.Context, account pennypost.AccountID) error {
	if err := p.checkServers(ctx, account); err != nil {
		return err
	}
	if p.in.Perform {
		both := []pennypost.ServerID{p.in.Source, p.in.Destination}
		slices.Sort(both) // so that two pushes do not wait for each other
		for _, server := range slices.Compact(both) {
			if err := p.tx.LockTemplates(ctx, server); err != nil {
				return err
			}
		}
	}
	source, _, err := p.tx.Templates(ctx, p.in.Source, store.TemplateFilter{}, maxTemplates, 0)
	if err != nil {
		return err
	}
	if len(source) == 0 { // each has an alias
		return pennypost.Refuse(codeNothingToPush, "The source server has no templates with an alias to push.")
	}
	there, err := p.tx.CountTemplates(ctx, p.in.Destination)
	if err != nil {
		return err
	}
	slices.SortStableFunc(source, func(a, b pennypost.Template) int { return rank(&a) - rank(&b) })
	for i := range source {
		if err := p.one(ctx, source[i].ID); err != nil {
			return err
		}
		if there+p.created > maxTemplates {
			return pennypost.Refuse(codeNothingToPush, "The destination server would have more than %d templates.", maxTemplates)
		}
	}
	return nil
}

// rank puts layouts before the templates that have them.
func rank(t *pennypost.Template) int {
	if t.Type == pennypost.TemplateLayout {
		return 0
	}
	return 1
}

// checkServers has the texts of code 601 (contract/common.md §6.3).
func (p *push) checkServers(ctx context.Context, account pennypost.AccountID) error {
	missing := [2]bool{}
	for n, id := range []pennypost.ServerID{p.in.Source, p.in.Destination} {
		_, err := p.tx.Server(ctx, account, id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			missing[n] = true
		case err != nil:
			return err
		}
	}
	switch missing {
	case [2]bool{true, true}:
		return pennypost.Refuse(codeServerUnknown, "The source and destination servers were not found.")
	case [2]bool{true, false}:
		return pennypost.Refuse(codeServerUnknown, "The source server was not found.")
	case [2]bool{false, true}:
		return pennypost.Refuse(codeServerUnknown, "The destination server was not found.")
	}
	return nil
}

// one copies a template. They are read one by one, since all of them at once may
// be large.
func (p *push) one(ctx context.Context, id pennypost.TemplateID) error {
	from, err := p.tx.Template(ctx, p.in.Source, id)
	if err != nil {
		return err
	}
	done := Pushed{Action: PushEdit, Alias: from.Alias, Name: from.Name, Type: from.Type}
	to, err := p.tx.TemplateByAlias(ctx, p.in.Destination, from.Alias)
	switch {
	case errors.Is(err, store.ErrNotFound):
		done.Action = PushCreate
		to = &pennypost.Template{ServerID: p.in.Destination, Alias: from.Alias, Type: from.Type}
		p.created++
	case err != nil:
		return err
	case to.Type != from.Type:
		return pennypost.Refuse(codePushType, "The template with the alias '%s' is of type '%s' on the source server and of type '%s' on the destination server.", from.Alias, from.Type, to.Type)
	case same(from, to):
		return nil
	}
	to.Name, to.Subject, to.HTMLBody, to.TextBody = from.Name, from.Subject, from.HTMLBody, from.TextBody
	if p.in.Perform {
		if err := p.write(ctx, to, from.LayoutAlias, done.Action); err != nil {
			return err
		}
	}
	done.ID = to.ID
	p.list = append(p.list, done)
	return nil
}

// same tells whether there is nothing to push.
func same(from, to *pennypost.Template) bool {
	return from.Name == to.Name && from.Subject == to.Subject && from.HTMLBody == to.HTMLBody && from.TextBody == to.TextBody &&
		strings.EqualFold(from.LayoutAlias, to.LayoutAlias)
}

func (p *push) write(ctx context.Context, t *pennypost.Template, layout, action string) error {
	if err := setLayout(ctx, p.tx, t, &layout); err != nil {
		return err
	}
	if action == PushCreate {
		return addTemplate(ctx, p.tx, t)
	}
	return p.tx.SetTemplate(ctx, t)
}
