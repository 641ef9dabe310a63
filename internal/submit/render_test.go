package submit

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"pennypost"
	"pennypost/internal/eml"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// testDoor renders without a store.
func testDoor(t *testing.T) *Door {
	t.Helper()
	return setup(t).door
}

// wellFormed wants what goes over any wire: 7 bit, CRLF only, no NUL, no line
// over 998 octets, the last one ended (S-034).
func wellFormed(t interface {
	Helper()
	Errorf(string, ...any)
}, content string,
) {
	t.Helper()
	lines := strings.Split(content, "\r\n")
	if lines[len(lines)-1] != "" {
		t.Errorf("last line is not ended: %q", lines[len(lines)-1])
	}
	for i, line := range lines {
		if len(line) > 998 {
			t.Errorf("line %d has %d octets", i, len(line))
		}
		for _, c := range []byte(line) {
			if c == '\r' || c == '\n' || c == 0 || c > 126 {
				t.Errorf("line %d has octet %#x: %q", i, c, line)
				break
			}
		}
	}
}

// fieldNames gives the names of the header in order.
func fieldNames(content string) []string {
	head, _, _ := strings.Cut(content, "\r\n\r\n")
	var names []string
	for line := range strings.SplitSeq(head, "\r\n") {
		if name, _, ok := strings.Cut(line, ":"); ok && line[0] != ' ' && line[0] != '\t' {
			names = append(names, name)
		}
	}
	return names
}

