package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"pennypost"
	"pennypost/internal/store"
)

// templated is a message with a template.
func templated(fields string) string {
	m := object{}
	for _, s := range []string{`{"From": "ann@acme.test", "To": "Bob <bob@shop.test>", "TemplateAlias": "receipt", "TemplateModel": {"name": "Al"}}`, "{" + fields + "}"} {
		if err := json.Unmarshal([]byte(s), &m); err != nil {
			panic(err)
		}
	}
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == "absent" })
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// details reads a message that was sent.
func (r *rig) details(t *testing.T, by who, sent object) object {
	t.Helper()
	return r.call(t, by, get, "/messages/outbound/"+sent.text(t, "MessageID")+"/details", "").ok()
}

// contract/sending.md §12, clients.md 4.16 and 4.17.
func TestSendWithTemplate(t *testing.T) {
	r, c := newShop(t)
	r.layout(t, c.server, "wrap")
	id := fmt.Sprint(r.template(t, c.server, `"Alias": "receipt", "Subject": "Hi {{name}} & co", "LayoutTemplate": "wrap",
		"HtmlBody": "<style>p{color:red}</style><p>{{name}}</p>{{#each items}}<i>{{t}}</i>{{/each}}", "TextBody": "Dear {{name}} {{{ pm:unsubscribe }}}"`)["TemplateId"])
	const inlined = `<html><body>[<p style="color: red;">Al</p>]</body></html>`
	const plain = `<html><body>[<style>p{color:red}</style><p>Al</p>]</body></html>`
	for _, tt := range []struct{ name, fields, html string }{
		{"by alias", ``, inlined},
		{"by id", `"TemplateId": ` + id + `, "TemplateAlias": null`, inlined},
		{"by id, as PHP writes it", `"templateID": ` + id + `, "TemplateAlias": ""`, inlined},
		{"id 0 is none", `"TemplateId": 0`, inlined},
		{"id wins", `"TemplateId": ` + id + `, "TemplateAlias": "nobody"`, inlined},
		{"CSS stays", `"InlineCss": false`, plain},
		{"CSS inlined on demand", `"InlineCss": true`, inlined},
		{"unused keys", `"TemplateModel": {"name": "Al", "more": {"a": [1]}}`, inlined},
		{"fields that are null or empty", `"Subject": null, "HtmlBody": "", "TextBody": null, "InlineCss": null`, inlined},
		{"tag and stream", `"Tag": "x", "MessageStream": "broadcast"`, inlined},
		{
			"values escaped", `"TemplateModel": {"name": "<Zoë>", "items": [{"t": 1.50}, {"t": true}]}`,
			`<html><body>[<p style="color: red;">&lt;Zo&#235;&gt;</p><i>1.5</i><i>True</i>]</body></html>`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sent := r.call(t, c.server, post, "/email/withTemplate/", templated(tt.fields)).ok()
			if sent["To"] != "Bob <bob@shop.test>" || sent["Message"] != "OK" || sent["ErrorCode"] != json.Number("0") {
				t.Errorf("answer %v", sent)
			}
			got := r.details(t, c.server, sent)
			name := "Al"
			if tt.name == "values escaped" {
				name = "<Zoë>"
			}
			if got["Subject"] != "Hi "+name+" & co" || got["TextBody"] != "[Dear "+name+" {{{ pm:unsubscribe }}}]" || got["HtmlBody"] != tt.html {
				t.Errorf("subject %q\ntext %q\nHTML %q\nwant %q", got["Subject"], got["TextBody"], got["HtmlBody"], tt.html)
			}
		})
	}
	for _, model := range []string{`{}`, `[]`} { // keys that are missing print nothing
		sent := r.call(t, c.server, post, "/email/withTemplate", templated(`"TemplateModel": `+model)).ok()
		if got := r.details(t, c.server, sent); got["Subject"] != "Hi  & co" {
			t.Errorf("%s: subject %q", model, got["Subject"])
		}
	}
}

