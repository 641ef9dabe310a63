package api

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// lines breaks base64 as a client does.
func lines(content string, width int, end string) string {
	var b strings.Builder
	for s := base64.StdEncoding.EncodeToString([]byte(content)); s != ""; {
		n := min(width, len(s))
		b.WriteString(s[:n] + end)
		s = s[n:]
	}
	return b.String()
}

// TestClientRuby: postmark-gem, which raises on every status but 200.
func TestClientRuby(t *testing.T) {
	r, c := newShop(t)
	form := clientForm{header: map[string]string{"User-Agent": "Postmark Ruby Gem v1.25.1"}}
	mail := func(more string) string { return message(more) }
	sent := sentAnswer("bob@shop.test")
	content := strings.Repeat("gem", 50)
	r.suppress(t, c.number, "outbound", "gone@shop.test")
	r.suppress(t, c.number, "outbound", "left@sub.shop.test")
	const both = "gone@shop.test, left@sub.shop.test"
	form.replay(t, r, c, []clientCall{
		{fact: "2.1 send", method: post, path: "/email", body: mail(`"Tag": "invoice", "Metadata": {"order": "7"}`), want: sent, save: map[string]string{"sent": "MessageID"}},
		{fact: "5.3 found by its metadata", method: get, path: "/messages/outbound?count=50&offset=0&metadata_order=7&tag=invoice", want: map[string]any{"TotalCount": 1, "Messages.0.MessageID": "{sent}"}},
		{fact: "5.4 details", method: get, path: "/messages/outbound/{sent}/details", want: map[string]any{"MessageID": "{sent}", "MessageEvents.#": 0, "TextBody": "hello", "Body": rule(isText), "Metadata.order": "7"}},
		{fact: "5.5 dump has the subject", method: get, path: "/messages/outbound/{sent}/dump", want: map[string]any{"Body": matches(`Subject: Hi\r\n`)}},
		{
			fact: "5.1 unknown message", method: get, path: "/messages/outbound/00000000-0000-4000-8000-000000000000/details",
			status: 422, want: map[string]any{"ErrorCode": 701, "Message": matches(`not found`)},
		},
		{fact: "1.8 null where a call takes no body", method: get, path: "/server", body: "null", want: map[string]any{"ID": "{server}"}},
		{
			fact: "4.14 base64 with LF every 60 characters", method: post, path: "/email",
			body: mail(`"Attachments": [{"Name": "a.txt", "Content": ` + jsonText(t, lines(content, 60, "\n")) + `, "ContentType": "text/plain"}]`),
			want: sent, then: r.attached(c, content),
		},
		{fact: "4.3 no body", method: post, path: "/email", body: mail(`"TextBody": null`), status: 422, want: map[string]any{"ErrorCode": 300}},
		{fact: "4.4 To without a local part", method: post, path: "/email", body: mail(`"To": "@shop.test"`), status: 422, want: map[string]any{"ErrorCode": 300, "Message": "Invalid 'To' address: '@shop.test'."}},
		{
			fact: "4.5 To without @", method: post, path: "/email", body: mail(`"To": "jane.example.com"`),
			status: 422, want: map[string]any{"Message": "Error parsing 'To': Illegal email address 'jane.example.com'. It must contain the '@' symbol."},
		},
		{fact: "4.6 wrong token", by: server("INVALID_TOKEN"), method: get, path: "/server", status: 401, want: map[string]any{"ErrorCode": 10, "Message": matches(`valid.*token`)}},
		{
			fact: "4.7 all inactive", method: post, path: "/email", body: mail(`"To": "Gone <GONE@shop.test>, left@sub.shop.test"`),
			status: 422, want: map[string]any{"ErrorCode": 406, "Message": finds(`Found inactive addresses: (.+?)\. Inactive`, both)},
		},
		{
			fact: "4.8 some inactive: the list ends the text", method: post, path: "/email", body: mail(`"To": "bob@shop.test, gone@shop.test, left@sub.shop.test"`),
			want: with(sentAnswer("bob@shop.test, gone@shop.test, left@sub.shop.test"), "Message", finds(`these inactive addresses: (.+?)\.?$`, both)),
		},
		{
			fact: "4.9 batch: each by itself", method: post, path: "/email/batch", body: `[` + mail("") + `, ` + mail(`"To": "gone@shop.test"`) + `, ` + mail(`"To": "@shop.test"`) + `]`,
			want: map[string]any{
				"#": 3, "0.ErrorCode": 0, "0.MessageID": rule(isGUID), "1.ErrorCode": 406, "1.MessageID": rule(isMissing),
				"1.Message": finds(`Found inactive addresses: (.+?)\. Inactive`, "gone@shop.test"), "2.ErrorCode": 300, "2.To": rule(isMissing),
			},
		},
		{
			fact: "4.1 test token, with mistakes in a batch", by: server(testToken), method: post, path: "/email/batch",
			body: `[` + mail(`"From": "x@anywhere.test"`) + `, ` + mail(`"TextBody": null`) + `, ` + mail(`"To": "@shop.test"`) + `]`,
			want: map[string]any{"#": 3, "0.Message": "Test job accepted", "0.ErrorCode": 0, "0.MessageID": rule(isGUID), "1.ErrorCode": 300, "2.ErrorCode": 300},
		},

		{
			fact: "8.1 create", method: post, path: "/templates", body: `{"Name": "Receipt", "Alias": "receipt", "Subject": "Hi {{name}}", "HtmlBody": "<p>{{name}}</p>", "TextBody": "{{name}}"}`,
			want: map[string]any{"TemplateId": rule(isInt32), "Name": "Receipt", "Alias": "receipt"}, save: map[string]string{"id": "TemplateId"},
		},
		{fact: "8.3 edit one field", method: put, path: "/templates/{id}", body: `{"Name": "Bill"}`, want: map[string]any{"TemplateId": "{id}", "Name": "Bill", "Alias": "receipt"}},
		{fact: "8.6 list", method: get, path: "/templates?count=50&offset=0", want: map[string]any{"TotalCount": 1, "Templates.0.TemplateId": "{id}"}},
		{
			fact: "2.13, 8.8 validate", method: post, path: "/templates/validate", body: `{"HtmlBody": "Hi {{Name}}", "Subject": "{{#each}}"}`,
			want: map[string]any{
				"AllContentIsValid": false, "HtmlBody.ContentIsValid": true, "Subject.ContentIsValid": false, "TextBody": nil, "SuggestedTemplateModel": nil,
				"Subject.ValidationErrors.0.Message": rule(isText), "Subject.ValidationErrors.0.Line": 1, "Subject.ValidationErrors.0.CharacterPosition": rule(isInt32),
			},
		},
		{
			fact: "4.16 send: the gem takes subject and bodies away", method: post, path: "/email/withTemplate",
			body: `{"From": "ann@acme.test", "To": "bob@shop.test", "TemplateAlias": "receipt", "TemplateModel": {"name": "Al"}}`, want: sent,
		},
		{
			fact: "4.9 unknown alias in a batch", method: post, path: "/email/batchWithTemplates",
			body: `{"Messages": [{"From": "ann@acme.test", "To": "bob@shop.test", "TemplateId": {id}, "TemplateModel": {}}, {"From": "ann@acme.test", "To": "bob@shop.test", "TemplateAlias": "nobody", "TemplateModel": {}}]}`,
			want: map[string]any{"0.ErrorCode": 0, "1.ErrorCode": 1101, "1.Message": noTemplateAlias, "1.MessageID": rule(isMissing)},
		},
		{fact: "8.2 delete", method: del, path: "/templates/{id}", want: map[string]any{"ErrorCode": 0, "Message": "Template {id} removed."}},
		{fact: "8.2 delete again", method: del, path: "/templates/{id}", status: 422, want: map[string]any{"ErrorCode": 1101, "Message": noTemplateID}},

		{fact: "11.2 stream", method: post, path: "/message-streams", body: `{"ID": "gem-news", "Name": "News", "MessageStreamType": "Broadcasts"}`, want: newStream("gem-news", "Broadcasts", "Postmark")},
		{fact: "11.2 edit", method: ptch, path: "/message-streams/gem-news", body: `{"Name": "Newer"}`, want: map[string]any{"ID": "gem-news", "Name": "Newer", "UpdatedAt": rule(isTime)}},
		{fact: "11.3 archive with an empty body", method: post, path: "/message-streams/gem-news/archive", want: map[string]any{"ID": "gem-news", "ExpectedPurgeDate": rule(isFuture)}},
		{fact: "11.3 unarchive with null", method: post, path: "/message-streams/gem-news/unarchive", body: "null", want: map[string]any{"ID": "gem-news", "ArchivedAt": nil}},
		{fact: "11.6 dump", method: get, path: list + "/dump", want: map[string]any{"Suppressions.#": 2, "Suppressions.0.EmailAddress": rule(isText), "Suppressions.0.CreatedAt": rule(isTime)}},
		{fact: "11.5 delete", method: post, path: list + "/delete", body: addresses("gone@shop.test", "left@sub.shop.test"), want: map[string]any{"Suppressions.0.Status": "Deleted", "Suppressions.1.Status": "Deleted"}},
		{fact: "11.5 suppress", method: post, path: list, body: addresses("gone@shop.test"), want: map[string]any{"Suppressions.0.Status": "Suppressed", "Suppressions.0.Message": nil}},
	})
}

