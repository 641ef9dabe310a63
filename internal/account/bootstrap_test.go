package account

import (
	"context"
	"errors"
	"os"
	"testing"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/dkim"
)

func TestFirstStart(t *testing.T) {
	w := emptyWorld(t)
	ctx := t.Context()
	var saved []FirstRun
	save := func(f FirstRun) error {
		// The database must not know them before they are saved.
		if _, err := w.auth.Account(ctx, f.AccountToken.Reveal(), ""); err == nil {
			t.Error("the token works before it is saved")
		}
		saved = append(saved, f)
		return nil
	}
	made := must[*FirstRun](t)(w.Bootstrap(ctx, Settings{Save: save}))
	if made.AccountToken == "" || made.OperatorToken == "" || made.AccountToken == made.OperatorToken || len(saved) != 1 || saved[0] != *made {
		t.Fatalf("made %v, saved %d", made, len(saved))
	}
	if c, err := w.auth.Account(ctx, made.AccountToken.Reveal(), ""); err != nil || c.AccountID != pennypost.FirstAccount {
		t.Errorf("account token: %+v, %v", c, err)
	}
	if _, err := w.auth.Operator(ctx, made.OperatorToken.Reveal(), ""); err != nil {
		t.Errorf("operator token: %v", err)
	}
	acc := must[*pennypost.Account](t)(w.Account(ctx, pennypost.FirstAccount))
	if acc.Plan != pennypost.PlanUnlimited || acc.MonthlyLimit != 0 || acc.Pending {
		t.Errorf("account: %+v", acc)
	}
	k := must[*pennypost.DKIMKey](t)(w.InstanceDKIM(ctx))
	if k.Host() != "20260302141507pm._domainkey.pm.example.net" || k.AccountID != 0 || k.State != pennypost.KeyActive || k.ActivatedAt.IsZero() {
		t.Errorf("instance key: %+v", k)
	}
	der, err := w.keys.Open(auth.PurposeDKIM, k.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := dkim.ParsePKCS8(der)
	if err != nil || !dkim.MatchTXT(k.TXT, signer.Public()) {
		t.Errorf("instance key and its record: %v", err)
	}

	// The second start makes nothing.
	if again := must[*FirstRun](t)(w.Bootstrap(ctx, Settings{Save: save})); *again != (FirstRun{}) || len(saved) != 1 {
		t.Errorf("second start: %v, saved %d", again, len(saved))
	}
	if second := must[*pennypost.DKIMKey](t)(w.InstanceDKIM(ctx)); second.ID != k.ID {
		t.Error("another instance key")
	}
	// Another bounce domain has a key of its own.
	w.restart(t, func(c *Config) { c.BounceDomain = "bounce.example.org" })
	must[*FirstRun](t)(w.Bootstrap(ctx, Settings{}))
	if other := must[*pennypost.DKIMKey](t)(w.InstanceDKIM(ctx)); other.Domain != "bounce.example.org" {
		t.Errorf("instance key: %+v", other)
	}
}

func TestFirstStartWithSettings(t *testing.T) {
	w := emptyWorld(t)
	ctx := t.Context()
	s := Settings{
		AccountToken: "A1B2C3D4-0000-4000-8000-000000000001", OperatorToken: "operator-token-of-the-setting",
		Save: func(FirstRun) error { t.Error("saved a token of the setting"); return nil },
	}
	if made := must[*FirstRun](t)(w.Bootstrap(ctx, s)); *made != (FirstRun{}) {
		t.Errorf("made %v", made)
	}
	if c, err := w.auth.Account(ctx, "a1b2c3d4-0000-4000-8000-000000000001", ""); err != nil || c.AccountID != 1 {
		t.Errorf("account token: %+v, %v", c, err)
	}
	if _, err := w.auth.Operator(ctx, s.OperatorToken.Reveal(), ""); err != nil {
		t.Errorf("operator token: %v", err)
	}

	// A setting changed later joins what is there.
	s.AccountToken = "a-second-token-for-the-account"
	must[*FirstRun](t)(w.Bootstrap(ctx, s))
	for _, token := range []string{s.AccountToken.Reveal(), "a1b2c3d4-0000-4000-8000-000000000001"} {
		if _, err := w.auth.Account(ctx, token, ""); err != nil {
			t.Errorf("%s: %v", token, err)
		}
	}
	must[*FirstRun](t)(w.Bootstrap(ctx, s))
	tokens := must[[]APIToken](t)(w.APITokens(ctx, 1, 0))
	if len(tokens) != 2 {
		t.Errorf("%d account tokens", len(tokens))
	}

	// One that was revoked stays revoked, and the start goes on.
	if err := w.RevokeAPIToken(ctx, 1, 0, tokens[1].ID); err != nil {
		t.Fatal(err)
	}
	must[*FirstRun](t)(w.Bootstrap(ctx, s))
	_, err := w.auth.Account(ctx, s.AccountToken.Reveal(), "")
	wantCode(t, err, 10, "")

	for _, weak := range []auth.Secret{"short", "with a blank in the middle of it", "ünicode-in-the-middle-of-it"} {
		for _, s := range []Settings{{AccountToken: weak}, {OperatorToken: weak}} {
			if _, err := w.Bootstrap(ctx, s); !errors.Is(err, ErrWeakToken) {
				t.Errorf("weak token: %v", err)
			}
		}
	}
	server := w.server(t, 1, "A")
	if _, err := w.Bootstrap(ctx, Settings{AccountToken: server.Tokens[0]}); !errors.Is(err, ErrTokenTaken) {
		t.Errorf("a server's token as the account's: %v", err)
	}
}

// TestFirstStartDies between saving and storing: the next start makes anew.
func TestFirstStartDies(t *testing.T) {
	w := emptyWorld(t)
	ctx := t.Context()
	var lost FirstRun
	_, err := w.Bootstrap(ctx, Settings{Save: func(f FirstRun) error { lost = f; return os.ErrPermission }})
	if !errors.Is(err, os.ErrPermission) {
		t.Fatalf("error: %v", err)
	}
	_, err = w.auth.Account(ctx, lost.AccountToken.Reveal(), "")
	wantCode(t, err, 10, "")
	made := must[*FirstRun](t)(w.Bootstrap(ctx, Settings{}))
	if made.AccountToken == "" || made.AccountToken == lost.AccountToken {
		t.Error("not made anew")
	}
}

// TestFirstStartOfTwo nodes on one database: one account, and only tokens that
// work are told.
func TestFirstStartOfTwo(t *testing.T) {
	w := emptyWorld(t)
	ctx := t.Context()
	var second *FirstRun
	first := must[*FirstRun](t)(w.Bootstrap(ctx, Settings{Save: func(FirstRun) error {
		var err error
		second, err = w.Bootstrap(context.WithoutCancel(ctx), Settings{}) // the other node is quicker
		return err
	}}))
	if second.AccountToken == "" || second.OperatorToken == "" || *first != (FirstRun{}) {
		t.Errorf("first %v, second %v", first, second)
	}
	if _, n, err := w.Accounts.Accounts(ctx, 10, 0); n != 1 || err != nil {
		t.Errorf("%d accounts, %v", n, err)
	}
	if _, err := w.auth.Account(ctx, second.AccountToken.Reveal(), ""); err != nil {
		t.Error(err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	w := emptyWorld(t)
	good := w.conf
	for name, spoil := range map[string]func(*Config){
		"store": func(c *Config) { c.Store = nil }, "auth": func(c *Config) { c.Auth = nil },
		"keys": func(c *Config) { c.Keys = nil }, "resolver": func(c *Config) { c.Resolver = nil },
		"send": func(c *Config) { c.Send = nil }, "URL": func(c *Config) { c.PublicURL = "mail.example.net" },
		"scheme": func(c *Config) { c.PublicURL = "ftp://mail.example.net" }, "bounce domain": func(c *Config) { c.BounceDomain = "" },
		"track domain": func(c *Config) { c.TrackDomain = "x" },
	} {
		c := good
		spoil(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}