func TestSendWithTemplateRefusals(t *testing.T) {
	r, c := newShop(t)
	r.layout(t, c.server, "wrap")
	r.template(t, c.server, `"Alias": "receipt"`)
	gone := fmt.Sprint(r.template(t, c.server, `"Alias": "gone"`)["TemplateId"])
	r.call(t, c.server, del, "/templates/gone", "").ok()
	r.template(t, r.newServer(t, c.account, `{"Name": "Sister"}`).server, `"Alias": "theirs"`)
	const stream = "The stream provided: 'nowhere' does not exist on this server."
	const noModel = "The 'TemplateModel' field is required."
	for _, tt := range []struct {
		name, fields string
		code         int
		text         string
	}{
		{"neither id nor alias", `"TemplateAlias": null`, 1101, noTemplateID},
		{"unknown id", `"TemplateId": 999`, 1101, noTemplateID},
		{"negative id", `"TemplateId": -1`, 1101, noTemplateID},
		{"unknown alias", `"TemplateAlias": "nobody"`, 1101, noTemplateAlias},
		{"no alias", `"TemplateAlias": "a\u0000b"`, 1101, noTemplateAlias},
		{"deleted, by id", `"TemplateId": ` + gone, 1101, noTemplateID},
		{"deleted, by alias", `"TemplateAlias": "gone"`, 1101, noTemplateAlias},
		{"layout", `"TemplateAlias": "wrap"`, 1101, noTemplateAlias},
		{"another server's", `"TemplateAlias": "theirs"`, 1101, noTemplateAlias},
		{"no model", `"TemplateModel": null`, 1120, noModel},
		{"no model at all", `"TemplateModel": "absent"`, 1120, noModel},
		{"subject", `"Subject": "x"`, 1123, "The 'Subject' field is not allowed when a template is used."},
		{"HTML", `"HtmlBody": "x"`, 1123, "The 'HtmlBody' field is not allowed when a template is used."},
		{"text", `"TextBody": "x"`, 1123, "The 'TextBody' field is not allowed when a template is used."},
		{"model is a list", `"TemplateModel": [1]`, 403, "Invalid request field(s): 'TemplateModel'."},
		{"model is a text", `"TemplateModel": "x"`, 403, "Invalid request field(s): 'TemplateModel'."},
		{"id is a text", `"TemplateId": "x"`, 403, "Invalid request field(s): 'TemplateId'."},
		{"id is a text, model a number", `"TemplateId": "x", "TemplateModel": 5, "To": 1`, 403, ""},
		// sending.md §8: the template comes after what the message says by itself,
		// and before the account.
		{"stream first", `"TemplateAlias": "nobody", "MessageStream": "nowhere"`, 1235, stream},
		{"recipients first", `"TemplateAlias": null, "To": null`, 300, "Zero recipients specified"},
		{"attachments first", `"TemplateModel": null, "Attachments": [{"Name": "a.exe", "Content": "aGk=", "ContentType": "text/plain"}]`, 411, "Attachment file type not allowed."},
		{"template before the sender", `"TemplateAlias": "nobody", "From": "x@elsewhere.test"`, 1101, noTemplateAlias},
		{"sender", `"From": "x@elsewhere.test"`, 400, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := r.call(t, c.server, post, "/email/withTemplate", templated(tt.fields))
			if tt.text == "" {
				got.refusedWith(422, tt.code, "")
				return
			}
			got.refused(422, tt.code, tt.text)
		})
	}
	r.suppress(t, c.number, "outbound", "bob@shop.test")
	r.call(t, c.server, post, "/email/withTemplate", templated("")).refused(422, 406, fmt.Sprintf(inactiveOne, "bob@shop.test"))
	r.call(t, c.server, post, "/email/withTemplate", "").refusedWith(422, 300, "")
	if got := r.call(t, c.server, get, "/messages/outbound?count=10&offset=0", "").ok(); got["TotalCount"] != json.Number("0") {
		t.Errorf("refused messages are there: %v", got)
	}
}

// contract/common.md §2: full validation, nothing sent, templates are not
// rendered.
func TestSendWithTemplateTestToken(t *testing.T) {
	r, _ := newShop(t)
	got := r.call(t, server(testToken), post, "/email/withTemplate", templated("")).ok()
	if got["Message"] != "Test job accepted" || got["To"] != "Bob <bob@shop.test>" {
		t.Errorf("answer %v", got)
	}
	r.call(t, server(testToken), post, "/email/withTemplate", templated(`"TemplateModel": null`)).refusedWith(422, 1120, "")
	batch := r.call(t, server(testToken), post, "/email/batchWithTemplates", `{"Messages": [`+templated("")+`, `+templated(`"To": "x"`)+`]}`).items()
	if batch[0]["Message"] != "Test job accepted" || batch[1]["ErrorCode"] != 300.0 {
		t.Errorf("batch %v", batch)
	}
}

