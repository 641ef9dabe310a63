package submit

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/store"
)

// raw makes a message of lines, to the addresses.
func raw(lines string, to ...string) *Raw {
	r := &Raw{From: "bounces@acme.example", Data: []byte(strings.ReplaceAll(lines, "\n", "\r\n")), TLS: true}
	if len(to) == 0 {
		to = []string{"jane@example.com"}
	}
	for _, a := range to {
		m, _, err := eml.ParsePath(a)
		if err != nil {
			panic(err)
		}
		r.Recipients = append(r.Recipients, m)
	}
	return r
}

const plain = "From: Orders <orders@acme.example>\nTo: jane@example.com\nSubject: Hi\n"

func (f *fixture) acceptRaw(t *testing.T, r *Raw) *stored {
	t.Helper()
	a, err := f.door.AcceptRaw(t.Context(), f.smtp, r)
	if err != nil {
		t.Fatal(err)
	}
	return f.load(t, a.ID)
}

func (f *fixture) refusedRaw(t *testing.T, r *Raw) *pennypost.Error {
	t.Helper()
	_, err := f.door.AcceptRaw(t.Context(), f.smtp, r)
	var e *pennypost.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want a refusal", err)
	}
	return e
}

// TestRawStores: contract/smtp.md §3 and §4.
func TestRawStores(t *testing.T) {
	f := setup(t)
	got := f.acceptRaw(t, raw(`Received: from laptop ([192.0.2.7]) by office
Return-Path: <x@y.example>
DKIM-Signature: v=1; a=rsa-sha256
Date: Fri, 03 Jul 2026 09:00:00 +0200
From: =?iso-8859-1?Q?Gr=FC=DFe?= <orders@acme.example>
Sender: boss@bank.example
To: Jane <Jane@example.com>
Cc: sam@example.org,
 desk@example.org
Bcc: hidden@example.net
Subject: =?utf-8?Q?Bestellung_7781_=C3=BCber?=
Message-ID: <client@acme.example>
MIME-Version: 1.0
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable
x-pm-tag: order-shipped
X-PM-Metadata-Order: 7781
X-PM-Metadata-order: 7782
X-PM-Metadata-ORDER: 7783
X-PM-Message-Stream: broadcast
X-PM-TrackOpens: True
X-PM-TrackLinks: HtmlOnly
X-PM-Bounce-Type: HardBounce
X-PM-Deliver-By: 3600
X-PM-Unheard-Of: yes
Feedback-ID: forged
X-Shop: eu-1
List-Unsubscribe: <https://acme.example/u/1>
References: <1@acme.example>
 <2@acme.example>
X-Latin: gr`+"\xfc\xdf"+`e

Gr=FC=DFe
`, "jane@EXAMPLE.com", "hidden@example.net", "sam@example.org"))
	want := &pennypost.Message{
		ID: got.ID, AccountID: f.account.ID, ServerID: f.server.ID, Stream: "broadcast", Broadcast: true, Source: pennypost.SourceSMTP,
		From:    pennypost.Mailbox{Name: "Grüße", Address: "orders@acme.example"},
		To:      []pennypost.Mailbox{{Name: "Jane", Address: "Jane@example.com"}},
		Cc:      []pennypost.Mailbox{{Address: "sam@example.org"}, {Address: "desk@example.org"}},
		Bcc:     []pennypost.Mailbox{{Address: "hidden@example.net"}},
		Subject: "Bestellung 7781 über", Tag: "order-shipped",
		Metadata:   map[string]string{"Order": "7781", "order2": "7782", "ORDER3": "7783"},
		TrackOpens: true, TrackLinks: pennypost.TrackHTMLOnly, HeaderID: "<" + got.ID.String() + "@mail.penny.example>",
		SignDomain: "acme.example", ReturnDomain: "pm-bounces.acme.example", ReceivedAt: noon, DeliverBy: noon.Add(time.Hour),
		Size: int64(len(got.content)), Recipients: 3,
	}
	if diff := cmp.Diff(want, got.Message); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	var to []pennypost.Address
	for _, r := range got.recipients {
		to = append(to, r.Address)
	}
	if diff := cmp.Diff([]pennypost.Address{"jane@example.com", "hidden@example.net", "sam@example.org"}, to); diff != "" {
		t.Errorf("recipients (-want +got):\n%s", diff)
	}
	id := got.ID.String()
	wantText := strings.ReplaceAll(`Received: by mail.penny.example with ESMTPSA id
 `+id+`; Sat, 04 Jul 2026 11:05:57 +0000
From: =?utf-8?B?R3LDvMOfZQ==?= <orders@acme.example>
Date: Sat, 04 Jul 2026 11:05:57 +0000
Subject: =?utf-8?B?QmVzdGVsbHVuZyA3NzgxIMO8YmVy?=
To: Jane <Jane@example.com>
Cc: sam@example.org, desk@example.org
Message-Id: <`+id+`@mail.penny.example>
X-Shop: eu-1
List-Unsubscribe: <https://acme.example/u/1>
References: <1@acme.example> <2@acme.example>
X-Latin: =?utf-8?B?Z3LDvMOfZQ==?=
Feedback-ID: s1-b3JkZXItc2hpcHBlZA==:s1:a1:pennypost
X-Complaints-To: abuse@pm.mail.penny.example
X-Job: 1_1
X-PM-Message-Id: `+id+`
X-PM-Tag: order-shipped
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: quoted-printable

Gr=C3=BC=C3=9Fe
`, "\n", "\r\n")
	if diff := cmp.Diff(wantText, got.content); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}