// TestClientRails: postmark-rails hands the mail of Action Mailer on, with the
// header fields that the mail library made.
func TestClientRails(t *testing.T) {
	r, c := newShop(t)
	form := clientForm{header: map[string]string{"User-Agent": "Postmark Ruby Gem v1.25.1"}}
	const own = `"Headers": [{"Name": "Message-ID", "Value": "<65f0c0de@app.acme.test>"}, {"Name": "Mime-Version", "Value": "1.0"},
		{"Name": "Content-Transfer-Encoding", "Value": "7bit"}, {"Name": "X-Shop", "Value": "eu-1"}], "Attachments": null, "TrackOpens": true, "TrackLinks": "None"`
	mail := `{"From": "Acme Shop <ann@acme.test>", "To": "bob@shop.test", "ReplyTo": "help@acme.test", "Cc": "cy@shop.test", "Tag": "welcome", "MessageStream": "outbound", ` + own
	whole := func(t *testing.T, got any) {
		t.Helper()
		_, p := r.stored(t, c.number, got.(map[string]any))
		fields := map[string][]string{}
		for _, f := range p.Header {
			name := strings.ToLower(f.Name)
			fields[name] = append(fields[name], strings.TrimSpace(f.Value))
		}
		for name, want := range map[string]string{"message-id": "<65f0c0de@app.acme.test>", "mime-version": "1.0", "x-shop": "eu-1"} {
			if s := fmt.Sprint(fields[name]); s != "["+want+"]" {
				t.Errorf("%s: %s, want %s once", name, s, want)
			}
		}
		for name, list := range fields {
			if strings.HasPrefix(name, "content-") && len(list) > 1 {
				t.Errorf("%s: %q", name, list)
			}
		}
		if body := p.Root.TextBody(); body == nil || strings.TrimSpace(body.Text()) != "Größe" {
			t.Errorf("text %v, want Größe", body)
		}
	}
	sent := sentAnswer("bob@shop.test")
	form.replay(t, r, c, []clientCall{
		{fact: "4.15 header fields of the mail itself", method: post, path: "/email", body: mail + `, "Subject": "Grüße", "TextBody": "Größe"}`, want: sent, then: whole},
		{fact: "4.15 with two bodies", method: post, path: "/email", body: mail + `, "Subject": "Grüße", "TextBody": "Größe", "HtmlBody": "<p>Größe</p>"}`, want: sent, then: whole},
		{fact: "4.15 in a batch", method: post, path: "/email/batch", body: `[` + mail + `, "Subject": "Grüße", "TextBody": "Größe"}]`, want: map[string]any{"#": 1, "0.ErrorCode": 0, "0.MessageID": rule(isGUID)}},
		{fact: "4.1 test token", by: server(testToken), method: post, path: "/email", body: mail + `, "Subject": "x", "TextBody": "x"}`, want: with(sent, "Message", "Test job accepted")},
		{
			fact: "8.1 template", method: post, path: "/templates", body: `{"Name": "Welcome", "Alias": "welcome", "Subject": "Grüße {{name}}", "TextBody": "Größe"}`,
			want: map[string]any{"Alias": "welcome", "Active": true},
		},
		{fact: "4.15, 4.16 by a template", method: post, path: "/email/withTemplate", body: mail + `, "TemplateAlias": "welcome", "TemplateModel": {"name": "Al"}}`, want: sent, then: whole},
		{fact: "4.16 test token", by: server(testToken), method: post, path: "/email/withTemplate", body: mail + `, "TemplateAlias": "welcome", "TemplateModel": {}}`, want: with(sent, "Message", "Test job accepted")},
		{fact: "4.6 wrong token", by: server("nope"), method: post, path: "/email", body: mail + `, "TextBody": "x"}`, status: 401, want: map[string]any{"ErrorCode": 10, "Message": matches(`valid.*token`)}},
	})
}
