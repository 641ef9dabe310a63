package store

import (
	"context"
	"fmt"
	"time"

	"pennypost"
)

//nolint:gosec // names of columns
const smtpTokenColumns = `id, account_id, server_id, stream, label, COALESCE(access_key, ''), created_at,
	last_used_at, last_used_ip, revoked_at`

func scanSMTPToken(row scanner) (*pennypost.SMTPToken, error) {
	t := &pennypost.SMTPToken{}
	err := row.Scan(&t.ID, &t.AccountID, &t.ServerID, &t.Stream, &t.Label, &t.AccessKey, intoTime(&t.CreatedAt),
		intoTime(&t.LastUsedAt), &t.LastUsedIP, intoTime(&t.RevokedAt))
	if err != nil {
		return nil, err
	}
	return t, nil
}

// AddSMTPToken stores a token with its first secret, and sets its ID and
// CreatedAt.
func (tx *Tx) AddSMTPToken(ctx context.Context, t *pennypost.SMTPToken, hash []byte) error {
	id, err := tx.next(ctx, "token")
	if err != nil {
		return err
	}
	t.ID, t.CreatedAt = pennypost.TokenID(id), tx.Now()
	_, err = tx.exec(ctx, `INSERT INTO tokens (id, kind, account_id, server_id, stream, label, access_key,
			created_at, last_used_at, last_used_ip, revoked_at) VALUES ($1, 3, $2, $3, $4, $5, $6, $7, 0, '', 0)`,
		id, int64(t.AccountID), int64(t.ServerID), string(t.Stream), t.Label, t.AccessKey, timeToDB(t.CreatedAt))
	if err != nil {
		return fmt.Errorf("add SMTP token: %w", err)
	}
	return tx.AddSMTPSecret(ctx, t.ID, hash)
}

// SMTPToken gives a token of a server, revoked ones too, or ErrNotFound.
func (tx *Tx) SMTPToken(ctx context.Context, server pennypost.ServerID, id pennypost.TokenID) (*pennypost.SMTPToken, error) {
	t, err := scanSMTPToken(tx.row(ctx, `SELECT `+smtpTokenColumns+` FROM tokens
		WHERE id = $1 AND server_id = $2 AND kind = 3`, int64(id), int64(server)))
	if err != nil {
		return nil, fmt.Errorf("SMTP token %d: %w", id, err)
	}
	return t, nil
}

// SMTPTokens gives the tokens of a server by id, the last thousand, revoked
// ones too.
func (tx *Tx) SMTPTokens(ctx context.Context, server pennypost.ServerID) ([]pennypost.SMTPToken, error) {
	list, err := collect(tx, ctx, scanSMTPToken, `SELECT `+smtpTokenColumns+` FROM (
			SELECT * FROM tokens WHERE server_id = $1 AND kind = 3 ORDER BY id DESC LIMIT 1000) AS t ORDER BY id`, int64(server))
	if err != nil {
		return nil, fmt.Errorf("list SMTP tokens: %w", err)
	}
	return list, nil
}

// CountSMTPTokens gives the number of live tokens of a stream ("": of those
// bound to none).
func (tx *Tx) CountSMTPTokens(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID) (int, error) {
	var n int
	err := tx.row(ctx, `SELECT COUNT(*) FROM tokens WHERE server_id = $1 AND kind = 3 AND stream = $2 AND revoked_at = 0`,
		int64(server), string(stream)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count SMTP tokens: %w", err)
	}
	return n, nil
}

// RevokeSMTPToken ends a token with all its secrets, whose hashes stay so that
// the log can tell a login with one of them from a guess; ErrNotFound when there
// is no live token.
func (tx *Tx) RevokeSMTPToken(ctx context.Context, server pennypost.ServerID, id pennypost.TokenID) error {
	if err := tx.lockAccept(ctx, 0, server, false); err != nil {
		return err
	}
	n, err := tx.exec(ctx, `UPDATE tokens SET revoked_at = $3 WHERE id = $1 AND server_id = $2 AND kind = 3 AND revoked_at = 0`,
		int64(id), int64(server), timeToDB(tx.Now()))
	if err := changed(n, err, "SMTP token", id); err != nil {
		return err
	}
	return tx.BumpAuth(ctx)
}

// SMTPSecret is the life of one secret of a token.
type SMTPSecret struct {
	CreatedAt time.Time
	ExpiresAt time.Time // zero: with its token
}

// SMTPSecrets gives the live secrets of a token, the oldest first, and deletes
// the others.
func (tx *Tx) SMTPSecrets(ctx context.Context, id pennypost.TokenID) ([]SMTPSecret, error) {
	_, err := tx.exec(ctx, `DELETE FROM smtp_secrets WHERE token_id = $1 AND expires_at <> 0 AND expires_at <= $2`,
		int64(id), timeToDB(tx.Now()))
	if err != nil {
		return nil, fmt.Errorf("delete old secrets of SMTP token %d: %w", id, err)
	}
	list, err := collect(tx, ctx, func(row scanner) (*SMTPSecret, error) {
		s := &SMTPSecret{}
		return s, row.Scan(intoTime(&s.CreatedAt), intoTime(&s.ExpiresAt))
	}, `SELECT created_at, expires_at FROM smtp_secrets WHERE token_id = $1 ORDER BY created_at`, int64(id))
	if err != nil {
		return nil, fmt.Errorf("list secrets of SMTP token %d: %w", id, err)
	}
	return list, nil
}

// AddSMTPSecret gives a token one more secret.
func (tx *Tx) AddSMTPSecret(ctx context.Context, id pennypost.TokenID, hash []byte) error {
	_, err := tx.exec(ctx, `INSERT INTO smtp_secrets (hash, token_id, created_at, expires_at) VALUES ($1, $2, $3, 0)`,
		hash, int64(id), timeToDB(tx.Now()))
	if err != nil {
		return fmt.Errorf("add secret of SMTP token %d: %w", id, err)
	}
	return nil
}

// ExpireSMTPSecrets lets the secrets of a token that have no end yet expire.
func (tx *Tx) ExpireSMTPSecrets(ctx context.Context, id pennypost.TokenID, at time.Time) error {
	_, err := tx.exec(ctx, `UPDATE smtp_secrets SET expires_at = $2 WHERE token_id = $1 AND expires_at = 0`,
		int64(id), timeToDB(at))
	if err != nil {
		return fmt.Errorf("expire secrets of SMTP token %d: %w", id, err)
	}
	return tx.BumpAuth(ctx)
}