// TestRawControl: the control fields one by one (contract/smtp.md §3).
func TestRawControl(t *testing.T) {
	f := setup(t)
	f.update(t, func(tx *store.Tx) error {
		return tx.AddStream(t.Context(), &pennypost.Stream{ServerID: f.server.ID, ID: "other", Type: pennypost.StreamTransactional})
	})
	bound := f.smtp
	bound.Stream = "other"
	for _, tc := range []struct {
		name, header string
		caller       pennypost.Caller
		check        func(m *pennypost.Message) bool
	}{
		{"stream blank", "X-PM-Message-Stream:  ", f.smtp, func(m *pennypost.Message) bool { return m.Stream == "outbound" }},
		{"stream trimmed", "X-PM-MESSAGE-STREAM:   other ", f.smtp, func(m *pennypost.Message) bool { return m.Stream == "other" }},
		{"bound token, no stream", "X-A: b", bound, func(m *pennypost.Message) bool { return m.Stream == "other" }},
		{"bound token wins", "X-PM-Message-Stream: broadcast", bound, func(m *pennypost.Message) bool { return m.Stream == "other" }},
		{"bound token wins over nonsense", "X-PM-Message-Stream: nonsense", bound, func(m *pennypost.Message) bool { return m.Stream == "other" }},
		{"track opens", "X-PM-TrackOpens: true", f.smtp, func(m *pennypost.Message) bool { return m.TrackOpens }},
		{"track opens, other spelling", "X-PM-Track-Opens: TRUE", f.smtp, func(m *pennypost.Message) bool { return m.TrackOpens }},
		{"track opens off", "X-PM-TrackOpens: false", f.smtp, func(m *pennypost.Message) bool { return !m.TrackOpens }},
		{"track links", "X-PM-TrackLinks: HtmlAndText", f.smtp, func(m *pennypost.Message) bool { return m.TrackLinks == "HtmlAndText" }},
		{"track links, other spelling", "X-PM-Track-Links: TextOnly", f.smtp, func(m *pennypost.Message) bool { return m.TrackLinks == "TextOnly" }},
		{"encoded tag", "X-PM-Tag: =?utf-8?Q?gr=C3=BCn?=", f.smtp, func(m *pennypost.Message) bool { return m.Tag == "grün" }},
		{"first tag", "X-PM-Tag: a\nX-PM-Tag: b", f.smtp, func(m *pennypost.Message) bool { return m.Tag == "a" }},
		{"metadata keeps its case", "x-pm-metadata-OrderId: =?utf-8?Q?=C3=BC?=", f.smtp, func(m *pennypost.Message) bool {
			return cmp.Equal(m.Metadata, map[string]string{"OrderId": "ü"})
		}},
		{"metadata number finds a gap", "X-PM-Metadata-a: 1\nX-PM-Metadata-a2: 2\nX-PM-Metadata-A: 3", f.smtp, func(m *pennypost.Message) bool {
			return cmp.Equal(m.Metadata, map[string]string{"a": "1", "a2": "2", "A3": "3"})
		}},
		{"metadata name of 20 makes room for its number", "X-PM-Metadata-" + strings.Repeat("k", 20) + ": 1\nX-PM-Metadata-" + strings.Repeat("K", 20) + ": 2", f.smtp, func(m *pennypost.Message) bool {
			return cmp.Equal(m.Metadata, map[string]string{strings.Repeat("k", 20): "1", strings.Repeat("K", 19) + "2": "2"})
		}},
		{"metadata, ten", "X-PM-Metadata-a: 1" + strings.Repeat("\nX-PM-Metadata-A: 2", 9), f.smtp, func(m *pennypost.Message) bool {
			return len(m.Metadata) == 10 && m.Metadata["a"] == "1" && m.Metadata["A10"] == "2"
		}},
		{"first stream that is not blank", "X-PM-Message-Stream:\nX-PM-Message-Stream: other\nX-PM-Message-Stream: broadcast", f.smtp, func(m *pennypost.Message) bool { return m.Stream == "other" }},
		{"deliver by seconds", "X-PM-Deliver-By: 60", f.smtp, func(m *pennypost.Message) bool { return m.DeliverBy.Equal(noon.Add(time.Minute)) }},
		{"deliver by a time", "X-PM-Deliver-By: 2026-07-05T13:00:00+02:00", f.smtp, func(m *pennypost.Message) bool {
			return m.DeliverBy.Equal(time.Date(2026, 7, 5, 11, 0, 0, 0, time.UTC))
		}},
		{"message id replaced", "Message-ID: <a@acme.example>", f.smtp, func(m *pennypost.Message) bool {
			return m.HeaderID == "<"+m.ID.String()+"@mail.penny.example>"
		}},
		{"message id kept", "Message-ID: <a@acme.example>\nX-PM-KeepID: true", f.smtp, func(m *pennypost.Message) bool { return m.HeaderID == "<a@acme.example>" }},
		{"message id not kept", "X-PM-KeepID: false\nMessage-ID: <a@acme.example>", f.smtp, func(m *pennypost.Message) bool { return m.HeaderID != "<a@acme.example>" }},
		{"no message id to keep", "X-PM-KeepID: true", f.smtp, func(m *pennypost.Message) bool {
			return m.HeaderID == "<"+m.ID.String()+"@mail.penny.example>"
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, err := f.door.AcceptRaw(t.Context(), tc.caller, raw(plain+tc.header+"\n\nText\n"))
			if err != nil {
				t.Fatal(err)
			}
			got := f.load(t, a.ID)
			if !tc.check(got.Message) {
				t.Errorf("message is %+v", got.Message)
			}
			for line := range strings.SplitSeq(got.content, "\r\n") {
				name, _, _ := strings.Cut(strings.ToLower(line), ":")
				if strings.HasPrefix(name, "x-pm-") && name != "x-pm-message-id" && name != "x-pm-tag" {
					t.Errorf("control field went out: %s", line)
				}
			}
			if n := strings.Count(got.content, "\r\nMessage-Id: "+got.HeaderID+"\r\n"); n != 1 {
				t.Errorf("%d fields Message-Id with %s", n, got.HeaderID)
			}
		})
	}
}

