package submit

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pennypost"
	"pennypost/internal/store"
)

// addTemplate stores a template of the fixture's server.
func (f *fixture) addTemplate(tb testing.TB, t *pennypost.Template) *pennypost.Template {
	tb.Helper()
	f.update(tb, func(tx *store.Tx) (err error) {
		t.ServerID = f.server.ID
		if t.Type == "" {
			t.Type = pennypost.TemplateStandard
		}
		if t.ID, err = tx.NextTemplateID(tb.Context()); err != nil {
			return err
		}
		return tx.AddTemplate(tb.Context(), t)
	})
	return t
}

func (f *fixture) setTemplate(tb testing.TB, t *pennypost.Template) {
	tb.Helper()
	f.update(tb, func(tx *store.Tx) error { return tx.SetTemplate(tb.Context(), t) })
}

// templated is a submission with a template.
func templated(t *Template) *Submission {
	return &Submission{From: "ann@acme.example", To: "bob@shop.example", Template: t}
}

// sent accepts a submission and gives what was stored.
func (f *fixture) sent(t *testing.T, s *Submission) *stored {
	t.Helper()
	a, err := f.door.Accept(t.Context(), f.api, s)
	if err != nil {
		t.Fatal(err)
	}
	return f.load(t, a.ID)
}

// body is what follows the head.
func (s *stored) body() string {
	_, body, _ := strings.Cut(s.content, "\r\n\r\n")
	return body
}

func wantRefusal(t *testing.T, err error, code pennypost.Code, text string) {
	t.Helper()
	var refusal *pennypost.Error
	if !errors.As(err, &refusal) || refusal.Code != code || refusal.Text != text {
		t.Errorf("got %v, want %d %s", err, code, text)
	}
}

const (
	noID    = "The 'TemplateId' associated with this request is not valid or was not found."
	noAlias = "The Template's 'Alias' associated with this request is not valid or was not found."
)

// contract/templates.md B6: values are escaped in the HTML alone; what a model
// holds is never parsed.
func TestTemplateRendersParts(t *testing.T) {
	f := setup(t)
	tpl := f.addTemplate(t, &pennypost.Template{
		Name: "Hi", Alias: "hi", Subject: "Hi {{name}}", HTMLBody: "<p>{{name}} {{{raw}}}</p>", TextBody: "{{name}} {{n}} {{gone}}.",
	})
	model := json.RawMessage(`{"name":"Zoë & \"Al\" {{raw}}","raw":"<b>x</b>","n":12.50,"unused":[1]}`)
	for name, tt := range map[string]*Template{
		"by id": {ID: tpl.ID, Model: model}, "by alias": {Alias: "Hi", Model: model},
		"id wins": {ID: tpl.ID, Alias: "other", Model: model},
	} {
		got := f.sent(t, templated(tt))
		if want := `Hi Zoë & "Al" {{raw}}`; got.Subject != want {
			t.Errorf("%s: subject %q, want %q", name, got.Subject, want)
		}
		for _, want := range []string{`<p>Zo&#235; &amp; &quot;Al&quot; {{raw}} <b>x</b></p>`, "Zo=C3=AB & \"Al\" {{raw}} 12.5 ."} {
			if !strings.Contains(got.content, want) {
				t.Errorf("%s: %q is not in\n%s", name, want, got.content)
			}
		}
		if len(got.jobs) != 1 || got.recipients[0].State != pennypost.Queued {
			t.Errorf("%s: jobs %v, recipient %v", name, got.jobs, got.recipients[0].State)
		}
	}
}
