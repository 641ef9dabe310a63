package submit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/queue"
	"pennypost/internal/store"
)

func (f *fixture) accept(t *testing.T, s *Submission) *Accepted {
	t.Helper()
	a, err := f.door.Accept(t.Context(), f.api, s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (f *fixture) refused(t *testing.T, s *Submission) *pennypost.Error {
	t.Helper()
	_, err := f.door.Accept(t.Context(), f.api, s)
	var e *pennypost.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want a refusal", err)
	}
	if f.used(t) != 0 || f.messages(t) != 0 {
		t.Errorf("%d recipients counted and %d messages stored, want none", f.used(t), f.messages(t))
	}
	return e
}

// TestAcceptStores: all that a message has is on stable storage.
func TestAcceptStores(t *testing.T) {
	f := setup(t)
	opens := true
	a := f.accept(t, &Submission{
		From: "Blue Kettle <orders@acme.example>", To: `"Doe, Jane" <Jane@example.com>, sam@example.org`, Cc: "JANE@example.com",
		Bcc: "boss@example.net", ReplyTo: "help@acme.example", Subject: "Order 7781", TextBody: "Text", HTMLBody: "<p>HTML</p>",
		Tag: "order-shipped", Metadata: []Pair{{"order", "7781"}}, TrackOpens: &opens, TrackLinks: "htmlonly",
		Attachments: []Attachment{{Name: "bill.pdf", ContentType: "application/pdf", Content: []byte("%PDF")}},
		DeliverBy:   noon.Add(time.Hour),
	})
	if !a.SubmittedAt.Equal(noon) || a.ID.IsZero() || a.Test || a.Inactive != nil {
		t.Errorf("got %+v", a)
	}
	got := f.load(t, a.ID)
	want := &pennypost.Message{
		ID: a.ID, AccountID: f.account.ID, ServerID: f.server.ID, Stream: "outbound", Source: pennypost.SourceHTTP,
		From:    pennypost.Mailbox{Name: "Blue Kettle", Address: "orders@acme.example"},
		To:      []pennypost.Mailbox{{Name: "Doe, Jane", Address: "Jane@example.com"}, {Address: "sam@example.org"}},
		Cc:      []pennypost.Mailbox{{Address: "JANE@example.com"}},
		Bcc:     []pennypost.Mailbox{{Address: "boss@example.net"}},
		ReplyTo: []pennypost.Mailbox{{Address: "help@acme.example"}},
		Subject: "Order 7781", Tag: "order-shipped", Metadata: map[string]string{"order": "7781"}, Attachments: []string{"bill.pdf"},
		TrackOpens: true, TrackLinks: pennypost.TrackHTMLOnly, HeaderID: "<" + a.ID.String() + "@mail.penny.example>",
		SignDomain: "acme.example", ReturnDomain: "pm-bounces.acme.example", ReceivedAt: noon, DeliverBy: noon.Add(time.Hour),
		Size: int64(len(got.content)), Recipients: 3,
	}
	if diff := cmp.Diff(want, got.Message); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	wantTo := []pennypost.Address{"Jane@example.com", "sam@example.org", "boss@example.net"} // O-032: one copy each
	if len(got.recipients) != len(wantTo) || len(got.jobs) != len(wantTo) {
		t.Fatalf("%d recipients, %d jobs, want %d", len(got.recipients), len(got.jobs), len(wantTo))
	}
	for i, r := range got.recipients {
		if r.N != i || r.Address != wantTo[i] || r.State != pennypost.Queued {
			t.Errorf("recipient %d is %+v, want %s queued", i, r, wantTo[i])
		}
	}
	for i, j := range got.jobs {
		id, n, err := store.ParseJobRef(j.Ref)
		if err != nil || id != a.ID || n != i {
			t.Errorf("job %d is for %v/%d (%v)", i, id, n, err)
		}
		if j.Kind != pennypost.JobDeliver || j.Dest != wantTo[i].Domain() || j.Tenant != f.server.ID ||
			j.Priority != pennypost.PriorityTransactional || !j.RunAt.Equal(noon) || j.Attempt != 0 {
			t.Errorf("job %d is %+v", i, j)
		}
		if j.Lease != f.store.Session() {
			t.Errorf("job %d has lease %d, want that of the session, %d", i, j.Lease, f.store.Session())
		}
	}
	if n := f.used(t); n != 3 {
		t.Errorf("%d recipients counted, want 3", n)
	}
	if strings.Contains(got.content, "boss@example.net") {
		t.Error("Bcc shows in the message")
	}
}

// TestAcceptAddressForms: contract/sending.md §3, contract/clients.md 4.12.
func TestAcceptAddressForms(t *testing.T) {
	f := setup(t)
	for to, want := range map[string]string{
		"jane@example.com":                             "To: jane@example.com\r\n",
		"Jane Doe <jane@example.com>":                  "To: Jane Doe <jane@example.com>\r\n",
		"Jane<jane@example.com>":                       "To: Jane <jane@example.com>\r\n",
		`"Doe, Jane" <jane@example.com>`:               "To: \"Doe, Jane\" <jane@example.com>\r\n",
		"a@example.com,b@example.com,":                 "To: a@example.com, b@example.com\r\n",
		"Jäne <Jane@EXAMPLE.com>":                      "To: =?utf-8?B?SsOkbmU=?= <Jane@example.com>\r\n",
		"jane@xn--bcher-kva.example":                   "To: jane@xn--bcher-kva.example\r\n",
		"a.!#$%&'*+/=^_{}|~-`b@blackhole.example.test": "To: a.!#$%&'*+/=^_{}|~-`b@blackhole.example.test\r\n",
	} {
		s := good()
		s.To = to
		if got := f.load(t, f.accept(t, s).ID).content; !strings.Contains(got, "\r\n"+want) {
			t.Errorf("%s: no %q in\n%s", to, want, got)
		}
	}
	s := good()
	s.To = addresses(50)
	if n := f.load(t, f.accept(t, s).ID).Recipients; n != 50 {
		t.Errorf("%d recipients, want 50", n)
	}
	s = good()
	s.To, s.Cc = "", "desk@example.com"
	if got := f.load(t, f.accept(t, s).ID).content; strings.Contains(got, "\r\nTo:") || !strings.Contains(got, "\r\nCc: desk@example.com\r\n") {
		t.Errorf("only Cc:\n%s", got)
	}
	s = good()
	s.From = `Blue <orders@acme.example>, "Other" <x@nowhere.example>`
	if got := f.load(t, f.accept(t, s).ID).content; !strings.Contains(got, "\r\nFrom: Blue <orders@acme.example>\r\n") {
		t.Errorf("From of two addresses:\n%s", got)
	}
}

// TestNeedsSMTPUTF8: an address that only RFC 6531 can carry.
func TestNeedsSMTPUTF8(t *testing.T) {
	f := setup(t)
	for _, set := range []func(s *Submission){
		func(s *Submission) { s.To = "jäne@example.com" },
		func(s *Submission) { s.Bcc = "jäne@example.com" },
		func(s *Submission) { s.ReplyTo = "jäne@example.com" },
		func(s *Submission) { s.From = "bestellung-für@acme.example" },
	} {
		s := good()
		set(s)
		if !f.load(t, f.accept(t, s).ID).NeedsSMTPUTF8 {
			t.Errorf("%+v does not need SMTPUTF8", s)
		}
	}
	if f.load(t, f.accept(t, good()).ID).NeedsSMTPUTF8 {
		t.Error("an ASCII message needs SMTPUTF8")
	}
}

// TestSenderTexts: contract/common.md §6.2, codes 400 and 401.
func TestSenderTexts(t *testing.T) {
	f := setup(t)
	for _, tc := range []struct {
		from string
		code pennypost.Code
		text string
	}{
		{
			"ann@example.net", 400,
			"The 'From' address you supplied (ann@example.net) is not a Sender Signature on your account. Please add and confirm this address in order to be able to use it in the 'From' field of your messages.",
		},
		{
			`"orders@acme.example" <ann@example.net>`, 400,
			`The 'From' address you supplied ("orders@acme.example" <ann@example.net>) is not a Sender Signature on your account. Please add and confirm this address in order to be able to use it in the 'From' field of your messages.`,
		},
		{
			"other@sign.example", 400,
			"The 'From' address you supplied (other@sign.example) is not a Sender Signature on your account. Please add and confirm this address in order to be able to use it in the 'From' field of your messages.",
		},
		{
			"a@sub.acme.example", 400,
			"The 'From' address you supplied (a@sub.acme.example) is not a Sender Signature on your account. Please add and confirm this address in order to be able to use it in the 'From' field of your messages.",
		},
		{
			"New <new@sign.example>", 401,
			"Sender signature not confirmed. The 'From' address you supplied (New <new@sign.example>) is a Sender Signature on your account that has not been confirmed yet. Please follow the link in the confirmation email in order to be able to use it in the 'From' field of your messages.",
		},
	} {
		s := good()
		s.From = tc.from
		if e := f.refused(t, s); e.Code != tc.code || e.Text != tc.text {
			t.Errorf("%s: got %d %q\nwant %d %q", tc.from, e.Code, e.Text, tc.code, tc.text)
		}
	}
}

// TestSignatureLends: display name and reply address of a signature are used
// where the message has none (contract/sending.md §1).
func TestSignatureLends(t *testing.T) {
	f := setup(t)
	s := good()
	s.From = "solo@sign.example"
	got := f.load(t, f.accept(t, s).ID)
	for _, want := range []string{
		"\r\nFrom: =?utf-8?B?U29sbyBLw6RzZQ==?= <solo@sign.example>\r\n", "\r\nReply-To: answers@sign.example\r\n",
		"\r\nSubject: Order 7781\r\n", mimeStart, "\r\n\r\nIt is on its way.\r\n",
	} {
		if strings.Count(got.content, want) != 1 {
			t.Errorf("%q is not once in\n%s", want, got.content)
		}
	}
	if got.From.Name != "Solo Käse" || len(got.ReplyTo) != 1 || got.Size != int64(len(got.content)) {
		t.Errorf("message is %+v", got.Message)
	}
	s.From, s.ReplyTo = "Me <solo@sign.example>", "me@sign.example"
	got = f.load(t, f.accept(t, s).ID)
	for _, want := range []string{"\r\nFrom: Me <solo@sign.example>\r\n", "\r\nReply-To: me@sign.example\r\n"} {
		if strings.Count(got.content, want) != 1 {
			t.Errorf("%q is not once in\n%s", want, got.content)
		}
	}
	if got.SignDomain != "" || got.ReturnDomain != "pm.mail.penny.example" {
		t.Errorf("signed by %q, returned to %q, want the instance's", got.SignDomain, got.ReturnDomain)
	}
}

// TestStreams: contract/sending.md §7.
func TestStreams(t *testing.T) {
	f := setup(t)
	f.update(t, func(tx *store.Tx) error {
		return tx.AddStream(t.Context(), &pennypost.Stream{ServerID: f.server.ID, ID: "other", Type: pennypost.StreamTransactional})
	})
	for _, tc := range []struct {
		stream, text string
		code         pennypost.Code
	}{
		{"unknown-stream", "The stream provided: 'unknown-stream' does not exist on this server.", 1235},
		{"no\x00ne", "The stream provided: 'no ne' does not exist on this server.", 1235},
		{strings.Repeat("x", 400), "The stream provided: '" + strings.Repeat("x", 320) + "…' does not exist on this server.", 1235},
		{"inbound", "Sending is not supported for this stream type.", 1236},
	} {
		s := good()
		s.Stream = tc.stream
		if e := f.refused(t, s); e.Code != tc.code || e.Text != tc.text {
			t.Errorf("%s: got %d %q", tc.stream, e.Code, e.Text)
		}
		s.To = "" // the stream comes first (contract/sending.md §8)
		if e := f.refused(t, s); e.Code != tc.code {
			t.Errorf("%s beside another fault: got %d %q", tc.stream, e.Code, e.Text)
		}
	}
	for stream, want := range map[string]pennypost.StreamID{"": "outbound", "  ": "outbound", "other": "other", "broadcast": "broadcast"} {
		s := good()
		s.Stream = stream
		got := f.load(t, f.accept(t, s).ID)
		broadcast := want == "broadcast"
		if got.Stream != want || got.Broadcast != broadcast || (got.jobs[0].Priority == pennypost.PriorityBulk) != broadcast {
			t.Errorf("%q: stream %s, broadcast %v, priority %d", stream, got.Stream, got.Broadcast, got.jobs[0].Priority)
		}
	}
}

// TestArchivedStream: S-070.
func TestArchivedStream(t *testing.T) {
	f := setup(t)
	err := f.store.Update(t.Context(), func(tx *store.Tx) error {
		st, err := tx.Stream(t.Context(), f.server.ID, "broadcast")
		if err != nil {
			return err
		}
		st.ArchivedAt = tx.Now()
		return tx.SetStream(t.Context(), st)
	})
	if err != nil {
		t.Fatal(err)
	}
	s := good()
	s.Stream = "broadcast"
	const text = "The stream provided: 'broadcast' has been archived on this server."
	if e := f.refused(t, s); e.Code != 1235 || e.Text != text {
		t.Errorf("got %d %q", e.Code, e.Text)
	}
	if e := f.refusedRaw(t, raw(plain+"X-PM-Message-Stream: broadcast\n\nx\n")); e.Code != 1235 || e.Text != text {
		t.Errorf("SMTP: got %d %q", e.Code, e.Text)
	}
	f.accept(t, good())
}

// TestAccountStates: contract/common.md §6.2 codes 412, 413; design §2.
func TestAccountStates(t *testing.T) {
	t.Run("pending", func(t *testing.T) {
		f := setup(t)
		f.set(t, func(a *pennypost.Account, s *pennypost.Server) {
			a.Pending, s.TrackLinks = true, pennypost.TrackHTMLAndText
		})
		e := f.refused(t, good())
		if want := "While your account is pending approval, all recipient addresses must share the same domain as the 'From' address. The domain of the 'From' address is 'acme.example'."; e.Code != 412 || e.Text != want {
			t.Errorf("got %d %q", e.Code, e.Text)
		}
		s := good()
		s.To = "me@ACME.example"
		if got := f.load(t, f.accept(t, s).ID); got.TrackLinks != pennypost.TrackNone {
			t.Errorf("links tracked %q, want None while pending", got.TrackLinks)
		}
	})
	t.Run("suspended", func(t *testing.T) {
		f := setup(t)
		f.set(t, func(_ *pennypost.Account, s *pennypost.Server) {
			s.Suspension = pennypost.Suspension{Since: noon, Reason: "Too many bounces."}
		})
		if e := f.refused(t, good()); e.Code != 413 || e.Text != "This account is not approved to send email. Too many bounces." {
			t.Errorf("got %d %q", e.Code, e.Text)
		}
	})
	t.Run("revoked", func(t *testing.T) {
		f := setup(t)
		f.update(t, func(tx *store.Tx) error { return tx.RevokeToken(t.Context(), f.account.ID, f.server.ID, f.api.TokenID) })
		if e := f.refused(t, good()); e.Code != 10 || e.Status != 401 {
			t.Errorf("got %d %d %q", e.Status, e.Code, e.Text)
		}
	})
}

// TestLimits: design §2. A recipient that gets no copy is not counted.
func TestLimits(t *testing.T) {
	const text = "You are not allowed to send: the monthly limit of 2 is used up until 2026-08-01."
	for name, limit := range map[string]func(a *pennypost.Account, s *pennypost.Server){
		"server":  func(_ *pennypost.Account, s *pennypost.Server) { s.MonthlyLimit = 2 },
		"account": func(a *pennypost.Account, _ *pennypost.Server) { a.MonthlyLimit = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			f.set(t, limit)
			f.suppress(t, "gone@example.com")
			three := good()
			three.To = addresses(3)
			if e := f.refused(t, three); e.Code != 405 || e.Text != text {
				t.Errorf("got %d %q", e.Code, e.Text)
			}
			one := good()
			one.To = "jane@example.com, gone@example.com"
			f.accept(t, one)
			results := f.door.AcceptBatch(t.Context(), f.api, []*Submission{three, good(), good()})
			if e := refusal(t, results[0].Err); e.Code != 405 {
				t.Errorf("first: got %d %q", e.Code, e.Text)
			}
			if results[1].Err != nil {
				t.Errorf("second: %v, want it to have the last place", results[1].Err)
			}
			if e := refusal(t, results[2].Err); e.Code != 405 {
				t.Errorf("third: got %d %q", e.Code, e.Text)
			}
			if n := f.used(t); n != 2 {
				t.Errorf("%d counted, want 2", n)
			}
		})
	}
}