// TestRawRefusals: what is wrong with a message itself. Each is recorded.
func TestRawRefusals(t *testing.T) {
	f := setup(t)
	metadata := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "X-PM-Metadata-k%d: v\n", i)
		}
		return b.String()
	}
	attachment := func(name, content string) string {
		return plain + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nhi\n--b\n" +
			"Content-Disposition: attachment; filename=\"" + name + "\"\n\n" + content + "\n--b--\n"
	}
	deep := func(n int) string {
		var b strings.Builder
		b.WriteString(plain)
		for i := range n {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
		}
		return b.String()
	}
	for _, tc := range []struct {
		name, data string
		code       pennypost.Code
		status     int
		text       string
		short      string
	}{
		{"no From", "To: jane@example.com\n\nx\n", 400, 0, "Invalid 'From' value. The message has no 'From' header.", "Sender signature not found"},
		{"two From fields", plain + "from: orders@acme.example\n\nx\n", 400, 0, "Invalid 'From' value. The message has more than one 'From' header.", "Sender signature not found"},
		{"two From addresses", "From: orders@acme.example, b@acme.example\n\nx\n", 400, 0, "Invalid 'From' value. It must be one address.", "Sender signature not found"},
		{"From empty", "From:\n\nx\n", 400, 0, "Invalid 'From' value.", "Sender signature not found"},
		{"From a group", "From: Orders: orders@acme.example;\n\nx\n", 400, 0, "Invalid 'From' value. It must be one address, not a group.", "Sender signature not found"},
		{"From an empty group", "From: undisclosed:;\n\nx\n", 400, 0, "Invalid 'From' value. It must be one address, not a group.", "Sender signature not found"},
		{"From no address", "From: orders\n\nx\n", 400, 0, "Invalid 'From' address: 'orders'.", "Sender signature not found"},
		{
			"From unknown", "From: \"orders@acme.example\" <ann@example.net>\nSender: orders@acme.example\n\nx\n", 400, 0,
			"The 'From' address you supplied (\"orders@acme.example\" <ann@example.net>) is not a Sender Signature on your account. Please add and confirm this address in order to be able to use it in the 'From' field of your messages.",
			"Sender signature not found",
		},
		{
			"verified address in an encoded word", "From: =?utf-8?Q?orders=40acme.example=3E?= <ann@example.net>\n\nx\n", 400, 0,
			"The 'From' address you supplied (orders@acme.example> <ann@example.net>) is not a Sender Signature on your account. Please add and confirm this address in order to be able to use it in the 'From' field of your messages.",
			"Sender signature not found",
		},
		{
			"From unconfirmed", "From: new@sign.example\n\nx\n", 401, 0,
			"Sender signature not confirmed. The 'From' address you supplied (new@sign.example) is a Sender Signature on your account that has not been confirmed yet. Please follow the link in the confirmation email in order to be able to use it in the 'From' field of your messages.",
			"Sender signature not confirmed",
		},
		{"bad To", plain + "To: jane@+\n\nx\n", 300, 0, "Error parsing 'To': Illegal email domain '+' in address 'jane@+'.", "Invalid message"},
		{"bad Reply-To", plain + "Reply-To: jane@+\n\nx\n", 300, 0, "Error parsing 'Reply-To': Illegal email domain '+' in address 'jane@+'.", "Invalid message"},
		{"Subject of 2001", "From: orders@acme.example\nSubject: " + strings.Repeat("x", 2001) + "\n\nx\n", 300, 0, "Invalid 'Subject' value. It is limited to 2000 characters.", "Invalid message"},
		{"11 metadata", plain + metadata(11) + "\nx\n", 300, 0, "Invalid metadata content. A message is limited to 10 metadata fields.", "Invalid message"},
		{"metadata name of 21", plain + "X-PM-Metadata-" + strings.Repeat("k", 21) + ": v\n\nx\n", 300, 0, "Invalid metadata content. Field names are limited to 20 characters.", "Invalid message"},
		{"TrackLinks", plain + "X-PM-TrackLinks: All\n\nx\n", 300, 0, "Invalid 'TrackLinks' value. It must be 'None', 'HtmlAndText', 'HtmlOnly' or 'TextOnly'.", "Invalid message"},
		{"TrackOpens", plain + "X-PM-TrackOpens: maybe\n\nx\n", 300, 0, "Invalid 'TrackOpens' value. It must be 'true' or 'false'.", "Invalid message"},
		{"Deliver-By", plain + "X-PM-Deliver-By: tomorrow\n\nx\n", 300, 0, "Invalid 'DeliverBy' value.", "Invalid message"},
		{"stream", plain + "X-PM-Message-Stream: none\n\nx\n", 1235, 0, "The stream provided: 'none' does not exist on this server.", "Message stream not found"},
		{"inbound stream", plain + "X-PM-Message-Stream: inbound\n\nx\n", 1236, 0, "Sending is not supported for this stream type.", "Message stream does not send"},
		{"forbidden file", attachment("run.Exe", "MZ"), 411, 0, "Attachment file type not allowed.", "Attachment file type not allowed"},
		{"forbidden file in an encoded name", attachment("=?utf-8?B?cnVuLmV4ZQ==?=", "MZ"), 411, 0, "Attachment file type not allowed.", "Attachment file type not allowed"},
		{
			"10 MB of parts", attachment("a.txt", strings.Repeat("x", 10485760/4*3)), 300, http.StatusRequestEntityTooLarge,
			"Attachments too big. The total size should be less than 10485760 bytes.", "Message too big",
		},
		{"no header", "Hello there.\n", 300, 0, "The message header has a line that is no header field.", "Invalid message"},
		{"continuation first", " a: b\n" + plain + "\nx\n", 300, 0, "The message header has a line that is no header field.", "Invalid message"},
		{"header of 10,000 lines", plain + strings.Repeat("X: y\n", 10000) + "\nx\n", 300, http.StatusRequestEntityTooLarge, "Message header too large. It is limited to 1000 fields.", "Message too big"},
		{
			"header of 1 MB", plain + "X: " + strings.Repeat("y", 1<<20) + "\n\nx\n", 300, http.StatusRequestEntityTooLarge,
			"Message header too large. It is limited to 262144 bytes.", "Message too big",
		},
		{"too deep", deep(30), 300, 0, "The parts of the message are nested too deeply. It is limited to 20 levels.", "Invalid message"},
		{"NUL", plain + "\nx\x00\n", 300, 0, "The message has a CR that no LF follows, or a NUL.", "Invalid message"},
		{"bare CR", plain + "\nx\ry\n", 300, 0, "The message has a CR that no LF follows, or a NUL.", "Invalid message"},
		{
			"signed part that is not 7 bit",
			plain + "Content-Type: multipart/signed; boundary=b\n\n--b\n\nGr\xc3\xbc\xc3\x9fe\n--b\nContent-Type: application/pgp-signature\n\nx\n--b--\n", 300, 0,
			"A signed or encrypted part has 8-bit characters or lines of more than 998 characters, and cannot be sent without changing it. Encode it in quoted-printable or base64 before signing.",
			"Invalid message",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(f.bounces(t, "outbound"))
			got := f.refusedRaw(t, raw(tc.data))
			if got.Code != tc.code || got.Text != tc.text || got.Status != tc.status {
				t.Errorf("got %d %d %q\nwant %d %d %q", got.Code, got.Status, got.Text, tc.code, tc.status, tc.text)
			}
			list := f.bounces(t, "outbound")[before:]
			if len(list) != 1 {
				t.Fatalf("%d records, want 1", len(list))
			}
			b := list[0]
			if b.Type != "SMTPApiError" || b.TypeCode != 100007 || b.N != -1 || b.Details != tc.short || b.Inactive ||
				b.Recipient != "jane@example.com" || b.ServerID != f.server.ID || b.MessageID.IsZero() || !b.At.Equal(noon) {
				t.Errorf("record is %+v", b)
			}
			if want := fmt.Sprintf("%s\r\nError code: %d\r\n\r\n", tc.text, tc.code); !strings.HasPrefix(b.Dump, want) || len(b.Dump) > maxDump+100 {
				t.Errorf("dump of %d octets does not begin with %q: %.200q", len(b.Dump), want, b.Dump)
			}
			if f.messages(t) != 0 || f.used(t) != 0 {
				t.Errorf("%d messages, %d recipients counted", f.messages(t), f.used(t))
			}
		})
	}
}

