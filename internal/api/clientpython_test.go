package api

import (
	"testing"
)

// TestClientPython: the official client with its strict models, postmarker and
// django-anymail.
func TestClientPython(t *testing.T) {
	r, c := newShop(t)
	to := r.newServer(t, c.account, `{"Name": "Live"}`)
	form := clientForm{header: map[string]string{"User-Agent": "python-httpx/0.28.1", "X-Postmark-Correlation-Id": "a3d6f0b2", "Accept-Language": "en"}}
	const nulls = `"Tag": null, "Bcc": null, "Cc": null, "ReplyTo": null, "TrackOpens": null, "Headers": [], "Attachments": []`
	mail := `{"From": "ann@acme.test", "To": "bob@shop.test", "Subject": "Hi", "TextBody": "hello", "MessageStream": "outbound"`
	sent := sentAnswer("bob@shop.test")
	r.suppress(t, c.number, "outbound", "gone@shop.test")
	r.suppress(t, c.number, "outbound", "left@shop.test")
	form.replay(t, r, c, []clientCall{
		{fact: "1.14 send", method: post, path: "/email", body: mail + `, "Tag": "py"}`, want: sent, save: map[string]string{"sent": "MessageID"}},
		{
			fact: "1.3, 1.6, 2.16 search with dates without a zone", method: get, path: "/messages/outbound?count=10&offset=0&messageStream=outbound&fromDate=2026-01-05T10:20:30&toDate=2099-01-05T10:20:30&tag=py",
			want: map[string]any{
				"TotalCount": 1, "Messages.0.MessageStream": "outbound", "Messages.0.TrackOpens": rule(isBool), "Messages.0.TrackLinks": oneOf("None", "HtmlAndText", "HtmlOnly", "TextOnly"),
				"Messages.0.Status": oneOf("Queued", "Sent", "Processed", "Blocked", "Failed", "Scheduled"), "Messages.0.Sandboxed": rule(isBool), "Messages.0.Subject": "Hi",
				"Messages.0.Metadata": rule(isTextMap), "Messages.0.To.0.Email": "bob@shop.test", "Messages.0.Recipients.#": 1, "Messages.0.Attachments.#": 0,
			},
		},
		{fact: "1.9, 4.1, 4.17 postmarker: nulls and the test token", by: server(testToken), method: post, path: "/email", body: `{"From": "sender@example.com", "To": "bob@shop.test", "Subject": null, "TextBody": "x", "HtmlBody": null, ` + nulls + `}`, want: with(sent, "Message", "Test job accepted")},
		{fact: "4.2 anymail: Cc alone, no To in the answer", method: post, path: "/email", body: `{"From": "ann@acme.test", "Cc": "cy@shop.test", "Subject": "x", "TextBody": "x"}`, want: map[string]any{"To": rule(isMissing), "ErrorCode": 0, "MessageID": rule(isGUID)}},
		{
			fact: "2.5 anymail: numbers in the metadata", method: post, path: "/email", body: mail + `, "Metadata": {"order_id": "12345", "items": 6, "float": 98.6}}`,
			want: sent, save: map[string]string{"numbers": "MessageID"},
		},
		{fact: "2.5 become strings", method: get, path: "/messages/outbound/{numbers}/details", want: map[string]any{"Metadata": rule(isTextMap), "Metadata.items": "6", "Metadata.order_id": "12345"}},
		{
			fact: "4.13 anymail: names with commas, not of ASCII; From of two", method: post, path: "/email",
			body: `{"From": "\"Åcme, Inc.\" <ann@acme.test>, eve@acme.test", "To": "\"Doe, Jane\" <jane@shop.test>, Zoë <zoe@shop.test>", "Subject": "x", "HtmlBody": "x"}`,
			want: sentAnswer(`"Doe, Jane" <jane@shop.test>, Zoë <zoe@shop.test>`), save: map[string]string{"names": "MessageID"},
		},
		{fact: "2.7, 4.13 only the first counts", method: get, path: "/messages/outbound/{names}/details", want: map[string]any{"From": `"Åcme, Inc." <ann@acme.test>`, "To.#": 2, "To.0.Name": "Doe, Jane", "To.1.Name": "Zoë", "To.1.Email": "zoe@shop.test"}},
		{fact: "4.4 anymail: From at localhost", method: post, path: "/email", body: `{"From": "webmaster@localhost", "To": "bob@shop.test", "TextBody": "x"}`, status: 422, want: map[string]any{"ErrorCode": 300, "Message": "Invalid 'From' address: 'webmaster@localhost'."}},
		{
			fact: "4.5 anymail: bad domain in Cc", method: post, path: "/email", body: mail + `, "Cc": "user@+"}`,
			status: 422, want: map[string]any{"ErrorCode": 300, "Message": "Error parsing 'Cc': Illegal email domain '+' in address 'user@+'."},
		},
		{
			fact: "4.5 anymail: bad Bcc", method: post, path: "/email", body: mail + `, "Bcc": "user.shop.test"}`,
			status: 422, want: map[string]any{"ErrorCode": 300, "Message": "Error parsing 'Bcc': Illegal email address 'user.shop.test'. It must contain the '@' symbol."},
		},
		{
			fact: "4.5 anymail: bad reply address", method: post, path: "/email", body: mail + `, "ReplyTo": "user@+"}`,
			status: 422, want: map[string]any{"ErrorCode": 300, "Message": "Error parsing 'Reply-To': Illegal email domain '+' in address 'user@+'."},
		},
		{
			fact: "4.5 anymail: a long name in the metadata", method: post, path: "/email", body: mail + `, "Metadata": {"a-name-of-more-than-20-characters": "x"}}`,
			status: 422, want: map[string]any{"ErrorCode": 300, "Message": matches(`^Invalid metadata content\. Field names are limited to 20 characters`)},
		},
		{fact: "4.6 anymail: wrong token", by: server("nope"), method: post, path: "/email", body: mail + `}`, status: 401, want: map[string]any{"ErrorCode": 10, "Message": matches(`valid.*token`)}},
		{
			fact: "4.7 anymail: all inactive, names and case aside", method: post, path: "/email", body: `{"From": "ann@acme.test", "To": "Gone <GONE@shop.test>, left@shop.test", "TextBody": "x"}`,
			status: 422, want: map[string]any{"ErrorCode": 406, "Message": finds(`inactive addresses:\s*(.*)\.\s*Inactive recipients`, "gone@shop.test, left@shop.test")},
		},
		{
			fact: "1.2, 4.9 batch", method: post, path: "/email/batch/", body: `[` + mail + `, ` + nulls + `}, {"From": "ann@acme.test", "To": "bob", "TextBody": "x"}]`,
			want: map[string]any{"#": 2, "0.To": "bob@shop.test", "0.MessageID": rule(isGUID), "0.SubmittedAt": rule(isTime), "0.ErrorCode": 0, "1.ErrorCode": 300, "1.Message": "Invalid 'To' address: 'bob'."},
		},

		{
			fact: "8.1 create", method: post, path: "/templates", body: `{"Name": "Receipt", "Subject": "Hi {{name}}", "HtmlBody": "<p>{{name}}</p>", "TextBody": null, "Alias": null}`,
			want: map[string]any{"TemplateId": rule(isInt32), "Active": true, "Alias": rule(isText), "TemplateType": "Standard", "LayoutTemplate": nil}, save: map[string]string{"id": "TemplateId", "alias": "Alias"},
		},
		{
			fact: "1.9, 8.3 postmarker: nulls leave an edit alone", method: put, path: "/templates/{id}", body: `{"Name": "Bill", "Subject": null, "HtmlBody": null, "TextBody": null}`,
			want: map[string]any{"TemplateId": "{id}", "Name": "Bill"},
		},
		{fact: "8.3 read", method: get, path: "/templates/{id}", want: map[string]any{"Name": "Bill", "Subject": "Hi {{name}}", "HtmlBody": "<p>{{name}}</p>", "TextBody": nil, "Active": true}},
		{fact: "1.3 postmarker: Count and Offset", method: get, path: "/templates?Count=100&Offset=0", want: map[string]any{"TotalCount": 1, "Templates.0.Name": "Bill"}},
		{
			fact: "1.9, 2.13 postmarker: a model that is null", method: post, path: "/templates/validate", body: `{"Subject": "{{subject}}", "HtmlBody": null, "TextBody": null, "TestRenderModel": null, "InlineCssForHtmlTestRender": true}`,
			want: map[string]any{"AllContentIsValid": true, "HtmlBody": nil, "TextBody": nil, "Subject.ContentIsValid": true, "Subject.ValidationErrors.#": 0, "Subject.RenderedContent": "subject_Value", "SuggestedTemplateModel.subject": "subject_Value"},
		},
		{
			fact: "1.2, 4.1, 4.17 postmarker and anymail: with a slash, Subject null", method: post, path: "/email/withTemplate/",
			body: `{"TemplateId": {id}, "TemplateModel": {"name": "Al"}, "From": "ann@acme.test", "To": "bob@shop.test", "Subject": null, "InlineCss": true, ` + nulls + `}`, want: sent,
		},
		{fact: "4.16 anymail: batch by template", method: post, path: "/email/batchWithTemplates", body: `{"Messages": [{"TemplateAlias": "{alias}", "TemplateModel": {"name": "Al"}, "From": "ann@acme.test", "To": "bob@shop.test", "Metadata": {"items": 6}}]}`, want: map[string]any{"0.ErrorCode": 0, "0.Message": "OK"}},
		{fact: "4.1 test token by template", by: server(testToken), method: post, path: "/email/withTemplate/", body: `{"TemplateId": 1234567, "TemplateModel": {}, "From": "sender@example.com", "To": "bob@shop.test"}`, want: with(sent, "Message", "Test job accepted")},
		{
			fact: "1.7, 8.7 ids of a push are strings", by: c.account, method: put, path: "/templates/push", body: `{"SourceServerID": "{server}", "DestinationServerID": "` + to.id + `", "PerformChanges": false}`,
			want: map[string]any{"TotalCount": 1, "Templates.0.Action": "Create", "Templates.0.Alias": "{alias}", "Templates.0.Name": "Bill"},
		},
		{fact: "8.2 delete", method: del, path: "/templates/{id}", want: map[string]any{"ErrorCode": 0, "Message": "Template {id} removed."}},
		{fact: "8.2 unknown", method: get, path: "/templates/999999", status: 422, want: map[string]any{"ErrorCode": 1101, "Message": noTemplateID}},

		{
			fact: "2.11 streams have their unsubscribe handling", method: get, path: "/message-streams?MessageStreamType=All&IncludeArchivedStreams=true",
			want: map[string]any{
				"TotalCount": 3, "MessageStreams.0.SubscriptionManagementConfiguration.UnsubscribeHandlingType": oneOf("None", "Postmark", "Custom"),
				"MessageStreams.1.SubscriptionManagementConfiguration.UnsubscribeHandlingType": oneOf("None", "Postmark", "Custom"),
				"MessageStreams.2.SubscriptionManagementConfiguration.UnsubscribeHandlingType": oneOf("None", "Postmark", "Custom"), "MessageStreams.0.UpdatedAt": nil, "MessageStreams.0.ArchivedAt": nil,
			},
		},
		{fact: "2.11, 11.2 create", method: post, path: "/message-streams", body: `{"ID": "py-news", "Name": "News", "MessageStreamType": "Broadcasts", "SubscriptionManagementConfiguration": {"UnsubscribeHandlingType": "Postmark"}}`, want: newStream("py-news", "Broadcasts", "Postmark")},
		{fact: "11.3 archive with a JSON type and no body", method: post, path: "/message-streams/py-news/archive", want: map[string]any{"ID": "py-news", "ServerID": rule(isInt32), "ExpectedPurgeDate": rule(isFuture)}},
		{fact: "1.5 hidden", method: get, path: "/message-streams?includeArchivedStreams=false", want: map[string]any{"TotalCount": 3}},
		{fact: "11.3 unarchive", method: post, path: "/message-streams/py-news/unarchive", want: map[string]any{"ArchivedAt": nil, "SubscriptionManagementConfiguration.UnsubscribeHandlingType": "Postmark"}},
		{
			fact: "1.3, 11.6 dump", method: get, path: list + "/dump?EmailAddress=gone@shop.test&SuppressionReason=HardBounce&Origin=Recipient",
			want: map[string]any{"Suppressions.#": 1, "Suppressions.0.SuppressionReason": "HardBounce", "Suppressions.0.Origin": "Recipient", "Suppressions.0.CreatedAt": rule(isTime)},
		},
		{fact: "11.5 delete", method: post, path: list + "/delete", body: addresses("gone@shop.test"), want: map[string]any{"Suppressions.0.Status": "Deleted", "Suppressions.0.Message": nil}},
		{fact: "11.5 suppress", method: post, path: list, body: addresses("a@shop.test", "bad"), want: map[string]any{"Suppressions.0.Status": "Suppressed", "Suppressions.1.Status": "Failed"}},
	})
}
