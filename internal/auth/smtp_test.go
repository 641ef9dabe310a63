package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

func TestSMTPForms(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	secret, row := w.smtpToken(t, w.account, w.server)
	want := pennypost.Caller{
		Kind: pennypost.CallerSMTP, AccountID: w.account, ServerID: w.server, TokenID: row.ID,
		Stream: pennypost.StreamOutbound, IP: "192.0.2.1",
	}
	for range 2 { // from the database, then from memory
		for _, user := range []string{fmt.Sprint(w.server), row.AccessKey} {
			if got, err := w.SMTP(ctx, user, secret.Reveal(), here); err != nil || got != want {
				t.Errorf("%s: %+v, %v", user, got, err)
			}
		}
	}

	api, apiID := w.apiToken(t, w.account, w.server)
	_, err := w.SMTP(ctx, api.Reveal(), api.Reveal(), here)
	wantExplained(t, err, w.server)
	w.setServer(t, func(s *pennypost.Server) { s.SMTPAPITokenAuth = true })
	for range 2 {
		got, err := w.SMTP(ctx, api.Reveal(), strings.ToUpper(api.Reveal()), here)
		if err != nil || got.Kind != pennypost.CallerSMTP || got.TokenID != apiID || got.ServerID != w.server {
			t.Errorf("API token as both: %+v, %v", got, err)
		}
	}
	if log := w.log.take(); strings.Contains(log, api.Reveal()) || strings.Contains(log, secret.Reveal()) {
		t.Errorf("a secret is logged: %s", log)
	}
}

func wantExplained(t *testing.T, err error, server pennypost.ServerID) {
	t.Helper()
	var e *APITokenError
	if !errors.As(err, &e) {
		t.Fatalf("error %v does not explain", err)
	}
	code, enhanced, text := e.SMTPReply()
	if code != 535 || enhanced != "5.7.8" {
		t.Errorf("reply %d %s", code, enhanced)
	}
	// RFC 5321 §4.5.3.1.5: one line has 512 octets.
	if len(text) > 490 {
		t.Errorf("text has %d octets", len(text))
	}
	for _, says := range []string{"API token", "SMTP Credentials", "/smtp-tokens", fmt.Sprintf("user name %d ", server), "SmtpApiTokenAuth"} {
		if !strings.Contains(text, says) {
			t.Errorf("text does not say %q: %s", says, text)
		}
	}
}

