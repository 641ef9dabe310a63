package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	noTemplateID    = "The 'TemplateId' associated with this request is not valid or was not found."
	noTemplateAlias = "The Template's 'Alias' associated with this request is not valid or was not found."
)

// template makes one from its fields; what is not said is that of a plain one.
func (r *rig) template(t *testing.T, by who, fields string) object {
	t.Helper()
	m := object{}
	for _, s := range []string{`{"Name": "Receipt", "Subject": "Hi {{name}}", "TextBody": "Dear {{name}}"}`, "{" + fields + "}"} {
		if err := json.Unmarshal([]byte(s), &m); err != nil {
			t.Fatal(err)
		}
	}
	return r.call(t, by, post, "/templates", jsonText(t, m)).ok()
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// layout makes a layout with one body of each kind.
func (r *rig) layout(t *testing.T, by who, alias string) object {
	t.Helper()
	return r.template(t, by, `"Name": "Layout", "Alias": "`+alias+`", "TemplateType": "Layout", "Subject": null,
		"HtmlBody": "<html><body>[{{{ @content }}}]</body></html>", "TextBody": "[{{{@content}}}]"`)
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s -want +got:\n%s", what, d)
	}
}

// contract/templates.md A2; clients.md 8.1: an alias is made up for both types.
func TestTemplateCreateAndRead(t *testing.T) {
	r, c := newShop(t)
	created := r.template(t, c.server, `"Alias": "receipt", "HtmlBody": "<p>ü {{name}}</p>", "LayoutTemplate": null, "TemplateType": null`)
	id := fmt.Sprint(created["TemplateId"])
	summary := object{
		"TemplateId": json.Number(id), "Name": "Receipt", "Active": true, "Alias": "receipt", "TemplateType": "Standard", "LayoutTemplate": nil,
	}
	want(t, "create", created, summary)
	full := object{
		"TemplateId": json.Number(id), "Name": "Receipt", "Active": true, "Alias": "receipt", "TemplateType": "Standard", "LayoutTemplate": nil,
		"Subject": "Hi {{name}}", "HtmlBody": "<p>ü {{name}}</p>", "TextBody": "Dear {{name}}", "AssociatedServerId": json.Number(c.id),
	}
	for _, path := range []string{"/templates/" + id, "/templates/receipt", "/TEMPLATES/Receipt/"} {
		want(t, path, r.call(t, c.server, get, path, "").ok(), full)
	}
	for _, typ := range []string{"Standard", "Layout"} {
		fields := `"Subject": null, "TextBody": "{{{ @content }}}", "TemplateType": "Layout"`
		if typ == "Standard" {
			fields = `"Alias": ""`
		}
		made := r.template(t, c.server, fields)
		alias := made.text(t, "Alias")
		if made["TemplateType"] != typ || alias == "" {
			t.Errorf("made %v, want a %s with an alias", made, typ)
		}
		got := r.call(t, c.server, get, "/templates/"+alias, "").ok()
		if got["TemplateId"] != made["TemplateId"] {
			t.Errorf("alias %s leads to %v", alias, got)
		}
		if typ == "Layout" && (got["Subject"] != nil || got["HtmlBody"] != nil) {
			t.Errorf("layout has %v", got)
		}
	}
	r.call(t, c.server, get, "/templates/999", "").refused(422, 1101, noTemplateID)
	r.call(t, c.server, get, "/templates/99999999999999999999", "").refused(422, 1101, noTemplateID)
	r.call(t, c.server, get, "/templates/nobody", "").refused(422, 1101, noTemplateAlias)
	r.call(t, c.server, get, "/templates/a%20b", "").refused(422, 1101, noTemplateAlias)
	r.call(t, c.account, get, "/templates/"+id, "").refusedWith(401, 10, "")
	r.call(t, server(testToken), get, "/templates/"+id, "").refusedWith(401, 10, "")
}

