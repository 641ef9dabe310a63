package api

import (
	"strings"
	"testing"
)

// TestClientPHP: postmark-php with its models (every unset field an empty
// string), and the bridges of Symfony and Laravel.
func TestClientPHP(t *testing.T) {
	r, c := newShop(t)
	form := clientForm{header: map[string]string{"User-Agent": "Postmark-PHP (PHP Version:8.3.6, OS:Linux)"}}
	const empty = `"Cc": "", "Bcc": "", "Tag": "", "ReplyTo": "", "TrackLinks": "", "Headers": null, "Metadata": null, "TrackOpens": null`
	fifty := strings.Repeat("a@shop.test,", 50)
	crlf := `"` + strings.Repeat("QUJD", 19) + `\r\n` + strings.Repeat("QUJD", 3) + `\r\n"` // 76 characters a line
	sent := sentAnswer("bob@shop.test")
	mail := `{"From": "ann@acme.test", "To": "bob@shop.test", "Subject": "Hi", "TextBody": "hello", `
	templated := `{"From": "ann@acme.test", "To": "bob@shop.test", ` + empty + `, "Attachments": [], "MessageStream": "outbound", `
	form.replay(t, r, c, []clientCall{
		{
			fact: "4.2 every unset field is an empty string", method: post, path: "/email", body: mail + `"HtmlBody": "", "Attachments": [], "MessageStream": "", ` + empty + `}`,
			want: sent,
		},
		{
			fact: "4.12 fifty recipients and a comma at the end", method: post, path: "/email", body: `{"From": "ann@acme.test", "To": "` + fifty + `", "Subject": "x", "HtmlBody": "x"}`,
			want: sentAnswer(fifty),
		},
		{
			fact: "1.7 ContentId, the name of the file on each attachment", method: post, path: "/email",
			body: mail + `"Attachments": [{"Name": "a.txt", "Content": "aGk=", "ContentType": "text/plain", "ContentId": "a.txt"}]}`,
			want: sent, save: map[string]string{"sent": "MessageID"},
		},
		{
			fact: "2.6 attachments are names", method: get, path: "/messages/outbound/{sent}/details",
			want: map[string]any{"Attachments.#": 1, "Attachments.0": "a.txt"},
		},
		{
			fact: "1.9 Symfony: empty strings; null where nothing is set", method: post, path: "/email",
			body: `{"From": "Ann <ann@acme.test>", "To": "bob@shop.test,cy@shop.test", "Cc": "", "Bcc": "", "ReplyTo": "", "Subject": "Hi", "TextBody": "hello", "HtmlBody": null, "Attachments": []}`,
			want: sentAnswer("bob@shop.test,cy@shop.test"),
		},
		{
			fact: "4.14 Symfony: base64 with CRLF every 76 characters", method: post, path: "/email",
			body: mail + `"Attachments": [{"Name": "dot.png", "Content": ` + crlf + `, "ContentType": "image/png", "ContentID": null}]}`,
			want: sent, then: r.attached(c, strings.Repeat("ABC", 22)),
		},
		{
			fact: "1.9 Laravel: an empty MessageStream", method: post, path: "/email", body: mail + `"MessageStream": "", "Metadata": {"order": "7"}, "Tag": "x"}`,
			want: sent,
		},
		{
			fact: "4.11 unknown stream", method: post, path: "/email", body: mail + `"MessageStream": "unknown-stream"}`,
			status: 422, want: map[string]any{"Message": noSendStream},
		},

		{
			fact: "8.1 a layout without an alias is given one", method: post, path: "/templates",
			body: `{"name": "Layout", "subject": null, "htmlBody": "<b>{{{@content}}}</b>", "textBody": "{{{@content}}}", "alias": null, "templateType": "Layout", "layoutTemplate": null}`,
			want: map[string]any{"TemplateId": rule(isInt32), "Name": "Layout", "Active": true, "Alias": rule(isText), "TemplateType": "Layout", "LayoutTemplate": nil},
			save: map[string]string{"layout": "Alias"},
		},
		{
			fact: "8.1, 8.4 it is used at once; names need not be unique, umlauts stay", method: post, path: "/templates",
			body: `{"name": "Zoë", "subject": "Hi {{name}}", "htmlBody": "<i>{{name}} ü</i>", "textBody": "{{name}} ü", "alias": null, "templateType": "Standard", "layoutTemplate": "{layout}"}`,
			want: map[string]any{"Name": "Zoë", "LayoutTemplate": "{layout}", "Alias": rule(isText)},
			save: map[string]string{"id": "TemplateId", "alias": "Alias"},
		},
		{
			fact: "8.4 the same name again", method: post, path: "/templates", body: `{"name": "Zoë", "subject": "x", "htmlBody": null, "textBody": "x"}`,
			want: map[string]any{"Name": "Zoë", "LayoutTemplate": nil, "Alias": rule(isText)},
		},
		{
			fact: "8.4 read back", method: get, path: "/templates/{id}",
			want: map[string]any{"HtmlBody": "<i>{{name}} ü</i>", "TextBody": "{{name}} ü", "Subject": "Hi {{name}}", "AssociatedServerId": rule(isInt32)},
		},
		{
			fact: "8.3 an empty LayoutTemplate removes the layout, null fields stay", method: put, path: "/templates/{id}",
			body: `{"name": null, "subject": null, "htmlBody": null, "textBody": null, "alias": null, "layoutTemplate": ""}`,
			want: map[string]any{"Name": "Zoë", "LayoutTemplate": nil, "Alias": "{alias}", "TemplateType": "Standard", "Active": true},
		},
		{fact: "8.3 what was null is unchanged", method: get, path: "/templates/{alias}", want: map[string]any{"TextBody": "{{name}} ü", "Subject": "Hi {{name}}", "LayoutTemplate": nil}},
		{
			fact: "1.2 list with a slash", method: get, path: "/templates/?count=100&offset=0&templateType=All&layoutTemplate=",
			want: map[string]any{"TotalCount": 3, "Templates.#": 3},
		},
		{
			fact: "4.16 model class: TemplateId 0 beside an alias, an empty model is a list", method: post, path: "/email/withTemplate",
			body: templated + `"TemplateId": 0, "TemplateAlias": "{alias}", "TemplateModel": [], "InlineCss": true}`, want: sent,
		},
		{
			fact: "4.16 function form: an empty alias beside an id", method: post, path: "/email/withTemplate",
			body: templated + `"TemplateId": {id}, "TemplateAlias": "", "TemplateModel": {}, "InlineCss": true}`, want: sent,
		},
		{
			fact: "1.7 TemplateID inside a batch", method: post, path: "/email/batchWithTemplates",
			body: `{"Messages": [` + templated + `"TemplateID": {id}, "TemplateModel": {"name": "Al"}}, ` + templated + `"TemplateAlias": "{alias}", "TemplateModel": {"name": "Bo"}}]}`,
			want: map[string]any{"#": 2, "0.ErrorCode": 0, "0.MessageID": rule(isGUID), "1.ErrorCode": 0, "1.To": "bob@shop.test"},
		},

		{
			fact: "1.2, 12.9, 12.10 a server named with a time, by a path with a slash", by: c.account, method: post, path: "/servers/",
			body: `{"name": "test-php-2026-11-25T10:00:00+00:00", "color": "Purple", "rawEmailEnabled": true, "smtpApiActivated": true, "DeliveryType": "Live", "EnableSmtpApiErrorHooks": null}`,
			want: map[string]any{"ID": rule(isInt32), "Name": "test-php-2026-11-25T10:00:00+00:00", "Color": "purple", "ApiTokens.#": 1, "DeliveryType": "Live", "EnableSmtpApiErrorHooks": false},
			save: map[string]string{"new": "ID", "token": "ApiTokens.0"},
		},
		{
			fact: "1.7 the new token edits it at once, in other cases", by: server("{token}"), method: put, path: "/server",
			body: `{"name": "php", "color": "blue", "trackLinks": "TextOnly", "trackOpens": true, "inboundSpamThreshold": 10}`,
			want: map[string]any{"Name": "php", "Color": "blue", "TrackLinks": "TextOnly", "TrackOpens": true, "InboundSpamThreshold": 10, "InboundDomain": "", "InboundHookUrl": ""},
		},
		{
			fact: "11.1 it has three streams", by: server("{token}"), method: get, path: "/message-streams?messageStreamType=All&includeArchivedStreams=0",
			want: map[string]any{"TotalCount": 3, "MessageStreams.#": 3},
		},
		{
			fact: "11.2 a stream without a description", by: server("{token}"), method: post, path: "/message-streams",
			body: `{"ID": "php-news", "Name": "News", "MessageStreamType": "Broadcasts", "Description": null}`,
			want: newStream("php-news", "Broadcasts", "Postmark"),
		},
		{fact: "11.1 now four", by: server("{token}"), method: get, path: "/message-streams?messageStreamType=All&includeArchivedStreams=0", want: map[string]any{"TotalCount": 4}},
		{fact: "11.1 one transactional", by: server("{token}"), method: get, path: "/message-streams?messageStreamType=Transactional", want: map[string]any{"TotalCount": 1, "MessageStreams.0.ID": "outbound"}},
		{
			fact: "11.2 edited", by: server("{token}"), method: ptch, path: "/message-streams/php-news", body: `{"Name": "Newer", "Description": "d"}`,
			want: map[string]any{"Name": "Newer", "Description": "d", "UpdatedAt": rule(isTime), "ArchivedAt": nil},
		},
		{
			fact: "11.3 a transactional stream", by: server("{token}"), method: post, path: "/message-streams", body: `{"ID": "php-bills", "Name": "Bills", "MessageStreamType": "Transactional"}`,
			want: newStream("php-bills", "Transactional", "None"),
		},
		{
			fact: "11.3 is archived", by: server("{token}"), method: post, path: "/message-streams/php-bills/archive",
			want: map[string]any{"ID": "php-bills", "ServerID": rule(isInt32), "ExpectedPurgeDate": rule(isFuture)},
		},
		{fact: "1.5, 11.3 hidden with 0", by: server("{token}"), method: get, path: "/message-streams?includeArchivedStreams=0", want: map[string]any{"TotalCount": 4}},
		{fact: "1.5, 11.3 shown with 1", by: server("{token}"), method: get, path: "/message-streams?includeArchivedStreams=1", want: map[string]any{"TotalCount": 5}},
		{
			fact: "11.3 and back", by: server("{token}"), method: post, path: "/message-streams/php-bills/unarchive",
			want: map[string]any{"ID": "php-bills", "ArchivedAt": nil},
		},
		{fact: "11.4 unknown: read", method: get, path: "/message-streams/123456", status: 422, want: map[string]any{"Message": noStream}},
		{fact: "11.4 unknown: edit", method: ptch, path: "/message-streams/123456", body: `{"Name": "x"}`, status: 422, want: map[string]any{"Message": noStream}},
		{fact: "11.4 unknown: archive", method: post, path: "/message-streams/123456/archive", status: 422, want: map[string]any{"Message": noStream}},
		{fact: "11.4 unknown: unarchive", method: post, path: "/message-streams/123456/unarchive", status: 422, want: map[string]any{"Message": noStream}},
		{fact: "11.4 unknown: suppressions", method: get, path: "/message-streams/123456/suppressions/dump", status: 422, want: map[string]any{"Message": noStream}},
		{
			fact: "11.4 unknown: suppress", method: post, path: "/message-streams/123456/suppressions", body: addresses("a@shop.test"),
			status: 422, want: map[string]any{"Message": noStream},
		},

		{
			fact: "11.5 suppress", method: post, path: list, body: addresses("gone@shop.test", "not-an-address"),
			want: map[string]any{
				"Suppressions.#": 2, "Suppressions.0.EmailAddress": "gone@shop.test", "Suppressions.0.Status": "Suppressed", "Suppressions.0.Message": nil,
				"Suppressions.1.Status": "Failed", "Suppressions.1.Message": rule(isText),
			},
		},
		{fact: "11.5 again", method: post, path: list, body: addresses("gone@shop.test"), want: map[string]any{"Suppressions.0.Status": "Suppressed", "Suppressions.0.Message": nil}},
		{
			fact: "11.6 listed at once", method: get, path: list + "/dump?suppressionreason=ManualSuppression&origin=Customer&emailaddress=gone@shop.test",
			want: map[string]any{
				"Suppressions.#": 1, "Suppressions.0.EmailAddress": "gone@shop.test", "Suppressions.0.SuppressionReason": "ManualSuppression",
				"Suppressions.0.Origin": "Customer", "Suppressions.0.CreatedAt": rule(isTime),
			},
		},
		{fact: "11.6 what is no address finds nothing", method: get, path: list + "/dump?emailaddress=invalid", want: map[string]any{"Suppressions.#": 0}},
		{fact: "11.5 delete", method: post, path: list + "/delete", body: addresses("gone@shop.test"), want: map[string]any{"Suppressions.0.Status": "Deleted", "Suppressions.0.Message": nil}},
		{fact: "11.5 delete what was never there", method: post, path: list + "/delete", body: addresses("never@shop.test"), want: map[string]any{"Suppressions.0.Status": "Deleted"}},
		{
			fact: "11.5 fifty-one are too many", method: post, path: list, body: addresses(strings.Split(strings.TrimSuffix(strings.Repeat("a@shop.test,", 51), ","), ",")...),
			status: 422, want: map[string]any{"ErrorCode": 1410},
		},
		{fact: "12.9 the server is deleted", by: c.account, method: del, path: "/servers/{new}", want: map[string]any{"ErrorCode": 0, "Message": rule(isText)}},
	})
}

// attached checks the content of the only attachment of a message.
func (r *rig) attached(c *tenant, content string) func(*testing.T, any) {
	return func(t *testing.T, sent any) {
		t.Helper()
		_, p := r.stored(t, c.number, sent.(map[string]any))
		files := p.Root.Attachments()
		if len(files) != 1 || string(files[0].Content) != content {
			t.Errorf("attachments %v, want one with %q", files, content)
		}
	}
}
