package api

import (
	"encoding/json"
	"fmt"
	"testing"
)

// contract/templates.md A5, clients.md 8.7 and 1.7.
func TestPushTemplates(t *testing.T) {
	r, c := newShop(t)
	to := r.newServer(t, c.account, `{"Name": "Live"}`)
	push := func(perform string) object {
		t.Helper()
		return r.call(t, c.account, put, "/templates/push", `{"SourceServerID": `+c.id+`, "DestinationServerID": "`+to.id+`", "PerformChanges": `+perform+`}`).ok()
	}
	nothing := r.call(t, c.account, put, "/templates/push", `{"SourceServerID": `+c.id+`, "DestinationServerID": `+to.id+`, "PerformChanges": true}`)
	nothing.refusedWith(422, 1124, "")

	// The template is older than its layout.
	id := fmt.Sprint(r.template(t, c.server, `"Alias": "receipt", "HtmlBody": "<p>ü</p>"`)["TemplateId"])
	r.layout(t, c.server, "wrap")
	r.call(t, c.server, put, "/templates/"+id, `{"LayoutTemplate": "wrap"}`).ok()
	gone := fmt.Sprint(r.template(t, c.server, `"Alias": "gone"`)["TemplateId"])
	r.call(t, c.server, del, "/templates/"+gone, "").ok()
	r.template(t, to.server, `"Alias": "own"`)

	row := func(action, alias, name, typ string, id any) any {
		o := map[string]any{"Action": action, "Alias": alias, "Name": name, "TemplateType": typ}
		if id != nil {
			o["TemplateId"] = id
		}
		return o
	}
	want(t, "told", push("false"), object{"TotalCount": json.Number("2"), "Templates": []any{
		row("Create", "wrap", "Layout", "Layout", nil), row("Create", "receipt", "Receipt", "Standard", nil),
	}})
	r.call(t, to.server, get, "/templates/receipt", "").refused(422, 1101, noTemplateAlias)

	done := push("true")
	wrap, receipt := r.call(t, to.server, get, "/templates/wrap", "").ok(), r.call(t, to.server, get, "/templates/receipt", "").ok()
	want(t, "done", done, object{"TotalCount": json.Number("2"), "Templates": []any{
		row("Create", "wrap", "Layout", "Layout", wrap["TemplateId"]), row("Create", "receipt", "Receipt", "Standard", receipt["TemplateId"]),
	}})
	source := r.call(t, c.server, get, "/templates/receipt", "").ok()
	source["TemplateId"], source["AssociatedServerId"] = receipt["TemplateId"], json.Number(to.id)
	want(t, "the copy", receipt, source)
	want(t, "unchanged", push("true"), object{"TotalCount": json.Number("0"), "Templates": []any{}})

	r.call(t, c.server, put, "/templates/receipt", `{"Name": "Bill", "LayoutTemplate": ""}`).ok()
	edit := object{"TotalCount": json.Number("1"), "Templates": []any{row("Edit", "receipt", "Bill", "Standard", receipt["TemplateId"])}}
	want(t, "an edit told", push("false"), edit)
	want(t, "an edit done", push("true"), edit)
	if got := r.call(t, to.server, get, "/templates/receipt", "").ok(); got["Name"] != "Bill" || got["LayoutTemplate"] != nil {
		t.Errorf("edited copy is %v", got)
	}
	if got := r.call(t, to.server, get, "/templates?count=10&offset=0", "").ok(); got["TotalCount"] != json.Number("3") {
		t.Errorf("destination has %v", got)
	}

	r.layout(t, c.server, "clash")
	r.template(t, to.server, `"Alias": "Clash"`)
	r.call(t, c.account, put, "/templates/push", `{"SourceServerId": `+c.id+`, "DestinationServerId": `+to.id+`, "PerformChanges": true}`).refusedWith(422, 1125, "")
}

func TestPushTemplatesRefusals(t *testing.T) {
	r, c := newShop(t)
	other := r.tenant(t, r.second(t), "other.test")
	const both, from, to = "The source and destination servers were not found.", "The source server was not found.", "The destination server was not found."
	for _, tt := range []struct{ source, destination, text string }{
		{"999", "998", both},
		{"999", "999", both},
		{`"999"`, `"x"`, both},
		{"null", "null", both},
		{other.id, other.id, both},
		{"999", c.id, from},
		{other.id, c.id, from},
		{c.id, "999", to},
		{c.id, other.id, to},
		{c.id, "99999999999", to},
	} {
		r.call(t, c.account, put, "/templates/push", `{"SourceServerID": `+tt.source+`, "DestinationServerID": `+tt.destination+`, "PerformChanges": true}`).
			refused(422, 601, tt.text)
	}
	ids := `"SourceServerID": ` + c.id + `, "DestinationServerID": ` + c.id
	r.call(t, c.account, put, "/templates/push", `{`+ids+`}`).refusedWith(422, 1120, "PerformChanges")
	r.call(t, c.account, put, "/templates/push", `{"SourceServerID": {}, "PerformChanges": true}`).refused(422, 403, "Invalid request field(s): 'SourceServerID'.")
	r.call(t, c.server, put, "/templates/push", `{`+ids+`, "PerformChanges": true}`).refusedWith(401, 10, "")
	r.template(t, c.server, "")
	want(t, "a server to itself", r.call(t, c.account, put, "/templates/push", `{`+ids+`, "PerformChanges": true}`).ok(),
		object{"TotalCount": json.Number("0"), "Templates": []any{}})
}

// A push never makes more than the destination may have, and then makes none.
func TestPushTemplatesLimit(t *testing.T) {
	r, c := newShop(t)
	to := r.newServer(t, c.account, `{"Name": "Live"}`)
	for range 51 {
		r.template(t, c.server, "")
	}
	for range 50 {
		r.template(t, to.server, "")
	}
	body := `{"SourceServerID": ` + c.id + `, "DestinationServerID": ` + to.id + `, "PerformChanges": true}`
	r.call(t, c.account, put, "/templates/push", body).refusedWith(422, 1124, "")
	if got := r.call(t, to.server, get, "/templates?count=1&offset=0", "").ok(); got["TotalCount"] != json.Number("50") {
		t.Errorf("destination has %v", got["TotalCount"])
	}
}