func TestTemplateRefusals(t *testing.T) {
	r, c := newShop(t)
	r.template(t, c.server, `"Alias": "Taken"`)
	r.layout(t, c.server, "wrap")
	const present = "The layout content placeholder must not be present in a non-layout template."
	for _, tt := range []struct {
		name, fields string
		code         int
		text         string
	}{
		{"no name", `"Name": null`, 1120, "The 'Name' field is required."},
		{"blank name", `"Name": " "`, 1120, "The 'Name' field is required."},
		{"no subject", `"Subject": null`, 1120, "The 'Subject' field is required."},
		{"no body", `"TextBody": null, "HtmlBody": ""`, 1120, "Provide either a 'TextBody' or an 'HtmlBody', or both."},
		{"long name", `"Name": "` + strings.Repeat("ü", 256) + `"`, 1121, ""},
		{"long alias", `"Alias": "` + strings.Repeat("a", 256) + `"`, 1121, ""},
		{"long subject", `"Subject": "` + strings.Repeat("a", 2001) + `"`, 1121, ""},
		{"alias of digits", `"Alias": "123"`, 1122, ""},
		{"alias with a blank", `"Alias": "a b"`, 1122, ""},
		{"alias beginning with a digit", `"Alias": "1a"`, 1122, ""},
		{"blank alias", `"Alias": " "`, 1122, ""},
		{"taken alias", `"Alias": "Taken"`, 1122, ""},
		{"taken alias in another case", `"Alias": "tAKEN"`, 1122, ""},
		{"alias that is a path", `"Alias": "validate"`, 1122, ""},
		{"alias that is the other path", `"Alias": "push"`, 1122, ""},
		{"unknown type", `"TemplateType": "Fancy"`, 1122, ""},
		{"HTML not parsable", `"HtmlBody": "{{#each}}"`, 1122, "The 'HtmlBody' could not be parsed."},
		{"text not parsable", `"TextBody": "{{first name}}"`, 1122, "The 'TextBody' could not be parsed."},
		{"subject not parsable", `"Subject": "{{#a}}"`, 1122, "The 'Subject' could not be parsed."},
		{"NUL", `"TextBody": "a\u0000b"`, 1122, "The 'TextBody' could not be parsed."},
		{"subject on a layout", `"TemplateType": "Layout", "TextBody": "{{{ @content }}}"`, 1123, ""},
		{"layout on a layout", `"TemplateType": "Layout", "Subject": null, "TextBody": "{{{ @content }}}", "LayoutTemplate": "wrap"`, 1123, ""},
		{"unknown layout", `"LayoutTemplate": "nobody"`, 1101, noTemplateAlias},
		{"layout that is none", `"LayoutTemplate": "Taken"`, 1101, noTemplateAlias},
		{"placeholder in a template", `"HtmlBody": "<p>{{{ @content }}}</p>"`, 1131, present},
		{"placeholder in a subject", `"Subject": "{{{@content}}}"`, 1131, present},
		{"layout without placeholder", `"TemplateType": "Layout", "Subject": null, "TextBody": "x"`, 1131, ""},
		{"layout with one in a body only", `"TemplateType": "Layout", "Subject": null, "HtmlBody": "{{{ @content }}}"`, 1131, ""},
		{"layout with two", `"TemplateType": "Layout", "Subject": null, "TextBody": "{{{ @content }}}{{{ @content }}}"`, 1131, ""},
		{"number for a name", `"Name": 5`, 403, "Invalid request field(s): 'Name'."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := object{}
			for _, s := range []string{`{"Name": "Receipt", "Subject": "Hi", "TextBody": "Dear"}`, "{" + tt.fields + "}"} {
				if err := json.Unmarshal([]byte(s), &m); err != nil {
					t.Fatal(err)
				}
			}
			got := r.call(t, c.server, post, "/templates", jsonText(t, m))
			if tt.text == "" {
				got.refusedWith(422, tt.code, "")
				return
			}
			got.refused(422, tt.code, tt.text)
		})
	}
	r.call(t, c.server, post, "/templates", `{"Name": "L", "TemplateType": "Layout", "TextBody": "x"}`).
		refusedWith(422, 1131, "The layout content placeholder must be present")
	for _, body := range []string{"", "null"} {
		r.call(t, c.server, post, "/templates", body).refusedWith(422, 1109, "")
		r.call(t, c.server, put, "/templates/Taken", body).refusedWith(422, 1109, "")
	}
	list := r.call(t, c.server, get, "/templates?count=10&offset=0", "").ok()
	if list["TotalCount"] != json.Number("2") {
		t.Errorf("refused templates are there: %v", list)
	}
}

