package auth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

const (
	// contract/common.md §6.1
	serverText  = "The Server Token you provided in the X-Postmark-Server-Token request header was invalid. Please verify that you are using a valid token."
	accountText = "The Account Token you provided in the X-Postmark-Account-Token request header was invalid. Please verify that you are using a valid token."
)

func wantRefused(t *testing.T, err error, text string) {
	t.Helper()
	var e *pennypost.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no refusal", err)
	}
	if e.Code != 10 || e.Status != http.StatusUnauthorized || e.Text != text {
		t.Errorf("refusal: %d %d %q", e.Status, e.Code, e.Text)
	}
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	server, serverID := w.apiToken(t, w.account, w.server)
	second, _ := w.apiToken(t, w.account, w.server)
	account, accountID := w.apiToken(t, w.account, 0)
	smtp, _ := w.smtpToken(t, w.account, w.server)

	for range 2 { // from the database, then from memory
		got, err := w.Server(ctx, server.Reveal(), "192.0.2.1")
		want := pennypost.Caller{Kind: pennypost.CallerAPI, AccountID: w.account, ServerID: w.server, TokenID: serverID, IP: "192.0.2.1"}
		if err != nil || got != want {
			t.Errorf("server token: %+v, %v", got, err)
		}
		// Header name and token value are case-insensitive (contract/common.md §2).
		if got, err := w.Server(ctx, strings.ToUpper(server.Reveal()), "192.0.2.1"); err != nil || got != want {
			t.Errorf("server token in capitals: %+v, %v", got, err)
		}
		if got, err := w.Server(ctx, second.Reveal(), ""); err != nil || got.ServerID != w.server {
			t.Errorf("second token: %+v, %v", got, err)
		}
		got, err = w.Account(ctx, account.Reveal(), "")
		want = pennypost.Caller{Kind: pennypost.CallerAccount, AccountID: w.account, TokenID: accountID}
		if err != nil || got != want {
			t.Errorf("account token: %+v, %v", got, err)
		}
		for _, wrong := range []Secret{account, smtp, "", "00000000-0000-4000-8000-000000000000", server + " ", server[:35]} {
			_, err := w.Server(ctx, wrong.Reveal(), "")
			wantRefused(t, err, serverText)
		}
		for _, wrong := range []Secret{server, smtp, "", "POSTMARK_API_TEST"} {
			_, err := w.Account(ctx, wrong.Reveal(), "")
			wantRefused(t, err, accountText)
		}
	}
	for _, test := range []string{"POSTMARK_API_TEST", "postmark_api_test"} {
		if got, err := w.Server(ctx, test, "192.0.2.9"); err != nil || got != (pennypost.Caller{Kind: pennypost.CallerTest, IP: "192.0.2.9"}) {
			t.Errorf("%s: %+v, %v", test, got, err)
		}
	}
	if log := w.log.take(); strings.Contains(log, server.Reveal()) || strings.Contains(log, account.Reveal()) {
		t.Errorf("a token is logged: %s", log)
	}
}

func TestRevokedTokenIsForgotten(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	token, id := w.apiToken(t, w.account, w.server)
	node := w.newAuth(t, "") // another node
	for _, a := range []*Auth{w.Auth, node} {
		if _, err := a.Server(ctx, token.Reveal(), ""); err != nil {
			t.Fatal(err)
		}
	}
	w.update(t, func(ctx context.Context, tx *store.Tx) error { return tx.RevokeToken(ctx, w.account, w.server, id) })
	w.refresh(t)
	_, err := w.Server(ctx, token.Reveal(), "")
	wantRefused(t, err, serverText)

	if err := node.poll(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = node.Server(ctx, token.Reveal(), "")
	wantRefused(t, err, serverText)
}

func TestDeletedServersTokens(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	token, _ := w.apiToken(t, w.account, w.server)
	smtp, _ := w.smtpToken(t, w.account, w.server)
	if _, err := w.Server(ctx, token.Reveal(), ""); err != nil {
		t.Fatal(err)
	}
	w.update(t, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteServer(ctx, w.account, w.server) })
	w.refresh(t)
	_, err := w.Server(ctx, token.Reveal(), "")
	wantRefused(t, err, serverText)
	if _, err := w.SMTP(ctx, "1", smtp.Reveal(), here); !errors.Is(err, ErrCredentials) {
		t.Errorf("SMTP token of a deleted server: %v", err)
	}
}