// TestInactive: contract/sending.md §9, contract/clients.md 4.7 and 4.8.
func TestInactive(t *testing.T) {
	f := setup(t)
	f.suppress(t, "a@x.example", "b@x.example")
	s := good()
	s.To, s.Bcc = "B@x.example, A <A@x.example>", "a@X.example"
	e := f.refused(t, s)
	want := "You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: b@x.example, a@x.example. Inactive recipients are ones that have generated a hard bounce, a spam complaint, or a manual suppression."
	if e.Code != 406 || e.Text != want {
		t.Errorf("got %d %q\nwant %q", e.Code, e.Text, want)
	}
	if n := len(f.bounces(t, "outbound")); n != 0 {
		t.Errorf("%d bounces over HTTP, want none", n)
	}
	s.To = "B@x.example, jane@example.com, A <A@x.example>"
	a := f.accept(t, s)
	if diff := cmp.Diff([]pennypost.Address{"b@x.example", "a@x.example"}, a.Inactive); diff != "" {
		t.Errorf("inactive (-want +got):\n%s", diff)
	}
	got := f.load(t, a.ID)
	states := []pennypost.RecipientState{pennypost.Suppressed, pennypost.Queued, pennypost.Suppressed}
	for i, r := range got.recipients {
		if r.State != states[i] {
			t.Errorf("recipient %d is %v, want %v", i, r.State, states[i])
		}
	}
	if len(got.jobs) != 1 || got.jobs[0].Dest != "example.com" || f.used(t) != 1 {
		t.Errorf("jobs %+v, %d counted, want one", got.jobs, f.used(t))
	}
	if !strings.Contains(got.content, "\r\nTo: B@x.example, jane@example.com, A <A@x.example>\r\n") {
		t.Errorf("To is not as given:\n%s", got.content)
	}
	s = good()
	s.To, s.Stream = "a@x.example", "broadcast"
	f.accept(t, s) // a stream asks its own list only (contract/sending.md §7)
}

