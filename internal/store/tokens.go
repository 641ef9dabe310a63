package store

import (
	"context"
	"fmt"
	"time"

	"pennypost"
)

// The kinds of rows in tokens.
const (
	tokenServer  = 1
	tokenAccount = 2
	tokenSMTP    = 3
)

// Credential is what a secret opens.
type Credential struct {
	TokenID   pennypost.TokenID
	AccountID pennypost.AccountID
	ServerID  pennypost.ServerID
	Kind      pennypost.CallerKind // CallerAPI, CallerAccount or CallerSMTP
	Stream    pennypost.StreamID
	AccessKey string // of an SMTP token
	// SMTPOn and APITokenAuth are settings of the server.
	SMTPOn, APITokenAuth bool
	Scope                pennypost.Scope      // "" where it is full
	Allowed              *pennypost.AllowList // from where the server sends over HTTP
}

//nolint:gosec // names of columns
const credentialColumns = `t.id, t.kind, t.account_id, t.server_id, t.stream, COALESCE(t.access_key, ''),
	COALESCE(s.smtp_activated, 0), COALESCE(s.smtp_api_token_auth, 0), t.scope, COALESCE(s.allowed_ips, '')`

func scanCredential(row scanner) (*Credential, error) {
	c := &Credential{}
	var kind int64
	err := row.Scan(&c.TokenID, &kind, &c.AccountID, &c.ServerID, &c.Stream, &c.AccessKey,
		intoBool(&c.SMTPOn), intoBool(&c.APITokenAuth), &c.Scope, intoAllowList(&c.Allowed))
	if err != nil {
		return nil, err
	}
	c.Kind = callerKind(kind)
	if c.Scope == pennypost.ScopeFull {
		c.Scope = ""
	}
	return c, nil
}

func callerKind(kind int64) pennypost.CallerKind {
	switch kind {
	case tokenServer:
		return pennypost.CallerAPI
	case tokenAccount:
		return pennypost.CallerAccount
	}
	return pennypost.CallerSMTP
}

// TokenByHash finds a live API token by the keyed hash of its text, or
// ErrNotFound.
func (tx *Tx) TokenByHash(ctx context.Context, hash []byte) (*Credential, error) {
	c, err := scanCredential(tx.row(ctx, `SELECT `+credentialColumns+`
		FROM tokens t LEFT JOIN servers s ON s.id = t.server_id AND s.deleted_at = 0
		WHERE t.hash = $1 AND t.revoked_at = 0 AND (t.server_id = 0 OR s.id IS NOT NULL)`, hash))
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	return c, nil
}

// SMTPSecretByHash finds a live SMTP token by the keyed hash of a secret that
// has not expired, or ErrNotFound.
func (tx *Tx) SMTPSecretByHash(ctx context.Context, hash []byte) (*Credential, error) {
	c, err := scanCredential(tx.row(ctx, `SELECT `+credentialColumns+`
		FROM smtp_secrets x JOIN tokens t ON t.id = x.token_id JOIN servers s ON s.id = t.server_id AND s.deleted_at = 0
		WHERE x.hash = $1 AND (x.expires_at = 0 OR x.expires_at > $2) AND t.revoked_at = 0`,
		hash, timeToDB(tx.Now())))
	if err != nil {
		return nil, fmt.Errorf("SMTP secret: %w", err)
	}
	return c, nil
}

// TokenByID gives a live token, or ErrNotFound.
func (tx *Tx) TokenByID(ctx context.Context, id pennypost.TokenID) (*Credential, error) {
	c, err := scanCredential(tx.row(ctx, `SELECT `+credentialColumns+`
		FROM tokens t LEFT JOIN servers s ON s.id = t.server_id AND s.deleted_at = 0
		WHERE t.id = $1 AND t.revoked_at = 0 AND (t.server_id = 0 OR s.id IS NOT NULL)`, int64(id)))
	if err != nil {
		return nil, fmt.Errorf("token %d: %w", id, err)
	}
	return c, nil
}

// AcceptState is what CheckAccept decides on.
type AcceptState struct {
	pennypost.ServerState
	Kind                 pennypost.CallerKind
	SMTPOn, APITokenAuth bool
	Server, Account      pennypost.Suspension
	Allowed              *pennypost.AllowList // as in Credential
}

// AcceptState reads a live token, its server and its account in one look-up by
// primary keys; ErrNotFound when the token was revoked, belongs to another
// server, or the server was deleted. Whoever revokes or suspends waits for the transactions
// that have read it (lockAccept).
func (tx *Tx) AcceptState(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, token pennypost.TokenID) (*AcceptState, error) {
	if err := tx.lockAccept(ctx, account, server, true); err != nil {
		return nil, err
	}
	a := &AcceptState{}
	var kind int64
	err := tx.row(ctx, `SELECT t.kind, s.id, a.id, s.sandbox, a.pending, s.smtp_rejection, s.smtp_error_hooks,
			s.track_opens, s.track_links, a.monthly_limit, s.monthly_limit, s.smtp_activated, s.smtp_api_token_auth,
			s.suspended_at, s.suspend_reason, a.suspended_at, a.suspend_reason, s.allowed_ips
		FROM tokens t JOIN servers s ON s.id = t.server_id JOIN accounts a ON a.id = s.account_id
		WHERE t.id = $1 AND t.server_id = $2 AND t.account_id = $3 AND t.revoked_at = 0 AND s.deleted_at = 0`,
		int64(token), int64(server), int64(account)).Scan(&kind, &a.ServerID, &a.AccountID, intoBool(&a.Sandbox), intoBool(&a.Pending),
		&a.SMTPRejection, intoBool(&a.SMTPErrorHooks), intoBool(&a.TrackOpens), &a.TrackLinks, &a.Limits.Account,
		&a.Limits.Server, intoBool(&a.SMTPOn), intoBool(&a.APITokenAuth), intoTime(&a.Server.Since), &a.Server.Reason,
		intoTime(&a.Account.Since), &a.Account.Reason, intoAllowList(&a.Allowed))
	if err != nil {
		return nil, fmt.Errorf("token %d of server %d: %w", token, server, err)
	}
	a.Kind = callerKind(kind)
	return a, nil
}

