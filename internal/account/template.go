package account

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"pennypost"
	"pennypost/internal/store"
)

// Codes of templates that only this package refuses with
// (contract/common.md §6.3).
const (
	codeTemplateFilter    pennypost.Code = 1100
	codeTemplateLimit     pennypost.Code = 1105
	codeNoTemplateData    pennypost.Code = 1109
	codeTemplateLong      pennypost.Code = 1121
	codeNothingToPush     pennypost.Code = 1124
	codePushType          pennypost.Code = 1125
	codeLayoutUsed        pennypost.Code = 1130
	codeLayoutPlaceholder pennypost.Code = 1131
)

// maxTemplates is how many templates in use a server has (contract/templates.md
// A2).
const maxTemplates = 100

// TemplateFilter says which templates are listed (contract/templates.md A2).
type TemplateFilter struct {
	Type   string // in any case; "" or All: each
	Layout string // alias of the layout around them; "": each
}

// Templates gives a page of the templates of a server that are in use, without
// what they say, in the order of their ids, and how many there are.
func (a *Accounts) Templates(ctx context.Context, server pennypost.ServerID, f TemplateFilter, count, offset int) ([]pennypost.Template, int, error) {
	filter := store.TemplateFilter{Layout: f.Layout}
	if given(&f.Type) {
		want, ok := oneOf(f.Type, "All", string(pennypost.TemplateStandard), string(pennypost.TemplateLayout))
		if !ok {
			return nil, 0, pennypost.Refuse(codeTemplateFilter, "Parameter 'TemplateType' must be one of: All, Standard, Layout.")
		}
		if want != "All" {
			filter.Type = pennypost.TemplateType(want)
		}
	}
	if filter.Layout != "" && !validAlias(filter.Layout) {
		return nil, 0, nil // no database needs to see it
	}
	var list []pennypost.Template
	var total int
	err := a.view(ctx, "list templates", func(tx *store.Tx) (err error) {
		list, total, err = tx.Templates(ctx, server, filter, count, offset)
		return err
	})
	return list, total, err
}

// Template gives a template of a server, named by its id or its alias; by its id
// also a deleted one (contract/templates.md A2).
func (a *Accounts) Template(ctx context.Context, server pennypost.ServerID, name string) (*pennypost.Template, error) {
	var t *pennypost.Template
	err := a.view(ctx, "read template", func(tx *store.Tx) (err error) {
		t, err = findTemplate(ctx, tx, server, name)
		return err
	})
	return t, err
}

// findTemplate finds a template by what stands in a path: digits are an id, since
// no alias begins with one.
func findTemplate(ctx context.Context, tx *store.Tx, server pennypost.ServerID, name string) (*pennypost.Template, error) {
	if id, err := strconv.ParseUint(name, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		if err != nil || id > maxTemplateID {
			return nil, pennypost.NoTemplateID()
		}
		t, err := tx.Template(ctx, server, pennypost.TemplateID(id))
		return t, ifMissing(err, pennypost.NoTemplateID())
	}
	if !validAlias(name) {
		return nil, pennypost.NoTemplateAlias()
	}
	t, err := tx.TemplateByAlias(ctx, server, name)
	return t, ifMissing(err, pennypost.NoTemplateAlias())
}

// maxTemplateID is the largest id that clients hold (contract/clients.md 2.3).
const maxTemplateID = 1<<31 - 1

// usedTemplate finds a template that was not deleted.
func usedTemplate(ctx context.Context, tx *store.Tx, server pennypost.ServerID, name string) (*pennypost.Template, error) {
	t, err := findTemplate(ctx, tx, server, name)
	if err == nil && !t.Active() {
		return nil, pennypost.NoTemplateID()
	}
	return t, err
}

// CreateTemplate makes a template or a layout.
func (a *Accounts) CreateTemplate(ctx context.Context, server pennypost.ServerID, in *TemplateInput) (*pennypost.Template, error) {
	if in == nil {
		return nil, errNoTemplateData()
	}
	wanted, err := newTemplate(server, in)
	if err != nil {
		return nil, err
	}
	var t *pennypost.Template
	err = a.update(ctx, "create template", func(tx *store.Tx) error {
		made := *wanted // of no try that was rolled back
		t = &made
		if err := tx.LockTemplates(ctx, server); err != nil {
			return err
		}
		n, err := tx.CountTemplates(ctx, server)
		if err != nil {
			return err
		}
		if n >= maxTemplates {
			return pennypost.Refuse(codeTemplateLimit, "The server has %d templates already, and may have no more. Delete one first.", n)
		}
		if err := setLayout(ctx, tx, t, in.Layout); err != nil {
			return err
		}
		return addTemplate(ctx, tx, t)
	})
	if err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "template created", "server", int64(server), "template", int64(t.ID))
	return t, nil
}