// TestRawRecord: the record names what could be read of the message.
func TestRawRecord(t *testing.T) {
	f := setup(t)
	f.refusedRaw(t, raw("From: Ann <ann@example.net>\nSubject: =?utf-8?Q?=C3=BC?=\nX-PM-Tag: t\nX-PM-Message-Stream: broadcast\n\nThe text\n", "a@x.example", "b@x.example"))
	list := f.bounces(t, "broadcast")
	if len(list) != 1 {
		t.Fatalf("%d records in the stream, want 1", len(list))
	}
	b := list[0]
	if b.From != "ann@example.net" || b.Subject != "ü" || b.Tag != "t" || b.Recipient != "a@x.example" || !strings.HasSuffix(b.Dump, "\r\n\r\nThe text\r\n") {
		t.Errorf("record is %+v", b)
	}
	f.refusedRaw(t, raw("Subject: two\nFrom: a@acme.example, b@acme.example\nX-PM-Tag: t\nX-PM-Message-Stream: broadcast\n\nThe text\n"))
	list = f.bounces(t, "broadcast")
	if b := list[len(list)-1]; len(list) != 2 || b.From != "a@acme.example, b@acme.example" || b.Subject != "two" || b.Tag != "t" {
		t.Errorf("records are %+v", list)
	}
	f.refusedRaw(t, raw("Subject: three\nFrom: a@acme.example\nno field\n\nThe text\n"))
	list = f.bounces(t, "outbound")
	if b := list[len(list)-1]; len(list) != 1 || b.From != "a@acme.example" || b.Subject != "three" {
		t.Errorf("records are %+v", list)
	}
}

