package auth

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/store"
)

func (w *world) check(t *testing.T, c pennypost.Caller) (s *pennypost.ServerState, err error) {
	t.Helper()
	err = w.st.Update(t.Context(), func(tx *store.Tx) error {
		var err error
		s, err = w.CheckAccept(t.Context(), tx, c)
		return err
	})
	return s, err
}

// wantCode compares a refusal by code and text, at MAIL and when stored.
func (w *world) wantCode(t *testing.T, c pennypost.Caller, code pennypost.Code, text string) {
	t.Helper()
	_, stored := w.check(t, c)
	for what, err := range map[string]error{"stored": stored, "MAIL": w.MailAllowed(t.Context(), c)} {
		if c.Kind != pennypost.CallerSMTP && what == "MAIL" {
			continue
		}
		var e *pennypost.Error
		if !errors.As(err, &e) || e.Code != code || e.Text != text {
			t.Errorf("%s: %v, want %d %q", what, err, code, text)
		}
	}
}

func (w *world) wantAccepted(t *testing.T, c pennypost.Caller) *pennypost.ServerState {
	t.Helper()
	if err := w.MailAllowed(t.Context(), c); err != nil {
		t.Errorf("MAIL: %v", err)
	}
	s, err := w.check(t, c)
	if err != nil {
		t.Fatalf("stored: %v", err)
	}
	return s
}

func (w *world) smtpCaller(t *testing.T) pennypost.Caller {
	t.Helper()
	secret, _ := w.smtpToken(t, w.account, w.server)
	c, err := w.SMTP(t.Context(), "1", secret.Reveal(), here)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const gone = "The credentials of this session are no longer valid."

func TestCheckAccept(t *testing.T) { // S-069, S-070
	w := newWorld(t)
	ctx := t.Context()
	smtp := w.smtpCaller(t)
	token, tokenID := w.apiToken(t, w.account, w.server)
	api, err := w.Server(ctx, token.Reveal(), "")
	if err != nil {
		t.Fatal(err)
	}
	w.update(t, func(ctx context.Context, tx *store.Tx) error {
		a, err := tx.Account(ctx, w.account)
		if err != nil {
			return err
		}
		a.MonthlyLimit, a.Pending = 1000, true
		return tx.SetAccount(ctx, a)
	})
	w.setServer(t, func(s *pennypost.Server) {
		s.MonthlyLimit, s.SMTPRejection, s.SMTPErrorHooks, s.TrackOpens = 10, pennypost.RejectAccept, true, true
		s.TrackLinks = pennypost.TrackTextOnly
	})
	want := &pennypost.ServerState{
		AccountID: w.account, ServerID: w.server, Pending: true, SMTPRejection: pennypost.RejectAccept,
		SMTPErrorHooks: true, TrackOpens: true, TrackLinks: pennypost.TrackTextOnly,
		Limits: pennypost.Limits{Account: 1000, Server: 10},
	}
	for _, c := range []pennypost.Caller{smtp, api} {
		if d := cmp.Diff(want, w.wantAccepted(t, c)); d != "" {
			t.Error(d)
		}
	}

	// A caller that does not fit its token is none.
	for _, c := range []pennypost.Caller{
		{Kind: pennypost.CallerAPI, AccountID: w.other, ServerID: w.theirs, TokenID: tokenID},
		{Kind: pennypost.CallerAPI, AccountID: w.account, ServerID: w.theirs, TokenID: tokenID},
		{Kind: pennypost.CallerAPI, AccountID: w.account, ServerID: w.server, TokenID: smtp.TokenID},
		{Kind: pennypost.CallerAPI, AccountID: w.account, ServerID: w.server},
		{Kind: pennypost.CallerAccount, AccountID: w.account},
		{Kind: pennypost.CallerOperator},
	} {
		_, err := w.check(t, c)
		wantRefused(t, err, serverText)
	}

	for _, reason := range []string{"Bounces above 10 %.", ""} {
		text := "This account is not approved to send email."
		if reason != "" {
			text += " " + reason
		}
		w.setServer(t, func(s *pennypost.Server) { s.Suspension = pennypost.Suspension{Since: w.clock.Now(), Reason: reason} })
		w.wantCode(t, smtp, 413, text)
		w.wantCode(t, api, 413, text)
	}
	w.setServer(t, func(s *pennypost.Server) { s.Suspension = pennypost.Suspension{} })
	w.wantAccepted(t, smtp)

	w.setServer(t, func(s *pennypost.Server) { s.SMTPActivated = false })
	w.wantCode(t, smtp, 1460, "SMTP is not activated for this server or credential.")
	w.wantAccepted(t, api)
	w.setServer(t, func(s *pennypost.Server) { s.SMTPActivated = true })
	w.wantAccepted(t, smtp)

	w.update(t, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.RevokeSMTPToken(ctx, w.server, smtp.TokenID); err != nil {
			return err
		}
		return tx.RevokeToken(ctx, w.account, w.server, tokenID)
	})
	w.refresh(t)
	w.wantCode(t, smtp, 10, gone)
	w.wantCode(t, api, 10, serverText)
}

func TestStreamGone(t *testing.T) { // S-070
	w := newWorld(t)
	c := w.smtpCaller(t)
	w.wantAccepted(t, c)
	c.Stream, c.TokenID = "gone", w.smtpCaller(t).TokenID
	var e *pennypost.Error
	if err := w.MailAllowed(t.Context(), c); !errors.As(err, &e) || e.Code != 1235 || e.Text != "The stream provided: 'gone' does not exist on this server." {
		t.Errorf("MAIL: %v", err)
	}
}

