package account

import (
	"context"
	"errors"
	"fmt"
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
// their aliases, layouts first. What is the same already is not told. They are
// compared without keeping others from writing, since all of them together may
// be large, and written in steps of a few MiB; a server whose templates change
// meanwhile is compared again.
func (a *Accounts) PushTemplates(ctx context.Context, account pennypost.AccountID, in PushInput) ([]Pushed, error) {
	var done []Pushed
	for range pushTries {
		plan, err := a.planPush(ctx, account, in)
		if err != nil {
			return nil, err
		}
		if !in.Perform {
			return pushedOf(plan), nil
		}
		some, err := a.performPush(ctx, account, in, plan)
		done = append(done, some...)
		if err == nil {
			return done, nil
		}
		if !errors.Is(err, errPushStale) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("push templates: they keep changing: %w", store.ErrUnavailable)
}

// The bounds of a push.
const (
	pushStep  = 4 << 20 // octets in a transaction, unless one template has more
	pushTries = 5
)

// errPushStale says that templates are no longer what they were compared as.
var errPushStale = errors.New("templates changed meanwhile")

// planned is what is to be done with one template.
type planned struct {
	Pushed
	from   pennypost.TemplateID
	source int64 // version that was compared
	there  int64 // version on the destination; 0: none
	octets int
}

func pushedOf(plan []planned) []Pushed {
	list := make([]Pushed, 0, len(plan))
	for i := range plan {
		list = append(list, plan[i].Pushed)
	}
	return list
}

func (a *Accounts) planPush(ctx context.Context, account pennypost.AccountID, in PushInput) ([]planned, error) {
	var plan []planned
	err := a.view(ctx, "compare templates", func(tx *store.Tx) error {
		p := &push{in: in, tx: tx}
		err := p.compare(ctx, account)
		plan = p.plan
		return err
	})
	return plan, err
}

// performPush carries a plan out, and gives what it did of it whatever happens.
func (a *Accounts) performPush(ctx context.Context, account pennypost.AccountID, in PushInput, plan []planned) ([]Pushed, error) {
	var done []Pushed
	for len(plan) > 0 {
		n, octets := 1, plan[0].octets
		for n < len(plan) && octets+plan[n].octets <= pushStep {
			octets += plan[n].octets
			n++
		}
		var step []Pushed
		err := a.update(ctx, "push templates", func(tx *store.Tx) error {
			p := &push{in: in, tx: tx}
			err := p.perform(ctx, account, plan[:n])
			step = p.done
			return err
		})
		if err != nil {
			return done, err
		}
		a.log.InfoContext(ctx, "templates pushed", "account", int64(account), "server", int64(in.Destination), "source", int64(in.Source), "templates", n)
		done, plan = append(done, step...), plan[n:]
	}
	return done, nil
}

// push is one transaction of it.
type push struct {
	in   PushInput
	tx   *store.Tx
	plan []planned
	done []Pushed
}

// compare makes the plan.
func (p *push) compare(ctx context.Context, account pennypost.AccountID) error {
	if err := p.checkServers(ctx, account); err != nil {
		return err
	}
	source, _, err := p.tx.Templates(ctx, p.in.Source, store.TemplateFilter{}, maxTemplates, 0)
	if err != nil {
		return err
	}
	if len(source) == 0 { // each has an alias
		return pennypost.Refuse(codeNothingToPush, "The source server has no templates with an alias to push.")
	}
	count, err := p.tx.CountTemplates(ctx, p.in.Destination)
	if err != nil {
		return err
	}
	slices.SortStableFunc(source, func(a, b pennypost.Template) int { return rank(&a) - rank(&b) })
	for i := range source {
		if err := p.one(ctx, source[i].ID); err != nil {
			return err
		}
	}
	for i := range p.plan {
		if p.plan[i].there == 0 {
			count++
		}
	}
	return checkPushCount(count)
}

func checkPushCount(n int) error {
	if n > maxTemplates {
		return pennypost.Refuse(codeNothingToPush, "The destination server would have more than %d templates.", maxTemplates)
	}
	return nil
}

// perform does a part of a plan, as far as what it relies on is still so.
func (p *push) perform(ctx context.Context, account pennypost.AccountID, plan []planned) error {
	if err := p.checkServers(ctx, account); err != nil {
		return err
	}
	both := []pennypost.ServerID{p.in.Source, p.in.Destination}
	slices.Sort(both) // so that two pushes do not wait for each other
	for _, server := range slices.Compact(both) {
		if err := p.tx.LockTemplates(ctx, server); err != nil {
			return err
		}
	}
	count, err := p.tx.CountTemplates(ctx, p.in.Destination)
	if err != nil {
		return err
	}
	for i := range plan {
		if plan[i].there == 0 {
			count++
		}
		if err := checkPushCount(count); err != nil {
			return err
		}
		if err := p.copy(ctx, &plan[i]); err != nil {
			return err
		}
	}
	return nil
}

// copy does what is planned with one template.
func (p *push) copy(ctx context.Context, what *planned) error {
	from, err := p.tx.Template(ctx, p.in.Source, what.from)
	if errors.Is(err, store.ErrNotFound) {
		return errPushStale
	}
	if err != nil {
		return err
	}
	to, err := p.tx.TemplateByAlias(ctx, p.in.Destination, what.Alias)
	if errors.Is(err, store.ErrNotFound) {
		to, err = &pennypost.Template{ServerID: p.in.Destination, Alias: from.Alias, Type: from.Type}, nil
	}
	switch {
	case err != nil:
		return err
	case !from.Active(), from.Version != what.source, to.Version != what.there, to.ID != what.ID:
		return errPushStale
	}
	to.Name, to.Subject, to.HTMLBody, to.TextBody = from.Name, from.Subject, from.HTMLBody, from.TextBody
	if err := p.write(ctx, to, from.LayoutAlias, what.Action); err != nil {
		return err
	}
	did := what.Pushed
	did.ID = to.ID
	p.done = append(p.done, did)
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

// one compares a template. They are read one by one, since all of them at once
// may be large.
func (p *push) one(ctx context.Context, id pennypost.TemplateID) error {
	from, err := p.tx.Template(ctx, p.in.Source, id)
	if err != nil {
		return err
	}
	what := planned{
		Pushed: Pushed{Action: PushCreate, Alias: from.Alias, Name: from.Name, Type: from.Type},
		from:   id, source: from.Version, octets: len(from.Subject) + len(from.HTMLBody) + len(from.TextBody),
	}
	to, err := p.tx.TemplateByAlias(ctx, p.in.Destination, from.Alias)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return err
	case to.Type != from.Type:
		return pennypost.Refuse(codePushType, "The template with the alias '%s' is of type '%s' on the source server and of type '%s' on the destination server.", from.Alias, from.Type, to.Type)
	case same(from, to):
		return nil
	default:
		what.Action, what.ID, what.there = PushEdit, to.ID, to.Version
	}
	p.plan = append(p.plan, what)
	return nil
}

// same tells whether there is nothing to push.
func same(from, to *pennypost.Template) bool {
	return from.Name == to.Name && from.Subject == to.Subject && from.HTMLBody == to.HTMLBody && from.TextBody == to.TextBody &&
		strings.EqualFold(from.LayoutAlias, to.LayoutAlias)
}

func (p *push) write(ctx context.Context, t *pennypost.Template, layout, action string) error {
	err := setLayout(ctx, p.tx, t, &layout)
	var refusal *pennypost.Error
	if errors.As(err, &refusal) { // its layout was there, or written before it
		return errPushStale
	}
	if err != nil {
		return err
	}
	if action == PushCreate {
		return addTemplate(ctx, p.tx, t)
	}
	return p.tx.SetTemplate(ctx, t)
}
