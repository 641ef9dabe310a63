package api

import "testing"

// TestClientJava: postmark-java, which puts a slash on nearly every path, sends
// whole objects back, and asserts the length of ids.
func TestClientJava(t *testing.T) {
	r, c := newShop(t)
	to := r.newServer(t, c.account, `{"Name": "Live"}`)
	form := clientForm{header: map[string]string{"User-Agent": "Postmark Java Library: 1.11.1", "Content-Type": "application/json; charset=UTF-8"}}
	const mail = `{"From": "ann@acme.test", "To": "bob@shop.test", "Cc": null, "Bcc": null, "Subject": "Grüße", "HtmlBody": "<b>hi</b>", "TextBody": null, "ReplyTo": null,
		"Headers": null, "Attachments": [], "Metadata": null, "Tag": null, "TrackOpens": null, "TrackLinks": null, "MessageStream": null}`
	length36 := matches(`^.{36}$`)
	accepted := with(sentAnswer("bob@shop.test"), "MessageID", length36)
	form.replay(t, r, c, []clientCall{
		{fact: "1.2, 2.1 send by a path with a slash", method: post, path: "/email/", body: mail, want: accepted, save: map[string]string{"sent": "MessageID"}},
		{fact: "1.2, 1.5 details with a parameter that is in no document", method: get, path: "/messages/outbound/{sent}/details/?includeMessageContent=Full", want: map[string]any{"Subject": "Grüße", "MessageID": length36}},
		{fact: "5.5 dump", method: get, path: "/messages/outbound/{sent}/dump/", want: map[string]any{"Body": matches(`(?m)^Subject: `)}},
		{fact: "5.2 a negative count", method: get, path: "/messages/outbound/?count=-1&offset=0", status: 422, want: map[string]any{"ErrorCode": rule(isPlainCode)}},
		{fact: "1.2, 4.9 batch", method: post, path: "/email/batch/", body: `[` + mail + `, ` + mail + `]`, want: map[string]any{"#": 2, "0.MessageID": length36, "1.ErrorCode": 0, "1.Message": "OK"}},
		{
			fact: "4.1 test token", by: server(testToken), method: post, path: "/email/", body: mail,
			want: with(accepted, "Message", "Test job accepted"),
		},
		{fact: "4.1 test token, batch", by: server(testToken), method: post, path: "/email/batch/", body: `[` + mail + `]`, want: map[string]any{"0.Message": "Test job accepted", "0.MessageID": length36, "0.ErrorCode": 0}},
		{fact: "4.4 no recipient", method: post, path: "/email/", body: `{"From": "ann@acme.test", "Subject": "x", "TextBody": "x"}`, status: 422, want: map[string]any{"Message": "Zero recipients specified", "ErrorCode": 300}},
		{fact: "4.6 wrong token", by: server("needed-a-token"), method: post, path: "/email/", body: mail, status: 401, want: map[string]any{"ErrorCode": 10, "Message": matches(`valid.*token`)}},

		{
			fact: "8.4 template with umlauts, its text alone", method: post, path: "/templates/",
			body: `{"TemplateId": null, "Name": "Grüße ✓", "Subject": "Zoë", "HtmlBody": null, "TextBody": "größer {{name}}", "AssociatedServerId": null, "Active": null, "Alias": "receipt", "TemplateType": null, "LayoutTemplate": null}`,
			want: map[string]any{"TemplateId": rule(isInt32), "Name": "Grüße ✓", "Active": true, "Alias": "receipt"}, save: map[string]string{"id": "TemplateId"},
		},
		{
			fact: "8.3 the whole object is sent back", method: put, path: "/templates/{id}/",
			body: `{"TemplateId": {id}, "Name": "Grüße 2", "Subject": "Zoë", "HtmlBody": "<i>ö</i>", "TextBody": "größer {{name}}", "AssociatedServerId": {server}, "Active": true, "Alias": "receipt", "TemplateType": "Standard", "LayoutTemplate": null}`,
			want: map[string]any{"TemplateId": "{id}", "Name": "Grüße 2"},
		},
		{fact: "8.4 read", method: get, path: "/templates/{id}/", want: map[string]any{"HtmlBody": "<i>ö</i>", "TextBody": "größer {{name}}", "Subject": "Zoë", "AssociatedServerId": "{server}"}},
		{fact: "1.3 list", method: get, path: "/templates/?offset=0&count=10", want: map[string]any{"TotalCount": 1, "Templates.0.TemplateId": "{id}"}},
		{
			fact: "2.13 validate", method: post, path: "/templates/validate/", body: `{"Subject": "{{a}}", "HtmlBody": null, "TextBody": "x", "TestRenderModel": null, "InlineCssForHtmlTestRender": null}`,
			want: map[string]any{"AllContentIsValid": true, "HtmlBody": nil, "Subject.RenderedContent": "a_Value", "TextBody.ContentIsValid": true},
		},
		{
			fact: "4.16 send with it", method: post, path: "/email/withTemplate/",
			body: `{"From": "ann@acme.test", "To": "bob@shop.test", "Cc": null, "TemplateId": {id}, "TemplateAlias": null, "TemplateModel": {"name": "Al"}, "InlineCss": null}`, want: accepted,
		},
		{
			fact: "4.16 batch with it", method: post, path: "/email/batchWithTemplates/",
			body: `{"Messages": [{"From": "ann@acme.test", "To": "bob@shop.test", "TemplateId": {id}, "TemplateModel": {"name": "Al"}}]}`, want: map[string]any{"0.ErrorCode": 0, "0.MessageID": length36},
		},
		{
			fact: "1.7, 8.7 push", by: c.account, method: put, path: "/templates/push/", body: `{"SourceServerId": {server}, "DestinationServerId": ` + to.id + `, "PerformChanges": true}`,
			want: map[string]any{"TotalCount": 1, "Templates.0.Action": "Create", "Templates.0.Alias": "receipt", "Templates.0.TemplateId": rule(isInt32), "Templates.0.TemplateType": "Standard"},
		},
		{
			fact: "8.7 both unknown, and the same", by: c.account, method: put, path: "/templates/push/", body: `{"SourceServerId": 999999, "DestinationServerId": 999999, "PerformChanges": false}`,
			status: 422, want: map[string]any{"Message": "The source and destination servers were not found."},
		},
		{
			fact: "8.7 unknown source", by: c.account, method: put, path: "/templates/push/", body: `{"SourceServerId": 999999, "DestinationServerId": {server}, "PerformChanges": false}`,
			status: 422, want: map[string]any{"Message": "The source server was not found."},
		},
		{
			fact: "8.7 unknown destination", by: c.account, method: put, path: "/templates/push/", body: `{"SourceServerId": {server}, "DestinationServerId": 999999, "PerformChanges": false}`,
			status: 422, want: map[string]any{"Message": "The destination server was not found."},
		},
		{fact: "8.2, 12.7 delete", method: del, path: "/templates/{id}/", want: map[string]any{"ErrorCode": 0, "Message": matches(`removed`)}},

		{fact: "1.3, 11.1 list, the type in lower case", method: get, path: "/message-streams/?messageStreamType=all&includeArchivedStreams=true", want: map[string]any{"TotalCount": 3}},
		{
			fact: "11.2 create", method: post, path: "/message-streams/",
			body: `{"ID": "java-news", "ServerID": null, "Name": "News", "Description": null, "MessageStreamType": "Broadcasts", "CreatedAt": null, "UpdatedAt": null, "ArchivedAt": null, "ExpectedPurgeDate": null, "SubscriptionManagementConfiguration": null}`,
			want: newStream("java-news", "Broadcasts", "Postmark"), save: map[string]string{"created": "CreatedAt"},
		},
		{
			fact: "11.2 the whole object is sent back", method: ptch, path: "/message-streams/java-news/",
			body: `{"ID": "java-news", "ServerID": {server}, "Name": "Newer", "Description": "d", "MessageStreamType": "Broadcasts", "CreatedAt": "{created}", "UpdatedAt": null, "ArchivedAt": null, "ExpectedPurgeDate": null, "SubscriptionManagementConfiguration": {"UnsubscribeHandlingType": "Postmark"}}`,
			want: map[string]any{"ID": "java-news", "Name": "Newer", "Description": "d", "CreatedAt": "{created}", "UpdatedAt": rule(isTime)},
		},
		{fact: "11.3 archive", method: post, path: "/message-streams/java-news/archive/", want: map[string]any{"ID": "java-news", "ExpectedPurgeDate": rule(isFuture), "ServerID": "{server}"}},
		{fact: "11.3 unarchive", method: post, path: "/message-streams/java-news/unarchive/", want: map[string]any{"ID": "java-news", "ArchivedAt": nil}},
		{
			fact: "11.5 suppress", method: post, path: list + "/", body: addresses("gone@shop.test"),
			want: map[string]any{"Suppressions.0.Status": "Suppressed", "Suppressions.0.EmailAddress": "gone@shop.test", "Suppressions.0.Message": nil},
		},
		{fact: "1.3, 11.6 dump", method: get, path: list + "/dump/?emailAddress=gone@shop.test&fromDate=2026-01-05", want: map[string]any{"Suppressions.0.EmailAddress": "gone@shop.test"}},
		{fact: "11.5 delete", method: post, path: list + "/delete/", body: addresses("gone@shop.test"), want: map[string]any{"Suppressions.0.Status": "Deleted"}},
		{
			fact: "1.1, 12.5 paths in its own case", by: c.account, method: put, path: "/domains/" + c.domain + "/verifyDKIM/",
			want: map[string]any{"Name": "acme.test", "DKIMVerified": true, "DKIMTextValue": rule(isText)},
		},
		{fact: "1.1, 12.5 and SPF", by: c.account, method: post, path: "/domains/" + c.domain + "/verifySPF/", want: map[string]any{"SPFVerified": true, "SPFHost": rule(isText)}},
		{fact: "1.2, 2.9 server", method: get, path: "/server/", want: map[string]any{"ID": "{server}", "ApiTokens.#": 1}},
	})
}
