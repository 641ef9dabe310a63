package account

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/store"
)

func TestAccounts(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	acc, token, err := w.CreateAccount(ctx, &AccountInput{Name: ptr(" Third "), Plan: ptr("Free"), MonthlyLimit: ptr(int64(100)), Pending: ptr(true)})
	if err != nil {
		t.Fatal(err)
	}
	want := &pennypost.Account{ID: 3, Name: "Third", Plan: "Free", MonthlyLimit: 100, Pending: true, CreatedAt: w.clock.Now()}
	if d := cmp.Diff(want, acc); d != "" {
		t.Error(d)
	}
	if c, err := w.auth.Account(ctx, token.Reveal(), ""); err != nil || c.AccountID != 3 {
		t.Errorf("its token: %+v, %v", c, err)
	}
	acc = must[*pennypost.Account](t)(w.EditAccount(ctx, 3, &AccountInput{Pending: ptr(false), MonthlyLimit: ptr(int64(0)), Plan: ptr(pennypost.PlanUnlimited)}))
	want.Plan, want.MonthlyLimit, want.Pending = pennypost.PlanUnlimited, 0, false
	if d := cmp.Diff(want, acc); d != "" {
		t.Error(d)
	}
	if got := must[*pennypost.Account](t)(w.Account(ctx, 3)); !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	list, total, err := w.Accounts.Accounts(ctx, 2, 1)
	if err != nil || total != 3 || len(list) != 2 || list[0].ID != 2 {
		t.Errorf("list: %+v of %d, %v", list, total, err)
	}

	for _, in := range []*AccountInput{nil, {}, {Name: ptr("")}, {Name: ptr("a\nb")}, {Name: ptr("x"), Plan: ptr("")}, {Name: ptr("x"), MonthlyLimit: ptr(int64(-1))}} {
		_, _, err := w.CreateAccount(ctx, in)
		wantCode(t, err, 300, "")
	}
	for _, f := range []func() error{
		func() error { _, err := w.Account(ctx, 99); return err },
		func() error { _, err := w.EditAccount(ctx, 99, &AccountInput{}); return err },
		func() error { _, err := w.SuspendAccount(ctx, 99, "x"); return err },
		func() error { _, err := w.ReactivateAccount(ctx, 99); return err },
		func() error { _, err := w.CreateServer(ctx, 99, &ServerInput{Name: ptr("x")}); return err },
		func() error { _, err := w.CreateDomain(ctx, 99, &DomainInput{Name: ptr("x.example")}); return err },
	} {
		err := f()
		wantCode(t, err, 422, "This account was not found.")
		var e *pennypost.Error
		if errors.As(err, &e); e.Status != http.StatusNotFound {
			t.Errorf("status %d", e.Status)
		}
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	s := w.server(t, w.one, "A")
	c := must[pennypost.Caller](t)(w.auth.Server(ctx, s.Tokens[0].Reveal(), ""))
	must[*pennypost.Server](t)(w.SetServerLimit(ctx, s.ID, 10))
	must[*pennypost.Account](t)(w.EditAccount(ctx, w.one, &AccountInput{MonthlyLimit: ptr(int64(1000))}))
	err := w.st.Update(ctx, func(tx *store.Tx) error {
		state, err := w.auth.CheckAccept(ctx, tx, c)
		if err != nil {
			return err
		}
		if state.Limits != (pennypost.Limits{Account: 1000, Server: 10}) {
			t.Errorf("limits: %+v", state.Limits)
		}
		return tx.AddUsage(ctx, w.one, s.ID, 7, state.Limits)
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Usage{Account: 7, Server: 7, Month: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	if u := must[Usage](t)(w.Usage(ctx, w.one, s.ID)); u != want {
		t.Errorf("usage: %+v", u)
	}
	_, err = w.SetServerLimit(ctx, s.ID, -1)
	wantCode(t, err, 300, "")
	_, err = w.SetServerLimit(ctx, 4711, 1)
	wantCode(t, err, 601, "")
	// The customer's own edits leave it alone.
	if got := must[*Server](t)(w.EditServer(ctx, w.one, s.ID, &ServerInput{Name: ptr("B")})); got.MonthlyLimit != 10 {
		t.Errorf("limit after an edit: %d", got.MonthlyLimit)
	}
}

// told records what the other parts hear of.
type told struct {
	mu       sync.Mutex
	changes  int
	released []pennypost.ServerID
	held     map[pennypost.ServerID]int
}

func (h *told) config(c *Config) {
	c.SuspensionChanged = func(context.Context) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.changes++
		return nil
	}
	c.Release = func(_ context.Context, id pennypost.ServerID) (int, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.released = append(h.released, id)
		n := h.held[id]
		delete(h.held, id)
		return n, nil
	}
}

func (w *world) due(t *testing.T) []pennypost.ServerID {
	t.Helper()
	return must[[]pennypost.ServerID](t)(w.releaseDue(t.Context()))
}

func TestSuspendServer(t *testing.T) { // S-070
	w := newWorld(t)
	h := &told{}
	w.restart(t, h.config)
	ctx := t.Context()
	s, other := w.server(t, w.one, "A"), w.server(t, w.one, "B")
	api := must[pennypost.Caller](t)(w.auth.Server(ctx, s.Tokens[0].Reveal(), ""))
	otherAPI := must[pennypost.Caller](t)(w.auth.Server(ctx, other.Tokens[0].Reveal(), ""))
	n := w.smtpToken(t, s, "")
	smtp := must[pennypost.Caller](t)(w.auth.SMTP(ctx, n.Username, n.Secret.Reveal(), here))
	if err := w.auth.MailAllowed(ctx, smtp); err != nil {
		t.Fatal(err)
	}

	for _, reason := range []string{"", " ", "a\nb", strings.Repeat("x", 501)} {
		_, err := w.SuspendServer(ctx, s.ID, reason)
		wantCode(t, err, 300, "")
	}
	got := must[*pennypost.Server](t)(w.SuspendServer(ctx, s.ID, "Bounces above 10 %."))
	if !got.Suspension.Since.Equal(w.clock.Now()) || got.Suspension.Reason != "Bounces above 10 %." || h.changes != 1 {
		t.Errorf("suspended: %+v, %d told", got.Suspension, h.changes)
	}
	const text = "This account is not approved to send email. Bounces above 10 %."
	wantCode(t, w.accept(ctx, api), 413, text)
	wantCode(t, w.accept(ctx, smtp), 413, text)
	wantCode(t, w.auth.MailAllowed(ctx, smtp), 413, text)
	if err := w.accept(ctx, otherAPI); err != nil {
		t.Errorf("another server: %v", err)
	}
	if _, err := w.auth.SMTP(ctx, n.Username, n.Secret.Reveal(), here); err != nil {
		t.Errorf("AUTH: %v", err)
	}
	if _, err := w.Server(ctx, w.one, s.ID); err != nil {
		t.Errorf("management: %v", err)
	}

	w.clock.add(time.Hour)
	got = must[*pennypost.Server](t)(w.SuspendServer(ctx, s.ID, "Still."))
	if !got.Suspension.Since.Equal(w.clock.Now().Add(-time.Hour)) || got.Suspension.Reason != "Still." {
		t.Errorf("suspended again: %+v", got.Suspension)
	}
	if due := w.due(t); len(due) != 0 {
		t.Errorf("to release while suspended: %v", due)
	}
	got = must[*pennypost.Server](t)(w.ReactivateServer(ctx, s.ID))
	if got.Suspension.Active() || h.changes != 3 {
		t.Errorf("reactivated: %+v, %d told", got.Suspension, h.changes)
	}
	for _, c := range []pennypost.Caller{api, smtp} {
		if err := w.accept(ctx, c); err != nil {
			t.Errorf("reactivated: %v", err)
		}
	}
	if err := w.auth.MailAllowed(ctx, smtp); err != nil {
		t.Errorf("MAIL: %v", err)
	}
	if due := w.due(t); !slices.Equal(due, []pennypost.ServerID{s.ID}) {
		t.Errorf("to release: %v", due)
	}
	must[*pennypost.Server](t)(w.SuspendServer(ctx, s.ID, "Again."))
	if due := w.due(t); len(due) != 0 {
		t.Errorf("to release though suspended again: %v", due)
	}
	_, err := w.SuspendServer(ctx, 4711, "x")
	wantCode(t, err, 601, "")
	_, err = w.ReactivateServer(ctx, 4711)
	wantCode(t, err, 601, "")
}

func TestSuspendAccount(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	a, b, c := w.server(t, w.one, "A"), w.server(t, w.one, "B"), w.server(t, w.one, "C")
	theirs := w.server(t, w.two, "A")
	state := func(s *Server) error {
		return w.accept(ctx, pennypost.Caller{Kind: pennypost.CallerAPI, AccountID: s.AccountID, ServerID: s.ID, TokenID: w.tokenID(t, s)})
	}
	ids := map[*Server]pennypost.Caller{}
	for _, s := range []*Server{a, b, c, theirs} {
		ids[s] = must[pennypost.Caller](t)(w.auth.Server(ctx, s.Tokens[0].Reveal(), ""))
	}
	must[*pennypost.Server](t)(w.SuspendServer(ctx, b.ID, "Bounces."))
	must[*pennypost.Account](t)(w.SuspendAccount(ctx, w.one, "Payment failed."))
	wantCode(t, state(a), 413, "This account is not approved to send email. Payment failed.")
	if err := state(theirs); err != nil {
		t.Errorf("another account: %v", err)
	}
	must[*pennypost.Server](t)(w.DeleteServer(ctx, w.one, c.ID)) // its held mail must not be forgotten
	must[*pennypost.Server](t)(w.ReactivateServer(ctx, b.ID))
	if due := w.due(t); len(due) != 0 {
		t.Errorf("to release while the account is suspended: %v", due)
	}
	must[*pennypost.Server](t)(w.SuspendServer(ctx, b.ID, "Bounces."))
	must[*pennypost.Account](t)(w.ReactivateAccount(ctx, w.one))
	if due := w.due(t); !slices.Equal(due, []pennypost.ServerID{a.ID, c.ID}) {
		t.Errorf("to release: %v, want %d and %d", due, a.ID, c.ID)
	}
	if err := state(a); err != nil {
		t.Errorf("reactivated: %v", err)
	}
	wantCode(t, state(b), 413, "This account is not approved to send email. Bounces.")
}

func (w *world) tokenID(t *testing.T, s *Server) pennypost.TokenID {
	t.Helper()
	return must[[]APIToken](t)(w.APITokens(t.Context(), s.AccountID, s.ID))[0].ID
}

// TestRelease: the note stays until a pass found nothing, over restarts too.
func TestRelease(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	s := w.server(t, w.one, "A")
	must[*pennypost.Server](t)(w.SuspendServer(ctx, s.ID, "x"))
	must[*pennypost.Server](t)(w.ReactivateServer(ctx, s.ID))
	h := &told{held: map[pennypost.ServerID]int{s.ID: 7}}
	w.restart(t, h.config)
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.releaseHeld(run) }()
	deadline := time.Now().Add(5 * time.Second)
	for len(w.due(t)) > 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	h.mu.Lock()
	if want := []pennypost.ServerID{s.ID, s.ID}; !slices.Equal(h.released, want) {
		t.Errorf("releases: %v, want %v", h.released, want)
	}
	h.mu.Unlock()

	failing := func(c *Config) {
		c.Release = func(context.Context, pennypost.ServerID) (int, error) { return 0, errors.New("no") }
	}
	must[*pennypost.Server](t)(w.SuspendServer(ctx, s.ID, "x"))
	must[*pennypost.Server](t)(w.ReactivateServer(ctx, s.ID))
	w.restart(t, failing)
	if err := w.release(ctx, s.ID); err == nil {
		t.Error("the failure is not told")
	}
	if due := w.due(t); len(due) != 1 {
		t.Errorf("to release after a failure: %v", due)
	}
}

func TestRunEnds(t *testing.T) {
	w := newWorld(t)
	d := w.domain(t, w.one, "acme.example")
	w.publish(d)
	w.clock.add(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) {
		if d := must[*pennypost.Domain](t)(w.Domain(t.Context(), w.one, d.ID)); !d.VerifiedAt.IsZero() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("does not end")
	}
	if d := must[*pennypost.Domain](t)(w.Domain(t.Context(), w.one, d.ID)); d.VerifiedAt.IsZero() {
		t.Error("the domain was not checked")
	}
}

// TestTenants: what another account has is answered as what does not exist
// (design: promises).
func TestTenants(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	s := w.server(t, w.one, "A")
	n := w.smtpToken(t, s, "")
	d := w.domain(t, w.one, "acme.example")
	sig := w.sender(t, "ann@b.example")
	token := w.tokenID(t, s)
	w.publish(d)
	own := w.server(t, w.two, "Own")

	type attempt struct {
		name string
		call func(account pennypost.AccountID, server pennypost.ServerID, smtp pennypost.TokenID, domain pennypost.DomainID, sender pennypost.SenderID) error
	}
	drop := func(_ any, err error) error { return err }
	attempts := []attempt{
		{"Server", func(a pennypost.AccountID, s pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.Server(ctx, a, s))
		}},
		{"EditServer", func(a pennypost.AccountID, s pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.EditServer(ctx, a, s, &ServerInput{Name: ptr("Mine now")}))
		}},
		{"DeleteServer", func(a pennypost.AccountID, s pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.DeleteServer(ctx, a, s))
		}},
		{"APITokens", func(a pennypost.AccountID, s pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.APITokens(ctx, a, s))
		}},
		{"AddAPIToken", func(a pennypost.AccountID, s pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.AddAPIToken(ctx, a, s, ""))
		}},
		{"RevokeAPIToken", func(a pennypost.AccountID, s pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, _ pennypost.SenderID) error {
			return w.RevokeAPIToken(ctx, a, s, token)
		}},
		{"RevokeAPIToken of own server", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, _ pennypost.SenderID) error {
			return w.RevokeAPIToken(ctx, a, own.ID, token)
		}},
		{"RevokeAPIToken of the account", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, _ pennypost.SenderID) error {
			return w.RevokeAPIToken(ctx, a, 0, 1)
		}},
		{"SMTPTokens", func(a pennypost.AccountID, s pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.SMTPTokens(ctx, a, s))
		}},
		{"CreateSMTPToken", func(a pennypost.AccountID, s pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.CreateSMTPToken(ctx, a, s, &SMTPTokenInput{Label: "x"}))
		}},
		{"RevokeSMTPToken", func(a pennypost.AccountID, s pennypost.ServerID, id pennypost.TokenID, _ pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.RevokeSMTPToken(ctx, a, s, id))
		}},
		{"RevokeSMTPToken of own server", func(a pennypost.AccountID, _ pennypost.ServerID, id pennypost.TokenID, _ pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.RevokeSMTPToken(ctx, a, own.ID, id))
		}},
		{"RotateSMTPToken of own server", func(a pennypost.AccountID, _ pennypost.ServerID, id pennypost.TokenID, _ pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.RotateSMTPToken(ctx, a, own.ID, id, 0))
		}},
		{"Domain", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, d pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.Domain(ctx, a, d))
		}},
		{"EditDomain", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, d pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.EditDomain(ctx, a, d, &DomainInput{ReturnPath: ptr("x.acme.example")}))
		}},
		{"DeleteDomain", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, d pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.DeleteDomain(ctx, a, d))
		}},
		{"VerifyDKIM", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, d pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.VerifyDKIM(ctx, a, d))
		}},
		{"VerifyReturnPath", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, d pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.VerifyReturnPath(ctx, a, d))
		}},
		{"VerifyTracking", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, d pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.VerifyTracking(ctx, a, d))
		}},
		{"VerifySPF", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, d pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.VerifySPF(ctx, a, d))
		}},
		{"RotateDKIM", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, d pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.RotateDKIM(ctx, a, d))
		}},
		{"AddEd25519", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, d pennypost.DomainID, _ pennypost.SenderID) error {
			return drop(w.AddEd25519(ctx, a, d))
		}},
		{"Sender", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, s pennypost.SenderID) error {
			return drop(w.Sender(ctx, a, s))
		}},
		{"EditSender", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, s pennypost.SenderID) error {
			return drop(w.EditSender(ctx, a, s, &SenderInput{Name: ptr("Mine")}))
		}},
		{"DeleteSender", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, s pennypost.SenderID) error {
			return drop(w.DeleteSender(ctx, a, s))
		}},
		{"ResendConfirmation", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, s pennypost.SenderID) error {
			return drop(w.ResendConfirmation(ctx, a, s))
		}},
		{"VerifySenderSPF", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, s pennypost.SenderID) error {
			return drop(w.VerifySenderSPF(ctx, a, s))
		}},
		{"RotateSenderDKIM", func(a pennypost.AccountID, _ pennypost.ServerID, _ pennypost.TokenID, _ pennypost.DomainID, s pennypost.SenderID) error {
			return drop(w.RotateSenderDKIM(ctx, a, s))
		}},
	}
	before := w.picture(t, s, d, sig)
	for _, a := range attempts {
		foreign := a.call(w.two, s.ID, n.ID, d.ID, sig.ID)
		nobody := a.call(w.two, 4711, 4711, 4711, 4711)
		var e, none *pennypost.Error
		if !errors.As(foreign, &e) || !errors.As(nobody, &none) {
			t.Errorf("%s: %v, of nobody %v", a.name, foreign, nobody)
			continue
		}
		if *e != *none {
			t.Errorf("%s: another's is answered %+v, nobody's %+v", a.name, *e, *none)
		}
	}
	if after := w.picture(t, s, d, sig); after != before {
		t.Errorf("another account changed something:\n%s\n%s", before, after)
	}
	for what, n := range map[string]int{
		"servers": total(w.Servers(ctx, w.two, "", 500, 0)), "domains": total(w.Domains(ctx, w.two, 500, 0)),
		"senders": total(w.Senders(ctx, w.two, 500, 0)),
	} {
		if want := map[string]int{"servers": 1}[what]; n != want {
			t.Errorf("%d %s in the other account, want %d", n, what, want)
		}
	}
}

