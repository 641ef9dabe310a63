package interop

import (
	"bytes"
	"strings"
	"testing"

	"pennypost/internal/fakenet"
)

// officialTemplates makes, tries out, pushes and sends templates with the
// official client, whose answers are compared with the contract.
func officialTemplates(t *testing.T, n *fakenet.Net, in *instance, send func(string, map[string]any) map[string]any) {
	t.Helper()
	var other struct{ ID int64 }
	in.call(t, "POST", "/servers", "X-Postmark-Account-Token", accountToken, `{"Name":"Other"}`, &other)
	got := send("templates", map[string]any{
		"host": in.web, "token": in.token, "accountToken": accountToken, "serverID": in.serverID, "otherID": other.ID,
		"from": "Shop <" + sender + ">", "to": "js-template@customer.test", "batchTo": "js-templates@customer.test", "subject": "from a template",
	})
	checkOne(t, n, "js-template@customer.test", "from a template")
	checkOne(t, n, "js-templates@customer.test", "from a template batch")
	data := bytes.ReplaceAll(n.Box().ByRecipient("js-template@customer.test")[0].Data, []byte("=3D"), []byte("="))
	for _, want := range []string{`<p><b style="color: red;">Zo&#235; &amp; co</b></p>`, "-- Dear Zo=C3=AB & co --"} {
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("%q is not in\n%s", want, data)
		}
	}
	const each = "The 'each' block being opened requires a model path to be specified in the form '{#each <name>}'."
	want := map[string]any{
		"layout.TemplateType": "Layout", "layout.Alias": "wrap", "layout.Active": true, "layout.LayoutTemplate": nil,
		"made.TemplateType": "Standard", "made.Name": "Receipt",
		"edited.Name": "Bill", "edited.Alias": "bill", "edited.LayoutTemplate": "wrap",
		"read.Subject": "{{subject}}", "read.HtmlBody": "<b>{{name}}</b>", "read.TextBody": "Dear {{name}}", "read.AssociatedServerId": float64(in.serverID),
		"all.TotalCount": 2.0, "all.Templates.1.Alias": "bill", "layouts.TotalCount": 1.0, "layouts.Templates.0.Alias": "wrap",
		"valid.AllContentIsValid": true, "valid.Subject.RenderedContent": "s_Value", "valid.TextBody.RenderedContent": "-- xs_1xs_2xs_3 --",
		"valid.HtmlBody.RenderedContent":              `<html><head></head><body><p><b style="color: red;">H</b></p></body></html>`,
		"valid.SuggestedTemplateModel.h":              "H",
		"invalid.AllContentIsValid":                   false,
		"invalid.TextBody.ValidationErrors.0.Message": each, "invalid.TextBody.ValidationErrors.0.Line": 1.0,
		"invalid.TextBody.RenderedContent": nil, "invalid.HtmlBody": nil, "invalid.SuggestedTemplateModel": nil,
		"one.ErrorCode": 0.0, "one.Message": "OK", "one.To": "js-template@customer.test",
		"batch.0.ErrorCode": 0.0, "batch.1.ErrorCode": 1101.0, "batch.1.MessageID": nil,
		"batch.1.Message":    "The Template's 'Alias' associated with this request is not valid or was not found.",
		"planned.TotalCount": 2.0, "planned.Templates.0.Action": "Create", "planned.Templates.0.Alias": "wrap", "planned.Templates.0.TemplateId": nil,
		"pushed.TotalCount": 2.0, "pushed.Templates.1.Alias": "bill", "pushed.Templates.1.Action": "Create",
		"errors.push.class": "ApiInputError", "errors.push.code": 601.0, "errors.push.message": "The source server was not found.",
		"errors.placeholder.code": 1131.0, "errors.used.code": 1130.0, "errors.again.code": 1101.0,
		"errors.model.class": "ApiInputError", "errors.model.code": 1120.0, "errors.model.status": 422.0,
		"removed.ErrorCode": 0.0, "inactive.Active": false, "inactive.Name": "Bill",
	}
	for path, w := range want {
		if g := dig(got, strings.Split(path, ".")); g != w {
			t.Errorf("%s = %#v, want %#v", path, g, w)
		}
	}
	if id := dig(got, []string{"pushed", "Templates", "1", "TemplateId"}); id == nil {
		t.Error("the pushed template has no id")
	}
}