func TestSMTPRefusals(t *testing.T) { // S-062, S-067
	w := newWorld(t)
	ctx := t.Context()
	secret, row := w.smtpToken(t, w.account, w.server)
	second, secondRow := w.smtpToken(t, w.account, w.server)
	theirs, theirRow := w.smtpToken(t, w.other, w.theirs)
	revoked, revokedRow := w.smtpToken(t, w.account, w.server)
	api, _ := w.apiToken(t, w.account, w.server)
	otherAPI, _ := w.apiToken(t, w.account, w.server)
	theirAPI, _ := w.apiToken(t, w.other, w.theirs)
	account, _ := w.apiToken(t, w.account, 0)
	revokedAPI, revokedAPIID := w.apiToken(t, w.account, w.server)
	w.update(t, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.RevokeSMTPToken(ctx, w.server, revokedRow.ID); err != nil {
			return err
		}
		return tx.RevokeToken(ctx, w.account, w.server, revokedAPIID)
	})
	w.refresh(t)
	own := fmt.Sprint(w.server)

	cases := []struct {
		name, user string
		password   Secret
		reason     string // in the log
		explained  bool
	}{
		{"wrong secret", own, NewSMTPSecret(), whyWrongSecret, false},
		{"empty secret", own, "", whyWrongSecret, false},
		{"huge secret", own, Secret(strings.Repeat("x", 64<<10)), whyWrongSecret, false},
		{"invalid UTF-8", own, "\xff\xfe\x00", whyWrongSecret, false},
		{"secret in capitals", own, Secret(strings.ToUpper(secret.Reveal())), whyWrongSecret, false},
		{"access key, wrong secret", row.AccessKey, NewSMTPSecret(), whyWrongSecret, false},
		{"unknown server", "4711", NewSMTPSecret(), whyUnknownUser, false},
		{"unknown access key", "PM-T-outbound-aaaaaaaaaaaaaaaaaaaaaa", NewSMTPSecret(), whyUnknownUser, false},
		{"empty user", "", NewSMTPSecret(), whyUnknownUser, false},
		{"user with NUL", "1\x00", NewSMTPSecret(), whyUnknownUser, false},
		{"other server's ID", fmt.Sprint(w.theirs), secret, whyOtherServer, false},
		{"other server's secret", own, theirs, whyOtherServer, false},
		{"other server's access key", theirRow.AccessKey, secret, whyOtherToken, false},
		{"other token's access key", secondRow.AccessKey, secret, whyOtherToken, false},
		{"access key in lower case", strings.ToLower(row.AccessKey), secret, whyOtherToken, false},
		{"ID with a zero", "0" + own, secret, whyOtherToken, false},
		{"ID with a plus", "+" + own, secret, whyOtherToken, false},
		{"ID with a blank", own + " ", secret, whyOtherToken, false},
		{"no user", "", second, whyOtherToken, false},
		{"secret as both", second.Reveal(), second, whyOtherToken, false},
		{"revoked secret", own, revoked, whyRevoked, false},
		{"revoked access key", revokedRow.AccessKey, NewSMTPSecret(), whyRevoked, false},
		{"account token as both", account.Reveal(), account, whyUnknownUser, false},
		{"account token", own, account, whyWrongSecret, false},
		{"POSTMARK_API_TEST", "POSTMARK_API_TEST", "POSTMARK_API_TEST", whyUnknownUser, false},
		{"revoked API token", revokedAPI.Reveal(), revokedAPI, whyUnknownUser, false},
		{"other server's API token", own, theirAPI, whyOtherServer, false},
		{"two API tokens", otherAPI.Reveal(), api, whyOtherToken, false},
		{"API token as user", api.Reveal(), NewSMTPSecret(), whyUnknownUser, false},
		{"API token as both", api.Reveal(), api, whyAPIToken, true},
		{"API token beside its ID", own, api, whyAPIToken, true},
	}
	for n, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w.log.take()
			from := addr(fmt.Sprintf("198.51.100.%d", n+1))
			_, err := w.SMTP(ctx, c.user, c.password.Reveal(), from)
			if c.explained {
				wantExplained(t, err, w.server)
			} else if err == nil || err.Error() != ErrCredentials.Error() {
				t.Errorf("error %v, want the common one", err)
			}
			log := w.log.take()
			if !strings.Contains(log, `"reason":"`+c.reason+`"`) {
				t.Errorf("log does not say %s: %s", c.reason, log)
			}
			if p := c.password.Reveal(); len(p) > 20 && strings.Contains(log, p) {
				t.Errorf("the secret is logged: %s", log)
			}
			if strings.Contains(log, api.Reveal()) || strings.Contains(log, second.Reveal()) {
				t.Errorf("a secret given as user name is logged: %s", log)
			}
		})
	}
}

func TestSMTPOff(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	secret, _ := w.smtpToken(t, w.account, w.server)
	api, _ := w.apiToken(t, w.account, w.server)
	if _, err := w.SMTP(ctx, "1", secret.Reveal(), here); err != nil {
		t.Fatal(err)
	}
	w.setServer(t, func(s *pennypost.Server) { s.SMTPActivated, s.SMTPAPITokenAuth = false, true })
	for range 10 * freePerAddress { // no guess: it never throttles
		if _, err := w.SMTP(ctx, "1", secret.Reveal(), here); !errors.Is(err, ErrCredentials) {
			t.Fatalf("SMTP switched off: %v", err)
		}
		if _, err := w.SMTP(ctx, api.Reveal(), api.Reveal(), here); !errors.Is(err, ErrCredentials) {
			t.Fatalf("SMTP switched off, API token: %v", err)
		}
	}
	if log := w.log.take(); !strings.Contains(log, `"reason":"smtp_off"`) {
		t.Errorf("log: %s", log)
	}
	w.setServer(t, func(s *pennypost.Server) { s.SMTPActivated = true })
	if _, err := w.SMTP(ctx, "1", secret.Reveal(), here); err != nil {
		t.Errorf("SMTP on again: %v", err)
	}
}

