package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// addTemplate stores a template, by default a standard one of server 1.
func addTemplate(t *testing.T, st *store.Store, tpl *pennypost.Template) *pennypost.Template {
	t.Helper()
	if tpl.ServerID == 0 {
		tpl.ServerID = 1
	}
	if tpl.Type == "" {
		tpl.Type = pennypost.TemplateStandard
	}
	update(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
		if tpl.ID, err = tx.NextTemplateID(ctx); err != nil {
			return err
		}
		return tx.AddTemplate(ctx, tpl)
	})
	return tpl
}

func TestTemplates(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		layout := addTemplate(t, st, &pennypost.Template{Name: "Main", Alias: "Main", Type: pennypost.TemplateLayout, HTMLBody: "<{{{ @content }}}>"})
		tpl := addTemplate(t, st, &pennypost.Template{
			Name: "Grüße 漢字", Alias: "Hello.World", Layout: layout.ID, LayoutAlias: "Main",
			Subject: "Hi {{name}} – ü", HTMLBody: "<p>\r\n\t{{name}} ü</p>", TextBody: "漢字\n",
		})
		same := cmpopts.EquateApproxTime(time.Microsecond)
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			for _, find := range []func() (*pennypost.Template, error){
				func() (*pennypost.Template, error) { return tx.Template(ctx, 1, tpl.ID) },
				func() (*pennypost.Template, error) { return tx.TemplateByAlias(ctx, 1, "hello.WORLD") },
			} {
				got, err := find()
				if d := cmp.Diff(tpl, got, same); d != "" || err != nil {
					t.Error(d, err)
				}
			}
			_, err := tx.Template(ctx, 2, tpl.ID)
			wantErr(t, "template of another server", err, store.ErrNotFound)
			_, err = tx.TemplateByAlias(ctx, 2, tpl.Alias)
			wantErr(t, "alias of another server", err, store.ErrNotFound)
			ref, err := tx.TemplateRef(ctx, 1, tpl.ID)
			want := store.TemplateRef{ID: tpl.ID, Version: 1, Type: pennypost.TemplateStandard, Layout: layout.ID, LayoutVersion: 1}
			if ref != want || err != nil {
				t.Errorf("ref %+v, %v, want %+v", ref, err, want)
			}
			ref, err = tx.TemplateRefByAlias(ctx, 1, "main")
			want = store.TemplateRef{ID: layout.ID, Version: 1, Type: pennypost.TemplateLayout}
			if ref != want || err != nil {
				t.Errorf("ref %+v, %v, want %+v", ref, err, want)
			}
			return nil
		})
		fails(t, st, "an alias in another case", store.ErrConflict, func(ctx context.Context, tx *store.Tx) error {
			return tx.AddTemplate(ctx, &pennypost.Template{ID: 99, ServerID: 1, Alias: "HELLO.world", Type: pennypost.TemplateStandard})
		})
		fails(t, st, "edit to a taken alias", store.ErrConflict, func(ctx context.Context, tx *store.Tx) error {
			other := *tpl
			other.Alias = "MAIN"
			return tx.SetTemplate(ctx, &other)
		})
		addTemplate(t, st, &pennypost.Template{ServerID: 2, Name: "Theirs", Alias: "hello.world"})
	})
}