// TestBatch: contract/sending.md §10.
func TestBatch(t *testing.T) {
	f := setup(t)
	f.suppress(t, "gone@example.com")
	var list []*Submission
	for i := range 120 {
		s := good()
		s.Subject = fmt.Sprint(i)
		list = append(list, s)
	}
	list[3].To = "b"
	list[60].From = "ann@example.net"
	list[61].To = "gone@example.com"
	list[62].Stream = "unknown"
	list[119].Metadata = make([]Pair, 1)
	results := f.door.AcceptBatch(t.Context(), f.api, list)
	codes := map[int]pennypost.Code{3: 300, 60: 400, 61: 406, 62: 1235, 119: 300}
	for i, r := range results {
		if code := codes[i]; code != 0 {
			if e := refusal(t, r.Err); e.Code != code || r.Accepted != nil {
				t.Errorf("%d: got %d %q, want code %d", i, e.Code, e.Text, code)
			}
			continue
		}
		if r.Err != nil {
			t.Fatalf("%d: %v", i, r.Err)
		}
		if got := f.load(t, r.Accepted.ID); got.Subject != fmt.Sprint(i) || len(got.jobs) != 1 {
			t.Errorf("%d has subject %q and %d jobs", i, got.Subject, len(got.jobs))
		}
	}
	if n := f.messages(t); n != 115 || f.used(t) != 115 {
		t.Errorf("%d messages stored, %d counted, want 115", n, f.used(t))
	}
	for _, r := range f.door.AcceptBatch(t.Context(), f.api, make([]*Submission, 501)) {
		if e := refusal(t, r.Err); e.Code != 410 || e.Text != "You may only send up to 500 messages in a single batched request." {
			t.Fatalf("501: got %d %q", e.Code, e.Text)
		}
	}
	if got := f.door.AcceptBatch(t.Context(), f.api, nil); len(got) != 0 {
		t.Errorf("empty batch gives %v", got)
	}
}