func TestSMTPRotation(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	before, row := w.smtpToken(t, w.account, w.server)
	after := NewSMTPSecret()
	w.update(t, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.ExpireSMTPSecrets(ctx, row.ID, tx.Now().Add(time.Hour)); err != nil {
			return err
		}
		return tx.AddSMTPSecret(ctx, row.ID, w.keys.Hash(PurposeSMTPSecret, after.Reveal()))
	})
	w.refresh(t)
	for _, s := range []Secret{before, after} {
		if _, err := w.SMTP(ctx, "1", s.Reveal(), here); err != nil {
			t.Errorf("within the overlap: %v", err)
		}
	}
	w.clock.add(time.Hour + rememberFor)
	w.log.take()
	if _, err := w.SMTP(ctx, "1", before.Reveal(), here); !errors.Is(err, ErrCredentials) {
		t.Errorf("former secret after the overlap: %v", err)
	}
	if log := w.log.take(); !strings.Contains(log, `"reason":"expired"`) {
		t.Errorf("log: %s", log)
	}
	if _, err := w.SMTP(ctx, "1", after.Reveal(), here); err != nil {
		t.Errorf("new secret after the overlap: %v", err)
	}
}

func TestSMTPGuessing(t *testing.T) { // S-068
	w := newWorld(t)
	ctx := t.Context()
	secret, _ := w.smtpToken(t, w.account, w.server)
	from := addr("203.0.113.5")
	throttled := 0
	for range 1000 {
		switch _, err := w.SMTP(ctx, "1", NewSMTPSecret().Reveal(), from); {
		case errors.Is(err, ErrThrottled):
			throttled++
		case !errors.Is(err, ErrCredentials):
			t.Fatalf("guess: %v", err)
		}
	}
	if throttled < 990 {
		t.Errorf("%d of 1000 guesses were looked at", 1000-throttled)
	}
	if _, err := w.SMTP(ctx, "1", secret.Reveal(), from); !errors.Is(err, ErrThrottled) {
		t.Errorf("from the guesser's address: %v", err)
	}
	if _, err := w.SMTP(ctx, "1", secret.Reveal(), here); err != nil {
		t.Errorf("right secret from elsewhere: %v", err)
	}
	// From a thousand addresses at one user.
	for n := range 1000 {
		ip := addr(fmt.Sprintf("10.9.%d.%d", n/250, n%250+1))
		if _, err := w.SMTP(ctx, "1", NewSMTPSecret().Reveal(), ip); !errors.Is(err, ErrCredentials) {
			t.Fatalf("guess: %v", err)
		}
	}
	if _, err := w.SMTP(ctx, "1", secret.Reveal(), here); err != nil {
		t.Errorf("right secret from elsewhere: %v", err)
	}
	w.clock.add(15 * time.Minute)
	if _, err := w.SMTP(ctx, "1", secret.Reveal(), from); err != nil {
		t.Errorf("from the guesser's address, later: %v", err)
	}
}

func TestForgottenDevice(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	secret, _ := w.smtpToken(t, w.account, w.server)
	for range 500 {
		if _, err := w.SMTP(ctx, "1", "the password of last year", here); !errors.Is(err, ErrCredentials) {
			t.Fatalf("forgotten device: %v", err)
		}
	}
	if _, err := w.SMTP(ctx, "1", secret.Reveal(), here); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
}

