package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

// codeSMTPOff is the contract's "SMTP disabled on the server"
// (contract/common.md §6.6).
const codeSMTPOff pennypost.Code = 1460

// mailing is what MailAllowed found for a token.
type mailing struct {
	err   error // nil or a *pennypost.Error
	until time.Time
}

// MailAllowed tells, before a message is sent, whether it could be accepted: a
// *pennypost.Error says that the credential was revoked, that server or
// account are suspended, SMTP was switched off or the stream archived. What
// counts is what is checked when the message is stored; this may be a second
// behind when another node made the change, some seconds for a stream.
func (a *Auth) MailAllowed(ctx context.Context, c pennypost.Caller) error {
	if c.Kind != pennypost.CallerSMTP {
		return nil
	}
	now := a.now()
	a.mu.Lock()
	m, ok := a.mailing.get(c.TokenID)
	round := a.round
	a.mu.Unlock()
	if ok && now.Before(m.until) {
		return m.err
	}
	err := a.store.View(ctx, func(tx *store.Tx) error {
		if _, err := a.CheckAccept(ctx, tx, c); err != nil {
			return err
		}
		return checkStream(ctx, tx, c)
	})
	var refusal *pennypost.Error
	if err != nil && !errors.As(err, &refusal) {
		return fmt.Errorf("check whether mail is allowed: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if round == a.round {
		a.mailing.put(c.TokenID, mailing{err: err, until: now.Add(rememberFor)})
	}
	return err
}

// checkStream refuses a token whose stream takes no mail any more
// (contract/streams.md §4).
func checkStream(ctx context.Context, tx *store.Tx, c pennypost.Caller) error {
	if c.Stream == "" {
		return nil
	}
	s, err := tx.Stream(ctx, c.ServerID, c.Stream)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err != nil || !s.ArchivedAt.IsZero() {
		return pennypost.Refuse(pennypost.CodeStreamUnknown, "The stream provided: '%s' does not exist on this server.", c.Stream)
	}
	return nil
}

// CheckAccept reads, inside the transaction that stores a message, whether the
// caller may still send, and what accepting has to know of server and account.
// Nothing is accepted once a revocation or suspension has returned. A refusal
// is a *pennypost.Error.
func (a *Auth) CheckAccept(ctx context.Context, tx *store.Tx, c pennypost.Caller) (*pennypost.ServerState, error) {
	switch c.Kind {
	case pennypost.CallerTest, pennypost.CallerSystem:
		// The first stores nothing, the second is ourselves: no token, no limits.
		return &pennypost.ServerState{AccountID: c.AccountID, ServerID: c.ServerID}, nil
	case pennypost.CallerAccount, pennypost.CallerOperator:
		return nil, errToken(pennypost.CallerAPI)
	case pennypost.CallerAPI, pennypost.CallerSMTP:
	}
	s, err := tx.AcceptState(ctx, c.AccountID, c.ServerID, c.TokenID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, errRevoked(c.Kind)
	case err != nil:
		return nil, err
	case c.Kind == pennypost.CallerAPI && s.Kind != pennypost.CallerAPI:
		return nil, errRevoked(c.Kind)
	case c.Kind == pennypost.CallerSMTP && (!s.SMTPOn || s.Kind == pennypost.CallerAPI && !s.APITokenAuth):
		return nil, pennypost.Refuse(codeSMTPOff, "SMTP is not activated for this server or credential.")
	case !c.Scope.MaySend():
		return nil, WrongScope(c)
	// Work that goes on for a request accepted earlier has no address.
	case c.Kind == pennypost.CallerAPI && c.IP != "" && !s.Allowed.Has(c.IP):
		return nil, errAddress(c.IP)
	case s.Account.Active():
		return nil, errSuspended(s.Account)
	case s.Server.Active():
		return nil, errSuspended(s.Server)
	}
	return &s.ServerState, nil
}

func errRevoked(kind pennypost.CallerKind) *pennypost.Error {
	e := errToken(pennypost.CallerAPI)
	if kind == pennypost.CallerSMTP {
		e.Text = "The credentials of this session are no longer valid."
	}
	return e
}

// errSuspended is code 413 with the reason (design: contract text, blank,
// reason).
func errSuspended(s pennypost.Suspension) *pennypost.Error {
	const text = "This account is not approved to send email."
	if s.Reason == "" {
		return pennypost.Refuse(pennypost.CodeNotApproved, text)
	}
	return pennypost.Refuse(pennypost.CodeNotApproved, "%s %s", text, s.Reason)
}

// CheckServer is CheckAccept for mail that was let in before, whose token no
// longer matters. A suspension is a *pennypost.Error of code 413, and a server
// that was deleted store.ErrNotFound.
func (a *Auth) CheckServer(ctx context.Context, tx *store.Tx, account pennypost.AccountID, server pennypost.ServerID) (*pennypost.ServerState, error) {
	s, err := tx.ServerState(ctx, account, server)
	switch {
	case err != nil:
		return nil, err
	case s.Account.Active():
		return nil, errSuspended(s.Account)
	case s.Server.Active():
		return nil, errSuspended(s.Server)
	}
	return &s.ServerState, nil
}
