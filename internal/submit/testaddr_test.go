package submit

import (
	"net/http"
	"strings"
	"testing"

	"pennypost"
	"pennypost/internal/eml"
)

// dests are the destinations of a message's jobs.
func dests(got *stored) string {
	var list []string
	for _, j := range got.jobs {
		list = append(list, j.Dest)
	}
	return strings.Join(list, ", ")
}

// The jobs of test addresses say what is to come of them, over HTTP and SMTP,
// by the local part or by X-PM-Bounce-Type; the header goes out with neither
// (contract/sending.md §4 and §11, contract/smtp.md §3).
func TestTestAddresses(t *testing.T) {
	const theirs = "@bounce-testing.postmarkapp.com"
	for _, tc := range []struct{ name, to, header, want string }{
		{"local part", "Soft_Bounce" + theirs, "", "bounce SoftBounce"},
		{"our own domain", "blocked@bounce-testing.mail.penny.example", "", "bounce Blocked"},
		{"unknown", "ann" + theirs, "", "bounce HardBounce"},
		{"header", "ann" + theirs, "AutoResponder", "bounce AutoResponder"},
		{"header in another spelling", "ann" + theirs, "  dns_error ", "bounce DnsError"},
		{"header elsewhere", "jane@example.com", "HardBounce", "example.com"},
		{"blackhole", "test@blackhole.postmarkapp.com", "HardBounce", "blackhole"},
		{"our own blackhole", "test@blackhole.mail.penny.example", "", "blackhole"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := setup(t)
			s, lines := good(), plain
			s.To = tc.to
			if tc.header != "" {
				s.Headers = []eml.Field{{Name: "x-pm-bounce-type", Value: tc.header}, {Name: "X-PM-Bounce-Type", Value: "Transient"}}
				lines += "x-PM-bounce-TYPE: " + tc.header + "\nX-PM-Bounce-Type: Transient\n"
			}
			for way, got := range map[string]*stored{
				"HTTP": f.load(t, f.accept(t, s).ID), "SMTP": f.acceptRaw(t, raw(lines+"\nx\n", tc.to)),
			} {
				if dests(got) != tc.want {
					t.Errorf("%s: jobs go to %q, want %q", way, dests(got), tc.want)
				}
				if strings.Contains(strings.ToLower(got.content), "bounce-type") {
					t.Errorf("%s: the header is in the mail:\n%s", way, got.content)
				}
			}
			if f.used(t) != 2 {
				t.Errorf("%d counted as volume, want 2", f.used(t))
			}
		})
	}
}

// A test address that was suppressed by its bounce gives 406 like any other
// (contract/sending.md §11).
func TestTestAddressSuppressed(t *testing.T) {
	f := setup(t)
	f.suppress(t, "hardbounce@bounce-testing.postmarkapp.com")
	s := good()
	s.To = "HardBounce@bounce-testing.postmarkapp.com"
	_, err := f.door.Accept(t.Context(), f.api, s)
	if e := refusal(t, err); e.Code != pennypost.CodeInactive || !strings.Contains(e.Text, "Found inactive addresses: hardbounce@bounce-testing.postmarkapp.com. Inactive") {
		t.Errorf("got %d %q, want 406", e.Code, e.Text)
	}
}

