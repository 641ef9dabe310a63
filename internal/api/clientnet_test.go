package api

import (
	"context"
	"testing"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/event"
	"pennypost/internal/store"
)

// TestClientNET: postmark-dotnet, which reads names with their case and types
// strictly, and writes every unset property as null (contract/clients.md 1.15).
func TestClientNET(t *testing.T) {
	r, c := newShop(t)
	form := clientForm{header: map[string]string{"User-Agent": "Postmark.NET 5.3.0", "Content-Type": "application/json; charset=utf-8"}}
	const nulls = `"Cc": null, "Bcc": null, "Tag": null, "ReplyTo": null, "TrackOpens": null, "TrackLinks": null, "Headers": null, "Metadata": null`
	mail := `{"From": "ann@acme.test", "Subject": "Hi", "TextBody": "hello", "HtmlBody": null, `
	sent := sentAnswer("bob@shop.test")
	template := map[string]any{"TemplateId": rule(isInt32), "Name": rule(isText), "Active": rule(isBool), "Alias": rule(isText), "TemplateType": oneOf("Standard", "Layout")}
	statuses := oneOf("Queued", "Sent", "Processed")
	form.replay(t, r, c, []clientCall{
		{
			fact: "1.9 every unset property is null", method: post, path: "/email", body: mail + `"To": "bob@shop.test", "Attachments": [], "MessageStream": null, ` + nulls + `}`,
			want: sent,
		},
		{fact: "4.18 TrackLinks", method: post, path: "/email", body: mail + `"To": "bob@shop.test", "TrackLinks": "HtmlAndText", "TrackOpens": true, "Tag": "x"}`, want: sent, save: map[string]string{"tracked": "MessageID"}},
		{
			fact: "2.7, 2.16 read back", method: get, path: "/messages/outbound?count=5&offset=0&status=queued&tag=x&includearchived=False",
			want: map[string]any{
				"TotalCount": 1, "Messages.0.MessageID": "{tracked}", "Messages.0.To.0.Email": "bob@shop.test", "Messages.0.Recipients.0": "bob@shop.test", "Messages.0.From": "ann@acme.test",
				"Messages.0.Cc.#": 0, "Messages.0.TrackLinks": "HtmlAndText", "Messages.0.TrackOpens": true, "Messages.0.Status": statuses, "Messages.0.ReceivedAt": rule(isTime),
				"Messages.0.Metadata": rule(isTextMap), "Messages.0.Attachments.#": 0,
			},
		},
		{fact: "4.20 blackhole", method: post, path: "/email", body: mail + `"To": "x@blackhole.postmarkapp.com"}`, want: sentAnswer("x@blackhole.postmarkapp.com")},
		{
			fact: "1.7, 2.5 ContentId, metadata", method: post, path: "/email",
			body: `{"From": "ann@acme.test", "To": "bob@shop.test", "Subject": "x", "HtmlBody": "<img src=\"cid:logo.png\">", "Metadata": {"stuff": "very-important", "client-id": "42"},
				"Attachments": [{"Name": "logo.png", "Content": "aGk=", "ContentType": "image/png", "ContentId": "logo.png"}]}`,
			want: sent, save: map[string]string{"rich": "MessageID"},
			then: r.bounced(c),
		},
		{
			fact: "2.4, 2.5, 2.6 details: strings alone", method: get, path: "/messages/outbound/{rich}/details",
			want: map[string]any{
				"Metadata": rule(isTextMap), "Metadata.client-id": "42", "Attachments.0": "logo.png", "MessageEvents.#": 2,
				"MessageEvents.0.Type": "Bounced", "MessageEvents.0.Details": rule(isTextMap), "MessageEvents.0.Details.BounceID": matches(`^\d+$`),
				"MessageEvents.1.Type": "SubscriptionChanged", "MessageEvents.1.Details": rule(isTextMap), "MessageEvents.1.Details.SuppressSending": "True",
			},
		},
		{
			fact: "4.9 a failed element has two keys", method: post, path: "/email/batch",
			body: `[` + mail + `"To": "bob@shop.test", ` + nulls + `}, ` + mail + `"To": "nobody", ` + nulls + `}]`,
			want: map[string]any{
				"#": 2, "0.MessageID": rule(isGUID), "0.ErrorCode": 0, "0.SubmittedAt": rule(isTime), "0.To": "bob@shop.test",
				"1.ErrorCode": 300, "1.Message": rule(isText), "1.MessageID": rule(isMissing), "1.To": rule(isMissing), "1.SubmittedAt": rule(isMissing),
			},
		},
		{fact: "4.11 unknown stream", method: post, path: "/email", body: mail + `"To": "bob@shop.test", "MessageStream": "unknown-stream"}`, status: 422, want: map[string]any{"Message": noSendStream}},

		{
			fact: "8.1 a layout without an alias", method: post, path: "/templates",
			body: `{"Name": "Layout", "Subject": null, "HtmlBody": "<b>{{{@content}}}</b>", "TextBody": "[{{{@content}}}]", "Alias": null, "TemplateType": "Layout", "LayoutTemplate": null}`,
			want: with(template, "TemplateType", "Layout", "LayoutTemplate", nil), save: map[string]string{"layout": "Alias"},
		},
		{
			fact: "8.1, 8.3 a template within it", method: post, path: "/templates",
			body: `{"Name": "name", "Subject": "{{s}}", "HtmlBody": "<i>{{h}}</i>", "TextBody": "{{t}}", "Alias": null, "TemplateType": "Standard", "LayoutTemplate": "{layout}"}`,
			want: with(template, "Active", true, "LayoutTemplate", "{layout}"), save: map[string]string{"id": "TemplateId"},
		},
		{
			fact: "8.3 edit: an empty LayoutTemplate removes it", method: put, path: "/templates/{id}", body: `{"Name": "name", "Subject": null, "HtmlBody": null, "TextBody": null, "Alias": null, "LayoutTemplate": ""}`,
			want: with(template, "LayoutTemplate", nil),
		},
		{
			fact: "8.4 only one body, the same name", method: post, path: "/templates", body: `{"Name": "name", "Subject": "x", "HtmlBody": null, "TextBody": "x", "Alias": null, "TemplateType": "Standard", "LayoutTemplate": null}`,
			want: template, save: map[string]string{"second": "TemplateId"},
		},
		{
			fact: "8.6 filters", method: get, path: "/templates?count=100&offset=0&templateType=Layout",
			want: map[string]any{"TotalCount": 1, "Templates.0.Alias": "{layout}", "Templates.0.TemplateType": "Layout", "Templates.0.TemplateId": rule(isInt32), "Templates.0.Active": true},
		},
		{fact: "8.6 by layout, of which none is left", method: get, path: "/templates?count=100&offset=0&templateType=All&layoutTemplate={layout}", want: map[string]any{"TotalCount": 0, "Templates.#": 0}},
		{fact: "8.6 stable under an offset", method: get, path: "/templates?count=100&offset=2&templateType=All", want: map[string]any{"TotalCount": 3, "Templates.#": 1, "Templates.0.TemplateId": "{second}"}},
		{
			fact: "8.8 validate, with a layout", method: post, path: "/templates/validate",
			body: `{"Subject": "{{#each products}}{{.}}{{/each}}", "HtmlBody": "{{h}}", "TextBody": "{{#each people}}{{name}}{{/each}}", "TestRenderModel": {"h": "H"}, "InlineCssForHtmlTestRender": false, "TemplateType": "Standard", "LayoutTemplate": "{layout}"}`,
			want: map[string]any{
				"AllContentIsValid": true, "HtmlBody.ContentIsValid": true, "HtmlBody.RenderedContent": "<b>H</b>", "HtmlBody.ValidationErrors.#": 0,
				"Subject.RenderedContent": "products_1products_2products_3", "TextBody.RenderedContent": "[name_Value]",
				"SuggestedTemplateModel.products.2": "products_3", "SuggestedTemplateModel.people.#": 1, "SuggestedTemplateModel.people.0.name": "name_Value", "SuggestedTemplateModel.h": "H",
			},
		},
		{
			fact: "4.16, 4.17 send: null Subject beside a template", method: post, path: "/email/withTemplate",
			body: `{"TemplateId": {id}, "TemplateAlias": null, "TemplateModel": {"s": "S"}, "InlineCss": true, "From": "ann@acme.test", "To": "bob@shop.test", "Subject": null, "HtmlBody": null, "TextBody": null, "Attachments": [], "MessageStream": null, ` + nulls + `}`,
			want: sent,
		},
		{
			fact: "4.9 unknown alias in a batch", method: post, path: "/email/batchWithTemplates",
			body: `{"Messages": [{"TemplateId": {id}, "TemplateModel": {}, "From": "ann@acme.test", "To": "bob@shop.test", ` + nulls + `}, {"TemplateId": null, "TemplateAlias": "nobody", "TemplateModel": {}, "From": "ann@acme.test", "To": "bob@shop.test", ` + nulls + `}]}`,
			want: map[string]any{"0.ErrorCode": 0, "0.MessageID": rule(isGUID), "1.ErrorCode": 1101, "1.Message": noTemplateAlias, "1.MessageID": rule(isMissing)},
		},
		{fact: "8.2 delete", method: del, path: "/templates/{id}", want: map[string]any{"ErrorCode": 0, "Message": "Template {id} removed."}},
		{fact: "8.2 afterwards it is inactive", method: get, path: "/templates/{id}", want: map[string]any{"TemplateId": "{id}", "Active": false, "Name": "name"}},
		{fact: "8.2 and in no list", method: get, path: "/templates?count=100&offset=0&templateType=Standard", want: map[string]any{"TotalCount": 1, "Templates.0.TemplateId": "{second}"}},

		{
			fact: "2.9, 12.9 a sandbox server", by: c.account, method: post, path: "/servers",
			body: `{"Name": "integration-test-2026", "Color": "Green", "RawEmailEnabled": null, "SmtpApiActivated": null, "InboundHookUrl": null, "DeliveryType": "Sandbox", "InboundDomain": null, "InboundSpamThreshold": null, "TrackOpens": null, "TrackLinks": null, "EnableSmtpApiErrorHooks": null}`,
			want: map[string]any{
				"ID": rule(isInt32), "Name": rule(isText), "ApiTokens.#": 1, "Color": "green", "SmtpApiActivated": rule(isBool), "RawEmailEnabled": rule(isBool), "DeliveryType": "Sandbox",
				"ServerLink": rule(isText), "InboundAddress": rule(isText), "InboundHash": rule(isText), "InboundSpamThreshold": rule(isInt32), "PostFirstOpenOnly": rule(isBool),
				"TrackOpens": rule(isBool), "TrackLinks": "None", "IncludeBounceContentInHook": rule(isBool), "EnableSmtpApiErrorHooks": false, "InboundDomain": "", "InboundHookUrl": "", "BounceHookUrl": "",
			},
			save: map[string]string{"token": "ApiTokens.0"},
		},
		{fact: "11.1 three streams", by: server("{token}"), method: get, path: "/message-streams?MessageStreamType=All&IncludeArchivedStreams=False", want: map[string]any{"TotalCount": 3}},
		{
			fact: "11.2 thirty characters", by: server("{token}"), method: post, path: "/message-streams",
			body: `{"ID": "test-c1e2b5a0-7d1e-4f6a-9b3c-5", "Name": "Test", "MessageStreamType": "Broadcasts", "Description": null, "SubscriptionManagementConfiguration": null}`,
			want: newStream("test-c1e2b5a0-7d1e-4f6a-9b3c-5", "Broadcasts", "Postmark"),
		},
		{
			fact: "11.2 edit", by: server("{token}"), method: ptch, path: "/message-streams/test-c1e2b5a0-7d1e-4f6a-9b3c-5", body: `{"Name": "Updated", "Description": "Updated too", "SubscriptionManagementConfiguration": null}`,
			want: map[string]any{"Name": "Updated", "Description": "Updated too", "UpdatedAt": rule(isTime)},
		},
		{
			fact: "11.3 archive", by: server("{token}"), method: post, path: "/message-streams/test-c1e2b5a0-7d1e-4f6a-9b3c-5/archive",
			want: map[string]any{"ID": "test-c1e2b5a0-7d1e-4f6a-9b3c-5", "ServerID": rule(isInt32), "ExpectedPurgeDate": rule(isFuture)},
		},
		{fact: "1.5, 11.1 hidden with False", by: server("{token}"), method: get, path: "/message-streams?MessageStreamType=Broadcasts&IncludeArchivedStreams=False", want: map[string]any{"TotalCount": 1}},
		{fact: "1.5, 11.3 shown with True", by: server("{token}"), method: get, path: "/message-streams?MessageStreamType=Broadcasts&IncludeArchivedStreams=True", want: map[string]any{"TotalCount": 2}},
		{fact: "11.3 unarchive", by: server("{token}"), method: post, path: "/message-streams/test-c1e2b5a0-7d1e-4f6a-9b3c-5/unarchive", want: map[string]any{"ArchivedAt": nil, "MessageStreamType": "Broadcasts"}},

		{
			fact: "11.5 suppress", method: post, path: list, body: addresses("gone@shop.test", "nonsense"),
			want: map[string]any{
				"Suppressions.0.EmailAddress": "gone@shop.test", "Suppressions.0.Status": "Suppressed", "Suppressions.0.Message": nil,
				"Suppressions.1.EmailAddress": "nonsense", "Suppressions.1.Status": "Failed", "Suppressions.1.Message": rule(isText),
			},
		},
		{
			fact: "11.6 dump with every filter", method: get, path: list + "/dump?suppressionReason=ManualSuppression&origin=Customer&fromDate=2026-01-05&toDate=&emailAddress=gone@shop.test",
			want: map[string]any{
				"Suppressions.#": 1, "Suppressions.0.EmailAddress": "gone@shop.test", "Suppressions.0.SuppressionReason": oneOf("HardBounce", "SpamComplaint", "ManualSuppression"),
				"Suppressions.0.Origin": oneOf("Recipient", "Customer", "Admin"), "Suppressions.0.CreatedAt": rule(isTime),
			},
		},
		{fact: "11.6 invalid is an empty list", method: get, path: list + "/dump?emailAddress=invalid", want: map[string]any{"Suppressions.#": 0}},
		{fact: "11.5 delete what was never there", method: post, path: list + "/delete", body: addresses("never@shop.test"), want: map[string]any{"Suppressions.0.Status": "Deleted", "Suppressions.0.Message": nil}},
	})
}

// bounced has a message bounce for good.
func (r *rig) bounced(c *tenant) func(*testing.T, any) {
	return func(t *testing.T, sent any) {
		t.Helper()
		id, err := pennypost.ParseMessageID(object(sent.(map[string]any)).text(t, "MessageID"))
		if err != nil {
			t.Fatal(err)
		}
		r.update(t, func(ctx context.Context, tx *store.Tx) error {
			return event.Record(ctx, tx, &pennypost.Event{
				AccountID: 1, ServerID: c.number, Stream: "outbound", MessageID: id, Recipient: "dead@shop.test", Type: pennypost.EventBounced,
				Bounce: &pennypost.Bounce{
					Type: "HardBounce", TypeCode: bounce.HardBounce.Code(), AccountID: 1, ServerID: c.number, Stream: "outbound",
					MessageID: id, Recipient: "dead@shop.test", Inactive: true, Details: "smtp;550 5.1.1 no such user",
				},
			})
		})
	}
}
