package account

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/store"
)

func (w *world) sender(t *testing.T, from string) *Sender {
	t.Helper()
	return must[*Sender](t)(w.CreateSender(t.Context(), w.one, &SenderInput{FromEmail: &from, Name: ptr("Ann from Acme")}))
}

func TestNewSender(t *testing.T) { // contract/senders.md §5
	w := newWorld(t)
	ctx := t.Context()
	s := must[*Sender](t)(w.CreateSender(ctx, w.one, &SenderInput{
		FromEmail: ptr("Ann+x@Acme.Example"), Name: ptr(" Ann from Acme "), ReplyTo: ptr("help@acme.example"),
		ReturnPath: ptr("pm.acme.example"), Note: ptr("Please confirm."),
	}))
	if s.Address != "Ann+x@acme.example" || s.Name != "Ann from Acme" || s.ReplyTo != "help@acme.example" ||
		s.Note != "Please confirm." || !s.ConfirmedAt.IsZero() {
		t.Errorf("signature: %+v", s)
	}
	k := w.DKIM(&s.Domain)
	if s.Domain.Name != "acme.example" || s.Domain.Listed || s.Domain.ReturnPath != "pm.acme.example" ||
		k.PendingHost != "20260302141507pm._domainkey.acme.example" || k.Status != "Pending" {
		t.Errorf("its domain: %+v", s.Domain)
	}
	if got := must[*Sender](t)(w.Sender(ctx, w.one, s.ID)); !cmp.Equal(got, s) {
		t.Error(cmp.Diff(s, got))
	}
	if list, n, err := w.Domains(ctx, w.one, 500, 0); n != 0 || len(list) != 0 || err != nil {
		t.Errorf("the domain is listed: %v", err)
	}
	_, err := w.Domain(ctx, w.one, s.DomainID)
	wantCode(t, err, 510, "")
	if list, n, err := w.Senders(ctx, w.one, 500, 0); n != 1 || len(list) != 1 || err != nil {
		t.Errorf("%d signatures, %v", n, err)
	}

	second := w.sender(t, "bob@acme.example")
	if second.DomainID != s.DomainID || second.ReplyTo != "" {
		t.Errorf("second signature of the domain: %+v", second)
	}
	// The domain added later is the same.
	if d := w.domain(t, w.one, "acme.example"); d.ID != s.DomainID || w.DKIM(d).PendingHost != k.PendingHost {
		t.Errorf("domain: %+v", d)
	}
	if m := w.senderFor(t, w.one, "ann+X@acme.example"); m.Status != pennypost.SenderUnconfirmed || m.Name != "Ann from Acme" {
		t.Errorf("sender: %+v", m)
	}
	wantNew := regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
	if !wantNew.MatchString(w.link(t)) {
		t.Errorf("token %q", w.link(t))
	}
}

func TestSenderRefusals(t *testing.T) { // contract/senders.md §8
	w := newWorld(t)
	ctx := t.Context()
	w.sender(t, "ann@acme.example")
	long := strings.Repeat("a", 256)
	with := func(in SenderInput) *SenderInput {
		if in.FromEmail == nil {
			in.FromEmail = ptr("new@acme.example")
		}
		if in.Name == nil {
			in.Name = ptr("New")
		}
		return &in
	}
	for _, c := range []struct {
		in   *SenderInput
		code pennypost.Code
		text string
	}{
		{nil, 502, "No update data or signature data received."},
		{&SenderInput{Name: ptr("x")}, 520, "FromEmail is a required field to create a Sender Signature."},
		{&SenderInput{FromEmail: ptr("new@acme.example")}, 520, "Name is a required field to create a Sender Signature."},
		{&SenderInput{FromEmail: ptr("new@acme.example"), Name: ptr(" ")}, 520, ""},
		{with(SenderInput{FromEmail: ptr(long + "@acme.example")}), 521, ""},
		{with(SenderInput{Name: &long}), 521, ""},
		{with(SenderInput{ReplyTo: ptr(long + "@acme.example")}), 521, ""},
		{with(SenderInput{Note: ptr(strings.Repeat("é", 401))}), 521, "ConfirmationPersonalNote must be 400 characters or less."},
		{with(SenderInput{FromEmail: ptr("acme.example")}), 522, "FromEmail is not a valid email address."},
		{with(SenderInput{FromEmail: ptr("Ann <ann@acme.example>")}), 522, ""},
		{with(SenderInput{FromEmail: ptr("a@acme.example,b@acme.example")}), 522, ""},
		{with(SenderInput{FromEmail: ptr("a@acme.example\r\nBcc: b@acme.example")}), 522, ""},
		{with(SenderInput{FromEmail: ptr("someone@example.com")}), 522, ""},
		{with(SenderInput{FromEmail: ptr("a@localhost")}), 522, ""},
		{with(SenderInput{FromEmail: ptr("ann@gmail.com")}), 503, ""},
		{with(SenderInput{FromEmail: ptr("ann@co.uk")}), 503, ""},
		{with(SenderInput{ReplyTo: ptr("nobody")}), 522, ""},
		{with(SenderInput{ReturnPath: ptr("pm.other.example")}), 522, ""},
		{with(SenderInput{Name: ptr("a\r\nb")}), 522, ""},
		{with(SenderInput{FromEmail: ptr("ANN@acme.example")}), 504, "This signature already exists."},
	} {
		_, err := w.CreateSender(ctx, w.one, c.in)
		wantCode(t, err, c.code, c.text)
	}
	if _, n, err := w.Senders(ctx, w.one, 500, 0); n != 1 || err != nil || len(w.mail) != 1 {
		t.Errorf("%d signatures, %d mails, %v", n, len(w.mail), err)
	}
	must[*Sender](t)(w.CreateSender(ctx, w.one, with(SenderInput{Note: ptr(strings.Repeat("é", 400))})))
	must[*Sender](t)(w.CreateSender(ctx, w.two, with(SenderInput{FromEmail: ptr("ann@acme.example")}))) // of another account
}