// TestBatchAsAWhole: what concerns the caller fails every message.
func TestBatchAsAWhole(t *testing.T) {
	f := setup(t)
	f.update(t, func(tx *store.Tx) error { return tx.RevokeToken(t.Context(), f.account.ID, f.server.ID, f.api.TokenID) })
	for _, r := range f.door.AcceptBatch(t.Context(), f.api, []*Submission{good(), good()}) {
		if e := refusal(t, r.Err); e.Code != 10 {
			t.Errorf("got %d %q", e.Code, e.Text)
		}
	}
}

// TestTracking: contract/tracking.md §1, precedence.
func TestTracking(t *testing.T) {
	yes, no := true, false
	for _, tc := range []struct {
		server bool
		given  *bool
		want   bool
	}{{false, nil, false}, {false, &yes, true}, {false, &no, false}, {true, nil, true}, {true, &no, true}} {
		f := setup(t)
		f.set(t, func(_ *pennypost.Account, s *pennypost.Server) {
			s.TrackOpens, s.TrackLinks = tc.server, pennypost.TrackTextOnly
		})
		s := good()
		s.TrackOpens = tc.given
		got := f.load(t, f.accept(t, s).ID)
		if got.TrackOpens != tc.want || got.TrackLinks != pennypost.TrackTextOnly {
			t.Errorf("%+v: opens %v, links %s", tc, got.TrackOpens, got.TrackLinks)
		}
		s.TrackLinks = "None"
		if got := f.load(t, f.accept(t, s).ID).TrackLinks; got != pennypost.TrackNone {
			t.Errorf("message's None gives %s", got)
		}
	}
}

