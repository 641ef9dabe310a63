package api

import (
	"context"
	"fmt"
	"time"

	"pennypost"
	"pennypost/internal/account"
)

// smtpTokenItem is one row of the list (docs/api.md).
type smtpTokenItem struct {
	ID            pennypost.TokenID
	Label         string
	MessageStream *string // null: bound to none
	AccessKey     string
	CreatedAt     string
	LastUsedAt    *string
	LastUsedIp    *string
	RevokedAt     *string
}

// newSMTPToken is answered once: it has the secret.
type newSMTPToken struct {
	ID            pennypost.TokenID
	Label         string
	MessageStream *string
	Username      string
	AccessKey     string
	Secret        string
	Host          string
	Ports         []int
	CreatedAt     string
}

func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (a *API) smtpTokenAnswer(t *account.NewSMTPToken, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return newSMTPToken{
		ID: t.ID, Label: t.Label, MessageStream: textOrNull(string(t.Stream)), Username: t.Username,
		AccessKey: t.AccessKey, Secret: t.Secret.Reveal(), Host: a.conf.SMTPHost, Ports: notNil(a.conf.SMTPPorts),
		CreatedAt: timeText(t.CreatedAt),
	}, nil
}

// tokenServer tells whose SMTP tokens a call is about: those of the caller's
// server, or under /servers/{id} those of a server of the caller's account.
// What follows it in the path is given too.
func (c *call) tokenServer() (server pennypost.ServerID, rest []string) {
	if c.who.Kind == pennypost.CallerAccount {
		return pennypost.ServerID(c.id()), c.ids[1:]
	}
	return c.who.ServerID, c.ids
}

type smtpTokenList struct {
	TotalCount int
	SmtpTokens []smtpTokenItem
}

// listSMTPTokens is GET /smtp-tokens.
func (a *API) listSMTPTokens(ctx context.Context, c *call) (any, error) {
	server, _ := c.tokenServer()
	tokens, err := a.conf.Accounts.SMTPTokens(ctx, c.who.AccountID, server)
	if err != nil {
		return nil, err
	}
	list := smtpTokenList{TotalCount: len(tokens), SmtpTokens: make([]smtpTokenItem, len(tokens))}
	for n := range tokens {
		t := &tokens[n]
		list.SmtpTokens[n] = smtpTokenItem{
			ID: t.ID, Label: t.Label, MessageStream: textOrNull(string(t.Stream)), AccessKey: t.AccessKey,
			CreatedAt: timeText(t.CreatedAt), LastUsedAt: timeOrNull(t.LastUsedAt),
			LastUsedIp: textOrNull(t.LastUsedIP), RevokedAt: timeOrNull(t.RevokedAt),
		}
	}
	return list, nil
}

// createSMTPToken is POST /smtp-tokens.
func (a *API) createSMTPToken(ctx context.Context, c *call) (any, error) {
	server, _ := c.tokenServer()
	var in *account.SMTPTokenInput
	if !isEmpty(c.body) {
		var w struct{ Label, MessageStream string }
		if err := decode(c.body, &w); err != nil {
			return nil, err
		}
		in = &account.SMTPTokenInput{Label: w.Label, Stream: w.MessageStream}
	}
	return a.smtpTokenAnswer(a.conf.Accounts.CreateSMTPToken(ctx, c.who.AccountID, server, in))
}

// revokeSMTPToken is DELETE /smtp-tokens/{id}.
func (a *API) revokeSMTPToken(ctx context.Context, c *call) (any, error) {
	server, rest := c.tokenServer()
	t, err := a.conf.Accounts.RevokeSMTPToken(ctx, c.who.AccountID, server, pennypost.TokenID(parseID(rest[0])))
	if err != nil {
		return nil, err
	}
	return done{Message: fmt.Sprintf("SMTP token %s revoked.", t.Label)}, nil
}

// maxOverlap keeps seconds from overflowing a Duration; account has the bounds
// that count.
const maxOverlap = 1 << 30

// rotateSMTPToken is POST /smtp-tokens/{id}/rotate: a new secret, the earlier
// one works on for a while.
func (a *API) rotateSMTPToken(ctx context.Context, c *call) (any, error) {
	server, rest := c.tokenServer()
	var w struct{ OverlapSeconds int64 }
	if err := decode(c.body, &w); err != nil {
		return nil, err
	}
	overlap := time.Duration(max(-1, min(w.OverlapSeconds, maxOverlap))) * time.Second
	return a.smtpTokenAnswer(a.conf.Accounts.RotateSMTPToken(ctx, c.who.AccountID, server, pennypost.TokenID(parseID(rest[0])), overlap))
}
