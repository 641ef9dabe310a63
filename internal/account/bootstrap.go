package account

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/store"
)

// ErrWeakToken says that a token given by a setting is too short, or has
// characters that no header carries.
var ErrWeakToken = errors.New("token must have 20 to 200 visible ASCII characters")

// ErrTokenTaken says that the account token given by a setting is a token of a
// server or of another account.
var ErrTokenTaken = errors.New("account token of the setting is another token already")

// Settings are the tokens that the operator gives, "" where none.
type Settings struct {
	AccountToken, OperatorToken auth.Secret
	// Save keeps new secrets where the operator finds them. It is called before
	// the database knows them, and only when there are some: a crash in between
	// makes new ones at the next start. Nil: nothing is saved.
	Save func(FirstRun) error
}

// FirstRun has the secrets that were made; "" where a setting or an earlier
// start gave one.
type FirstRun struct {
	AccountToken, OperatorToken auth.Secret
}

// need is what the database lacks.
type need struct {
	account, accountToken, operator, key bool
}

func (n need) any() bool { return n.account || n.accountToken || n.operator || n.key }

// Bootstrap makes what there must be before the first call: account 1 with its
// token, the operator's token, the instance's DKIM key. An account token given
// later joins those there are.
func (a *Accounts) Bootstrap(ctx context.Context, s Settings) (*FirstRun, error) {
	for _, token := range []auth.Secret{s.AccountToken, s.OperatorToken} {
		if token != "" && !validToken(token) {
			return nil, ErrWeakToken
		}
	}
	var lacks need
	err := a.view(ctx, "look for first account", func(tx *store.Tx) (err error) {
		lacks, err = a.lacks(ctx, tx, s)
		return err
	})
	if err != nil || !lacks.any() {
		return &FirstRun{}, err
	}
	made := &FirstRun{}
	if lacks.account && s.AccountToken == "" {
		made.AccountToken = auth.NewAPIToken()
	}
	if lacks.operator && s.OperatorToken == "" {
		made.OperatorToken = auth.NewAPIToken()
	}
	var key pennypost.DKIMKey
	if lacks.key {
		if key, err = a.newKey(pennypost.AlgorithmRSA); err != nil {
			return nil, err
		}
	}
	if s.Save != nil && *made != (FirstRun{}) {
		if err := s.Save(*made); err != nil {
			return nil, fmt.Errorf("save tokens of the first start: %w", err)
		}
	}
	var kept FirstRun
	err = a.update(ctx, "first start", func(tx *store.Tx) (err error) {
		kept, err = a.bootstrap(ctx, tx, s, *made, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &kept, a.conf.Auth.Refresh(ctx)
}

func validToken(s auth.Secret) bool {
	text := s.Reveal()
	return len(text) >= 20 && len(text) <= 200 &&
		strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

func (a *Accounts) lacks(ctx context.Context, tx *store.Tx, s Settings) (need, error) {
	var n need
	_, err := tx.Account(ctx, pennypost.FirstAccount)
	if n.account = errors.Is(err, store.ErrNotFound); err != nil && !n.account {
		return n, err
	}
	if s.AccountToken != "" {
		if n.accountToken, err = a.lacksToken(ctx, tx, s.AccountToken); err != nil {
			return n, err
		}
	}
	operator, err := a.conf.Auth.HasOperator(ctx, tx)
	if err != nil {
		return n, err
	}
	n.operator = !operator
	keys, err := tx.SigningKeys(ctx, 0, a.conf.BounceDomain)
	n.key = len(keys) == 0
	return n, err
}

// lacksToken tells whether the setting's token opens nothing yet.
func (a *Accounts) lacksToken(ctx context.Context, tx *store.Tx, token auth.Secret) (bool, error) {
	for _, h := range a.conf.Keys.Hashes(auth.PurposeAPIToken, strings.ToLower(token.Reveal())) {
		c, err := tx.TokenByHash(ctx, h)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return false, err
		case c.Kind == pennypost.CallerAccount && c.AccountID == pennypost.FirstAccount:
			return false, nil
		default:
			return false, ErrTokenTaken
		}
	}
	return true, nil
}

// bootstrap looks again, since another node may have been first, and makes what
// is lacking. It gives those of the secrets that count.
func (a *Accounts) bootstrap(ctx context.Context, tx *store.Tx, s Settings, made FirstRun, key pennypost.DKIMKey) (FirstRun, error) {
	var kept FirstRun
	lacks, err := a.lacks(ctx, tx, s)
	if err != nil {
		return kept, err
	}
	if lacks.account {
		acc := &pennypost.Account{Name: "First account", Plan: pennypost.PlanUnlimited}
		if err := tx.AddAccount(ctx, acc); err != nil {
			return kept, err
		}
		if acc.ID != pennypost.FirstAccount {
			return kept, fmt.Errorf("first account got the number %d", acc.ID)
		}
		kept.AccountToken = made.AccountToken
	}
	if kept.AccountToken != "" {
		if err := a.addToken(ctx, tx, firstToken(), kept.AccountToken); err != nil {
			return kept, err
		}
	}
	if lacks.accountToken {
		if err := a.addGivenToken(ctx, tx, s.AccountToken); err != nil {
			return kept, err
		}
	}
	if lacks.operator {
		kept.OperatorToken = made.OperatorToken
		token := s.OperatorToken
		if token == "" {
			token = made.OperatorToken
		}
		if err := a.conf.Auth.SetOperator(ctx, tx, token); err != nil {
			return kept, err
		}
	}
	if lacks.key && key.Sealed != nil {
		key.State, key.ActivatedAt = pennypost.KeyActive, tx.Now()
		return kept, addKey(ctx, tx, 0, 0, a.conf.BounceDomain, key)
	}
	return kept, nil
}

func firstToken() *pennypost.APIToken { return &pennypost.APIToken{AccountID: pennypost.FirstAccount} }

// addGivenToken stores the setting's token. One that was revoked stays so.
func (a *Accounts) addGivenToken(ctx context.Context, tx *store.Tx, token auth.Secret) error {
	err := tx.Nested(ctx, func(tx *store.Tx) error { return a.addToken(ctx, tx, firstToken(), token) })
	if errors.Is(err, store.ErrConflict) {
		a.log.WarnContext(ctx, "account token of the setting was revoked and opens nothing")
		return nil
	}
	return err
}

// InstanceDKIM gives the instance's own key, whose TXT record the operator
// publishes.
func (a *Accounts) InstanceDKIM(ctx context.Context) (*pennypost.DKIMKey, error) {
	var keys []pennypost.DKIMKey
	err := a.view(ctx, "read DKIM key of the instance", func(tx *store.Tx) (err error) {
		keys, err = tx.SigningKeys(ctx, 0, a.conf.BounceDomain)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("DKIM key of %s: %w", a.conf.BounceDomain, store.ErrNotFound)
	}
	return &keys[0], nil
}