// TestSandbox: it goes the same way, to no destination of the network.
func TestSandbox(t *testing.T) {
	f := setup(t)
	f.update(t, func(tx *store.Tx) error {
		s := pennypost.Server{AccountID: f.account.ID, Name: "Sandbox", Sandbox: true, SMTPActivated: true, InboundHash: "h2"}
		if err := tx.AddServer(t.Context(), &s); err != nil {
			return err
		}
		f.server = s
		if err := f.addStreams(tx); err != nil {
			return err
		}
		token := pennypost.APIToken{AccountID: f.account.ID, ServerID: s.ID}
		err := tx.AddAPIToken(t.Context(), &token, []byte("another hash"), nil)
		f.api.ServerID, f.api.TokenID = s.ID, token.ID
		return err
	})
	got := f.load(t, f.accept(t, good()).ID)
	if !got.Sandbox || len(got.jobs) != 1 || got.jobs[0].Dest != "sandbox" || f.used(t) != 1 {
		t.Errorf("sandbox %v, jobs %+v, %d counted as volume", got.Sandbox, got.jobs, f.used(t))
	}
	s := good()
	s.To = "softbounce@bounce-testing.postmarkapp.com, jane@example.com"
	if got := f.load(t, f.accept(t, s).ID); !got.Sandbox || dests(got) != "bounce SoftBounce, sandbox" {
		t.Errorf("test addresses of a sandbox: jobs go to %q", dests(got))
	}
}

