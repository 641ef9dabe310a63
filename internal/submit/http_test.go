package submit

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/eml"
)

// good is a submission that nothing is wrong with.
func good() *Submission {
	return &Submission{
		From: "orders@acme.example", To: "jane@example.com", Subject: "Order 7781", TextBody: "It is on its way.\r\n",
	}
}

// refusal wants an error that the caller sees.
func refusal(t *testing.T, err error) *pennypost.Error {
	t.Helper()
	var e *pennypost.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want a refusal", err)
	}
	return e
}

func addresses(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("r%d@example.com", i)
	}
	return strings.Join(list, ", ")
}

// TestSubmissionRefusals holds the texts of contract/sending.md §8 and of
// contract/clients.md §4, and those that had to be worded, with the test token,
// which has no server.
func TestSubmissionRefusals(t *testing.T) {
	metadata := func(n int) (list []Pair) {
		for i := range n {
			list = append(list, Pair{fmt.Sprint("k", i), "v"})
		}
		return list
	}
	f := setup(t)
	for _, tc := range []struct {
		name string
		set  func(s *Submission)
		code pennypost.Code
		text string
	}{
		{"no recipient in any field", func(s *Submission) { s.To = "" }, 300, "Zero recipients specified"},
		{"only commas", func(s *Submission) { s.To = " , ," }, 300, "Zero recipients specified"},
		{"From missing", func(s *Submission) { s.From = "" }, 300, "Invalid 'From' value."},
		{"From blank", func(s *Submission) { s.From = "  " }, 300, "Invalid 'From' value."},
		{"From without a dot", func(s *Submission) { s.From = "webmaster@localhost" }, 300, "Invalid 'From' address: 'webmaster@localhost'."},
		{"To no address", func(s *Submission) { s.To = "test" }, 300, "Invalid 'To' address: 'test'."},
		{"To without local part", func(s *Submission) { s.To = "@domain" }, 300, "Invalid 'To' address: '@domain'."},
		{
			"no @", func(s *Submission) { s.To = "jane.example.com" }, 300,
			"Error parsing 'To': Illegal email address 'jane.example.com'. It must contain the '@' symbol.",
		},
		{
			"no @ in Bcc", func(s *Submission) { s.Bcc = "jane.example.com" }, 300,
			"Error parsing 'Bcc': Illegal email address 'jane.example.com'. It must contain the '@' symbol.",
		},
		{"bad domain", func(s *Submission) { s.Cc = "jane@+" }, 300, "Error parsing 'Cc': Illegal email domain '+' in address 'jane@+'."},
		{
			"bad local part", func(s *Submission) { s.To = "ja(ne@example.com" }, 300,
			"Error parsing 'To': Illegal email mailbox 'ja(ne' in address 'ja(ne@example.com'.",
		},
		{
			"whole thing quoted", func(s *Submission) { s.To = `"Jane Doe <jane@example.com>"` }, 300,
			"Error parsing 'To': Illegal email domain 'example.com>' in address 'Jane Doe <jane@example.com>'.",
		},
		{
			"bad ReplyTo", func(s *Submission) { s.ReplyTo = "help@+" }, 300,
			"Error parsing 'Reply-To': Illegal email domain '+' in address 'help@+'.",
		},
		{
			"bad Reply-To among Headers", func(s *Submission) { s.Headers = []eml.Field{{Name: "reply-to", Value: "help@+"}} }, 300,
			"Error parsing 'Reply-To': Illegal email domain '+' in address 'help@+'.",
		},
		{"no body", func(s *Submission) { s.TextBody = "" }, 300, "Provide either email TextBody or HtmlBody or both."},
		{"attachment without body", func(s *Submission) {
			s.TextBody, s.Attachments = "", []Attachment{{Name: "a.txt", Content: []byte("x")}}
		}, 300, "Provide either email TextBody or HtmlBody or both."},
		{
			"51 in To", func(s *Submission) { s.To = addresses(51) }, 300,
			"Too many recipients. A message is limited to a maximum of 50 recipients in 'To', 'Cc' and 'Bcc' together.",
		},
		{
			"51 in all", func(s *Submission) { s.To, s.Cc, s.Bcc = addresses(49), "a@example.com", "b@example.com" }, 300,
			"Too many recipients. A message is limited to a maximum of 50 recipients in 'To', 'Cc' and 'Bcc' together.",
		},
		{"From of 256", func(s *Submission) {
			s.From = strings.Repeat("x", 256-len(" <orders@acme.example>")) + " <orders@acme.example>"
		}, 300, "Invalid 'From' value. It is limited to 255 characters."},
		{"Subject of 2001", func(s *Submission) { s.Subject = strings.Repeat("x", 2001) }, 300, "Invalid 'Subject' value. It is limited to 2000 characters."},
		{
			"Subject of 2001 units in fewer characters", func(s *Submission) { s.Subject = "x" + strings.Repeat("😀", 1000) }, 300,
			"Invalid 'Subject' value. It is limited to 2000 characters.",
		},
		{"Tag of 1001", func(s *Submission) { s.Tag = strings.Repeat("ä", 1001) }, 300, "Invalid 'Tag' value. It is limited to 1000 characters."},
		{"Tag of two lines", func(s *Submission) { s.Tag = "a\r\nb" }, 300, "Invalid 'Tag' value. It must be one line of text."},
		{
			"TextBody over 5 MB", func(s *Submission) { s.TextBody = strings.Repeat("x", 5<<20+1) }, 300,
			"Invalid 'TextBody' value. It is limited to 5242880 bytes.",
		},
		{
			"HtmlBody over 5 MB", func(s *Submission) { s.HTMLBody = strings.Repeat("x", 5<<20+1) }, 300,
			"Invalid 'HtmlBody' value. It is limited to 5242880 bytes.",
		},
		{
			"metadata name of 21", func(s *Submission) { s.Metadata = []Pair{{strings.Repeat("k", 21), "v"}} }, 300,
			"Invalid metadata content. Field names are limited to 20 characters.",
		},
		{
			"metadata value of 81", func(s *Submission) { s.Metadata = []Pair{{"k", strings.Repeat("ä", 81)}} }, 300,
			"Invalid metadata content. Field values are limited to 80 characters.",
		},
		{"11 metadata", func(s *Submission) { s.Metadata = metadata(11) }, 300, "Invalid metadata content. A message is limited to 10 metadata fields."},
		{
			"metadata equal but for case", func(s *Submission) { s.Metadata = []Pair{{"Order", "1"}, {"oRDER", "2"}} }, 300,
			"Invalid metadata content. Field name 'oRDER' was given more than once; letter case makes no difference.",
		},
		{"metadata without name", func(s *Submission) { s.Metadata = []Pair{{"", "1"}} }, 300, "Invalid metadata content. A field name is empty."},
		{
			"metadata with NUL", func(s *Submission) { s.Metadata = []Pair{{"k", "a\x00"}} }, 300,
			"Invalid metadata content. The value of field 'k' has a character that is not allowed.",
		},
		{
			"TrackLinks", func(s *Submission) { s.TrackLinks = "Everywhere" }, 300,
			"Invalid 'TrackLinks' value. It must be 'None', 'HtmlAndText', 'HtmlOnly' or 'TextOnly'.",
		},
		{"DeliverBy in the past", func(s *Submission) { s.DeliverBy = noon.Add(-time.Second) }, 300, "Invalid 'DeliverBy' value."},
		{"DeliverBy too far", func(s *Submission) { s.DeliverBy = noon.AddDate(2, 0, 0) }, 300, "Invalid 'DeliverBy' value."},
		{"LF in a header value", func(s *Submission) {
			s.Headers = []eml.Field{{Name: "X-A", Value: "a\nBcc: b@example.com"}}
		}, 300, "Invalid header 'X-A': line end or NUL in value."},
		{"CR in a header value", func(s *Submission) { s.Headers = []eml.Field{{Name: "X-A", Value: "a\rb"}} }, 300, "Invalid header 'X-A': line end or NUL in value."},
		{
			"line end in the value of a header that is dropped", func(s *Submission) { s.Headers = []eml.Field{{Name: "Received", Value: "a\r\nb"}} }, 300,
			"Invalid header 'Received': line end or NUL in value.",
		},
		{"line end in a header name", func(s *Submission) { s.Headers = []eml.Field{{Name: "X-A\r\nX-B", Value: "b"}} }, 300, "Invalid header 'X-A X-B': not a field name."},
		{"header without name", func(s *Submission) { s.Headers = []eml.Field{{Value: "b"}} }, 300, "Invalid header '': not a field name."},
		{
			"1001 headers", func(s *Submission) { s.Headers = make([]eml.Field, 1001) }, 300,
			"Invalid 'Headers' value. A message is limited to 1000 headers.",
		},
		{"headers over 256 KiB", func(s *Submission) {
			s.Headers = []eml.Field{{Name: "X-A", Value: strings.Repeat("x ", 128<<10)}}
		}, 300, "Invalid 'Headers' value. Headers are limited to 262144 bytes in all."},
		{
			"forbidden file", func(s *Submission) { s.Attachments = []Attachment{{Name: "Setup.EXE", Content: []byte("MZ")}} }, 411,
			"Attachment file type not allowed.",
		},
		{"attachments too big", func(s *Submission) {
			s.Attachments = []Attachment{{Name: "a.bin.txt", Content: make([]byte, 10485760/4*3)}}
		}, 300, "Attachments too big. The total size should be less than 10485760 bytes."},
		{
			"too many attachments", func(s *Submission) { s.Attachments = make([]Attachment, 1001) }, 300,
			"Too many attachments. A message is limited to 1000 attachments.",
		},

		// The order of contract/sending.md §8.
		{"From before To", func(s *Submission) { s.From, s.To = "", "test" }, 300, "Invalid 'From' value."},
		{"syntax before number", func(s *Submission) { s.To, s.Cc = "test", addresses(60) }, 300, "Invalid 'To' address: 'test'."},
		{"recipients before body", func(s *Submission) { s.To, s.TextBody = "", "" }, 300, "Zero recipients specified"},
		{"body before metadata", func(s *Submission) { s.TextBody, s.Metadata = "", metadata(11) }, 300, "Provide either email TextBody or HtmlBody or both."},
		{"metadata before attachments", func(s *Submission) {
			s.Metadata, s.Attachments = metadata(11), []Attachment{{Name: "a.exe"}}
		}, 300, "Invalid metadata content. A message is limited to 10 metadata fields."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := good()
			tc.set(s)
			_, err := f.door.Accept(t.Context(), pennypost.Caller{Kind: pennypost.CallerTest}, s)
			got := refusal(t, err)
			if got.Code != tc.code || got.Text != tc.text {
				t.Errorf("got %d %q\nwant %d %q", got.Code, got.Text, tc.code, tc.text)
			}
			if got.Status != 0 && got.Status != http.StatusUnprocessableEntity {
				t.Errorf("status is %d, want 422", got.Status)
			}
		})
	}
}

