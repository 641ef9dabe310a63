package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/store"
)

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// message is the JSON of a message; fields replace or add to a valid one.
func message(fields string) string {
	m := object{}
	for _, s := range []string{`{"From": "ann@acme.test", "To": "bob@shop.test", "Subject": "Hi", "TextBody": "hello"}`, "{" + fields + "}"} {
		if err := json.Unmarshal([]byte(s), &m); err != nil {
			panic(err)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// stored gives a message and its parsed source.
func (r *rig) stored(t *testing.T, s pennypost.ServerID, result object) (*pennypost.Message, *eml.Parsed) {
	t.Helper()
	id, err := pennypost.ParseMessageID(result.text(t, "MessageID"))
	if err != nil {
		t.Fatal(err)
	}
	var m *pennypost.Message
	var raw []byte
	err = r.st.View(t.Context(), func(tx *store.Tx) (err error) {
		if m, err = tx.Message(t.Context(), s, id); err != nil {
			return err
		}
		raw, err = tx.Content(t.Context(), id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := eml.Parse(raw, eml.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m, p
}

// count gives how many messages of a server there are.
func (r *rig) count(t *testing.T, c *tenant) string {
	t.Helper()
	n, ok := r.call(t, c.server, get, "/messages/outbound?count=1&offset=0", "").ok()["TotalCount"].(json.Number)
	if !ok {
		t.Fatal("TotalCount is no number")
	}
	return n.String()
}

func TestSendAnswer(t *testing.T) {
	r, c := newShop(t)
	tests := []struct {
		name, fields string
		to           any // nil: no key
	}{
		{"bare address", `"To": "bob@shop.test"`, "bob@shop.test"},
		{"To as it was sent", `"To": "\"Doe, Jane\" <jane@shop.test>, sam@shop.test"`, `"Doe, Jane" <jane@shop.test>, sam@shop.test`},
		{"list without blanks and a comma at the end", `"To": "a@shop.test,b@shop.test,"`, "a@shop.test,b@shop.test,"},
		{"non-ASCII name", `"To": "Jürgen Größe <j@shop.test>"`, "Jürgen Größe <j@shop.test>"},
		{"50 recipients", `"To": "` + strings.TrimSuffix(strings.Repeat("a@shop.test,", 50), ",") + `"`, strings.TrimSuffix(strings.Repeat("a@shop.test,", 50), ",")},
		{"Cc alone", `"To": null, "Cc": "cy@shop.test"`, nil},
		{"Bcc alone", `"To": "", "Bcc": "di@shop.test"`, nil},
		{"without a subject", `"Subject": null`, "bob@shop.test"},
		{"HTML alone", `"TextBody": null, "HtmlBody": "<b>hi</b>"`, "bob@shop.test"},
		{"every optional field empty, as PHP sends", `"Cc": "", "Bcc": "", "Tag": "", "ReplyTo": "", "TrackLinks": "", "Headers": null, "Attachments": [], "Metadata": null, "MessageStream": "", "TrackOpens": null`, "bob@shop.test"},
		{"unknown fields", `"TemplateModel": {"a": 1}, "Foo": [1]`, "bob@shop.test"},
		{"From with a name", `"From": "Blue Kettle <orders@acme.test>"`, "bob@shop.test"},
		{"From with several addresses", `"From": "ann@acme.test, eve@evil.test"`, "bob@shop.test"},
		{"From in another case", `"From": "Ann@ACME.test"`, "bob@shop.test"},
		{"stream by name", `"MessageStream": "broadcast"`, "bob@shop.test"},
		{"a deadline", `"DeliverBy": 3600`, "bob@shop.test"},
		{"Message-ID with X-PM-KeepID", `"Headers": [{"Name": "Message-ID", "Value": "<mine@acme.test>"}, {"Name": "X-PM-KeepID", "Value": "true"}]`, "bob@shop.test"},
		{"bounce address", `"To": "Soft_Bounce@bounce-testing.postmarkapp.com"`, "Soft_Bounce@bounce-testing.postmarkapp.com"},
		{"blackhole address", `"To": "x@blackhole.postmarkapp.com"`, "x@blackhole.postmarkapp.com"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := r.call(t, c.server, post, "/email", message(tt.fields)).ok()
			if !uuid.MatchString(got.text(t, "MessageID")) {
				t.Errorf("MessageID = %q", got["MessageID"])
			}
			wantRecent(t, "SubmittedAt", got.text(t, "SubmittedAt"))
			want := object{"SubmittedAt": got["SubmittedAt"], "MessageID": got["MessageID"], "ErrorCode": json.Number("0"), "Message": "OK"}
			if tt.to != nil {
				want["To"] = tt.to
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestSendRefusals(t *testing.T) {
	r, c := newShop(t)
	other := r.tenant(t, r.second(t), "other.test")
	r.addStream(t, other.number, "only-theirs")
	const sender = "The 'From' address you supplied (%s) is not a Sender Signature on your account. Please add and confirm this address in order to be able to use it in the 'From' field of your messages."
	file := func(name string) string {
		return fmt.Sprintf(`"Attachments": [{"Name": %q, "Content": "aGk=", "ContentType": "text/plain"}]`, name)
	}
	tests := []struct {
		name, fields string
		code         int
		text         string // "": not given by the contract
	}{
		{"no From", `"From": null`, 300, "Invalid 'From' value."},
		{"empty From", `"From": ""`, 300, "Invalid 'From' value."},
		{"From without a domain of two labels", `"From": "webmaster@localhost"`, 300, "Invalid 'From' address: 'webmaster@localhost'."},
		{"From over 255", `"From": "` + strings.Repeat("a", 250) + ` <ann@acme.test>"`, 300, ""},
		{"no recipient", `"To": null`, 300, "Zero recipients specified"},
		{"only commas", `"To": " , ,"`, 300, "Zero recipients specified"},
		{"To is no address", `"To": "test"`, 300, "Invalid 'To' address: 'test'."},
		{"To without a local part", `"To": "@shop.test"`, 300, "Invalid 'To' address: '@shop.test'."},
		{"To without @", `"To": "jane.example.com"`, 300, "Error parsing 'To': Illegal email address 'jane.example.com'. It must contain the '@' symbol."},
		{"Cc with a bad domain", `"Cc": "jane@+"`, 300, "Error parsing 'Cc': Illegal email domain '+' in address 'jane@+'."},
		{"Bcc without @", `"Bcc": "jane.example.com"`, 300, "Error parsing 'Bcc': Illegal email address 'jane.example.com'. It must contain the '@' symbol."},
		{"ReplyTo with a bad domain", `"ReplyTo": "jane@+"`, 300, "Error parsing 'Reply-To': Illegal email domain '+' in address 'jane@+'."},
		{"the whole in quotes", `"To": "\"Jane Doe <jane@example.com>\""`, 300, "Error parsing 'To': Illegal email domain 'example.com>' in address 'Jane Doe <jane@example.com>'."},
		{"one bad address in a list", `"To": "a@shop.test, b"`, 300, "Invalid 'To' address: 'b'."},
		{"line end in an address", `"To": "a@shop.test\r\nBcc: x@evil.test"`, 300, ""},
		{"51 recipients", `"To": "` + strings.Repeat("a@shop.test,", 51) + `"`, 300, ""},
		{"51 in all fields together", `"To": "` + strings.Repeat("a@shop.test,", 20) + `", "Cc": "` + strings.Repeat("b@shop.test,", 20) + `", "Bcc": "` + strings.Repeat("c@shop.test,", 11) + `"`, 300, ""},
		{"no body", `"TextBody": null`, 300, "Provide either email TextBody or HtmlBody or both."},
		{"empty bodies", `"TextBody": "", "HtmlBody": ""`, 300, "Provide either email TextBody or HtmlBody or both."},
		{"attachments without a body", `"TextBody": null, ` + file("a.txt"), 300, "Provide either email TextBody or HtmlBody or both."},
		{"Subject over 2000", `"Subject": "` + strings.Repeat("é", 2001) + `"`, 300, ""},
		{"Tag over 1000", `"Tag": "` + strings.Repeat("a", 1001) + `"`, 300, ""},
		{"TrackLinks", `"TrackLinks": "Everything"`, 300, ""},
		{"metadata name over 20", `"Metadata": {"` + strings.Repeat("a", 21) + `": "x"}`, 300, "Invalid metadata content. Field names are limited to 20 characters."},
		{"metadata value over 80", `"Metadata": {"a": "` + strings.Repeat("a", 81) + `"}`, 300, ""},
		{"11 metadata fields", `"Metadata": {"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1}`, 300, ""},
		{"metadata names equal but for case", `"Metadata": {"a": "1", "A": "2"}`, 300, ""},
		{"line end in a header value", `"Headers": [{"Name": "X-A", "Value": "a\r\nBcc: x@evil.test"}]`, 300, ""},
		{"line end in a header name", `"Headers": [{"Name": "X-A\nBcc", "Value": "x"}]`, 300, ""},
		{"empty header name", `"Headers": [{"Name": "", "Value": "x"}]`, 300, ""},
		{"colon in a header name", `"Headers": [{"Name": "X:", "Value": "x"}]`, 300, ""},
		{"content that is no base64", `"Attachments": [{"Name": "a", "Content": "***"}]`, 300, ""},
		{"forbidden type", file("a.exe"), 411, "Attachment file type not allowed."},
		{"forbidden type in capitals", file("a.EXE"), 411, "Attachment file type not allowed."},
		{"forbidden type with a dot behind", file("a.exe."), 411, "Attachment file type not allowed."},
		{"forbidden type with a blank behind", file("a.exe "), 411, "Attachment file type not allowed."},
		{"forbidden type in full width", file("a.ｅｘｅ"), 411, "Attachment file type not allowed."},
		{"forbidden type behind a path", file("../../a.vbs"), 411, "Attachment file type not allowed."},
		{"unknown stream", `"MessageStream": "unknown-stream"`, 1235, "The stream provided: 'unknown-stream' does not exist on this server."},
		{"stream of another server", `"MessageStream": "only-theirs"`, 1235, "The stream provided: 'only-theirs' does not exist on this server."},
		{"inbound stream", `"MessageStream": "inbound"`, 1236, "Sending is not supported for this stream type."},
		{"stream before recipients", `"MessageStream": "nope", "To": "x"`, 1235, "The stream provided: 'nope' does not exist on this server."},
		{"sender of nobody", `"From": "Ann <ann@example.net>"`, 400, fmt.Sprintf(sender, "Ann <ann@example.net>")},
		{"sender of another account", `"From": "x@other.test"`, 400, fmt.Sprintf(sender, "x@other.test")},
		{"sender in a subdomain", `"From": "x@sub.acme.test"`, 400, fmt.Sprintf(sender, "x@sub.acme.test")},
		{"sender in a look-alike domain", `"From": "x@аcme.test"`, 400, ""},
		{"deadline in the past", `"DeliverBy": "2020-01-01T00:00:00Z"`, 300, "Invalid 'DeliverBy' value."},
		{"deadline of no seconds", `"DeliverBy": 0`, 300, "Invalid 'DeliverBy' value."},
		{"wrong type", `"Subject": 5`, 403, "Invalid request field(s): 'Subject'."},
		{"two wrong types", `"From": ["x"], "TrackOpens": "yes"`, 403, "Invalid request field(s): 'From', 'TrackOpens'."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := r.call(t, c.server, post, "/email", message(tt.fields))
			if tt.text == "" {
				got.refusedWith(422, tt.code, "")
				return
			}
			got.refused(422, tt.code, tt.text)
		})
	}
	for name, body := range map[string]string{"no body": "", "null": "null", "empty object": "{}"} {
		t.Run(name, func(t *testing.T) {
			r.call(t, c.server, post, "/email", body).refused(422, 300, "Invalid 'From' value.")
		})
	}
	t.Run("no JSON", func(t *testing.T) {
		r.call(t, c.server, post, "/email", `{"From": }`).refused(422, 402, "Invalid JSON.")
	})
	t.Run("an array", func(t *testing.T) {
		r.call(t, c.server, post, "/email", `[{}]`).refused(422, 403, "Invalid request body.")
	})
	if n := r.count(t, c); n != "0" {
		t.Errorf("%s messages were stored by refused calls", n)
	}
}

// Attachments over the limit need a body limit that lets them in.
func TestAttachmentsTooBig(t *testing.T) {
	r, c := newShop(t)
	conf := r.api.conf
	conf.BodyLimit = 20 << 20
	a, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	r.url = listen(t, a.Handler())
	file := base64.StdEncoding.EncodeToString(make([]byte, 4<<20))
	send := func(n int) answer {
		one := `{"Name": "a.bin1", "Content": "` + file + `"}`
		return r.call(t, c.server, post, "/email", message(`"Attachments": [`+strings.TrimSuffix(strings.Repeat(one+",", n), ",")+`]`))
	}
	send(1).ok()
	send(2).refused(422, 300, "Attachments too big. The total size should be less than 10485760 bytes.")
}

func TestSendMail(t *testing.T) {
	r, c := newShop(t)
	got := r.call(t, c.server, post, "/email", message(`
		"From": "Blue Kettle <orders@acme.test>", "To": "\"Doe, Jane\" <jane@shop.test>, sam@shop.test", "Cc": "desk@shop.test", "Bcc": "Boss <boss@acme.test>",
		"ReplyTo": "help@acme.test", "Subject": "Größe 7781", "HtmlBody": "<p>hi</p><img src=\"cid:logo.png\">", "Tag": "order", "Metadata": {"order": 7781, "vip": true},
		"TrackOpens": true, "TrackLinks": "htmlonly",
		"Headers": [{"Name": "X-Shop", "Value": "eu-1"}, {"Name": "References", "Value": "<a@b.test>"}, {"Name": "Message-ID", "Value": "<mine@acme.test>"},
			{"Name": "MIME-Version", "Value": "1.0"}, {"Name": "Content-Transfer-Encoding", "Value": "7bit"}, {"Name": "Content-Type", "Value": "text/evil"},
			{"Name": "Date", "Value": "Mon, 01 Jan 2001 00:00:00 +0000"}, {"Name": "From", "Value": "x@evil.test"}, {"Name": "to", "Value": "x@evil.test"},
			{"Name": "Bcc", "Value": "x@evil.test"}, {"Name": "Subject", "Value": "evil"}, {"Name": "Return-Path", "Value": "<x@evil.test>"},
			{"Name": "DKIM-Signature", "Value": "v=1"}, {"Name": "Received", "Value": "from evil"}, {"Name": "X-PM-Message-Id", "Value": "evil"}, {"Name": "X-PM-Tag", "Value": "evil"},
			{"Name": "List-Unsubscribe", "Value": "<https://acme.test/u>"}],
		"Attachments": [{"Name": "logo.png", "Content": "iVBORw0K\r\nGgo=", "ContentType": "image/png", "ContentID": "cid:logo.png"},
			{"Name": "receipt.pdf", "Content": "aGVs\nbG8=", "ContentType": "application/pdf", "ContentId": "receipt.pdf"},
			{"Name": "day.ics", "Content": "aGk=", "ContentType": "text/calendar; method=REQUEST", "ContentID": null}]`)).ok()
	m, p := r.stored(t, c.number, got)

	for name, want := range map[string]string{
		"From": "Blue Kettle <orders@acme.test>", "Subject": "Größe 7781", "To": `"Doe, Jane" <jane@shop.test>, sam@shop.test`,
		"Cc": "desk@shop.test", "Reply-To": "help@acme.test", "Message-Id": "<mine@acme.test>", "X-Shop": "eu-1", "References": "<a@b.test>",
		"List-Unsubscribe": "<https://acme.test/u>", "X-PM-Message-Id": got.text(t, "MessageID"), "X-PM-Tag": "order", "MIME-Version": "1.0",
	} {
		if all := p.Values(name); len(all) != 1 || p.Text(name) != want {
			t.Errorf("%s: %q, want %q alone", name, all, want)
		}
	}
	for _, name := range []string{"Bcc", "Return-Path", "DKIM-Signature", "Content-Transfer-Encoding"} {
		if all := p.Values(name); len(all) != 0 {
			t.Errorf("%s is in the mail: %q", name, all)
		}
	}
	if all := p.Values("Date"); len(all) != 1 || strings.Contains(all[0], "2001") {
		t.Errorf("Date: %q", all)
	}
	if all := p.Values("Received"); len(all) != 1 || strings.Contains(all[0], "evil") {
		t.Errorf("Received: %q", all)
	}
	for part := range p.Root.All() {
		if strings.Contains(string(part.Content), "evil") {
			t.Errorf("a part has what was dropped: %q", part.Content)
		}
	}
	if text, html := p.Root.TextBody().Text(), p.Root.HTMLBody().Text(); text != "hello" || html != `<p>hi</p><img src="cid:logo.png">` {
		t.Errorf("bodies %q, %q", text, html)
	}
	var files []string
	for _, f := range p.Root.Attachments() {
		files = append(files, fmt.Sprintf("%s %s %s %q", f.Disposition, f.Type, f.Filename, f.Content))
	}
	wantFiles := []string{
		`inline image/png logo.png "\x89PNG\r\n\x1a\n"`,
		`attachment application/pdf receipt.pdf "hello"`, // its id is referenced nowhere
		`attachment text/calendar day.ics "hi"`,
	}
	if diff := cmp.Diff(wantFiles, files); diff != "" {
		t.Errorf("files -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"order": "7781", "vip": "true"}, m.Metadata); diff != "" {
		t.Errorf("metadata -want +got:\n%s", diff)
	}
	if m.Tag != "order" || !m.TrackOpens || m.TrackLinks != pennypost.TrackHTMLOnly || m.SignDomain != "acme.test" || m.Stream != "outbound" || m.Sandbox {
		t.Errorf("message is %+v", m)
	}
}

func TestDuplicateRecipientsGetOneCopy(t *testing.T) {
	r, c := newShop(t)
	got := r.call(t, c.server, post, "/email", message(`"To": "bob@shop.test, BOB@shop.test", "Cc": "bob@shop.test", "Bcc": "Bob@SHOP.test"`)).ok()
	d := r.call(t, c.server, get, "/messages/outbound/"+got.text(t, "MessageID")+"/details", "").ok()
	if diff := cmp.Diff([]any{"bob@shop.test"}, d["Recipients"]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTestToken(t *testing.T) {
	r := newRig(t)
	by := server(testToken)
	got := r.call(t, by, post, "/email", `{"From": "sender@example.com", "To": "Bob <bob@shop.test>", "TextBody": "hi", "Subject": null, "Tag": null, "Bcc": null, "TrackOpens": null}`).ok()
	if !uuid.MatchString(got.text(t, "MessageID")) {
		t.Errorf("MessageID = %q", got["MessageID"])
	}
	wantRecent(t, "SubmittedAt", got.text(t, "SubmittedAt"))
	want := object{"To": "Bob <bob@shop.test>", "SubmittedAt": got["SubmittedAt"], "MessageID": got["MessageID"], "ErrorCode": json.Number("0"), "Message": "Test job accepted"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	again := r.call(t, server("postmark_api_test"), post, "/email", message("")).ok()
	if again["MessageID"] == got["MessageID"] {
		t.Error("two calls got one MessageID")
	}
	r.call(t, by, post, "/email", "").refused(422, 300, "Invalid 'From' value.")
	r.call(t, by, post, "/email", message(`"To": "x"`)).refused(422, 300, "Invalid 'To' address: 'x'.")
	r.call(t, by, post, "/email", message(`"Attachments": [{"Name": "a.exe", "Content": ""}]`)).refused(422, 411, "Attachment file type not allowed.")
	batch := r.call(t, by, post, "/email/batch", "["+message("")+","+message(`"To": null`)+"]").items()
	if batch[0]["Message"] != "Test job accepted" {
		t.Errorf("batch item is %v", batch[0])
	}
	if diff := cmp.Diff(object{"ErrorCode": 300.0, "Message": "Zero recipients specified"}, batch[1]); diff != "" {
		t.Errorf("batch error -want +got:\n%s", diff)
	}
	err := r.st.View(t.Context(), func(tx *store.Tx) error {
		id, err := pennypost.ParseMessageID(got.text(t, "MessageID"))
		if err != nil {
			return err
		}
		if _, err := tx.AnyMessage(t.Context(), id); err == nil {
			t.Error("the test message was stored")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSandboxMessage(t *testing.T) {
	r, _ := newShop(t)
	box := r.newServer(t, accountOf(firstToken), `{"Name": "Box", "DeliveryType": "Sandbox"}`)
	got := r.call(t, box.server, post, "/email", message("")).ok()
	if got["Message"] != "OK" {
		t.Errorf("answer is %v", got)
	}
	d := r.call(t, box.server, get, "/messages/outbound/"+got.text(t, "MessageID")+"/details", "").ok()
	if d["Sandboxed"] != true {
		t.Errorf("Sandboxed = %v", d["Sandboxed"])
	}
}

const (
	inactiveOne  = "You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: %s. Inactive recipients are ones that have generated a hard bounce, a spam complaint, or a manual suppression."
	inactiveItem = "You tried to send to a recipient that has been marked as inactive. Found inactive addresses: %s. Inactive recipients are ones that have generated a hard bounce, a spam complaint, or a manual suppression. "
	inactiveSome = "Message OK, but will not deliver to these inactive addresses: %s."
)

func TestInactiveRecipients(t *testing.T) {
	r, c := newShop(t)
	r.suppress(t, c.number, "outbound", "Dead@Shop.test")
	r.suppress(t, c.number, "outbound", "gone@shop.test")
	r.suppress(t, c.number, "broadcast", "quiet@shop.test")
	tests := []struct {
		name, fields string
		status       int
		text         string
	}{
		{"one, suppressed", `"To": "dead@shop.test"`, 422, fmt.Sprintf(inactiveOne, "dead@shop.test")},
		{"in another case and with a name", `"To": "D <DEAD@shop.TEST>"`, 422, fmt.Sprintf(inactiveOne, "dead@shop.test")},
		{"all, in To and Bcc", `"To": "gone@shop.test", "Bcc": "dead@shop.test"`, 422, fmt.Sprintf(inactiveOne, "gone@shop.test, dead@shop.test")},
		{"some", `"To": "bob@shop.test, Dead@shop.test", "Cc": "gone@shop.test"`, 200, fmt.Sprintf(inactiveSome, "dead@shop.test, gone@shop.test")},
		{"suppressed on another stream", `"To": "quiet@shop.test"`, 200, "OK"},
		{"suppressed on this stream alone", `"To": "dead@shop.test", "MessageStream": "broadcast"`, 200, "OK"},
		{"suppressed on the other stream, sent by it", `"To": "quiet@shop.test", "MessageStream": "broadcast"`, 422, fmt.Sprintf(inactiveOne, "quiet@shop.test")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := r.call(t, c.server, post, "/email", message(tt.fields))
			if tt.status == 422 {
				got.refused(422, 406, tt.text)
				return
			}
			if o := got.ok(); o["Message"] != tt.text || o["ErrorCode"] != json.Number("0") || !uuid.MatchString(o.text(t, "MessageID")) {
				t.Errorf("got %v, want %q", o, tt.text)
			}
		})
	}
	t.Run("batch item", func(t *testing.T) {
		items := r.call(t, c.server, post, "/email/batch", "["+message(`"To": "dead@shop.test"`)+","+message(`"To": "bob@shop.test, gone@shop.test"`)+"]").items()
		if diff := cmp.Diff(object{"ErrorCode": 406.0, "Message": fmt.Sprintf(inactiveItem, "dead@shop.test")}, items[0]); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if items[1]["Message"] != fmt.Sprintf(inactiveSome, "gone@shop.test") {
			t.Errorf("second item is %v", items[1])
		}
	})
}

func TestAccountRefusals(t *testing.T) {
	r, c := newShop(t)
	send := func(fields string) answer {
		t.Helper()
		return r.call(t, c.server, post, "/email", message(fields))
	}
	set := func(path, body string) {
		t.Helper()
		method := put
		if strings.HasSuffix(path, "end") || strings.HasSuffix(path, "reactivate") {
			method = post
		}
		r.call(t, operator(), method, path, body).ok()
	}
	set("/operator/accounts/1", `{"Pending": true}`)
	send("").refused(422, 412, "While your account is pending approval, all recipient addresses must share the same domain as the 'From' address. The domain of the 'From' address is 'acme.test'.")
	send(`"To": "bob@acme.test"`).ok()
	set("/operator/accounts/1", `{"Pending": false}`)

	set("/operator/servers/"+c.id+"/suspend", `{"Reason": "6.2 % of the mail bounced"}`)
	send("").refused(422, 413, "This account is not approved to send email. 6.2 % of the mail bounced")
	set("/operator/servers/"+c.id+"/reactivate", "")
	send("").ok()
	set("/operator/accounts/1/suspend", `{"Reason": "payment failed"}`)
	send("").refused(422, 413, "This account is not approved to send email. payment failed")
	set("/operator/accounts/1/reactivate", "")
	send("").ok()

	set("/operator/servers/"+c.id, `{"MonthlyLimit": 5}`) // three are used
	send(`"To": "a@shop.test, b@shop.test"`).ok()
	send("").refusedWith(422, 405, "You are not allowed to send: the monthly limit of 5 is used up until ")
	set("/operator/servers/"+c.id+"/limit", `{"MonthlyLimit": 0}`)
	send("").ok()
	set("/operator/accounts/1", `{"MonthlyLimit": 6}`)
	send("").refusedWith(422, 405, "You are not allowed to send: the monthly limit of 6 is used up until ")
}

func TestBatch(t *testing.T) {
	r, c := newShop(t)
	bodies := []string{
		message(`"To": "one@shop.test"`), message(`"To": "b"`), message(`"From": "x@other.test"`), message(`"To": "Two <two@shop.test>"`),
		message(`"Subject": 5`), message(`"MessageStream": "nope"`), message(`"To": null, "Cc": "three@shop.test"`), `"x"`, "null",
		message(`"Attachments": [{"Name": "a.exe", "Content": ""}]`), message(`"Attachments": [{"Name": "a", "Content": "*"}]`), message(`"To": "four@shop.test"`),
	}
	items := r.call(t, c.server, post, "/email/batch/", "["+strings.Join(bodies, ",")+"]").items()
	type result struct {
		To      any
		Code    float64
		Message string
	}
	want := []result{
		{"one@shop.test", 0, "OK"},
		{nil, 300, "Invalid 'To' address: 'b'."},
		{nil, 400, "The 'From' address you supplied (x@other.test) is not a Sender Signature on your account. Please add and confirm this address in order to be able to use it in the 'From' field of your messages."},
		{"Two <two@shop.test>", 0, "OK"},
		{nil, 403, "Invalid request field(s): 'Subject'."},
		{nil, 1235, "The stream provided: 'nope' does not exist on this server."},
		{nil, 0, "OK"},
		{nil, 403, "Invalid request body."},
		{nil, 300, "Invalid 'From' value."},
		{nil, 411, "Attachment file type not allowed."},
		{nil, 300, "Invalid attachment: the 'Content' of 'a' is not base64."},
		{"four@shop.test", 0, "OK"},
	}
	if len(items) != len(want) {
		t.Fatalf("%d results, want %d", len(items), len(want))
	}
	for n, item := range items {
		if diff := cmp.Diff(want[n], result{item["To"], item["ErrorCode"].(float64), item["Message"].(string)}); diff != "" {
			t.Errorf("item %d -want +got:\n%s", n, diff)
		}
		keys := []string{"ErrorCode", "Message"}
		if item["ErrorCode"] == 0.0 {
			keys = append(keys, "MessageID", "SubmittedAt")
			if item["To"] != nil {
				keys = append(keys, "To")
			}
		}
		if diff := cmp.Diff(keys, slices.Sorted(maps.Keys(item))); diff != "" {
			t.Errorf("item %d: keys -want +got:\n%s", n, diff)
		}
	}
	if n := r.count(t, c); n != "4" {
		t.Errorf("%s messages are stored, want 4", n)
	}
}

func TestWholeBatch(t *testing.T) {
	r, c := newShop(t)
	many := func(n, bad int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`{"From":"ann@acme.test","To":"u%d@shop.test","TextBody":"x"}`, i)
			if i == bad {
				list[i] = `{"From":"ann@acme.test","To":"bad","TextBody":"x"}`
			}
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	if got := r.call(t, c.server, post, "/email/batch", "[]"); got.status != 200 || got.body != "[]" {
		t.Errorf("empty batch: got %d %s", got.status, got.body)
	}
	r.call(t, c.server, post, "/email/batch", many(501, -1)).refused(422, 410, "You may only send up to 500 messages in a single batched request.")
	if n := r.count(t, c); n != "0" {
		t.Errorf("%s messages of a batch of 501 are stored", n)
	}
	r.call(t, c.server, post, "/email/batch", "").refused(422, 403, "Invalid request body.")
	r.call(t, c.server, post, "/email/batch", `{"Messages": []}`).refused(422, 403, "Invalid request body.")
	r.call(t, c.server, post, "/email/batch", `[{]`).refused(422, 402, "Invalid JSON.")
	r.call(t, server("x"), post, "/email/batch", many(1, -1)).refused(401, 10, fmt.Sprintf(badToken, "Server"))

	items := r.call(t, c.server, post, "/email/batch", many(500, 250)).items()
	if len(items) != 500 {
		t.Fatalf("%d results, want 500", len(items))
	}
	seen := map[any]bool{}
	for n, item := range items {
		if n == 250 {
			if diff := cmp.Diff(object{"ErrorCode": 300.0, "Message": "Invalid 'To' address: 'bad'."}, item); diff != "" {
				t.Errorf("item 250 -want +got:\n%s", diff)
			}
			continue
		}
		if item["ErrorCode"] != 0.0 || item["To"] != fmt.Sprintf("u%d@shop.test", n) || seen[item["MessageID"]] {
			t.Errorf("item %d is %v", n, item)
		}
		seen[item["MessageID"]] = true
	}
	if n := r.count(t, c); n != "499" {
		t.Errorf("%s messages are stored, want 499", n)
	}
}

// A batch of which nothing was stored for a fault of ours fails as a whole, so
// that the client may repeat it.
func TestBatchWithStoreAway(t *testing.T) {
	r, c := newShop(t)
	if err := r.st.Close(); err != nil {
		t.Fatal(err)
	}
	got := r.call(t, c.server, post, "/email/batch", "["+message("")+"]")
	got.refused(503, 100, "The service is not available at the moment. Please try again later.")
}

// What H-001 to H-020 of the catalogue inject into each field never makes a
// header, a recipient or a part, and never a 500.
func TestInjection(t *testing.T) {
	r, c := newShop(t)
	payloads := []string{
		"\r\nBcc: evil@evil.test", "\nBcc: evil@evil.test", "\rBcc: evil@evil.test", "\r\n\r\nbody", "\x00", "\u2028Bcc: e@evil.test", "\u0085Bcc: e@evil.test",
		"%0d%0aBcc: e@evil.test", "=?utf-8?q?=0D=0ABcc:_e@evil.test?=", "\r\n Bcc: e@evil.test", "\v\f\b", "\x1b[2J", "\u202e", "\"; filename=\"a.exe", "--=_boundary--",
		"<script>", "${jndi:x}", "{{7*7}}", "' OR 1=1--", "\\r\\n", strings.Repeat("A", 5000), "\ufeff", "嗊嘍Bcc: e@evil.test", "=?utf-8?b?DQpCY2M6IGVAZXZpbC50ZXN0?=",
	}
	quote := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	fields := map[string]func(p string) string{
		"Subject":      func(p string) string { return `"Subject": ` + quote("a"+p+"b") },
		"From name":    func(p string) string { return `"From": ` + quote(`"a`+p+`b" <ann@acme.test>`) },
		"To name":      func(p string) string { return `"To": ` + quote(`"a`+p+`b" <bob@shop.test>`) },
		"To":           func(p string) string { return `"To": ` + quote("bob@shop.test"+p) },
		"ReplyTo":      func(p string) string { return `"ReplyTo": ` + quote("bob@shop.test"+p) },
		"Tag":          func(p string) string { return `"Tag": ` + quote("a"+p+"b") },
		"header name":  func(p string) string { return `"Headers": [{"Name": ` + quote("X-A"+p) + `, "Value": "x"}]` },
		"header value": func(p string) string { return `"Headers": [{"Name": "X-A", "Value": ` + quote("a"+p+"b") + `}]` },
		"metadata":     func(p string) string { return `"Metadata": {` + quote("a"+p) + `: ` + quote("b"+p) + `}` },
		"file name": func(p string) string {
			return `"Attachments": [{"Name": ` + quote("a"+p+".txt") + `, "Content": "aGk="}]`
		},
		"file type": func(p string) string {
			return `"Attachments": [{"Name": "a.txt", "Content": "aGk=", "ContentType": ` + quote("text/plain"+p) + `}]`
		},
		"file id": func(p string) string {
			return `"Attachments": [{"Name": "a.txt", "Content": "aGk=", "ContentID": ` + quote("a"+p) + `}]`
		},
		"stream":   func(p string) string { return `"MessageStream": ` + quote("outbound"+p) },
		"TextBody": func(p string) string { return `"TextBody": ` + quote("a"+p+"b") },
	}
	allowed := []string{
		"received", "from", "date", "subject", "reply-to", "to", "message-id", "x-a", "feedback-id", "x-complaints-to", "x-job", "x-pm-message-id", "x-pm-tag",
		"mime-version", "content-type", "content-transfer-encoding",
	}
	for field, fill := range fields {
		for _, p := range payloads {
			got := r.call(t, c.server, post, "/email", message(fill(p)))
			if got.status == 422 {
				continue
			}
			m, parsed := r.stored(t, c.number, got.ok())
			seen := map[string]bool{}
			for _, f := range parsed.Header {
				name := strings.ToLower(f.Name)
				known := slices.Contains(allowed, name) || field == "header name" && strings.HasPrefix(name, "x-a")
				if !known || seen[name] {
					t.Errorf("%s with %q: header field %s", field, p, f.Name)
				}
				seen[name] = true
			}
			parts := 0
			for range parsed.Root.All() {
				parts++
			}
			want := 1
			if strings.HasPrefix(field, "file") {
				want = 3
			}
			if m.Recipients != 1 || parts != want {
				t.Errorf("%s with %q: %d recipients, %d parts; want 1 and %d", field, p, m.Recipients, parts, want)
			}
			if d := r.call(t, c.server, get, "/messages/outbound/"+m.ID.String()+"/details", ""); d.status != 200 {
				t.Errorf("%s with %q: details %d %s", field, p, d.status, d.body)
			}
		}
	}
	if log := r.log.String(); strings.Contains(log, "level=ERROR") {
		t.Errorf("errors in the log: %s", log)
	}
}

// The official clients find the addresses in the texts (contract/common.md §9).
func TestClientsReadInactiveAddresses(t *testing.T) {
	r, c := newShop(t)
	for _, a := range []pennypost.Address{"a.b@shop.test", "c@sub.shop.test"} {
		r.suppress(t, c.number, "outbound", a)
	}
	all := r.call(t, c.server, post, "/email", message(`"To": "A.B@shop.test, c@sub.shop.test"`))
	some := r.call(t, c.server, post, "/email", message(`"To": "bob@shop.test, a.b@shop.test, c@sub.shop.test"`)).ok()
	var refusal struct{ Message string }
	if err := json.Unmarshal([]byte(all.body), &refusal); err != nil {
		t.Fatal(err)
	}
	want := []string{"a.b@shop.test", "c@sub.shop.test"}
	for client, patterns := range map[string][]string{
		"postmark.js":  {`Found inactive addresses: (.+?)\.? Inactive`, `these inactive addresses: (.+?)\.?$`},
		"postmark-gem": {`Found inactive addresses: (.+?)\. Inactive`, `these inactive addresses: (.+?)\.?$`},
	} {
		for _, text := range []string{refusal.Message, some.text(t, "Message")} {
			var got []string
			for _, p := range patterns {
				if m := regexp.MustCompile(p).FindStringSubmatch(text); m != nil && got == nil {
					got = strings.Split(m[1], ", ")
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s reads %q -want +got:\n%s", client, text, diff)
			}
		}
	}
	// postmark.js: 422 with 406, 422 with 300 and 401 are classes of their own.
	for _, tt := range []struct {
		got          answer
		status, code int
	}{
		{all, 422, 406},
		{r.call(t, c.server, post, "/email", ""), 422, 300},
		{r.call(t, server("nope"), post, "/email", message("")), 401, 10},
	} {
		var e map[string]any
		if err := json.Unmarshal([]byte(tt.got.body), &e); err != nil || tt.got.status != tt.status || e["ErrorCode"] != float64(tt.code) || e["Message"] == "" {
			t.Errorf("%d %s: want %d with code %d, error %v", tt.got.status, tt.got.body, tt.status, tt.code, err)
		}
	}
	if !regexp.MustCompile(`valid.*token`).MatchString(r.call(t, server("nope"), get, "/server", "").body) {
		t.Error("the text of a 401 does not match valid.*token")
	}
}

// Requests that end early leave nothing half done.
func TestCallerGone(t *testing.T) {
	r, c := newShop(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m, err := r.api.conf.Auth.Server(t.Context(), c.server.token, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.api.sendEmail(ctx, &call{who: m, body: []byte(message(""))}); err == nil {
		t.Error("a call whose context ended was accepted")
	}
	if n := r.count(t, c); n != "0" {
		t.Errorf("%s messages are stored", n)
	}
}