// TestRawNotRecorded: what concerns the caller leaves no record, on a server
// that accepts all it can neither.
func TestRawNotRecorded(t *testing.T) {
	for name, change := range map[string]struct {
		code pennypost.Code
		set  func(f *fixture)
	}{
		"suspended": {413, func(f *fixture) {
			f.set(t, func(_ *pennypost.Account, s *pennypost.Server) {
				s.Suspension = pennypost.Suspension{Since: noon, Reason: "Abuse."}
			})
		}},
		"over the limit": {405, func(f *fixture) {
			f.set(t, func(_ *pennypost.Account, s *pennypost.Server) { s.MonthlyLimit = 1 })
			f.acceptRaw(t, raw(plain+"\nx\n"))
		}},
		"revoked": {10, func(f *fixture) {
			f.update(t, func(tx *store.Tx) error { return tx.RevokeSMTPToken(t.Context(), f.server.ID, f.smtp.TokenID) })
		}},
	} {
		for _, way := range []pennypost.SMTPRejection{pennypost.RejectImmediate, pennypost.RejectAccept} {
			t.Run(name+" "+string(way), func(t *testing.T) {
				f := setup(t)
				f.set(t, func(_ *pennypost.Account, s *pennypost.Server) { s.SMTPRejection = way })
				change.set(f)
				if e := f.refusedRaw(t, raw(plain+"\nx\n")); e.Code != change.code {
					t.Errorf("good message: got %d %q, want code %d", e.Code, e.Text, change.code)
				}
				if change.code != 405 {
					if e := f.refusedRaw(t, raw("no header\n")); e.Code != change.code {
						t.Errorf("bad message: got %d %q, want code %d", e.Code, e.Text, change.code)
					}
				}
				if n := len(f.bounces(t, "outbound")); n != 0 {
					t.Errorf("%d records, want none", n)
				}
			})
		}
	}
}