// addTemplate stores a template, under an alias that is free.
func addTemplate(ctx context.Context, tx *store.Tx, t *pennypost.Template) (err error) {
	if t.ID, err = tx.NextTemplateID(ctx); err != nil {
		return err
	}
	if t.Alias == "" {
		if t.Alias, err = freeAlias(ctx, tx, t); err != nil {
			return err
		}
	}
	if err := checkAliasFree(ctx, tx, t); err != nil {
		return err
	}
	return tx.AddTemplate(ctx, t)
}

// freeAlias makes an alias up (contract/clients.md 8.1).
func freeAlias(ctx context.Context, tx *store.Tx, t *pennypost.Template) (string, error) {
	base := "template-"
	if t.Type == pennypost.TemplateLayout {
		base = "layout-"
	}
	base += strconv.FormatInt(int64(t.ID), 10)
	alias := base
	for n := 2; ; n++ {
		taken, err := tx.TemplateAliasTaken(ctx, t.ServerID, alias, t.ID)
		if err != nil || !taken {
			return alias, err
		}
		alias = fmt.Sprintf("%s-%d", base, n)
	}
}

func checkAliasFree(ctx context.Context, tx *store.Tx, t *pennypost.Template) error {
	taken, err := tx.TemplateAliasTaken(ctx, t.ServerID, t.Alias, t.ID)
	if err == nil && taken {
		return pennypost.TemplateFieldInvalid("The 'Alias' '%s' is already used by another template of this server.", t.Alias)
	}
	return err
}

// setLayout finds the layout of a template; nil leaves it, "" is none
// (contract/templates.md A2).
func setLayout(ctx context.Context, tx *store.Tx, t *pennypost.Template, alias *string) error {
	switch {
	case alias == nil:
		return nil
	case *alias == "":
		t.Layout, t.LayoutAlias = 0, ""
		return nil
	case t.Type == pennypost.TemplateLayout:
		return pennypost.TemplateFieldNotAllowed("The 'LayoutTemplate' field is not allowed on a layout.")
	}
	layout, err := findLayout(ctx, tx, t.ServerID, *alias)
	if err != nil {
		return err
	}
	t.Layout, t.LayoutAlias = layout.ID, layout.Alias
	return nil
}

// findLayout finds a layout of a server by its alias.
func findLayout(ctx context.Context, tx *store.Tx, server pennypost.ServerID, alias string) (*pennypost.Template, error) {
	if !validAlias(alias) {
		return nil, pennypost.NoTemplateAlias()
	}
	layout, err := tx.TemplateByAlias(ctx, server, alias)
	if err == nil && layout.Type != pennypost.TemplateLayout {
		return nil, pennypost.NoTemplateAlias()
	}
	return layout, ifMissing(err, pennypost.NoTemplateAlias())
}

// EditTemplate changes what in says; the template has a version more then.
func (a *Accounts) EditTemplate(ctx context.Context, server pennypost.ServerID, name string, in *TemplateInput) (*pennypost.Template, error) {
	if in == nil {
		return nil, errNoTemplateData()
	}
	checked, err := in.check()
	if err != nil {
		return nil, err
	}
	var t *pennypost.Template
	err = a.update(ctx, "edit template", func(tx *store.Tx) (err error) {
		if err := tx.LockTemplates(ctx, server); err != nil {
			return err
		}
		if t, err = usedTemplate(ctx, tx, server, name); err != nil {
			return err
		}
		before := *t
		if err := checked.apply(t); err != nil {
			return err
		}
		if err := setLayout(ctx, tx, t, in.Layout); err != nil {
			return err
		}
		if err := checkAliasFree(ctx, tx, t); err != nil {
			return err
		}
		if *t == before {
			return nil // no version for an edit that changes nothing
		}
		return tx.SetTemplate(ctx, t)
	})
	if err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "template edited", "server", int64(server), "template", int64(t.ID), "version", t.Version)
	return t, nil
}

// DeleteTemplate deletes a template, or a layout that no template has.
func (a *Accounts) DeleteTemplate(ctx context.Context, server pennypost.ServerID, name string) (*pennypost.Template, error) {
	var t *pennypost.Template
	err := a.update(ctx, "delete template", func(tx *store.Tx) (err error) {
		if err := tx.LockTemplates(ctx, server); err != nil {
			return err
		}
		if t, err = usedTemplate(ctx, tx, server, name); err != nil {
			return err
		}
		used, err := tx.LayoutUsed(ctx, t.ID)
		if err != nil {
			return err
		}
		if used {
			return pennypost.Refuse(codeLayoutUsed, "The layout '%s' cannot be deleted because templates use it.", t.Alias)
		}
		return tx.DeleteTemplate(ctx, server, t.ID)
	})
	if err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "template deleted", "server", int64(server), "template", int64(t.ID))
	return t, nil
}
