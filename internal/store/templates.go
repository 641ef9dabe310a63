package store

import (
	"context"
	"fmt"
	"strings"

	"pennypost"
)

// What is kept of templates.
const (
	keptVersions = 10   // the latest of one in use; of a deleted one the last alone
	keptDeleted  = 1000 // of a server, the latest
	dropDeleted  = 100  // at once
)

const templateColumns = `t.id, t.server_id, t.version, t.name, t.alias, t.type, t.layout_id, COALESCE(l.alias, ''),
	t.created_at, t.updated_at, t.deleted_at`

// fromTemplates names a template t and its layout l.
const fromTemplates = ` FROM templates t LEFT JOIN templates l ON l.id = t.layout_id`

func templateDests(t *pennypost.Template) []any {
	return []any{
		&t.ID, &t.ServerID, &t.Version, &t.Name, &t.Alias, &t.Type, &t.Layout, &t.LayoutAlias,
		intoTime(&t.CreatedAt), intoTime(&t.UpdatedAt), intoTime(&t.DeletedAt),
	}
}

func scanTemplate(row scanner) (*pennypost.Template, error) {
	t := &pennypost.Template{}
	return t, row.Scan(templateDests(t)...)
}

// aliasKey is what aliases are compared by.
func aliasKey(alias string) string { return strings.ToLower(alias) }

// sumTemplate covers a version.
func sumTemplate(id, version int64, subject, html, text string) int64 {
	s := seal{buf: make([]byte, 0, len(subject)+len(html)+len(text)+64)}
	return s.num(id, version).text(subject, html, text).sum()
}

// LockTemplates keeps other transactions from changing templates of a server
// until this one ends, so that what it counted and found free stays true.
func (tx *Tx) LockTemplates(ctx context.Context, server pennypost.ServerID) error {
	const class = 3 // of lock; tokens.go has the others
	if !tx.postgres() {
		return nil // one closure writes at a time
	}
	if _, err := tx.exec(ctx, `SELECT pg_advisory_xact_lock($1, CAST($2 AS INTEGER))`, class, int64(server)); err != nil {
		return fmt.Errorf("wait for templates of server %d: %w", server, err)
	}
	return nil
}

// NextTemplateID gives the id of a template that is to be added.
func (tx *Tx) NextTemplateID(ctx context.Context) (pennypost.TemplateID, error) {
	id, err := tx.next(ctx, "template")
	return pennypost.TemplateID(id), err
}

// AddTemplate stores a new template under its ID with its first version, and
// sets its times. ErrConflict: the alias is taken on the server.
func (tx *Tx) AddTemplate(ctx context.Context, t *pennypost.Template) error {
	t.Version, t.CreatedAt, t.UpdatedAt = 1, tx.Now(), tx.Now()
	_, err := tx.exec(ctx, `INSERT INTO templates (id, server_id, version, name, alias, alias_key, type, layout_id,
			created_at, updated_at, deleted_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0)`,
		int64(t.ID), int64(t.ServerID), t.Version, t.Name, t.Alias, aliasKey(t.Alias), string(t.Type), int64(t.Layout),
		timeToDB(t.CreatedAt), timeToDB(t.UpdatedAt))
	if err != nil {
		return fmt.Errorf("add template: %w", err)
	}
	return tx.addVersion(ctx, t)
}