// TestRawAccept: SMTPRejection "Accept" is Postmark's way (contract/smtp.md
// §5, design §8).
func TestRawAccept(t *testing.T) {
	f := setup(t)
	f.set(t, func(_ *pennypost.Account, s *pennypost.Server) { s.SMTPRejection = pennypost.RejectAccept })
	f.suppress(t, "gone@example.com")
	for name, r := range map[string]*Raw{
		"no header":      raw("Hello there.\n"),
		"unknown sender": raw("From: ann@example.net\n\nx\n"),
		"all suppressed": raw(plain+"\nx\n", "gone@example.com"),
		"unknown stream": raw(plain + "X-PM-Message-Stream: none\n\nx\n"),
	} {
		before := len(f.bounces(t, "outbound"))
		a, err := f.door.AcceptRaw(t.Context(), f.smtp, r)
		if err != nil {
			t.Errorf("%s: %v, want it accepted", name, err)
			continue
		}
		list := f.bounces(t, "outbound")[before:]
		if len(list) != 1 || list[0].MessageID != a.ID {
			t.Errorf("%s: accepted as %v, records %+v", name, a.ID, list)
		}
	}
	if f.messages(t) != 0 || f.used(t) != 0 {
		t.Errorf("%d messages, %d counted", f.messages(t), f.used(t))
	}
}

// TestRawInactive: design §8, suppressed recipients over SMTP.
func TestRawInactive(t *testing.T) {
	f := setup(t)
	f.suppress(t, "a@x.example", "b@x.example")
	got := f.acceptRaw(t, raw(plain+"\nx\n", "A@x.example", "jane@example.com", "b@x.example"))
	if len(got.jobs) != 1 || f.used(t) != 1 {
		t.Errorf("%d jobs, %d counted, want one", len(got.jobs), f.used(t))
	}
	list := f.bounces(t, "outbound")
	if len(list) != 2 {
		t.Fatalf("%d records, want one for each suppressed recipient", len(list))
	}
	for i, want := range []struct {
		n    int
		addr pennypost.Address
	}{{0, "A@x.example"}, {2, "b@x.example"}} {
		b := list[i]
		if b.N != want.n || b.Recipient != want.addr || b.MessageID != got.ID || b.Details != "Inactive recipient" || b.Inactive {
			t.Errorf("record %d is %+v", i, b)
		}
	}
	const text = "You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: a@x.example, b@x.example. Inactive recipients are ones that have generated a hard bounce, a spam complaint, or a manual suppression."
	e := f.refusedRaw(t, raw(plain+"\nx\n", "A@x.example", "b@x.example"))
	if e.Code != 406 || e.Text != text {
		t.Errorf("got %d %q", e.Code, e.Text)
	}
	if n := len(f.bounces(t, "outbound")); n != 4 {
		t.Errorf("%d records, want 4", n)
	}
	if f.messages(t) != 1 || f.used(t) != 1 {
		t.Errorf("%d messages, %d counted, want 1", f.messages(t), f.used(t))
	}
}