// TestStaleLookUp has a look-up that read before a revocation end after it.
func TestStaleLookUp(t *testing.T) {
	w := newWorld(t)
	token, id := w.apiToken(t, w.account, w.server)
	k := w.keyOf(false, token.Reveal())
	_, round, _ := w.remembered(k)
	stale := &store.Credential{TokenID: id, AccountID: w.account, ServerID: w.server, Kind: pennypost.CallerAPI}
	w.update(t, func(ctx context.Context, tx *store.Tx) error { return tx.RevokeToken(ctx, w.account, w.server, id) })
	w.refresh(t)
	w.remember(k, stale, round)
	_, err := w.Server(t.Context(), token.Reveal(), "")
	wantRefused(t, err, serverText)
}

func TestReplacedMasterKey(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	token, _ := w.apiToken(t, w.account, w.server)
	smtp, _ := w.smtpToken(t, w.account, w.server)
	var err error
	if w.keys, err = NewKeys([]byte(strings.Repeat("n", 32)), []byte(strings.Repeat("\x07", 32))); err != nil {
		t.Fatal(err)
	}
	a := w.newAuth(t, "")
	for range 2 {
		if _, err := a.Server(ctx, token.Reveal(), ""); err != nil {
			t.Errorf("API token made with the former key: %v", err)
		}
		if _, err := a.SMTP(ctx, "1", smtp.Reveal(), here); err != nil {
			t.Errorf("SMTP secret made with the former key: %v", err)
		}
	}
}

func TestOperator(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	const text = "The Operator Token you provided in the X-Operator-Token request header was invalid. Please verify that you are using a valid token."
	for _, none := range []string{"", "anything"} {
		_, err := w.Operator(ctx, none, "")
		wantRefused(t, err, text)
	}
	token := NewAPIToken()
	w.update(t, func(ctx context.Context, tx *store.Tx) error {
		if has, err := w.HasOperator(ctx, tx); has || err != nil {
			t.Errorf("has operator: %v, %v", has, err)
		}
		if err := w.SetOperator(ctx, tx, token); err != nil {
			return err
		}
		has, err := w.HasOperator(ctx, tx)
		if !has {
			t.Error("has no operator after SetOperator")
		}
		return err
	})
	if got, err := w.Operator(ctx, strings.ToUpper(token.Reveal()), "192.0.2.1"); err != nil || got != (pennypost.Caller{Kind: pennypost.CallerOperator, IP: "192.0.2.1"}) {
		t.Errorf("operator: %+v, %v", got, err)
	}
	_, err := w.Operator(ctx, token.Reveal()+"x", "")
	wantRefused(t, err, text)

	set := w.newAuth(t, "Token-of-the-setting")
	if _, err := set.Operator(ctx, "token-of-the-setting", ""); err != nil {
		t.Errorf("token of the setting: %v", err)
	}
	_, err = set.Operator(ctx, token.Reveal(), "")
	wantRefused(t, err, text)
	if log := w.log.take(); strings.Contains(log, token.Reveal()) {
		t.Errorf("the token is logged: %s", log)
	}
}

func TestLastUse(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	token, _ := w.apiToken(t, w.account, w.server)
	secret, smtp := w.smtpToken(t, w.account, w.server)
	if _, err := w.Server(ctx, token.Reveal(), "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.SMTP(ctx, "1", secret.Reveal(), addr("::ffff:192.0.2.2")); err != nil {
		t.Fatal(err)
	}
	want := w.clock.Now()
	w.clock.add(time.Minute)

	// Run writes what is left when it ends.
	end, cancel := context.WithCancel(ctx)
	cancel()
	if err := w.Run(end); err != nil {
		t.Fatal(err)
	}
	w.update(t, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.APITokens(ctx, w.account, w.server)
		if err != nil {
			return err
		}
		if !list[0].LastUsedAt.Equal(want) || list[0].LastUsedIP != "192.0.2.1" {
			t.Errorf("API token: %v from %q", list[0].LastUsedAt, list[0].LastUsedIP)
		}
		s, err := tx.SMTPToken(ctx, w.server, smtp.ID)
		if err != nil {
			return err
		}
		if !s.LastUsedAt.Equal(want) || s.LastUsedIP != "192.0.2.2" {
			t.Errorf("SMTP token: %v from %q", s.LastUsedAt, s.LastUsedIP)
		}
		return nil
	})
}
