package auth

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"pennypost"
	"pennypost/internal/store"
)

// testToken as a server token makes calls that check everything and store
// nothing (contract/common.md §2).
const testToken = "postmark_api_test" //nolint:gosec // published; it opens nothing

// metaOperator keeps the keyed hash of the operator's token, in hex.
const metaOperator = "operator_token"

// Server tells whose server token this is. Tokens are compared without regard
// to case (contract/common.md §2). A refusal is a *pennypost.Error of code 10.
func (a *Auth) Server(ctx context.Context, token, ip string) (pennypost.Caller, error) {
	if strings.EqualFold(token, testToken) {
		return pennypost.Caller{Kind: pennypost.CallerTest, IP: ip}, nil
	}
	return a.byToken(ctx, token, ip, pennypost.CallerAPI)
}

// Account tells whose account token this is; a refusal is a *pennypost.Error
// of code 10.
func (a *Auth) Account(ctx context.Context, token, ip string) (pennypost.Caller, error) {
	return a.byToken(ctx, token, ip, pennypost.CallerAccount)
}

func (a *Auth) byToken(ctx context.Context, token, ip string, kind pennypost.CallerKind) (pennypost.Caller, error) {
	cred, err := a.openToken(ctx, strings.ToLower(token))
	if err != nil {
		return pennypost.Caller{}, err
	}
	if cred == nil || cred.Kind != kind {
		a.refused.Add(1, "token")
		return pennypost.Caller{}, errToken(kind)
	}
	a.noteUse(cred.TokenID, ip)
	return callerOf(cred, kind, ip), nil
}

func callerOf(c *store.Credential, kind pennypost.CallerKind, ip string) pennypost.Caller {
	return pennypost.Caller{
		Kind: kind, AccountID: c.AccountID, ServerID: c.ServerID, TokenID: c.TokenID, Stream: c.Stream, IP: ip,
		Scope: c.Scope, Allowed: c.Allowed,
	}
}

// openToken gives what an API token in lower case opens, nil for nothing.
func (a *Auth) openToken(ctx context.Context, token string) (*store.Credential, error) {
	k := a.keyOf(false, token)
	cred, round, ok := a.remembered(k)
	if ok {
		return &cred, nil
	}
	var found *store.Credential
	err := a.store.View(ctx, func(tx *store.Tx) (err error) {
		found, err = a.find(ctx, tx, false, token)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up API token: %w", err)
	}
	if found != nil {
		a.remember(k, found, round)
	}
	return found, nil
}

// errToken is the contract's 401 (contract/common.md §6.1).
func errToken(kind pennypost.CallerKind) *pennypost.Error {
	name := "Server"
	if kind == pennypost.CallerAccount {
		name = "Account"
	}
	return &pennypost.Error{
		Code: pennypost.CodeToken, Status: http.StatusUnauthorized,
		Text: fmt.Sprintf("The %[1]s Token you provided in the X-Postmark-%[1]s-Token request header was invalid. Please verify that you are using a valid token.", name),
	}
}

// Operator tells whether this is the operator's token; a refusal is a
// *pennypost.Error of code 10.
func (a *Auth) Operator(ctx context.Context, token, ip string) (pennypost.Caller, error) {
	token = strings.ToLower(token)
	want, err := a.operatorHash(ctx)
	if err != nil {
		return pennypost.Caller{}, err
	}
	ok := false
	for _, h := range a.keys.Hashes(PurposeOperator, token) {
		ok = hmac.Equal(h, want) || ok
	}
	if !ok || token == "" {
		a.refused.Add(1, "operator")
		a.log.WarnContext(ctx, "operator token refused", "ip", ip)
		return pennypost.Caller{}, &pennypost.Error{
			Code: pennypost.CodeToken, Status: http.StatusUnauthorized,
			Text: "The Operator Token you provided in the X-Operator-Token request header was invalid. Please verify that you are using a valid token.",
		}
	}
	return pennypost.Caller{Kind: pennypost.CallerOperator, IP: ip}, nil
}

// operatorHash gives the keyed hash of the operator's token; of none it is
// empty and equals nothing.
func (a *Auth) operatorHash(ctx context.Context) ([]byte, error) {
	if a.operator != "" {
		return a.keys.Hash(PurposeOperator, strings.ToLower(a.operator.Reveal())), nil
	}
	var text string
	err := a.store.View(ctx, func(tx *store.Tx) (err error) {
		text, err = tx.Meta(ctx, metaOperator)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up operator token: %w", err)
	}
	h, err := hex.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("read operator token: %w", err)
	}
	return h, nil
}

// HasOperator tells whether there is an operator's token, by setting or in the
// database.
func (a *Auth) HasOperator(ctx context.Context, tx *store.Tx) (bool, error) {
	if a.operator != "" {
		return true, nil
	}
	_, err := tx.Meta(ctx, metaOperator)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// SetOperator lets a token open the operator API, in place of an earlier one,
// where no setting gives one.
func (a *Auth) SetOperator(ctx context.Context, tx *store.Tx, token Secret) error {
	h := a.keys.Hash(PurposeOperator, strings.ToLower(token.Reveal()))
	return tx.SetMeta(ctx, metaOperator, hex.EncodeToString(h))
}