// TestRawSurplus: those refused at RCPT are told of at the dot (design §8,
// S-045).
func TestRawSurplus(t *testing.T) {
	f := setup(t)
	r := raw(plain + "\nx\n")
	r.Surplus = []eml.Mailbox{{Local: "x", Domain: "example.com"}, {Local: "y", Domain: "example.com"}}
	got := f.acceptRaw(t, r)
	list := f.bounces(t, "outbound")
	if len(list) != 1 || list[0].N != -1 || list[0].Recipient != "x@example.com" || list[0].MessageID != got.ID || list[0].Details != "Too many recipients" ||
		!strings.Contains(list[0].Dump, "x@example.com, y@example.com.") {
		t.Errorf("records are %+v", list)
	}
	r.Data = []byte("From: ann@example.net\r\n\r\nx\r\n")
	f.refusedRaw(t, r)
	if list := f.bounces(t, "outbound"); len(list) != 3 || list[1].Details != "Sender signature not found" || list[2].Details != "Too many recipients" {
		t.Errorf("records are %+v", list)
	}
}

// TestRawRecipients: S-046, S-072, O-032, contract/smtp.md §4.
func TestRawRecipients(t *testing.T) {
	f := setup(t)
	r := raw("From: orders@acme.example\nTo: Friends: sam@example.org, jane@example.com;\n\nx\n", slices.Repeat([]string{"Jane@example.com", "jane@EXAMPLE.com"}, 20)...)
	r.From = ""
	got := f.acceptRaw(t, r)
	if len(got.recipients) != 1 || len(got.jobs) != 1 || len(got.Bcc) != 0 {
		t.Errorf("%d recipients, %d jobs, Bcc %v", len(got.recipients), len(got.jobs), got.Bcc)
	}
	if !strings.Contains(got.content, "\r\nTo: sam@example.org, jane@example.com\r\n") {
		t.Errorf("To is not as given:\n%s", got.content)
	}
	got = f.acceptRaw(t, raw("From: orders@acme.example\nTo: undisclosed-recipients:;\n\nx\n", "a@x.example", "b@x.example"))
	if len(got.recipients) != 2 || len(got.Bcc) != 2 || strings.Contains(got.content, "x.example") {
		t.Errorf("recipients %v, Bcc %v:\n%s", got.recipients, got.Bcc, got.content)
	}
	e := f.refusedRaw(t, raw(plain+"\nx\n", strings.Split(addresses(51), ", ")...))
	if e.Code != 300 || !strings.HasPrefix(e.Text, "Too many recipients.") {
		t.Errorf("51: got %d %q", e.Code, e.Text)
	}
	if e := f.refusedRaw(t, &Raw{Data: []byte("From: orders@acme.example\r\n\r\nx\r\n")}); e.Text != "Zero recipients specified" {
		t.Errorf("none: got %d %q", e.Code, e.Text)
	}
}