// contract/templates.md A2: an edit changes what it names; null names nothing.
func TestTemplateEdit(t *testing.T) {
	r, c := newShop(t)
	id := fmt.Sprint(r.template(t, c.server, `"Alias": "receipt", "HtmlBody": "<p>x</p>"`)["TemplateId"])
	r.layout(t, c.server, "wrap")
	before := r.call(t, c.server, get, "/templates/"+id, "").ok()
	edit := func(by, body string) object {
		t.Helper()
		return r.call(t, c.server, put, "/templates/"+by, body).ok()
	}
	before["Name"] = "X"
	got := edit(id, `{"Name":"X","Subject":null,"HtmlBody":null,"TextBody":null}`)
	want(t, "summary", got, object{
		"TemplateId": json.Number(id), "Name": "X", "Active": true, "Alias": "receipt", "TemplateType": "Standard", "LayoutTemplate": nil,
	})
	want(t, "the name alone", r.call(t, c.server, get, "/templates/"+id, "").ok(), before)

	if got := edit("receipt", `{"LayoutTemplate": "wrap"}`); got["LayoutTemplate"] != "wrap" {
		t.Errorf("layout %v", got["LayoutTemplate"])
	}
	if got := edit(id, `{"LayoutTemplate": null, "Subject": "S"}`); got["LayoutTemplate"] != "wrap" {
		t.Errorf("null took the layout away: %v", got)
	}
	edit("wrap", `{"Alias": "wrapper"}`)
	if got := r.call(t, c.server, get, "/templates/receipt", "").ok(); got["LayoutTemplate"] != "wrapper" || got["Subject"] != "S" {
		t.Errorf("after the layout got another alias: %v", got)
	}
	if got := edit(id, `{"LayoutTemplate": ""}`); got["LayoutTemplate"] != nil {
		t.Errorf("layout %v, want none", got["LayoutTemplate"])
	}
	if got := edit(id, `{"HtmlBody": "", "Alias": "Receipt"}`); got["Alias"] != "Receipt" {
		t.Errorf("alias %v, want it in its new case", got["Alias"])
	}
	if got := r.call(t, c.server, get, "/templates/"+id, "").ok(); got["HtmlBody"] != nil || got["TextBody"] != "Dear {{name}}" {
		t.Errorf("bodies %v and %v", got["HtmlBody"], got["TextBody"])
	}
	for body, code := range map[string]int{
		`{"TextBody": ""}`: 1120, `{"Subject": ""}`: 1120, `{"Name": ""}`: 1120, `{"Alias": ""}`: 1122, `{"Alias": "wrapper"}`: 1122,
		`{"TemplateType": "Layout"}`: 1122, `{"TextBody": "{{#a}}"}`: 1122, `{"TextBody": "{{{ @content }}}"}`: 1131, `{"LayoutTemplate": "nobody"}`: 1101,
	} {
		r.call(t, c.server, put, "/templates/"+id, body).refusedWith(422, code, "")
	}
	// clients.md 8.5
	r.call(t, c.server, put, "/templates/wrapper", `{"HtmlBody": "no placeholder"}`).
		refusedWith(422, 1131, "The layout content placeholder must be present")
	r.call(t, c.server, put, "/templates/wrapper", `{"Subject": "x"}`).refusedWith(422, 1123, "")
	edit("wrapper", `{"Subject": "", "TemplateType": "Layout", "LayoutTemplate": ""}`)
	r.call(t, c.server, put, "/templates/999", `{"Name": "x"}`).refused(422, 1101, noTemplateID)
	r.call(t, c.server, put, "/templates/nobody", `{"Name": "x"}`).refused(422, 1101, noTemplateAlias)
}

// contract/templates.md A2, clients.md 8.2.
func TestTemplateDelete(t *testing.T) {
	r, c := newShop(t)
	id := fmt.Sprint(r.template(t, c.server, `"Alias": "receipt"`)["TemplateId"])
	r.layout(t, c.server, "wrap")
	user := fmt.Sprint(r.template(t, c.server, `"LayoutTemplate": "wrap"`)["TemplateId"])
	r.call(t, c.server, del, "/templates/wrap", "").refusedWith(422, 1130, "")
	got := r.call(t, c.server, del, "/templates/"+id, "").ok()
	want(t, "delete", got, object{"ErrorCode": json.Number("0"), "Message": "Template " + id + " removed."})
	gone := r.call(t, c.server, get, "/templates/"+id, "").ok()
	if gone["Active"] != false || gone["TextBody"] != "Dear {{name}}" {
		t.Errorf("deleted template is %v", gone)
	}
	list := r.call(t, c.server, get, "/templates?count=10&offset=0", "").ok()
	if list["TotalCount"] != json.Number("2") || strings.Contains(fmt.Sprint(list), "receipt") {
		t.Errorf("list is %v", list)
	}
	for _, method := range []string{put, del} {
		body := ""
		if method == put {
			body = `{"Name": "x"}`
		}
		r.call(t, c.server, method, "/templates/"+id, body).refused(422, 1101, noTemplateID)
		r.call(t, c.server, method, "/templates/receipt", body).refused(422, 1101, noTemplateAlias)
	}
	r.call(t, c.server, get, "/templates/receipt", "").refused(422, 1101, noTemplateAlias)
	r.template(t, c.server, `"Alias": "receipt"`) // free again
	r.call(t, c.server, del, "/templates/"+user, "").ok()
	r.call(t, c.server, del, "/templates/wrap", "").ok() // no longer in use
}