// Each edit is a version, also of the layout, and tells by its number.
func TestTemplateVersions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		layout := addTemplate(t, st, &pennypost.Template{Alias: "l", Type: pennypost.TemplateLayout, TextBody: "{{{ @content }}}"})
		tpl := addTemplate(t, st, &pennypost.Template{Alias: "t", Subject: "1", TextBody: "one"})
		tpl.Subject, tpl.TextBody, tpl.Alias, tpl.Name, tpl.Layout, tpl.LayoutAlias = "2", "two", "u", "U", layout.ID, "l"
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.SetTemplate(ctx, tpl), tx.SetTemplate(ctx, layout), tx.SetTemplate(ctx, layout))
		})
		if tpl.Version != 2 || layout.Version != 3 {
			t.Errorf("versions %d and %d, want 2 and 3", tpl.Version, layout.Version)
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			for version, want := range map[int64]string{1: "1  one", 2: "2  two"} {
				subject, html, text, err := tx.TemplateVersion(ctx, tpl.ID, version)
				if got := subject + " " + html + " " + text; got != want || err != nil {
					t.Errorf("version %d is %q, %v, want %q", version, got, err, want)
				}
			}
			got, err := tx.TemplateByAlias(ctx, 1, "u")
			if d := cmp.Diff(tpl, got, cmpopts.EquateApproxTime(time.Microsecond)); d != "" || err != nil {
				t.Error(d, err)
			}
			ref, err := tx.TemplateRef(ctx, 1, tpl.ID)
			if ref.Version != 2 || ref.LayoutVersion != 3 || err != nil {
				t.Errorf("ref %+v, %v", ref, err)
			}
			_, err = tx.TemplateByAlias(ctx, 1, "t")
			wantErr(t, "the old alias", err, store.ErrNotFound)
			return nil
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			for range 100 {
				if err := tx.SetTemplate(ctx, tpl); err != nil {
					return err
				}
			}
			return nil
		})
		if n := number(t, st, `SELECT COUNT(*) FROM template_versions WHERE template_id = $1`, int64(tpl.ID)); n != 10 {
			t.Errorf("%d versions are kept, want 10", n)
		}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE template_versions SET html = 'x' WHERE template_id = $1 AND version = $2`, int64(tpl.ID), tpl.Version)
			return err
		})
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Template(ctx, 1, tpl.ID)
			wantErr(t, "a damaged version", err, store.ErrDamaged)
			return nil
		})
	})
}

// A deleted template answers by its id alone, and its alias is free.
func TestDeletedTemplates(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		tpl := addTemplate(t, st, &pennypost.Template{Name: "A", Alias: "a", Subject: "s", TextBody: "t"})
		fails(t, st, "delete of another server's", store.ErrNotFound, func(ctx context.Context, tx *store.Tx) error {
			return tx.DeleteTemplate(ctx, 2, tpl.ID)
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.SetTemplate(ctx, tpl), tx.SetTemplate(ctx, tpl), tx.DeleteTemplate(ctx, 1, tpl.ID))
		})
		if n := number(t, st, `SELECT COUNT(*) FROM template_versions WHERE template_id = $1`, int64(tpl.ID)); n != 1 {
			t.Errorf("%d versions of a deleted template are kept, want its last", n)
		}
		fails(t, st, "second delete", store.ErrNotFound, func(ctx context.Context, tx *store.Tx) error {
			return tx.DeleteTemplate(ctx, 1, tpl.ID)
		})
		fails(t, st, "edit of a deleted one", store.ErrNotFound, func(ctx context.Context, tx *store.Tx) error {
			c := *tpl
			return tx.SetTemplate(ctx, &c)
		})
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Template(ctx, 1, tpl.ID)
			if err != nil || got.Active() || got.TextBody != "t" {
				t.Errorf("deleted template is %+v, %v", got, err)
			}
			_, err = tx.TemplateByAlias(ctx, 1, "a")
			wantErr(t, "by alias", err, store.ErrNotFound)
			_, err = tx.TemplateRef(ctx, 1, tpl.ID)
			wantErr(t, "ref by id", err, store.ErrNotFound)
			_, err = tx.TemplateRefByAlias(ctx, 1, "a")
			wantErr(t, "ref by alias", err, store.ErrNotFound)
			n, err := tx.CountTemplates(ctx, 1)
			if n != 0 || err != nil {
				t.Errorf("%d templates, %v", n, err)
			}
			return nil
		})
		again := addTemplate(t, st, &pennypost.Template{Name: "B", Alias: "A"})
		if again.ID == tpl.ID {
			t.Error("an id was given twice")
		}
	})
}

// Of a server's deleted templates the latest 1000 are kept, whatever others have.
func TestManyDeletedTemplates(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		theirs := addTemplate(t, st, &pennypost.Template{ServerID: 2, Alias: "theirs"})
		inUse := addTemplate(t, st, &pennypost.Template{Alias: "in.use"})
		var first, last pennypost.TemplateID
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.DeleteTemplate(ctx, 2, theirs.ID); err != nil {
				return err
			}
			for n := range 1003 {
				id, err := tx.NextTemplateID(ctx)
				if err != nil {
					return err
				}
				if last = id; n == 0 {
					first = id
				}
				tpl := &pennypost.Template{ID: id, ServerID: 1, Alias: "again", Type: pennypost.TemplateStandard}
				if err := errors.Join(tx.AddTemplate(ctx, tpl), tx.DeleteTemplate(ctx, 1, id)); err != nil {
					return err
				}
			}
			return nil
		})
		for query, want := range map[string]int64{
			`SELECT COUNT(*) FROM templates WHERE server_id = 1 AND deleted_at <> 0`: 1000,
			`SELECT COUNT(*) FROM template_versions`:                                 1002,
		} {
			if n := number(t, st, query); n != want {
				t.Errorf("%s: %d, want %d", query, n, want)
			}
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			for n := range pennypost.TemplateID(3) {
				_, err := tx.Template(ctx, 1, first+n)
				wantErr(t, "one of the oldest", err, store.ErrNotFound)
			}
			for _, of := range []struct {
				server pennypost.ServerID
				id     pennypost.TemplateID
			}{{1, first + 3}, {1, last}, {1, inUse.ID}, {2, theirs.ID}} {
				if _, err := tx.Template(ctx, of.server, of.id); err != nil {
					t.Errorf("template %d of server %d: %v", of.id, of.server, err)
				}
			}
			return nil
		})
	})
}

func TestTemplateList(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		layout := addTemplate(t, st, &pennypost.Template{Alias: "Wrap", Type: pennypost.TemplateLayout})
		bare := addTemplate(t, st, &pennypost.Template{Alias: "Alone", Type: pennypost.TemplateLayout})
		var ids []pennypost.TemplateID
		for n := range 5 {
			tpl := &pennypost.Template{Alias: fmt.Sprintf("t%d", 9-n)}
			if n%2 == 0 {
				tpl.Layout = layout.ID
			}
			ids = append(ids, addTemplate(t, st, tpl).ID)
		}
		addTemplate(t, st, &pennypost.Template{ServerID: 2, Alias: "theirs"})
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteTemplate(ctx, 1, ids[3]) })
		for name, tt := range map[string]struct {
			filter        store.TemplateFilter
			count, offset int
			want          []pennypost.TemplateID
			total         int
		}{
			"all":              {store.TemplateFilter{}, 10, 0, []pennypost.TemplateID{layout.ID, bare.ID, ids[0], ids[1], ids[2], ids[4]}, 6},
			"a page":           {store.TemplateFilter{}, 2, 3, []pennypost.TemplateID{ids[1], ids[2]}, 6},
			"layouts":          {store.TemplateFilter{Type: pennypost.TemplateLayout}, 10, 0, []pennypost.TemplateID{layout.ID, bare.ID}, 2},
			"standard":         {store.TemplateFilter{Type: pennypost.TemplateStandard}, 10, 1, []pennypost.TemplateID{ids[1], ids[2], ids[4]}, 4},
			"with a layout":    {store.TemplateFilter{Layout: "wrap"}, 10, 0, []pennypost.TemplateID{ids[0], ids[2], ids[4]}, 3},
			"an unused layout": {store.TemplateFilter{Layout: "Alone"}, 10, 0, nil, 0},
		} {
			view(t, st, func(ctx context.Context, tx *store.Tx) error {
				list, total, err := tx.Templates(ctx, 1, tt.filter, tt.count, tt.offset)
				var got []pennypost.TemplateID
				for _, tpl := range list {
					got = append(got, tpl.ID)
				}
				if d := cmp.Diff(tt.want, got); d != "" || total != tt.total {
					t.Errorf("%s: %d in all, want %d; %s", name, total, tt.total, d)
				}
				return err
			})
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			for id, want := range map[pennypost.TemplateID]bool{layout.ID: true, bare.ID: false, ids[0]: false} {
				if used, err := tx.LayoutUsed(ctx, id); used != want || err != nil {
					t.Errorf("layout %d is used: %v, %v, want %v", id, used, err, want)
				}
			}
			for alias, want := range map[string]bool{"ALONE": true, "t6": false, "theirs": false} {
				if taken, err := tx.TemplateAliasTaken(ctx, 1, alias, 0); taken != want || err != nil {
					t.Errorf("alias %q is taken: %v, %v, want %v", alias, taken, err, want)
				}
			}
			taken, err := tx.TemplateAliasTaken(ctx, 1, "wrap", layout.ID)
			if taken {
				t.Error("a template's own alias is taken")
			}
			return err
		})
	})
}

// Those who hold the lock of a server's templates run one after the other.
func TestLockTemplates(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				err := st.Update(t.Context(), func(tx *store.Tx) error {
					ctx := t.Context()
					if err := tx.LockTemplates(ctx, 1); err != nil {
						return err
					}
					n, err := tx.CountTemplates(ctx, 1)
					if err != nil || n >= 5 {
						return err
					}
					tpl := &pennypost.Template{ServerID: 1, Alias: fmt.Sprint("a", n), Type: pennypost.TemplateStandard}
					if tpl.ID, err = tx.NextTemplateID(ctx); err != nil {
						return err
					}
					return tx.AddTemplate(ctx, tpl)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := number(t, st, `SELECT COUNT(*) FROM templates WHERE server_id = 1`); n != 5 {
			t.Errorf("%d templates, want 5", n)
		}
	})
}

// What sending asks for reads no table from end to end.
func TestTemplatePlans(t *testing.T) {
	st := storetest.Open(t, storetest.SQLite)
	for query, want := range map[string]string{
		store.SQLTemplateRef + ` WHERE t.id = $1 AND t.server_id = $2 AND t.deleted_at = 0`:        "SEARCH t USING PRIMARY KEY (id=?)",
		store.SQLTemplateRef + ` WHERE t.server_id = $1 AND t.alias_key = $2 AND t.deleted_at = 0`: "SEARCH t USING INDEX templates_alias (server_id=? AND alias_key=?)",
		`SELECT COUNT(*) FROM templates WHERE server_id = $1 AND deleted_at = 0`:                   "(server_id=?)",
		`SELECT 1 FROM templates WHERE layout_id = $1 AND layout_id <> 0 AND deleted_at = 0`:       "SEARCH templates USING COVERING INDEX templates_layout (layout_id=?)",
		`SELECT subject FROM template_versions WHERE template_id = $1 AND version = $2`:            "(template_id=? AND version=?)",
		`DELETE FROM template_versions WHERE template_id = $1 AND version <= $2`:                   "(template_id=? AND version<?)",
		store.SQLLongDeleted: "SEARCH templates USING COVERING INDEX templates_deleted (server_id=?)",
		`SELECT t.id FROM templates t WHERE t.server_id = $1 AND t.deleted_at = 0 ORDER BY t.id LIMIT $2`: "(server_id=?)",
	} {
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			plan, err := tx.Plan(ctx, query)
			if !strings.Contains(plan, want) || strings.Contains(plan, "SCAN") || strings.Contains(plan, "TEMP B-TREE") {
				t.Errorf("%s: want the step %q alone in\n%s", query, want, plan)
			}
			return err
		})
	}
}
