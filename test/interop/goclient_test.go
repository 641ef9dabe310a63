package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGoClient makes the calls of a Go client in use (github.com/mrz1836/postmark);
// the answers, as that client reads them, are compared with the contract.
func TestGoClient(t *testing.T) {
	n := pretendNet(t)
	in := start(t, n, n.DNSAddr())
	client := filepath.Join(t.TempDir(), "goclient")
	if out, err := run(t, []string{"CGO_ENABLED=0"}, program(t, "go"), "build", "-C", "goclient", "-o", client, "."); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	settings, err := json.Marshal(map[string]any{
		"URL": "http://" + in.web, "Token": in.token, "AccountToken": accountToken, "ServerID": in.serverID,
		"From": "Shop <" + sender + ">", "Customers": "customer.test",
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := run(t, nil, client, string(settings))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for path, w := range goAnswers(in, got) {
		if g := dig(got, strings.Split(path, ".")); g != w {
			t.Errorf("%s = %#v, want %#v", path, g, w)
		}
	}
	guid := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`) // contract/clients.md 2.1
	for _, path := range []string{"one", "tested", "partly", "templated", "batch.0", "templated batch.0"} {
		if id := fmt.Sprint(dig(got, strings.Split(path+".MessageID", "."))); !guid.MatchString(id) {
			t.Errorf("%s has the MessageID %q", path, id)
		}
	}
	// With the pixel behind it; neither order of the files is promised.
	if html := fmt.Sprint(dig(got, []string{"details", "HtmlBody"})); !strings.HasPrefix(html, `<p>Hello, <img src="cid:dot"></p><img src="https://`) {
		t.Errorf("HtmlBody is %s", html)
	}
	if files := fmt.Sprint(dig(got, []string{"details", "Attachments"})); files != "[a.txt dot.gif]" && files != "[dot.gif a.txt]" {
		t.Errorf("Attachments are %s", files)
	}
	if !strings.Contains(fmt.Sprint(got["dump"]), "Subject: from Go\r\n") {
		t.Errorf("the source has no subject:\n%v", got["dump"])
	}

	for name, subject := range map[string]string{
		"go": "from Go", "go-cc": "from Go", "go-bcc": "from Go", "go-batch": "from Go batch", "go-part": "from Go partly",
		"go-template": "from a Go template", "go-templates": "from a Go template batch",
	} {
		checkOne(t, n, name+"@customer.test", subject)
	}
	for _, name := range []string{"go-never", "go-left"} {
		if got := n.Box().ByRecipient(name + "@customer.test"); len(got) > 0 {
			t.Errorf("%d mails came to %s", len(got), name)
		}
	}
	data := n.Box().ByRecipient("go-template@customer.test")[0].Data
	for _, want := range []string{`color: red;`, "Zo&#235; &amp; co", "Dear Zo=C3=AB & co, 1.5"} {
		if !bytes.Contains(bytes.ReplaceAll(data, []byte("=3D"), []byte("=")), []byte(want)) {
			t.Errorf("%q is not in\n%s", want, data)
		}
	}
}

// goAnswers are the answers that the contract promises, by path.
func goAnswers(in *instance, got map[string]any) map[string]any {
	const zero = "0001-01-01T00:00:00Z" // what the client makes of a missing time
	made := dig(got, []string{"made", "TemplateID"})
	return map[string]any{
		// contract/servers.md
		"server made.Color": "red", "server made.DeliveryType": "Sandbox", "server made.TrackOpens": true, "server made.TrackLinks": "HtmlOnly",
		"server made.SmtpApiActivated": true, "server made.InboundSpamThreshold": 5.0, "server made.EnableSmtpApiErrorHooks": false, "server made.InboundHookUrl": "",
		"server edited.ID": dig(got, []string{"server made", "ID"}), "server edited.Name": "Go 2", "server edited.Color": "blue",
		"server edited.TrackOpens": false, "server edited.TrackLinks": "None", "server edited.DeliveryType": "Sandbox",
		"server read.Name": "Go 2", "servers.TotalCount": 1.0, "servers.Servers.0.Name": "Go 2", "server by its token.Name": "Go 2", "server removed": "done",
		"no server.Code": 601.0, "server.ID": float64(in.serverID), "server.Name": "Interop", "server.ApiTokens.0": in.token,
		"server edited empty.Code": 609.0, "server edited empty.Status": 422.0,
		// contract/streams.md, clients.md 11.1 to 11.4
		"stream created.ID": "go-news", "stream created.ServerID": float64(in.serverID), "stream created.Description": "x", "stream created.MessageStreamType": "Broadcasts",
		"stream created.UpdatedAt": nil, "stream created.ArchivedAt": nil, "stream created.SubscriptionManagementConfiguration.UnsubscribeHandlingType": "Postmark",
		"stream edited.Name": "Edited", "stream edited.Description": "y", "stream archived.ID": "go-news", "stream archived.ServerID": float64(in.serverID),
		"stream read.ExpectedPurgeDate": dig(got, []string{"stream archived", "ExpectedPurgeDate"}),
		"broadcasts.TotalCount":         1.0, "broadcasts with archived.TotalCount": 2.0, "all streams.TotalCount": 4.0,
		"stream unarchived.ArchivedAt": nil, "stream unarchived.Name": "Edited",
		"unknown stream.Status": 422.0, "unknown stream.Message": "The message stream for the provided 'ID' was not found.",
		// contract/bounces.md §10, clients.md 4.7, 4.8, 11.4 to 11.6
		"suppressed.0.EmailAddress": "Go-Left@customer.test", "suppressed.0.Status": "Suppressed", "suppressed.0.Message": "",
		"suppressed.1.Status": "Failed", "suppressed.1.Message": "An invalid email address was provided.",
		"suppressions.0.EmailAddress": "go-left@customer.test", "suppressions.0.SuppressionReason": "ManualSuppression", "suppressions.0.Origin": "Customer", "suppressions.1": nil,
		"inactive.Status": 422.0, "inactive.Code": 406.0,
		"inactive.Message":     "You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: go-left@customer.test. Inactive recipients are ones that have generated a hard bounce, a spam complaint, or a manual suppression.",
		"partly.ErrorCode":     0.0,
		"partly.Message":       "Message OK, but will not deliver to these inactive addresses: go-left@customer.test.",
		"reactivated.0.Status": "Deleted", "reactivated.0.Message": "", "no suppressions.TotalCount": 0.0,
		"suppressions of no stream.Status": 422.0, "suppressions of no stream.Message": "The message stream for the provided 'ID' was not found.",
		// contract/sending.md, clients.md 4.1 to 4.11
		"one.To": "Ann <go@customer.test>", "one.ErrorCode": 0.0, "one.Message": "OK",
		"batch.0.To": "go-batch@customer.test", "batch.0.ErrorCode": 0.0, "batch.0.Message": "OK",
		"batch.1.ErrorCode": 300.0, "batch.1.Message": "Invalid 'To' address: 'nobody'.", "batch.1.To": "", "batch.1.MessageID": "", "batch.1.SubmittedAt": zero,
		"tested.ErrorCode": 0.0, "tested.Message": "Test job accepted",
		"foreign sender.Status": 422.0, "foreign sender.Code": 400.0, "no body.Status": 422.0, "no body.Code": 300.0,
		"no stream.Status": 422.0, "no stream.Code": 1235.0, "no stream.Message": "The stream provided: 'unknown-stream' does not exist on this server.",
		"wrong token.Status": 401.0, "wrong token.Code": 10.0,
		// contract/messages.md
		"details.Tag": "go", "details.Subject": "from Go", "details.Status": "Sent", "details.TextBody": "Hello from Go",
		"details.To.0.Email": "go@customer.test", "details.To.0.Name": "Ann", "details.Cc.0.Email": "go-cc@customer.test", "details.Bcc.0.Email": "go-bcc@customer.test",
		"details.MessageEvents.0.Type": "Delivered", "details.MessageEvents.1.Type": "Delivered",
		"list.TotalCount": 1.0, "list.List.0.Subject": "from Go", "list.List.0.MessageID": dig(got, []string{"one", "MessageID"}),
		// contract/templates.md A2 to A4, sending.md §12, clients.md 4.9, 4.16, 8.2
		"made.Name": "Receipt", "made.Active": true, "edited.TemplateID": made, "edited.Name": "Bill",
		"read.TemplateID": made, "read.Subject": "{{subject}}", "read.HtmlBody": "<style>b{color:red}</style><b>{{name}}</b>", "read.TextBody": "Dear {{name}}, {{n}}",
		"read.AssociatedServerId": float64(in.serverID), "read.Active": true,
		"templates.TotalCount": 1.0, "templates.List.0.TemplateID": made, "templates.List.0.Name": "Bill",
		"valid.AllContentIsValid": true, "valid.Subject.RenderedContent": "s_Value", "valid.TextBody.RenderedContent": "xs_1xs_2xs_3",
		"valid.HTMLBody.RenderedContent": `<html><head></head><body><b style="color: red;">H</b></body></html>`, "valid.SuggestedTemplateModel.h": "H",
		"invalid.AllContentIsValid": false, "invalid.Subject.ContentIsValid": true, "invalid.TextBody.ContentIsValid": false,
		"invalid.TextBody.ValidationErrors.0.Line": 2.0, "invalid.TextBody.ValidationErrors.0.CharacterPosition": 3.0,
		"templated.ErrorCode": 0.0, "templated.Message": "OK", "templated.To": "go-template@customer.test",
		"templated batch.0.ErrorCode": 0.0, "templated batch.1.ErrorCode": 1101.0, "templated batch.1.MessageID": "",
		"templated batch.1.Message": "The Template's 'Alias' associated with this request is not valid or was not found.",
		"no model.Status":           422.0, "no model.Code": 1120.0,
		"removed": "done", "inactive template.Active": false, "inactive template.Name": "Bill",
		"removed again.Status": 422.0, "removed again.Code": 1101.0,
	}
}