// TestRawLines: bare LF, long lines, 8 bit (S-040, S-080, design §8).
func TestRawLines(t *testing.T) {
	f := setup(t)
	r := raw(plain + "\nx\n")
	r.Data = []byte("From: orders@acme.example\nSubject: gr\xfc\xdfe\n\n.\n" + strings.Repeat("y", 2000) + "\r\n..\n")
	r.TLS = false
	got := f.acceptRaw(t, r)
	wellFormed(t, got.content)
	if !strings.HasPrefix(got.content, "Received: by mail.penny.example with ESMTPA id\r\n ") {
		t.Errorf("no trace at the top:\n%s", got.content)
	}
	if got.Subject != "grüße" {
		t.Errorf("subject is %q", got.Subject)
	}
	p, err := eml.Parse([]byte(got.content), eml.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if want := ".\r\n" + strings.Repeat("y", 2000) + "\r\n..\r\n"; string(p.Root.Content) != want {
		t.Errorf("text is %q", p.Root.Content)
	}
}

// TestRawHasNoTemplates: what looks like a template is text (contract/smtp.md §4).
func TestRawHasNoTemplates(t *testing.T) {
	f := setup(t)
	got := f.acceptRaw(t, raw("X-PM-Template: welcome\n"+plain+"\nHello {{name}}, {{#each items}}{{.}}{{/each}}\n"))
	if !strings.HasSuffix(got.content, "\r\n\r\nHello {{name}}, {{#each items}}{{.}}{{/each}}\r\n") {
		t.Errorf("content is\n%s", got.content)
	}
}

// TestRawPreserved: signed and encrypted parts stay byte for byte.
func TestRawPreserved(t *testing.T) {
	f := setup(t)
	const signed = "--=-b  \n" + "Content-Type: text/plain;\n  charset=us-ascii\n\nSigned   text.  \n\n--=-b\nContent-Type: application/pgp-signature; name=signature.asc\n\nxyz\n--=-b--\n"
	got := f.acceptRaw(t, raw(plain+"Content-Type: multipart/signed; micalg=pgp-sha512;\n protocol=\"application/pgp-signature\"; boundary=\"=-b\"\n\n"+signed))
	if !strings.Contains(got.content, "\r\n\r\n"+strings.ReplaceAll(signed, "\n", "\r\n")) {
		t.Errorf("signed part was changed:\n%s", got.content)
	}
	if !strings.Contains(got.content, "micalg=pgp-sha512") || !strings.Contains(got.content, `boundary="=-b"`) {
		t.Errorf("parameters are lost:\n%s", got.content)
	}
}

// TestRawKeepsNothing: the session reuses the buffer.
func TestRawKeepsNothing(t *testing.T) {
	f := setup(t)
	r := raw(plain + "X-PM-Tag: tag\nX-PM-Metadata-k: value\nX-Own: own\n\nThe text of it\n")
	dr, err := f.door.draftRaw(f.smtp, r)
	if err == nil {
		err = f.door.render(dr)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := string(dr.content)
	for i := range r.Data {
		r.Data[i] = '#'
	}
	if string(dr.content) != before || dr.tag != "tag" || dr.metadata["k"] != "value" || dr.subject != "Hi" || dr.from.Local != "orders" || dr.headers[0].Value != "own" {
		t.Errorf("draft changed with the buffer: %+v", dr)
	}
}

// TestRawSignatureLends: SMTP messages get the signature's name and reply
// address as HTTP ones do.
func TestRawSignatureLends(t *testing.T) {
	f := setup(t)
	got := f.acceptRaw(t, raw("From: solo@sign.example\nTo: jane@example.com\n\nx\n"))
	if got.From.Name != "Solo Käse" || len(got.ReplyTo) != 1 || got.ReplyTo[0].Address != "answers@sign.example" {
		t.Errorf("message is %+v", got.Message)
	}
}

// TestRawTestCaller: the test token stores nothing over SMTP either.
func TestRawTestCaller(t *testing.T) {
	f := setup(t)
	a, err := f.door.AcceptRaw(t.Context(), pennypost.Caller{Kind: pennypost.CallerTest}, raw("From: ann@example.net\n\nx\n"))
	if err != nil || !a.Test {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestHasGroup(t *testing.T) {
	for v, want := range map[string]bool{
		"a@x.example":                        false,
		"A: a@x.example;":                    true,
		"a@x.example;":                       true,
		`"A: b;" <a@x.example>`:              false,
		`"A\": b" <a@x.example>`:             false,
		"a@x.example (at: work; \\) too)":    false,
		"A <a:b@x.example>":                  false,
		"(c) A (d): <a@x.example>":           true,
		`"unclosed: <a@x.example>`:           false,
		"=?utf-8?Q?a=3Ab?= <a@x.example>":    false,
		"((deep: one) still: comment) a@b.c": false,
	} {
		if got := hasGroup(v); got != want {
			t.Errorf("hasGroup(%q) = %v, want %v", v, got, want)
		}
	}
}