// AddAPIToken stores a token of a server, or of the account when ServerID is
// 0, and sets its ID and CreatedAt.
func (tx *Tx) AddAPIToken(ctx context.Context, t *pennypost.APIToken, hash, sealed []byte) error {
	id, err := tx.next(ctx, "token")
	if err != nil {
		return err
	}
	kind := int64(tokenServer)
	if t.ServerID == 0 {
		kind = tokenAccount
	}
	t.ID, t.CreatedAt = pennypost.TokenID(id), tx.Now()
	if t.Scope == "" {
		t.Scope = pennypost.ScopeFull
	}
	_, err = tx.exec(ctx, `INSERT INTO tokens (id, kind, account_id, server_id, stream, label, hash, sealed,
			created_at, last_used_at, last_used_ip, revoked_at, scope) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, '', 0, $10)`,
		id, kind, int64(t.AccountID), int64(t.ServerID), string(t.Stream), t.Label, hash, sealed, timeToDB(t.CreatedAt), string(t.Scope))
	if err != nil {
		return fmt.Errorf("add API token: %w", err)
	}
	return nil
}

// SealedToken is an API token and its sealed text.
type SealedToken struct {
	pennypost.APIToken
	Sealed []byte
}

// APITokens gives the live tokens of a server, or of the account when server
// is 0, by id.
func (tx *Tx) APITokens(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID) ([]SealedToken, error) {
	list, err := collect(tx, ctx, func(row scanner) (*SealedToken, error) {
		t := &SealedToken{}
		return t, row.Scan(&t.ID, &t.AccountID, &t.ServerID, &t.Label, &t.Sealed, intoTime(&t.CreatedAt),
			intoTime(&t.LastUsedAt), &t.LastUsedIP, &t.Scope, &t.Stream)
	}, `SELECT id, account_id, server_id, label, sealed, created_at, last_used_at, last_used_ip, scope, stream FROM tokens
		WHERE server_id = $2 AND kind IN (1, 2) AND account_id = $1 AND revoked_at = 0 ORDER BY id`,
		int64(account), int64(server))
	if err != nil {
		return nil, fmt.Errorf("list API tokens: %w", err)
	}
	return list, nil
}

// RevokeToken ends an API token of a server, or of the account when server is
// 0; ErrNotFound when there is no live one.
func (tx *Tx) RevokeToken(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, id pennypost.TokenID) error {
	if err := tx.lockAccept(ctx, 0, server, false); err != nil {
		return err
	}
	n, err := tx.exec(ctx, `UPDATE tokens SET revoked_at = $4
		WHERE id = $1 AND account_id = $2 AND server_id = $3 AND kind IN (1, 2) AND revoked_at = 0`,
		int64(id), int64(account), int64(server), timeToDB(tx.Now()))
	if err := changed(n, err, "token", id); err != nil {
		return err
	}
	return tx.BumpAuth(ctx)
}

// SetTokenUsed notes when and from where a token was last used.
func (tx *Tx) SetTokenUsed(ctx context.Context, id pennypost.TokenID, at time.Time, ip string) error {
	_, err := tx.exec(ctx, `UPDATE tokens SET last_used_at = $2, last_used_ip = $3 WHERE id = $1 AND last_used_at < $2`,
		int64(id), timeToDB(at), ip)
	if err != nil {
		return fmt.Errorf("note use of token %d: %w", id, err)
	}
	return nil
}

// lockAccept orders accepting and revoking on PostgreSQL, where a transaction
// that read a token before its revocation could commit after it. Accepting
// takes the locks of account and server shared, revoking takes one alone; 0 is
// left out. They are advisory, since row locks would be written to disk with
// every message. On SQLite there is one writer and nothing to order.
func (tx *Tx) lockAccept(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, shared bool) error {
	const accounts, servers = 1, 2 // classes of lock
	if !tx.postgres() {
		return nil
	}
	var err error
	switch {
	case shared:
		_, err = tx.exec(ctx, `SELECT pg_advisory_xact_lock_shared($1, CAST($2 AS INTEGER)), pg_advisory_xact_lock_shared($3, CAST($4 AS INTEGER))`,
			accounts, int64(account), servers, int64(server))
	case account != 0:
		_, err = tx.exec(ctx, `SELECT pg_advisory_xact_lock($1, CAST($2 AS INTEGER))`, accounts, int64(account))
	default:
		_, err = tx.exec(ctx, `SELECT pg_advisory_xact_lock($1, CAST($2 AS INTEGER))`, servers, int64(server))
	}
	if err != nil {
		return fmt.Errorf("wait for messages being accepted: %w", err)
	}
	return nil
}