func (tx *Tx) addVersion(ctx context.Context, t *pennypost.Template) error {
	_, err := tx.exec(ctx, `INSERT INTO template_versions (template_id, version, subject, html, text, created_at, checksum)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		int64(t.ID), t.Version, t.Subject, t.HTMLBody, t.TextBody, timeToDB(t.UpdatedAt),
		sumTemplate(int64(t.ID), t.Version, t.Subject, t.HTMLBody, t.TextBody))
	if err != nil {
		return fmt.Errorf("add version of template %d: %w", t.ID, err)
	}
	return nil
}

// SetTemplate stores all that may change of a template as its next version, and
// sets Version and UpdatedAt. The oldest versions go. ErrConflict: the alias is
// taken; ErrNotFound.
func (tx *Tx) SetTemplate(ctx context.Context, t *pennypost.Template) error {
	t.UpdatedAt = tx.Now()
	err := tx.row(ctx, `UPDATE templates SET version = version + 1, name = $3, alias = $4, alias_key = $5, layout_id = $6,
			updated_at = $7 WHERE id = $1 AND server_id = $2 AND deleted_at = 0 RETURNING version`,
		int64(t.ID), int64(t.ServerID), t.Name, t.Alias, aliasKey(t.Alias), int64(t.Layout), timeToDB(t.UpdatedAt)).Scan(&t.Version)
	if err != nil {
		return fmt.Errorf("change template %d: %w", t.ID, err)
	}
	if err := tx.addVersion(ctx, t); err != nil {
		return err
	}
	_, err = tx.exec(ctx, `DELETE FROM template_versions WHERE template_id = $1 AND version <= $2`, int64(t.ID), t.Version-keptVersions)
	if err != nil {
		return fmt.Errorf("delete old versions of template %d: %w", t.ID, err)
	}
	return nil
}

// DeleteTemplate marks a template deleted; its alias is free then. Its last
// version stays, until very many were deleted after it.
func (tx *Tx) DeleteTemplate(ctx context.Context, server pennypost.ServerID, id pennypost.TemplateID) error {
	n, err := tx.exec(ctx, `UPDATE templates SET deleted_at = $3 WHERE id = $1 AND server_id = $2 AND deleted_at = 0`,
		int64(id), int64(server), timeToDB(tx.Now()))
	if err := changed(n, err, "template", id); err != nil {
		return err
	}
	_, err = tx.exec(ctx, `DELETE FROM template_versions WHERE template_id = $1
		AND version < (SELECT version FROM templates WHERE id = $1)`, int64(id))
	if err != nil {
		return fmt.Errorf("delete old versions of template %d: %w", id, err)
	}
	return tx.dropTemplates(ctx, server)
}

// longDeleted are the templates of a server that were deleted before the latest
// $2, up to $3 of them.
const longDeleted = `SELECT id FROM templates WHERE server_id = $1 AND deleted_at <> 0
	ORDER BY deleted_at DESC, id DESC LIMIT $3 OFFSET $2`

// dropTemplates forgets the deleted templates of a server that are too many.
func (tx *Tx) dropTemplates(ctx context.Context, server pennypost.ServerID) error {
	for _, from := range []string{`template_versions WHERE template_id`, `templates WHERE id`} {
		_, err := tx.exec(ctx, `DELETE FROM `+from+` IN (`+longDeleted+`)`, int64(server), int64(keptDeleted), int64(dropDeleted))
		if err != nil {
			return fmt.Errorf("forget deleted templates of server %d: %w", server, err)
		}
	}
	return nil
}

// Template gives a template of a server with what it says, a deleted one too, or
// ErrNotFound.
func (tx *Tx) Template(ctx context.Context, server pennypost.ServerID, id pennypost.TemplateID) (*pennypost.Template, error) {
	t, err := scanTemplate(tx.row(ctx, `SELECT `+templateColumns+fromTemplates+` WHERE t.id = $1 AND t.server_id = $2`,
		int64(id), int64(server)))
	if err != nil {
		return nil, fmt.Errorf("template %d: %w", id, err)
	}
	return t, tx.fillTemplate(ctx, t)
}

// TemplateByAlias gives the template of a server that has an alias, in whichever
// case, with what it says; ErrNotFound: none that is in use has.
func (tx *Tx) TemplateByAlias(ctx context.Context, server pennypost.ServerID, alias string) (*pennypost.Template, error) {
	t, err := scanTemplate(tx.row(ctx, `SELECT `+templateColumns+fromTemplates+`
		WHERE t.server_id = $1 AND t.alias_key = $2 AND t.deleted_at = 0`, int64(server), aliasKey(alias)))
	if err != nil {
		return nil, fmt.Errorf("template %q: %w", alias, err)
	}
	return t, tx.fillTemplate(ctx, t)
}

func (tx *Tx) fillTemplate(ctx context.Context, t *pennypost.Template) (err error) {
	t.Subject, t.HTMLBody, t.TextBody, err = tx.TemplateVersion(ctx, t.ID, t.Version)
	return err
}

// TemplateVersion gives what a version of a template says. ErrNotFound: it is
// not kept; ErrDamaged.
func (tx *Tx) TemplateVersion(ctx context.Context, id pennypost.TemplateID, version int64) (subject, html, text string, err error) {
	var sum int64
	err = tx.row(ctx, `SELECT subject, html, text, checksum FROM template_versions WHERE template_id = $1 AND version = $2`,
		int64(id), version).Scan(&subject, &html, &text, &sum)
	if err == nil && sumTemplate(int64(id), version, subject, html, text) != sum {
		err = ErrDamaged
	}
	if err != nil {
		return "", "", "", fmt.Errorf("version %d of template %d: %w", version, id, err)
	}
	return subject, html, text, nil
}

// TemplateRef is what sending has to know of a template before its text.
type TemplateRef struct {
	ID            pennypost.TemplateID
	Version       int64
	Type          pennypost.TemplateType
	Layout        pennypost.TemplateID // 0: none
	LayoutVersion int64
}

const templateRef = `SELECT t.id, t.version, t.type, t.layout_id, COALESCE(l.version, 0)` + fromTemplates

func scanTemplateRef(row scanner) (TemplateRef, error) {
	var r TemplateRef
	return r, row.Scan(&r.ID, &r.Version, &r.Type, &r.Layout, &r.LayoutVersion)
}

// TemplateRef finds a template in use by its id.
func (tx *Tx) TemplateRef(ctx context.Context, server pennypost.ServerID, id pennypost.TemplateID) (TemplateRef, error) {
	r, err := scanTemplateRef(tx.row(ctx, templateRef+` WHERE t.id = $1 AND t.server_id = $2 AND t.deleted_at = 0`,
		int64(id), int64(server)))
	if err != nil {
		return r, fmt.Errorf("template %d: %w", id, err)
	}
	return r, nil
}

// TemplateRefByAlias finds one by its alias, in whichever case.
func (tx *Tx) TemplateRefByAlias(ctx context.Context, server pennypost.ServerID, alias string) (TemplateRef, error) {
	r, err := scanTemplateRef(tx.row(ctx, templateRef+` WHERE t.server_id = $1 AND t.alias_key = $2 AND t.deleted_at = 0`,
		int64(server), aliasKey(alias)))
	if err != nil {
		return r, fmt.Errorf("template %q: %w", alias, err)
	}
	return r, nil
}

// TemplateFilter says which templates are listed; zero values: all.
type TemplateFilter struct {
	Type   pennypost.TemplateType
	Layout string // alias of the layout around them
}

// Templates gives a page of the templates of a server that are in use, by id and
// without what they say, and how many there are.
func (tx *Tx) Templates(ctx context.Context, server pennypost.ServerID, f TemplateFilter, count, offset int) ([]pennypost.Template, int, error) {
	const where = fromTemplates + ` WHERE t.server_id = $1 AND t.deleted_at = 0 AND ($2 = '' OR t.type = $2) AND ($3 = '' OR l.alias_key = $3)`
	args := []any{int64(server), string(f.Type), aliasKey(f.Layout)}
	var total int
	if err := tx.row(ctx, `SELECT COUNT(*)`+where, args...).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count templates: %w", err)
	}
	list, err := collect(tx, ctx, scanTemplate, `SELECT `+templateColumns+where+` ORDER BY t.id LIMIT $4 OFFSET $5`,
		append(args, int64(count), int64(offset))...)
	if err != nil {
		return nil, 0, fmt.Errorf("list templates: %w", err)
	}
	return list, total, nil
}

// CountTemplates gives the number of templates of a server that are in use.
func (tx *Tx) CountTemplates(ctx context.Context, server pennypost.ServerID) (int, error) {
	var n int
	if err := tx.row(ctx, `SELECT COUNT(*) FROM templates WHERE server_id = $1 AND deleted_at = 0`, int64(server)).Scan(&n); err != nil {
		return 0, fmt.Errorf("count templates: %w", err)
	}
	return n, nil
}

// TemplateAliasTaken tells whether another template of the server has an alias.
func (tx *Tx) TemplateAliasTaken(ctx context.Context, server pennypost.ServerID, alias string, but pennypost.TemplateID) (bool, error) {
	return tx.exists(ctx, `SELECT 1 FROM templates WHERE server_id = $1 AND alias_key = $2 AND id <> $3 AND deleted_at = 0`,
		int64(server), aliasKey(alias), int64(but))
}

// LayoutUsed tells whether templates in use have a layout.
func (tx *Tx) LayoutUsed(ctx context.Context, id pennypost.TemplateID) (bool, error) {
	return tx.exists(ctx, `SELECT 1 FROM templates WHERE layout_id = $1 AND layout_id <> 0 AND deleted_at = 0`, int64(id))
}
