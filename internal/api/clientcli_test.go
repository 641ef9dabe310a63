package api

import "testing"

// TestClientCLI: postmark-cli, which is built on postmark.js: null is the body
// of every call that takes none.
func TestClientCLI(t *testing.T) {
	r, c := newShop(t)
	to := r.newServer(t, c.account, `{"Name": "Live"}`)
	form := clientForm{bodyless: "null", header: map[string]string{"User-Agent": "postmark-cli - 1.6.19", "Accept": "application/json, text/plain, */*"}}
	mail := `{"From": "ann@acme.test", "To": "bob@shop.test", "Subject": "Hi", "TextBody": "hello", "HtmlBody": "<b>hello</b>"}`
	sent := sentAnswer("bob@shop.test")
	form.replay(t, r, c, []clientCall{
		{
			fact: "2.2 servers list: one mask dot per character", by: c.account, method: get, path: "/servers?count=10&offset=0&name=",
			want: map[string]any{"TotalCount": 2, "Servers.0.ApiTokens.0": matches(`^.{36}$`), "Servers.1.ApiTokens.0": matches(`^.{36}$`), "Servers.0.Color": matches(`^[a-z]+$`)},
		},
		{fact: "4.2 email raw", method: post, path: "/email", body: mail, want: sent},
		{fact: "4.6 wrong token", by: server("invalid"), method: post, path: "/email", body: mail, status: 401, want: map[string]any{"ErrorCode": 10, "Message": matches(`valid.*token`)}},
		{fact: "4.6 wrong account token", by: accountOf("invalid"), method: get, path: "/servers?count=1&offset=0", status: 401, want: map[string]any{"ErrorCode": 10, "Message": matches(`valid.*token`)}},
		{
			fact: "8.1 push: a layout without an alias", method: post, path: "/templates", body: `{"Name": "Layout", "Alias": null, "HtmlBody": "<b>{{{@content}}}</b>", "TemplateType": "Layout"}`,
			want: map[string]any{"Alias": rule(isText), "TemplateType": "Layout"}, save: map[string]string{"layout": "Alias"},
		},
		{
			fact: "8.1 push: a template without an alias", method: post, path: "/templates", body: `{"Name": "Standard", "Alias": null, "Subject": "x", "TextBody": "x {{name}}", "TemplateType": "Standard", "LayoutTemplate": null}`,
			want: map[string]any{"Alias": rule(isText)}, save: map[string]string{"alias": "Alias", "id": "TemplateId"},
		},
		{
			fact: "8.1 pull: all have an alias", method: get, path: "/templates?count=300&offset=0",
			want: map[string]any{"TotalCount": 2, "Templates.#": 2, "Templates.0.Alias": "{layout}", "Templates.1.Alias": "{alias}", "Templates.1.Active": true},
		},
		{fact: "8.1 pull: by the alias, with a body of null", method: get, path: "/templates/{alias}", want: map[string]any{"TemplateId": "{id}", "HtmlBody": nil, "TextBody": "x {{name}}", "Subject": "x", "LayoutTemplate": nil}},
		{
			fact: "1.10 preview: Name and Alias go along to validate", method: post, path: "/templates/validate",
			body: `{"Name": "Standard", "Alias": "anything", "Subject": "x", "HtmlBody": "<i>{{name}}</i>", "TextBody": "{{name}}", "TemplateType": "Standard", "LayoutTemplate": "{layout}", "TestRenderModel": {"name": "Al"}}`,
			want: map[string]any{"AllContentIsValid": true, "HtmlBody.RenderedContent": matches(`<b><i>Al</i></b>`), "TextBody.RenderedContent": "Al", "Subject.RenderedContent": "x"},
		},
		{fact: "8.3 push: edit by alias", method: put, path: "/templates/{alias}", body: `{"Name": "Standard 2", "Alias": "{alias}", "Subject": "y", "TextBody": "y", "TemplateType": "Standard", "LayoutTemplate": "{layout}"}`, want: map[string]any{"Name": "Standard 2", "LayoutTemplate": "{layout}"}},
		{fact: "4.16 email template by id", method: post, path: "/email/withTemplate", body: `{"TemplateId": {id}, "TemplateModel": {"name": "Al"}, "From": "ann@acme.test", "To": "bob@shop.test"}`, want: sent},
		{fact: "4.16 by alias, an empty model", method: post, path: "/email/withTemplate", body: `{"TemplateAlias": "{alias}", "TemplateModel": {}, "From": "ann@acme.test", "To": "bob@shop.test"}`, want: sent},
		{
			fact: "4.16 without a model", method: post, path: "/email/withTemplate", body: `{"TemplateId": {id}, "From": "ann@acme.test", "To": "bob@shop.test"}`,
			status: 422, want: map[string]any{"ErrorCode": rule(isPlainCode)},
		},
		{
			fact: "4.16 without id and alias", method: post, path: "/email/withTemplate", body: `{"TemplateModel": {}, "From": "ann@acme.test", "To": "bob@shop.test"}`,
			status: 422, want: map[string]any{"ErrorCode": rule(isPlainCode)},
		},
		{
			fact: "8.7 push between servers, told", by: c.account, method: put, path: "/templates/push", body: `{"SourceServerID": {server}, "DestinationServerID": ` + to.id + `, "PerformChanges": false}`,
			want: map[string]any{"TotalCount": 2, "Templates.0.Action": "Create", "Templates.1.Alias": "{alias}", "Templates.0.TemplateId": rule(isMissing)},
		},
		{
			fact: "8.7 push to no server", by: c.account, method: put, path: "/templates/push", body: `{"SourceServerID": {server}, "DestinationServerID": 999999, "PerformChanges": false}`,
			status: 422, want: map[string]any{"Message": "The destination server was not found."},
		},
		{fact: "1.8 delete with a body of null", method: del, path: "/templates/{id}", want: map[string]any{"ErrorCode": 0, "Message": "Template {id} removed."}},
		{fact: "8.2 a second delete", method: del, path: "/templates/{id}", status: 422, want: map[string]any{"Message": matches(`not valid.*not found`)}},
		{fact: "1.8 archive with a body of null", method: post, path: "/message-streams/broadcast/archive", want: map[string]any{"ID": "broadcast"}},
		{fact: "1.8 unarchive with a body of null", method: post, path: "/message-streams/broadcast/unarchive", want: map[string]any{"ID": "broadcast", "ArchivedAt": nil}},
		{fact: "1.8 suppressions with a body of null", method: get, path: list + "/dump", want: map[string]any{"Suppressions.#": 0}},
	})
}