// TestLargeIsNotKept: a large message waits in the store.
func TestLargeIsNotKept(t *testing.T) {
	f := setup(t)
	s := good()
	s.TextBody = strings.Repeat("All work and no play.\r\n", 1<<16)
	if got := f.load(t, f.accept(t, s).ID); got.jobs[0].Lease != 0 {
		t.Errorf("lease is %d, want none", got.jobs[0].Lease)
	}
	s = good()
	s.To = addresses(50)
	s.TextBody = s.TextBody[:len(s.TextBody)/2]
	s.TextBody = strings.Repeat("All work and no play.\r\n", 1<<12)
	if got := f.load(t, f.accept(t, s).ID); got.jobs[0].Lease != 0 {
		t.Errorf("lease is %d, want none", got.jobs[0].Lease)
	}
}

// TestFullQueue: jobs that find no room are born free, and no place leaks.
func TestFullQueue(t *testing.T) {
	f := setup(t)
	conf := f.door.conf
	conf.Queue = queue.New(queue.Config{Store: f.store, Kind: pennypost.JobDeliver, Memory: 2, PerDest: 10})
	door, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	f.door = door
	bad := good()
	bad.From = "ann@example.net"
	for range 5 { // each gives its place back
		f.refused(t, bad)
	}
	s := good()
	s.To = "a@one.example, b@two.example, c@three.example, d@four.example"
	leased := 0
	for _, j := range f.load(t, f.accept(t, s).ID).jobs {
		if j.Lease != 0 {
			leased++
		}
	}
	if leased != 2 {
		t.Errorf("%d jobs are leased, want the 2 that have room", leased)
	}
}