func TestEditSender(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	s := w.sender(t, "ann@acme.example")
	edit := func(in SenderInput) *Sender {
		t.Helper()
		got := must[*Sender](t)(w.EditSender(ctx, w.one, s.ID, &in))
		if read := must[*Sender](t)(w.Sender(ctx, w.one, s.ID)); !cmp.Equal(read, got) {
			t.Error(cmp.Diff(read, got))
		}
		return got
	}
	// .NET sends a null name with a return path only.
	if got := edit(SenderInput{ReturnPath: ptr("pm.acme.example")}); got.Domain.ReturnPath != "pm.acme.example" || got.Name != s.Name {
		t.Errorf("return path: %+v", got)
	}
	if got := edit(SenderInput{Name: ptr("Ann"), ReplyTo: ptr("r@acme.example"), Note: ptr("n")}); got.Name != "Ann" || got.ReplyTo != "r@acme.example" || got.Note != "n" {
		t.Errorf("all: %+v", got)
	}
	if got := edit(SenderInput{FromEmail: ptr("other@acme.example"), ReplyTo: ptr("")}); got.Address != "ann@acme.example" || got.ReplyTo != "" || got.Name != "Ann" {
		t.Errorf("cleared reply address: %+v", got)
	}
	_, err := w.EditSender(ctx, w.one, s.ID, nil)
	wantCode(t, err, 502, "")
	_, err = w.EditSender(ctx, w.one, s.ID, &SenderInput{})
	wantCode(t, err, 502, "")
	_, err = w.EditSender(ctx, w.one, s.ID, &SenderInput{ReplyTo: ptr("x")})
	wantCode(t, err, 522, "")

	if got := must[*Sender](t)(w.VerifySenderSPF(ctx, w.one, s.ID)); !got.Domain.SPFVerified {
		t.Error("SPF not verified")
	}
	_, err = w.RotateSenderDKIM(ctx, w.one, s.ID)
	wantCode(t, err, 505, "This DKIM is already being renewed.")
	w.publish(&s.Domain)
	w.clock.add(2 * time.Minute)
	w.checkAll(t)
	if got := must[*Sender](t)(w.RotateSenderDKIM(ctx, w.one, s.ID)); w.DKIM(&got.Domain).PendingHost == "" || !w.DKIM(&got.Domain).Verified {
		t.Errorf("rotated: %+v", w.DKIM(&got.Domain))
	}
}