func total[T any](_ []T, n int, err error) int {
	if err != nil {
		return -1
	}
	return n
}

// picture is all that one could have changed, as text.
func (w *world) picture(t *testing.T, s *Server, d *pennypost.Domain, sig *Sender) string {
	t.Helper()
	ctx := t.Context()
	srv := must[*Server](t)(w.Server(ctx, w.one, s.ID))
	return fmt.Sprintf("%+v\n%+v\n%+v\n%+v\n%d\n%d", srv.Server, must[[]pennypost.SMTPToken](t)(w.SMTPTokens(ctx, w.one, s.ID)),
		must[*pennypost.Domain](t)(w.Domain(ctx, w.one, d.ID)), must[*Sender](t)(w.Sender(ctx, w.one, sig.ID)), len(srv.Tokens), len(w.mail))
}

func TestSecretsDoNotPrint(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, w.one, "A")
	n := w.smtpToken(t, s, "")
	for _, v := range []any{s, *s, n, *n, FirstRun{AccountToken: w.token, OperatorToken: w.operator}, must[[]APIToken](t)(w.APITokens(t.Context(), w.one, s.ID))} {
		text := fmt.Sprintf("%v %+v %#v", v, v, v)
		for _, secret := range []auth.Secret{s.Tokens[0], n.Secret, w.token, w.operator} {
			if strings.Contains(text, secret.Reveal()) {
				t.Errorf("prints a secret: %T", v)
			}
		}
	}
	for _, secret := range []auth.Secret{s.Tokens[0], n.Secret, w.token, w.operator} {
		if strings.Contains(w.log.String(), secret.Reveal()) || w.onDisk(t, secret.Reveal()) {
			t.Error("a secret is logged or stored in the clear")
		}
	}
}