// TestWithoutQueue: all waits in the store.
func TestWithoutQueue(t *testing.T) {
	f := setup(t)
	conf := f.door.conf
	conf.Queue = nil
	door, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	f.door = door
	if got := f.load(t, f.accept(t, good()).ID); got.jobs[0].Lease != 0 {
		t.Errorf("lease is %d, want none", got.jobs[0].Lease)
	}
}

// TestSettle: a commit without an answer is looked up.
func TestSettle(t *testing.T) {
	f := setup(t)
	unknown := fmt.Errorf("lost: %w", store.ErrUnknown)
	a := f.accept(t, good())
	there := &entry{draft: &draft{id: a.ID}, message: &pennypost.Message{}}
	if err := f.door.settle(t.Context(), unknown, there); err != nil {
		t.Errorf("stored message: %v, want nil", err)
	}
	away := &entry{draft: &draft{id: pennypost.MessageID{1}}, message: &pennypost.Message{}, jobs: f.load(t, a.ID).jobs}
	if err := f.door.settle(t.Context(), unknown, away); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("message that is not there: %v, want the fault", err)
	}
	if got := f.load(t, a.ID).jobs[0].Lease; got != 0 {
		t.Errorf("job has lease %d, want it free", got)
	}
	if err := f.door.settle(t.Context(), store.ErrUnavailable, there); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("another fault: %v", err)
	}
}

// TestFaultIsNoRefusal: our own faults stay distinguishable.
func TestFaultIsNoRefusal(t *testing.T) {
	f := setup(t)
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := f.door.Accept(t.Context(), f.api, good())
	var e *pennypost.Error
	if err == nil || errors.As(err, &e) {
		t.Errorf("got %v, want a fault", err)
	}
	_, err = f.door.AcceptRaw(t.Context(), f.smtp, &Raw{Data: []byte("From: a@acme.example\r\n\r\nx\r\n"), Recipients: []eml.Mailbox{{Local: "a", Domain: "b.example"}}})
	if err == nil || errors.As(err, &e) {
		t.Errorf("SMTP: got %v, want a fault", err)
	}
}

// failing makes the transactions of a door fail from the n-th on.
func (f *fixture) failing(t *testing.T, n int32) {
	t.Helper()
	conf := f.door.conf
	var calls atomic.Int32
	conf.Check = func(ctx context.Context, tx *store.Tx, c pennypost.Caller) (*pennypost.ServerState, error) {
		state, err := f.auth.CheckAccept(ctx, tx, c)
		if calls.Add(1) >= n && err == nil {
			// A conflict ends the transaction.
			_ = tx.AddStream(ctx, &pennypost.Stream{ServerID: f.server.ID, ID: "outbound", Type: pennypost.StreamTransactional})
		}
		return state, err
	}
	door, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	f.door = door
}