func TestTemplateLists(t *testing.T) {
	r, c := newShop(t)
	r.layout(t, c.server, "wrap")
	for n := range 5 {
		fields := fmt.Sprintf(`"Name": "T%d"`, 9-n)
		if n%2 == 0 {
			fields += `, "LayoutTemplate": "wrap"`
		}
		r.template(t, c.server, fields)
	}
	names := func(query string) string {
		t.Helper()
		var list []string
		got := r.call(t, c.server, get, "/templates?"+query, "").ok()
		for _, row := range got.list(t, "Templates") {
			list = append(list, row.text(t, "Name"))
		}
		return fmt.Sprintf("%v %v", got["TotalCount"], list)
	}
	for query, want := range map[string]string{
		"Count=50&Offset=0":                                          "6 [Layout T9 T8 T7 T6 T5]",
		"count=2&offset=4":                                           "6 [T6 T5]",
		"count=50&offset=0&TemplateType=all":                         "6 [Layout T9 T8 T7 T6 T5]",
		"count=50&offset=0&templateType=Layout":                      "1 [Layout]",
		"count=50&offset=0&TemplateType=Standard":                    "5 [T9 T8 T7 T6 T5]",
		"count=50&offset=0&TemplateType=Standard&LayoutTemplate=":    "5 [T9 T8 T7 T6 T5]",
		"count=50&offset=0&LayoutTemplate=wrap":                      "3 [T9 T7 T5]",
		"count=50&offset=0&LayoutTemplate=wrap&TemplateType=Layout":  "0 []",
		"count=50&offset=0&LayoutTemplate=nobody":                    "0 []",
		"count=50&offset=0&LayoutTemplate=a%20b":                     "0 []",
		"count=1&offset=1&LayoutTemplate=wrap&TemplateType=Standard": "3 [T7]",
	} {
		if got := names(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	got := r.call(t, c.server, get, "/templates?count=1&offset=1", "").ok()
	row := got.list(t, "Templates")[0]
	want(t, "row", row, object{
		"Active": true, "TemplateId": row["TemplateId"], "Name": "T9", "Alias": row["Alias"], "TemplateType": "Standard", "LayoutTemplate": "wrap",
	})
	for _, query := range []string{"", "count=1", "offset=1", "count=0&offset=0", "count=501&offset=0", "count=x&offset=0", "count=1&offset=-1", "count=1&offset=0&TemplateType=Fancy"} {
		r.call(t, c.server, get, "/templates?"+query, "").refusedWith(422, 1100, "")
	}
}

// contract/templates.md A2: 100 in use; deleted ones do not count.
func TestTemplateLimit(t *testing.T) {
	r, c := newShop(t)
	var last object
	for range 100 {
		last = r.template(t, c.server, "")
	}
	r.call(t, c.server, post, "/templates", `{"Name": "x", "Subject": "x", "TextBody": "x"}`).refusedWith(422, 1105, "")
	r.call(t, c.server, del, "/templates/"+fmt.Sprint(last["TemplateId"]), "").ok()
	r.template(t, c.server, "")
	sister := r.newServer(t, c.account, `{"Name": "Sister"}`)
	r.template(t, sister.server, "")
}

// Aliases of one server are nothing to another.
func TestTemplateTenants(t *testing.T) {
	r, c := newShop(t)
	sister := r.newServer(t, c.account, `{"Name": "Sister"}`)
	r.layout(t, sister.server, "wrap")
	r.template(t, sister.server, `"Alias": "receipt"`)
	r.call(t, c.server, get, "/templates/receipt", "").refused(422, 1101, noTemplateAlias)
	r.call(t, c.server, post, "/templates", `{"Name": "x", "Subject": "x", "TextBody": "x", "LayoutTemplate": "wrap"}`).refused(422, 1101, noTemplateAlias)
	r.call(t, c.server, post, "/templates/validate", `{"TextBody": "x", "LayoutTemplate": "wrap"}`).refused(422, 1101, noTemplateAlias)
	r.template(t, c.server, `"Alias": "receipt"`)
}

// contract/templates.md A2, clients.md 8.4: what is stored comes back as it was.
func TestTemplateRoundTrip(t *testing.T) {
	r, c := newShop(t)
	text := "\u00fc \u6f22\u5b57 \U0001f600 <b> & \" ' \\ \t\r\n\u2028 {{{ pm:unsubscribe }}} {{x}} \ufeff"
	made := r.call(t, c.server, post, "/templates", jsonText(t, object{"Name": "ü 漢字 😀", "Alias": nil, "Subject": text, "HtmlBody": text, "TextBody": text})).ok()
	got := r.call(t, c.server, get, fmt.Sprint("/templates/", made["TemplateId"]), "").ok()
	for _, field := range []string{"Subject", "HtmlBody", "TextBody"} {
		if got[field] != text {
			t.Errorf("%s is %q, want %q", field, got[field], text)
		}
	}
	if got["Name"] != "ü 漢字 😀" {
		t.Errorf("name %q", got["Name"])
	}
}