// TestGolden keeps whole messages; -update rewrites them.
func TestGolden(t *testing.T) {
	d := testDoor(t)
	caller := pennypost.Caller{Kind: pennypost.CallerAPI, AccountID: 7, ServerID: 41}
	png := []byte("\x89PNG\r\n\x1a\n not really")
	for name, s := range map[string]*Submission{
		"text":  {From: "orders@acme.example", To: "jane@example.com", Subject: "Hi", TextBody: "Text\n"},
		"empty": {From: "orders@acme.example", Bcc: "jane@example.com", HTMLBody: "<p>Only</p>"},
		"everything": {
			From: "Blue Kettle <orders@acme.example>", To: `"Doe, Jane" <jane@example.com>, sam@example.com`, Cc: "Käse <desk@example.com>",
			Bcc: "boss@example.com", ReplyTo: "help@acme.example, \"Second, one\" <two@acme.example>", Subject: "Größe über alles: " + strings.Repeat("lang ", 20),
			TextBody: "Track it: https://acme.example/o/7781?a=b\r\n.\r\nFrom here\r\n", HTMLBody: "<p>Grüße</p><img src=\"cid:logo.png\">\n",
			Tag: "order-größe", Metadata: []Pair{{"order", "7781"}},
			Headers: []eml.Field{
				{Name: "X-Shop", Value: "eu-1"},
				{Name: "MESSAGE-ID", Value: "own.id@acme.example"},
				{Name: "References", Value: "<1@acme.example> <2@acme.example>"},
				{Name: "In-Reply-To", Value: "<2@acme.example>"},
				{Name: "List-Unsubscribe", Value: "<https://acme.example/unsubscribe?token=" + strings.Repeat("0123456789", 12) + ">, <mailto:u@acme.example>"},
				{Name: "List-Unsubscribe-Post", Value: "List-Unsubscribe=One-Click"},
			},
			Attachments: []Attachment{
				{Name: "logo.png", ContentType: "image/png", ContentID: "cid:logo.png", Content: png},
				{Name: "rechnung größe.pdf", ContentType: "application/pdf", ContentID: "rechnung größe.pdf", Content: []byte("%PDF-1.4")},
				{Name: "invite.ics", ContentType: "text/calendar; method=REQUEST", Content: []byte("BEGIN:VCALENDAR\r\n")},
			},
		},
		"dropped": {
			From: "orders@acme.example", To: "jane@example.com", Subject: "Hi", TextBody: "Text\n",
			Headers: []eml.Field{
				{Name: "MIME-Version", Value: "1.0"},
				{Name: "Content-Type", Value: "text/html"},
				{Name: "Content-Transfer-Encoding", Value: "8bit"},
				{Name: "Content-Something-Long-That-Nobody-Knows", Value: "x"},
				{Name: "Return-Path", Value: "<x@y.example>"},
				{Name: "received", Value: "from x"},
				{Name: "DKIM-Signature", Value: "v=1"},
				{Name: "Bcc", Value: "x@y.example"},
				{Name: "FROM", Value: "x@y.example"},
				{Name: "To", Value: "x@y.example"},
				{Name: "Cc", Value: "x@y.example"},
				{Name: "Subject", Value: "other"},
				{Name: "Date", Value: "yesterday"},
				{Name: "Sender", Value: "x@y.example"},
				{Name: "Resent-From", Value: "x@y.example"},
				{Name: "Feedback-ID", Value: "x"},
				{Name: "X-Complaints-To", Value: "x"},
				{Name: "X-Job", Value: "x"},
				{Name: "X-PM-Message-Id", Value: "x"},
				{Name: "X-PM-RCPT", Value: "x"},
				{Name: "X-PM-Tag", Value: "x"},
				{Name: "X-PM-KeepID", Value: "true"},
				{Name: "X-PM-Bounce-Type", Value: "HardBounce"},
				{Name: "X-PM-Metadata-Something-Quite-Long-Indeed", Value: "x"},
				{Name: "Message-ID", Value: "no id"},
				{Name: "Reply-To", Value: "Help <help@acme.example>"},
				{Name: "X-Kept", Value: "=?utf-8?Q?gr=C3=BCn?="},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := d.enter(t.Context(), caller, s, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := bytes.ReplaceAll(e.content, []byte(e.id.String()), []byte("{MessageID}"))
			got = bytes.ReplaceAll(got, []byte("."+boundaryTag(e.id)), []byte(".{boundary}"))
			wellFormed(t, string(e.content))
			path := filepath.Join("testdata", name+".eml")
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("rendered (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHeaderOrder: contract/smtp.md §6.
func TestHeaderOrder(t *testing.T) {
	d := testDoor(t)
	s := good()
	s.Cc, s.ReplyTo, s.Tag, s.HTMLBody = "sam@example.com", "help@acme.example", "t", "<p>x</p>"
	s.Headers = []eml.Field{{Name: "x-lower", Value: "1"}, {Name: "X-UPPER", Value: "2"}}
	e, err := d.enter(t.Context(), pennypost.Caller{AccountID: 1, ServerID: 1}, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Received", "From", "Date", "Subject", "Reply-To", "To", "Cc", "Message-Id", "x-lower", "X-UPPER", "Feedback-ID",
		"X-Complaints-To", "X-Job", "X-PM-Message-Id", "X-PM-Tag", "MIME-Version", "Content-Type",
	}
	if diff := cmp.Diff(want, fieldNames(string(e.content))); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
}

// TestAttachments: inline only what the HTML names (contract/sending.md §5).
func TestAttachments(t *testing.T) {
	d := testDoor(t)
	s := good()
	s.HTMLBody = `<img src="cid:a.png">`
	s.Attachments = []Attachment{
		{Name: "a.png", ContentType: "image/png", ContentID: "a.png", Content: []byte("a")},
		{Name: "b.png", ContentType: "image/png", ContentID: "b.png", Content: []byte("b")},
	}
	e, err := d.enter(t.Context(), pennypost.Caller{}, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := eml.Parse(e.content, eml.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for q := range p.Root.All() {
		got = append(got, q.Type+" "+q.Disposition)
	}
	want := []string{
		"multipart/mixed ", "multipart/related ", "multipart/alternative ", "text/plain ", "text/html ", "image/png inline", "image/png attachment",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a.png", "b.png"}, e.files); diff != "" {
		t.Errorf("file names (-want +got):\n%s", diff)
	}
}

// TestFeedbackID: contract/smtp.md §6.
func TestFeedbackID(t *testing.T) {
	for tag, want := range map[string]string{
		"":                      "s9-_:s9:a2:pennypost",
		"confirm":               "s9-Y29uZmlybQ==:s9:a2:pennypost",
		strings.Repeat("ä", 46): "s9-" + strings.Repeat("w6TDpMOk", 15) + ":s9:a2:pennypost",
	} {
		if got := feedbackID(&draft{account: 2, server: 9, tag: tag}); got != want {
			t.Errorf("tag %q: got %s, want %s", tag, got, want)
		}
	}
}

// TestRendered: whatever is accepted renders to lines that any server takes,
// with one of each field that we write, and reads back as it was given.
func TestRendered(t *testing.T) {
	d := testDoor(t)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.Rune(), 0, 200, -1)
		long := rapid.Custom(func(t *rapid.T) string {
			return strings.Repeat(rapid.StringMatching(`[ -~]{1,80}`).Draw(t, "piece"), rapid.IntRange(1, 60).Draw(t, "times"))
		})
		s := &Submission{
			From:     rapid.SampledFrom([]string{"a@acme.example", "Ä <a@acme.example>", `"x, y" <a@acme.example>`}).Draw(t, "From"),
			To:       rapid.SampledFrom([]string{"", "jane@example.com", "J <jane@example.com>, b@example.com"}).Draw(t, "To"),
			Bcc:      rapid.SampledFrom([]string{"b@example.net", "x@example.net, y@example.org", ""}).Draw(t, "Bcc"),
			Subject:  text.Draw(t, "Subject"),
			Tag:      rapid.OneOf(rapid.SampledFrom([]string{"", "a", "größe =?utf-8?Q?x?="}), text.Filter(func(s string) bool { return !hasControl(s) }), text).Draw(t, "Tag"),
			TextBody: rapid.OneOf(text, long).Draw(t, "TextBody"),
			HTMLBody: rapid.OneOf(text, rapid.StringMatching(`(<p>[a-z=. ]*\n)*`), long).Draw(t, "HtmlBody"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			s.Headers = append(s.Headers, eml.Field{
				Name:  rapid.OneOf(rapid.SampledFrom([]string{"X-A", "Content-Type", "x-pm-tag", "From", "Received", "", "a b"}), rapid.StringMatching(`[!-9;-~]{1,280}`)).Draw(t, "name"),
				Value: rapid.OneOf(text.Filter(func(s string) bool { return !hasControl(s) }), long).Draw(t, "value"),
			})
		}
		for range rapid.IntRange(0, 2).Draw(t, "files") {
			s.Attachments = append(s.Attachments, Attachment{
				Name: text.Draw(t, "file"), ContentType: text.Draw(t, "type"), ContentID: text.Draw(t, "cid"),
				Content: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "content"),
			})
		}
		e, err := d.enter(t.Context(), pennypost.Caller{AccountID: 1, ServerID: 1}, s, nil)
		if err != nil {
			refusalOnly(t, err)
			return
		}
		wellFormed(t, string(e.content))
		seen := make(map[string]int)
		for _, name := range fieldNames(string(e.content)) {
			seen[strings.ToLower(name)]++
		}
		want := map[string]bool{"received": true, "from": true, "date": true, "message-id": true, "feedback-id": true, "x-complaints-to": true, "x-job": true, "x-pm-message-id": true, "mime-version": true, "content-type": true}
		for name, there := range map[string]bool{"subject": e.subject != "", "to": len(e.to) > 0, "x-pm-tag": e.tag != "", "reply-to": len(e.replyTo) > 0, "cc": false, "bcc": false, "sender": false, "x-pm-rcpt": false} {
			want[name] = there
		}
		for name, there := range want {
			if (seen[name] == 1) != there || seen[name] > 1 {
				t.Errorf("%d fields %s, want it there: %v", seen[name], name, there)
			}
		}
		p, err := eml.Parse(e.content, eml.Limits{})
		if err != nil {
			t.Fatalf("what was rendered cannot be read: %v", err)
		}
		if got := p.Text("Subject"); got != e.subject {
			t.Errorf("subject is %q, want %q", got, e.subject)
		}
	})
}

func refusalOnly(t *rapid.T, err error) {
	var e *pennypost.Error
	if !asRefusal(err, &e) {
		t.Fatalf("error is %v, want a refusal", err)
	}
}
