package api

import (
	"context"
	"fmt"

	"pennypost"
	"pennypost/internal/account"
)

// wireAPIToken is a token of a server, or of the account (docs/api.md). The
// contract shows its text in the server object anyway.
type wireAPIToken struct {
	ID            pennypost.TokenID
	Label         string
	Token         string
	Scope         pennypost.Scope
	MessageStream *string // null: bound to none
	CreatedAt     string
	LastUsedAt    *string
	LastUsedIp    *string
}

func newWireAPIToken(t *account.APIToken) wireAPIToken {
	return wireAPIToken{
		ID: t.ID, Label: t.Label, Token: t.Secret.Reveal(), Scope: t.Scope,
		MessageStream: textOrNull(string(t.Stream)), CreatedAt: timeText(t.CreatedAt),
		LastUsedAt: timeOrNull(t.LastUsedAt), LastUsedIp: textOrNull(t.LastUsedIP),
	}
}

type apiTokenList struct {
	TotalCount int
	ApiTokens  []wireAPIToken
}

// ofAccount makes the handlers of /api-tokens out of those of
// /servers/{server}/api-tokens: server 0 is the account itself.
func ofAccount(handle func(ctx context.Context, c *call, server pennypost.ServerID, rest []string) (any, error)) func(context.Context, *call) (any, error) {
	return func(ctx context.Context, c *call) (any, error) { return handle(ctx, c, 0, c.ids) }
}

func ofServer(handle func(ctx context.Context, c *call, server pennypost.ServerID, rest []string) (any, error)) func(context.Context, *call) (any, error) {
	return func(ctx context.Context, c *call) (any, error) { return handle(ctx, c, c.server(), c.ids[1:]) }
}

func (a *API) listAPITokens(ctx context.Context, c *call, server pennypost.ServerID, _ []string) (any, error) {
	tokens, err := a.conf.Accounts.APITokens(ctx, c.who.AccountID, server)
	if err != nil {
		return nil, err
	}
	list := apiTokenList{TotalCount: len(tokens), ApiTokens: make([]wireAPIToken, len(tokens))}
	for n := range tokens {
		list.ApiTokens[n] = newWireAPIToken(&tokens[n])
	}
	return list, nil
}

func (a *API) createAPIToken(ctx context.Context, c *call, server pennypost.ServerID, _ []string) (any, error) {
	var w struct{ Label, Scope, MessageStream string }
	if err := decode(c.body, &w); err != nil {
		return nil, err
	}
	t, err := a.conf.Accounts.CreateAPIToken(ctx, c.who.AccountID, server, account.APITokenInput{
		Label: w.Label, Scope: w.Scope, Stream: w.MessageStream,
	})
	if err != nil {
		return nil, err
	}
	return newWireAPIToken(t), nil
}

func (a *API) revokeAPIToken(ctx context.Context, c *call, server pennypost.ServerID, rest []string) (any, error) {
	id := pennypost.TokenID(parseID(rest[0]))
	if id == c.who.TokenID {
		// The last account token, once gone, could not be made again.
		return nil, pennypost.Invalid("This is the token of this call. Revoke it with another one.")
	}
	if err := a.conf.Accounts.RevokeAPIToken(ctx, c.who.AccountID, server, id); err != nil {
		return nil, err
	}
	return done{Message: fmt.Sprintf("API token %d revoked.", id)}, nil
}