// TestBatchFault: a fault of ours fails the messages of its transaction, and
// what was stored stays stored.
func TestBatchFault(t *testing.T) {
	f := setup(t)
	f.failing(t, 2)
	list := slices.Repeat([]*Submission{good()}, 60)
	accepted := 0
	for _, r := range f.door.AcceptBatch(t.Context(), f.api, list) {
		var e *pennypost.Error
		switch {
		case r.Err == nil && r.Accepted != nil:
			accepted++
		case errors.As(r.Err, &e):
			t.Errorf("got %v, want a fault", r.Err)
		}
	}
	if n := f.messages(t); accepted != 50 || n != 50 || f.used(t) != 50 {
		t.Errorf("%d accepted, %d stored, %d counted, want the 50 of the first transaction", accepted, n, f.used(t))
	}
}

// TestRecordFault: a refusal that cannot be recorded is still one, unless the
// message would be accepted for it.
func TestRecordFault(t *testing.T) {
	f := setup(t)
	f.failing(t, 1)
	if e := f.refusedRaw(t, raw("no header\n")); e.Code != 300 {
		t.Errorf("got %d %q", e.Code, e.Text)
	}
	f.set(t, func(_ *pennypost.Account, s *pennypost.Server) { s.SMTPRejection = pennypost.RejectAccept })
	a, err := f.door.AcceptRaw(t.Context(), f.smtp, raw("no header\n"))
	var e *pennypost.Error
	if err == nil || errors.As(err, &e) {
		t.Errorf("got %+v, %v, want a fault", a, err)
	}
}

// TestNew: settings that cannot work are refused.
func TestNew(t *testing.T) {
	f := setup(t)
	for name, spoil := range map[string]func(c *Config){
		"Store":        func(c *Config) { c.Store = nil },
		"Check":        func(c *Config) { c.Check = nil },
		"Hostname":     func(c *Config) { c.Hostname = "" },
		"BounceDomain": func(c *Config) { c.BounceDomain = "nodot" },
		"Complaints":   func(c *Config) { c.Complaints = "a\r\nX: y" },
	} {
		c := f.door.conf
		spoil(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

// TestNewID: RFC 9562 §5.7, ids sort by time.
func TestNewID(t *testing.T) {
	d := benchDoor()
	a, err := d.newID(noon)
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.newID(noon.Add(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if a.String() >= b.String() || a[6]>>4 != 7 || a[8]>>6 != 2 || !strings.HasPrefix(a.String(), "019f2cce-7ba9-7") {
		t.Errorf("ids are %s, %s", a, b)
	}
	d.conf.Rand = strings.NewReader("")
	if _, err := d.newID(noon); err == nil {
		t.Error("an id without chance")
	}
}

// TestSystem: our own mail.
func TestSystem(t *testing.T) {
	f := setup(t)
	a, err := f.door.AcceptSystem(t.Context(), &System{
		FromName: "Pennypost", To: eml.Mailbox{Local: "ann", Domain: "example.net"}, Subject: "Confirm\r\nyour address", Text: "Follow the link.\r\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	got := f.load(t, a.ID)
	want := &pennypost.Message{
		ID: a.ID, Stream: "outbound", Source: pennypost.SourceSystem,
		From:    pennypost.Mailbox{Name: "Pennypost", Address: "postmaster@pm.mail.penny.example"},
		To:      []pennypost.Mailbox{{Address: "ann@example.net"}},
		Subject: "Confirm your address", TrackLinks: pennypost.TrackNone, HeaderID: "<" + a.ID.String() + "@mail.penny.example>",
		ReturnDomain: "pm.mail.penny.example", ReceivedAt: noon, Size: int64(len(got.content)), Recipients: 1,
	}
	if diff := cmp.Diff(want, got.Message); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	if len(got.jobs) != 1 || got.jobs[0].Priority != pennypost.PrioritySystem || got.jobs[0].Dest != "example.net" {
		t.Errorf("jobs are %+v", got.jobs)
	}
	if !strings.Contains(got.content, "\r\nAuto-Submitted: auto-generated\r\n") {
		t.Errorf("no Auto-Submitted in\n%s", got.content)
	}
}
