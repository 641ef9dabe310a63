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

const (
	maxAPITokens = 50 // of a server, or of an account
	maxLabel     = 100
)

// APIToken is a token with its text in the clear.
type APIToken struct {
	pennypost.APIToken
	Secret auth.Secret
}

// addToken stores a token: its text sealed, since the contract shows it again,
// and a keyed hash to look it up by.
func (a *Accounts) addToken(ctx context.Context, tx *store.Tx, t *pennypost.APIToken, secret auth.Secret) error {
	text := strings.ToLower(secret.Reveal())
	sealed, err := a.conf.Keys.Seal(auth.PurposeAPIToken, []byte(text))
	if err != nil {
		return fmt.Errorf("seal API token: %w", err)
	}
	return tx.AddAPIToken(ctx, t, a.conf.Keys.Hash(auth.PurposeAPIToken, text), sealed)
}

func (a *Accounts) tokens(ctx context.Context, tx *store.Tx, account pennypost.AccountID, server pennypost.ServerID) ([]APIToken, error) {
	rows, err := tx.APITokens(ctx, account, server)
	if err != nil {
		return nil, err
	}
	list := make([]APIToken, 0, len(rows))
	for _, r := range rows {
		text, err := a.conf.Keys.Open(auth.PurposeAPIToken, r.Sealed)
		if err != nil {
			return nil, fmt.Errorf("API token %d: %w", r.ID, err)
		}
		list = append(list, APIToken{APIToken: r.APIToken, Secret: auth.Secret(text)})
	}
	return list, nil
}

// secrets gives the tokens that the server object shows: clients take the first
// of them for one that may do everything.
func secrets(tokens []APIToken) []auth.Secret {
	list := make([]auth.Secret, 0, len(tokens))
	for _, t := range tokens {
		if t.Scope.MayChange() && t.Stream == "" {
			list = append(list, t.Secret)
		}
	}
	return list
}

// checkOwner refuses a server that is not the account's; 0 is the account
// itself.
func checkOwner(ctx context.Context, tx *store.Tx, account pennypost.AccountID, server pennypost.ServerID) error {
	if server == 0 {
		_, err := tx.Account(ctx, account)
		return ifMissing(err, errNoAccount())
	}
	_, err := tx.Server(ctx, account, server)
	return ifMissing(err, errNoServer())
}

// APITokens gives the live tokens of a server, or of the account when server is
// 0.
func (a *Accounts) APITokens(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID) ([]APIToken, error) {
	var list []APIToken
	err := a.view(ctx, "list API tokens", func(tx *store.Tx) error {
		err := checkOwner(ctx, tx, account, server)
		if err == nil {
			list, err = a.tokens(ctx, tx, account, server)
		}
		return err
	})
	return list, err
}

// AddAPIToken makes one more token of a server, or of the account when server is
// 0. It may do everything.
func (a *Accounts) AddAPIToken(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, label string) (*APIToken, error) {
	return a.CreateAPIToken(ctx, account, server, APITokenInput{Label: label})
}

// CreateAPIToken makes one more token of a server, or of the account when server
// is 0.
func (a *Accounts) CreateAPIToken(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, in APITokenInput) (*APIToken, error) {
	label := strings.TrimSpace(in.Label)
	if label != "" && !validLine(label, maxLabel) {
		return nil, pennypost.Invalid("The 'Label' must be one line of up to %d characters.", maxLabel)
	}
	scope, err := scopeOf(server, in)
	if err != nil {
		return nil, err
	}
	t := &APIToken{
		APIToken: pennypost.APIToken{AccountID: account, ServerID: server, Label: label, Scope: scope, Stream: pennypost.StreamID(in.Stream)},
		Secret:   auth.NewAPIToken(),
	}
	err = a.update(ctx, "add API token", func(tx *store.Tx) error {
		if err := checkOwner(ctx, tx, account, server); err != nil {
			return err
		}
		if err := boundStream(ctx, tx, server, t.Stream); err != nil {
			return err
		}
		have, err := tx.APITokens(ctx, account, server)
		if err != nil {
			return err
		}
		if len(have) >= maxAPITokens {
			return pennypost.Refuse(codePlanLimit, "There are %d API tokens already. Revoke one first.", len(have))
		}
		return a.addToken(ctx, tx, &t.APIToken, t.Secret)
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// RevokeAPIToken ends a token of a server, or of the account when server is 0.
// Nothing is accepted with it once this has returned.
func (a *Accounts) RevokeAPIToken(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, id pennypost.TokenID) error {
	err := a.update(ctx, "revoke API token", func(tx *store.Tx) error {
		err := tx.RevokeToken(ctx, account, server, id)
		if errors.Is(err, store.ErrNotFound) {
			return notFound(pennypost.CodeToken, "This API token was not found.")
		}
		return err
	})
	if err != nil {
		return err
	}
	a.log.InfoContext(ctx, "API token revoked", "account", int64(account), "server", int64(server), "token", int64(id))
	return a.conf.Auth.Refresh(ctx)
}