func TestDeleteSender(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	s, second := w.sender(t, "ann@acme.example"), w.sender(t, "bob@acme.example")
	link := w.link(t)
	if gone := must[*pennypost.SenderSignature](t)(w.DeleteSender(ctx, w.one, s.ID)); gone.Address != "ann@acme.example" {
		t.Errorf("deleted %s", gone.Address)
	}
	_, err := w.Sender(ctx, w.one, s.ID)
	wantCode(t, err, 501, "This Sender Signature was not found.")
	var e *pennypost.Error
	if errors.As(err, &e); e.Status != http.StatusNotFound {
		t.Errorf("status %d", e.Status)
	}
	if got := must[*Sender](t)(w.Sender(ctx, w.one, second.ID)); got.DomainID != s.DomainID {
		t.Errorf("the domain of the other is gone: %+v", got)
	}
	must[*pennypost.SenderSignature](t)(w.DeleteSender(ctx, w.one, second.ID))
	if _, err := w.Confirm(ctx, link); !errors.Is(err, ErrLink) {
		t.Errorf("link of a deleted signature: %v", err)
	}
	err = w.st.View(ctx, func(tx *store.Tx) error {
		_, err := tx.Domain(ctx, w.one, s.DomainID)
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the domain that came with them stays: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// link gives the token of the latest confirmation mail.
func (w *world) link(t *testing.T) string {
	t.Helper()
	if len(w.mail) == 0 {
		t.Fatal("no mail")
	}
	_, after, ok := strings.Cut(w.mail[len(w.mail)-1].Text, "\nhttps://mail.example.net/confirm/")
	if !ok {
		t.Fatalf("no link in the mail:\n%s", w.mail[len(w.mail)-1].Text)
	}
	token, _, _ := strings.Cut(after, "\n")
	return token
}

func TestConfirmation(t *testing.T) { // contract/senders.md §6, design: senders
	w := newWorld(t)
	ctx := t.Context()
	must[*pennypost.Account](t)(w.EditAccount(ctx, w.one, &AccountInput{Name: ptr("Acme www.evil.example Shop")}))
	w.noMail = nil
	s := must[*Sender](t)(w.CreateSender(ctx, w.one, &SenderInput{
		FromEmail: ptr("ann@acme.example"), Name: ptr("Ann"),
		Note: ptr("Hi Ann,\r\nsee HTTPS://Evil.example/x?a=1 or (www.evil.example), evil.example/login;\nmail me@evil.example now. Thanks for e.g. 10.5 %!\x00\x1b[31m"),
	}))
	if len(w.mail) != 1 {
		t.Fatalf("%d mails", len(w.mail))
	}
	m := w.mail[0]
	if m.To.Addr() != "ann@acme.example" || m.To.Name != "" || !strings.Contains(m.Subject, "ann@acme.example") {
		t.Errorf("to %v, subject %q", m.To, m.Subject)
	}
	token := w.link(t)
	for _, says := range []string{
		"ann@acme.example", "mail.example.net", `"Acme [link removed] Shop"`, "9 March 2026, 14:15 UTC",
		"> Hi Ann,\n", "[link removed]", "Thanks for e.g. 10.5 %!",
	} {
		if !strings.Contains(m.Text, says) {
			t.Errorf("mail does not say %q:\n%s", says, m.Text)
		}
	}
	if strings.Count(strings.ToLower(m.Text), "evil") != 0 || strings.Count(m.Text, "://") != 1 || strings.ContainsAny(m.Text, "\x00\x1b") {
		t.Errorf("a link of the note stays:\n%s", m.Text)
	}
	if w.onDisk(t, token) {
		t.Error("the token is in the database")
	}
	if strings.Contains(w.log.String(), token) {
		t.Error("the token is logged")
	}

	for range 3 { // scanners follow links
		c := must[*Confirmation](t)(w.Confirmation(ctx, token))
		if c.Account != "Acme www.evil.example Shop" || c.Address != "ann@acme.example" {
			t.Errorf("page: %+v", c)
		}
	}
	if m := w.senderFor(t, w.one, "ann@acme.example"); m.Status != pennypost.SenderUnconfirmed {
		t.Errorf("confirmed by looking: %+v", m)
	}
	for _, wrong := range []string{"", "x", strings.ToUpper(token), token + "x", token[:42]} {
		if _, err := w.Confirm(ctx, wrong); !errors.Is(err, ErrLink) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if c := must[*Confirmation](t)(w.Confirm(ctx, token)); c.Address != "ann@acme.example" {
		t.Errorf("confirmed: %+v", c)
	}
	if m := w.senderFor(t, w.one, "ann@acme.example"); m.Status != pennypost.SenderConfirmed {
		t.Errorf("not confirmed: %+v", m)
	}
	if got := must[*Sender](t)(w.Sender(ctx, w.one, s.ID)); !got.ConfirmedAt.Equal(w.clock.Now()) {
		t.Errorf("confirmed at %v", got.ConfirmedAt)
	}
	for _, again := range []func() error{
		func() error { _, err := w.Confirm(ctx, token); return err },
		func() error { _, err := w.Confirmation(ctx, token); return err },
	} {
		if err := again(); !errors.Is(err, ErrLink) {
			t.Errorf("used link: %v", err)
		}
	}
	_, err := w.ResendConfirmation(ctx, w.one, s.ID)
	wantCode(t, err, 506, "")
	if m := w.senderFor(t, w.one, "bob@acme.example"); m.Status != pennypost.SenderUnknown {
		t.Errorf("another address of the domain: %+v", m)
	}
	if m := w.senderFor(t, w.two, "ann@acme.example"); m.Status != pennypost.SenderUnknown {
		t.Errorf("another account: %+v", m)
	}
}

func TestConfirmationEnds(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	s := w.sender(t, "ann@acme.example")
	first := w.link(t)
	w.clock.add(6 * 24 * time.Hour)
	must[*pennypost.SenderSignature](t)(w.ResendConfirmation(ctx, w.one, s.ID))
	second := w.link(t)
	if first == second || w.mail[1].To.Addr() != "ann@acme.example" {
		t.Error("not a new link")
	}
	must[*Confirmation](t)(w.Confirmation(ctx, first))
	w.clock.add(24 * time.Hour)
	if _, err := w.Confirm(ctx, first); !errors.Is(err, ErrLink) {
		t.Errorf("link of seven days: %v", err)
	}
	must[*Confirmation](t)(w.Confirm(ctx, second))
}

func TestConfirmationMailsAreLimited(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	many := func(err error) {
		t.Helper()
		wantCode(t, err, 429, "")
		var e *pennypost.Error
		if errors.As(err, &e); e.Status != http.StatusTooManyRequests {
			t.Errorf("status %d", e.Status)
		}
	}
	s := w.sender(t, "ann@acme.example")
	must[*pennypost.SenderSignature](t)(w.ResendConfirmation(ctx, w.one, s.ID))
	w.clock.add(time.Hour)
	// Deleting and adding does not begin anew, nor does another account.
	must[*pennypost.SenderSignature](t)(w.DeleteSender(ctx, w.one, s.ID))
	s = must[*Sender](t)(w.CreateSender(ctx, w.two, &SenderInput{FromEmail: ptr("ANN@acme.example"), Name: ptr("Ann")}))
	_, err := w.ResendConfirmation(ctx, w.two, s.ID)
	many(err)
	_, err = w.CreateSender(ctx, w.one, &SenderInput{FromEmail: ptr("ann@acme.example"), Name: ptr("Ann")})
	many(err)
	if _, n, err := w.Senders(ctx, w.one, 500, 0); n != 0 || err != nil || len(w.mail) != 3 {
		t.Errorf("%d signatures, %d mails, %v", n, len(w.mail), err)
	}
	w.clock.add(23*time.Hour + time.Minute)
	must[*pennypost.SenderSignature](t)(w.ResendConfirmation(ctx, w.two, s.ID))

	w.clock.add(48 * time.Hour)
	for n := range 50 {
		w.sender(t, fmt.Sprintf("a%d@acme.example", n))
	}
	_, err = w.CreateSender(ctx, w.one, &SenderInput{FromEmail: ptr("b@acme.example"), Name: ptr("B")})
	many(err)
	must[*Sender](t)(w.CreateSender(ctx, w.two, &SenderInput{FromEmail: ptr("b@acme.example"), Name: ptr("B")}))
}

func TestConfirmationMailNotStored(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	s := w.sender(t, "ann@acme.example")
	w.noMail = fmt.Errorf("store message: %w", store.ErrUnavailable)
	for range 10 { // what was not sent does not count
		if _, err := w.CreateSender(ctx, w.one, &SenderInput{FromEmail: ptr("bob@b.example"), Name: ptr("Bob")}); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("create: %v", err)
		}
		if _, err := w.ResendConfirmation(ctx, w.one, s.ID); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("resend: %v", err)
		}
	}
	if _, n, err := w.Senders(ctx, w.one, 500, 0); n != 1 || err != nil {
		t.Errorf("%d signatures, %v", n, err)
	}
	w.noMail = nil
	w.sender(t, "bob@b.example")
	must[*pennypost.SenderSignature](t)(w.ResendConfirmation(ctx, w.one, s.ID))
}

func TestWithoutLinks(t *testing.T) {
	for in, want := range map[string]string{
		"see http://a.example/x":          "see [link removed]",
		"(https://a.example)":             "([link removed]",
		"mailto:a@b.example":              "[link removed]",
		"javascript:alert(1)":             "[link removed]",
		"WWW.A.Example":                   "[link removed]",
		"bücher.example":                  "[link removed]",
		"a.b.c.example:8080/p?q#f":        "[link removed]",
		"Hello. World":                    "Hello. World",
		"e.g. 3.14 at 10:30, i.e. now...": "e.g. 3.14 at 10:30, i.e. now...",
		"":                                "",
	} {
		if got := withoutLinks(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