// What a session refuses for its octets is on record like every other refusal,
// with what could be read of it (contract/smtp.md §5).
func TestRefuseRaw(t *testing.T) {
	why := &pennypost.Error{Code: pennypost.CodeInvalid, Text: "The message has a bare CR or NUL; lines end with CR LF."}
	large := &pennypost.Error{Code: pennypost.CodeInvalid, Text: "The message exceeds the size limit.", Status: http.StatusRequestEntityTooLarge}
	const head = "From: Orders <orders@acme.example>\nSubject: =?utf-8?Q?=C3=BC?=\nX-PM-Tag: t\nX-PM-Message-Stream: broadcast\n"
	for _, tc := range []struct {
		name, data string
		why        *pennypost.Error
		short      string
		stream     pennypost.StreamID
		from       string
	}{
		{"bare CR in the text", head + "\nx\ry\n", why, "Invalid message", "broadcast", "orders@acme.example"},
		{"NUL in the text", head + "\nx\x00\n", why, "Invalid message", "broadcast", "orders@acme.example"},
		{"bare CR in the header", "X: a\rb\n" + head + "\nx\n", why, "Invalid message", "broadcast", "orders@acme.example"},
		{"too large", head + "\n" + strings.Repeat("x", 100<<10), large, "Message too big", "broadcast", "orders@acme.example"},
		{"header without end", head + "X: " + strings.Repeat("y", 300<<10), large, "Message too big", "broadcast", "orders@acme.example"},
		{"no header", "\x00", why, "Invalid message", "outbound", ""},
		{"nothing", "", large, "Message too big", "outbound", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := setup(t)
			for n, way := range []pennypost.SMTPRejection{pennypost.RejectImmediate, pennypost.RejectAccept} {
				f.set(t, func(_ *pennypost.Account, s *pennypost.Server) { s.SMTPRejection = way })
				r := raw(tc.data)
				r.Surplus = []eml.Mailbox{{Local: "x", Domain: "example.com"}}
				a, err := f.door.RefuseRaw(t.Context(), f.smtp, r, tc.why)
				if way == pennypost.RejectImmediate && err != error(tc.why) || way == pennypost.RejectAccept && err != nil { //nolint:errorlint // the same
					t.Fatalf("%s: error %v", way, err)
				}
				list := f.bounces(t, tc.stream)
				if len(list) != 2*(n+1) {
					t.Fatalf("%s: %d records, want %d: one for the message and one for those that were too many", way, len(list), 2*(n+1))
				}
				b := list[2*n]
				if b.Type != "SMTPApiError" || b.Details != tc.short || b.Recipient != "jane@example.com" || b.From != tc.from || b.N != -1 {
					t.Errorf("%s: record is %+v", way, b)
				}
				if tc.from != "" && (b.Subject != "ü" || b.Tag != "t") {
					t.Errorf("%s: subject %q, tag %q", way, b.Subject, b.Tag)
				}
				if !strings.HasPrefix(b.Dump, tc.why.Text+"\r\nError code: 300\r\n\r\n") || len(b.Dump) > maxDump+100 || strings.Contains(b.Dump, "\x00") {
					t.Errorf("%s: dump of %d octets: %.200q", way, len(b.Dump), b.Dump)
				}
				if a != nil && a.ID != b.MessageID {
					t.Errorf("accepted as %v, on record as %v", a.ID, b.MessageID)
				}
			}
			if f.messages(t) != 0 || f.used(t) != 0 {
				t.Errorf("%d messages, %d counted", f.messages(t), f.used(t))
			}
		})
	}
}

// What concerns the caller, or nobody, leaves no record.
func TestRefuseRawNotRecorded(t *testing.T) {
	f := setup(t)
	why := pennypost.Invalid("The message has a bare CR or NUL; lines end with CR LF.")
	if _, err := f.door.RefuseRaw(t.Context(), pennypost.Caller{Kind: pennypost.CallerTest}, raw(plain+"\n\x00"), why); refusal(t, err) != why {
		t.Errorf("test caller: %v", err)
	}
	f.set(t, func(_ *pennypost.Account, s *pennypost.Server) {
		s.SMTPRejection, s.Suspension = pennypost.RejectAccept, pennypost.Suspension{Since: noon, Reason: "Abuse."}
	})
	if _, err := f.door.RefuseRaw(t.Context(), f.smtp, raw(plain+"\n\x00"), why); refusal(t, err).Code != pennypost.CodeNotApproved {
		t.Errorf("suspended: %v", err)
	}
	if n := len(f.bounces(t, "outbound")); n != 0 {
		t.Errorf("%d records, want none", n)
	}
}