func TestAPITokenOverSMTPSwitchedOff(t *testing.T) {
	w := newWorld(t)
	token, _ := w.apiToken(t, w.account, w.server)
	w.setServer(t, func(s *pennypost.Server) { s.SMTPAPITokenAuth = true })
	c, err := w.SMTP(t.Context(), token.Reveal(), token.Reveal(), here)
	if err != nil {
		t.Fatal(err)
	}
	w.wantAccepted(t, c)
	ended := w.Revoked(c.TokenID)
	w.setServer(t, func(s *pennypost.Server) { s.SMTPAPITokenAuth = false })
	w.wantCode(t, c, 1460, "SMTP is not activated for this server or credential.")
	select {
	case <-ended:
	default:
		t.Error("its sessions go on")
	}
}

func TestTestAndSystemCallers(t *testing.T) {
	w := newWorld(t)
	for _, kind := range []pennypost.CallerKind{pennypost.CallerTest, pennypost.CallerSystem} {
		if s, err := w.check(t, pennypost.Caller{Kind: kind}); err != nil || *s != (pennypost.ServerState{}) {
			t.Errorf("kind %d: %+v, %v", kind, s, err)
		}
	}
}

// TestRevocationIsExact has messages accepted while their token is revoked: what
// was accepted after the revocation returned must be none.
func TestRevocationIsExact(t *testing.T) { // S-069
	w := newWorld(t)
	ctx := t.Context()
	for round := range 10 {
		c := w.smtpCaller(t)
		var revoked, accepted, late atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					already := revoked.Load() == 1
					err := w.st.Update(ctx, func(tx *store.Tx) error {
						if _, err := w.CheckAccept(ctx, tx, c); err != nil {
							return err
						}
						// As a message is stored: something is written in the same transaction.
						return tx.AddUsage(ctx, w.account, w.server, 1, pennypost.Limits{})
					})
					switch {
					case err == nil && already:
						late.Add(1)
						return
					case err != nil:
						var e *pennypost.Error
						if !errors.As(err, &e) || e.Code != 10 {
							t.Errorf("accept: %v", err)
						}
						return
					}
					accepted.Add(1)
				}
			})
		}
		for accepted.Load() < int64(round) {
			time.Sleep(100 * time.Microsecond)
		}
		err := w.st.Update(ctx, func(tx *store.Tx) error { return tx.RevokeSMTPToken(ctx, w.server, c.TokenID) })
		if err != nil {
			t.Fatal(err)
		}
		w.refresh(t)
		revoked.Store(1)
		wg.Wait()
		if n := late.Load(); n > 0 {
			t.Fatalf("%d accepted after the revocation returned", n)
		}
	}
}

func TestRevokedChannels(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	c, other := w.smtpCaller(t), w.smtpCaller(t)
	node := w.newAuth(t, "") // another node
	run, cancel := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- node.Run(run) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	ours, theirs, stays := w.Revoked(c.TokenID), node.Revoked(c.TokenID), node.Revoked(other.TokenID)
	w.update(t, func(ctx context.Context, tx *store.Tx) error { return tx.RevokeSMTPToken(ctx, w.server, c.TokenID) })
	w.refresh(t)
	select {
	case <-ours:
	default:
		t.Error("not closed here when Refresh returned")
	}
	for what, ch := range map[string]<-chan struct{}{"other node": theirs, "asked after the revocation": node.Revoked(c.TokenID)} {
		select {
		case <-ch:
		case <-time.After(time.Second):
			t.Errorf("%s: not closed within a second", what)
		}
	}
	select {
	case <-stays:
		t.Error("closed for a token that was not revoked")
	default:
	}
}

func TestSuspensionOfOtherNode(t *testing.T) {
	w := newWorld(t)
	c := w.smtpCaller(t)
	node := w.newAuth(t, "")
	if err := node.MailAllowed(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w.setServer(t, func(s *pennypost.Server) { s.Suspension = pennypost.Suspension{Since: w.clock.Now()} })
	if err := node.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	var e *pennypost.Error
	if err := node.MailAllowed(t.Context(), c); !errors.As(err, &e) || e.Code != 413 {
		t.Errorf("MAIL at another node: %v", err)
	}
}

func BenchmarkSMTPRemembered(b *testing.B) {
	st, err := store.Open(b.Context(), store.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	keys, err := NewKeys(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	a, err := New(Config{Store: st, Keys: keys})
	if err != nil {
		b.Fatal(err)
	}
	s := NewSMTPSecret()
	a.remember(a.keyOf(true, s.Reveal()), &store.Credential{TokenID: 1, ServerID: 1, AccountID: 1, Kind: pennypost.CallerSMTP, SMTPOn: true}, 0)
	b.ReportAllocs()
	for b.Loop() {
		a.remember(a.keyOf(true, s.Reveal()), &store.Credential{TokenID: 1, ServerID: 1, AccountID: 1, Kind: pennypost.CallerSMTP, SMTPOn: true}, 0)
		if _, err := a.SMTP(b.Context(), "1", s.Reveal(), here); err != nil {
			b.Fatal(err)
		}
	}
}