// TestRefusalsLookUpAlike counts the look-ups: what is refused cost the same
// ones, whether the secret was known, remembered or neither.
func TestRefusalsLookUpAlike(t *testing.T) {
	w := newWorld(t)
	secret, _ := w.smtpToken(t, w.account, w.server)
	if _, err := w.SMTP(t.Context(), "1", secret.Reveal(), here); err != nil {
		t.Fatal(err) // remembered from now on
	}
	for _, c := range []struct {
		name, user string
		password   Secret
	}{{"unknown", "9", NewSMTPSecret()}, {"wrong secret", "1", NewSMTPSecret()}, {"remembered secret of another", "9", secret}} {
		closed, err := store.Open(t.Context(), store.Config{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if err := closed.Close(); err != nil {
			t.Fatal(err)
		}
		open := w.store
		w.store = closed
		_, err = w.SMTP(t.Context(), c.user, c.password.Reveal(), here)
		w.store = open
		if err == nil || errors.Is(err, ErrCredentials) {
			t.Errorf("%s: refused without a look-up (%v)", c.name, err)
		}
	}
}

// The scope and the stream of an API token hold over SMTP too.
func TestLimitedAPITokenOverSMTP(t *testing.T) {
	w := newWorld(t)
	w.setServer(t, func(s *pennypost.Server) { s.SMTPAPITokenAuth = true })
	for _, tt := range []struct {
		scope  pennypost.Scope
		stream pennypost.StreamID
		ok     bool
	}{
		{pennypost.ScopeFull, "", true},
		{pennypost.ScopeSend, "", true},
		{pennypost.ScopeSend, pennypost.StreamOutbound, true},
		{pennypost.ScopeRead, "", false},
	} {
		secret := NewAPIToken()
		row := &pennypost.APIToken{AccountID: w.account, ServerID: w.server, Scope: tt.scope, Stream: tt.stream}
		w.update(t, func(ctx context.Context, tx *store.Tx) error {
			return tx.AddAPIToken(ctx, row, w.keys.Hash(PurposeAPIToken, secret.Reveal()), []byte("sealed"))
		})
		for range 2 { // from the database, then from memory
			for _, user := range []string{secret.Reveal(), fmt.Sprint(w.server)} {
				got, err := w.SMTP(t.Context(), user, secret.Reveal(), here)
				switch {
				case !tt.ok && !errors.Is(err, ErrCredentials):
					t.Errorf("%s as %s: %+v, %v", tt.scope, user, got, err)
				case tt.ok && user == secret.Reveal() && (err != nil || got.Stream != tt.stream):
					t.Errorf("%s %s: %+v, %v", tt.scope, tt.stream, got, err)
				}
			}
		}
		c := pennypost.Caller{
			Kind: pennypost.CallerSMTP, AccountID: w.account, ServerID: w.server, TokenID: row.ID, Scope: tt.scope, Stream: tt.stream, IP: "192.0.2.1",
		}
		if err := w.MailAllowed(t.Context(), c); (err == nil) != tt.ok {
			t.Errorf("MAIL with %s: %v", tt.scope, err)
		}
	}
}

// The list of allowed addresses is for HTTP (contract/smtp.md §1), and is looked
// at again when a message is stored.
func TestAllowedAddresses(t *testing.T) {
	w := newWorld(t)
	api, id := w.apiToken(t, w.account, w.server)
	w.setServer(t, func(s *pennypost.Server) { s.SMTPAPITokenAuth = true })
	before, err := w.Server(t.Context(), api.Reveal(), "198.51.100.1")
	if err != nil || MayComeFrom(before) != nil {
		t.Fatalf("without a list: %v, %v", err, MayComeFrom(before))
	}
	w.setServer(t, func(s *pennypost.Server) { s.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	check := func(c pennypost.Caller) error {
		return w.st.View(t.Context(), func(tx *store.Tx) error {
			_, err := w.CheckAccept(t.Context(), tx, c)
			return err
		})
	}
	const text = "You are not authorized to send emails from your current IP address: '198.51.100.1'."
	var refused *pennypost.Error
	if err := check(before); !errors.As(err, &refused) || refused.Code != 1480 || refused.Text != text {
		t.Errorf("a call that was under way: %v", err)
	}
	after, err := w.Server(t.Context(), api.Reveal(), "198.51.100.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := MayComeFrom(after); !errors.As(err, &refused) || refused.Code != 1480 || refused.Text != text || refused.Status != 0 {
		t.Errorf("a new call: %v", err)
	}
	if inside, err := w.Server(t.Context(), api.Reveal(), "192.0.2.77"); err != nil || MayComeFrom(inside) != nil || check(inside) != nil {
		t.Errorf("from the list: %v, %v, %v", err, MayComeFrom(inside), check(inside))
	}
	smtp, err := w.SMTP(t.Context(), api.Reveal(), api.Reveal(), addr("198.51.100.1"))
	if err != nil || smtp.TokenID != id || MayComeFrom(smtp) != nil || check(smtp) != nil || w.MailAllowed(t.Context(), smtp) != nil {
		t.Errorf("over SMTP: %+v, %v, %v", smtp, err, check(smtp))
	}
}