// TestTestToken: contract/common.md §2, contract/clients.md 4.1.
func TestTestToken(t *testing.T) {
	f := setup(t)
	test := pennypost.Caller{Kind: pennypost.CallerTest}
	for _, from := range []string{"sender@example.com", "someone@nowhere.example"} {
		s := good()
		s.From = from
		got, err := f.door.Accept(t.Context(), test, s)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Test || got.ID.IsZero() || !got.SubmittedAt.Equal(noon) {
			t.Errorf("got %+v, want a test job with an id and a time", got)
		}
	}
	bad := good()
	bad.To = "b"
	results := f.door.AcceptBatch(t.Context(), test, []*Submission{good(), bad})
	if len(results) != 2 || results[0].Accepted == nil || !results[0].Accepted.Test {
		t.Fatalf("got %+v, want a test job first", results)
	}
	if e := refusal(t, results[1].Err); e.Text != "Invalid 'To' address: 'b'." {
		t.Errorf("second is %q", e.Text)
	}
	if n := f.messages(t); n != 0 {
		t.Errorf("%d messages stored, want none", n)
	}
}

// TestFirstItem: of several From addresses the first counts
// (contract/clients.md 4.13).
func TestFirstItem(t *testing.T) {
	for in, want := range map[string]string{
		"a@x.example":                        "a@x.example",
		"a@x.example, b@x.example":           "a@x.example",
		`"Doe, Jane" <a@x.example>, b@y.com`: `"Doe, Jane" <a@x.example>`,
		`"a\", b" <a@x.example>,b@y.com`:     `"a\", b" <a@x.example>`,
		" , ,a@x.example,":                   "a@x.example",
		",":                                  "",
		"":                                   "",
	} {
		if got := firstItem(in); got != want {
			t.Errorf("firstItem(%q) = %q, want %q", in, got, want)
		}
	}
}