// contract/sending.md §10 and §12, clients.md 4.9.
func TestSendBatchWithTemplates(t *testing.T) {
	r, c := newShop(t)
	r.template(t, c.server, `"Alias": "receipt"`)
	list := []string{
		templated(`"TemplateModel": {"name": "One"}`), templated(`"TemplateAlias": "unknown"`), templated(`"TemplateModel": 7`),
		templated(`"To": "b"`), templated(`"TemplateModel": {"name": "Two"}, "To": "two@shop.test"`), `5`, `null`,
	}
	got := r.call(t, c.server, post, "/email/batchWithTemplates", `{"messages": [`+strings.Join(list, ",")+`], "Other": 1}`).items()
	if len(got) != len(list) {
		t.Fatalf("%d results, want %d", len(got), len(list))
	}
	for n, want := range map[int]object{
		1: {"ErrorCode": 1101.0, "Message": noTemplateAlias},
		2: {"ErrorCode": 403.0, "Message": "Invalid request field(s): 'TemplateModel'."},
		3: {"ErrorCode": 300.0, "Message": "Invalid 'To' address: 'b'."},
		5: {"ErrorCode": 403.0, "Message": "Invalid request body."},
		6: {"ErrorCode": 300.0, "Message": "Invalid 'From' value."},
	} {
		if fmt.Sprint(got[n]) != fmt.Sprint(want) {
			t.Errorf("result %d: %v, want %v", n, got[n], want)
		}
	}
	for n, want := range map[int]string{0: "Hi One", 4: "Hi Two"} {
		if d := r.details(t, c.server, got[n]); d["Subject"] != want {
			t.Errorf("result %d: subject %q, want %q", n, d["Subject"], want)
		}
	}
	if got[4]["To"] != "two@shop.test" || got[4]["Message"] != "OK" {
		t.Errorf("result 4: %v", got[4])
	}
	for body, code := range map[string]int{
		`[` + list[0] + `]`: 403, `{}`: 403, ``: 403, `{"Messages": null}`: 403, `{"Messages": {}}`: 403, `{"Messages": "x"}`: 403, `{"Messages": [}`: 402,
		`{"Messages": [` + strings.TrimSuffix(strings.Repeat(`{},`, 501), ",") + `]}`: 410,
	} {
		r.call(t, c.server, post, "/email/batchWithTemplates", body).refusedWith(422, code, "")
	}
	if got := r.call(t, c.server, post, "/email/batchWithTemplates", `{"Messages": []}`).items(); len(got) != 0 {
		t.Errorf("empty batch: %v", got)
	}
	if got := r.call(t, c.server, post, "/email/batchWithTemplates", `{"Messages": [`+strings.TrimSuffix(strings.Repeat(list[1]+`,`, 500), ",")+`]}`).items(); len(got) != 500 {
		t.Errorf("%d results, want 500", len(got))
	}
}

// contract/sending.md §12: what cannot be rendered is taken and bounces, and
// nothing is sent.
func TestSendUnrendered(t *testing.T) {
	r, c := newShop(t)
	r.template(t, c.server, `"Alias": "receipt", "TextBody": "a\n{{#each items}}x{{/each}}"`)
	sent := r.call(t, c.server, post, "/email/withTemplate", templated(`"TemplateModel": {"items": {"t": 1}}, "Tag": "x"`)).ok()
	if sent["Message"] != "OK" {
		t.Errorf("answer %v", sent)
	}
	const why = "TextBody, line 2, character 1: 'items' is used like an array by the template, but is a scalar value or object in your model."
	err := r.st.View(t.Context(), func(tx *store.Tx) error {
		list, _, err := tx.Bounces(t.Context(), c.number, "outbound", 10, 0)
		if err != nil {
			return err
		}
		if len(list) != 1 {
			t.Fatalf("%d bounces, want one", len(list))
		}
		b := list[0]
		if b.Type != "TemplateRenderingFailed" || b.TypeCode != 100010 || b.MessageID.String() != sent["MessageID"] || b.Details != why ||
			b.Recipient != "bob@shop.test" || b.From != "ann@acme.test" || b.Subject != "Hi {{name}}" || b.Tag != "x" || b.Inactive {
			t.Errorf("bounce %+v", b)
		}
		id, err := pennypost.ParseMessageID(sent.text(t, "MessageID"))
		if err != nil {
			return err
		}
		jobs, err := tx.JobsOf(t.Context(), id)
		if len(jobs) != 0 {
			t.Errorf("jobs %v, want none", jobs)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got := r.details(t, c.server, sent)
	events := got.list(t, "MessageEvents")
	if len(events) != 1 || events[0]["Type"] != "Bounced" || events[0]["Recipient"] != "bob@shop.test" {
		t.Errorf("events %v", events)
	}
	why2 := r.call(t, c.server, get, "/messages/outbound/"+sent.text(t, "MessageID")+"/explain", "").ok()
	if rcpt := why2.list(t, "Recipients")[0]; rcpt["State"] != "Bounced" || !strings.Contains(rcpt.text(t, "Summary"), why) {
		t.Errorf("explained as %v", rcpt)
	}
}
