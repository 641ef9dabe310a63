package store

import (
	"context"
	"fmt"

	"pennypost"
)

// LoginTrace is what the log of a failed login wants to know.
type LoginTrace struct {
	User    bool // the user name is a server or the access key of a token
	Revoked bool // the secret, or the access key, is that of a revoked token
	Expired bool // the secret was replaced by another
}

// TraceLogin looks up what an SMTP login that failed was about. It decides
// nothing.
func (tx *Tx) TraceLogin(ctx context.Context, server pennypost.ServerID, accessKey string, hash []byte) (LoginTrace, error) {
	var t LoginTrace
	err := tx.row(ctx, `SELECT
		CASE WHEN EXISTS (SELECT 1 FROM servers WHERE id = $1 AND deleted_at = 0)
			OR EXISTS (SELECT 1 FROM tokens WHERE access_key = $2) THEN 1 ELSE 0 END,
		CASE WHEN EXISTS (SELECT 1 FROM tokens WHERE access_key = $2 AND revoked_at <> 0)
			OR EXISTS (SELECT 1 FROM smtp_secrets x JOIN tokens t ON t.id = x.token_id
				WHERE x.hash = $3 AND t.revoked_at <> 0) THEN 1 ELSE 0 END,
		CASE WHEN EXISTS (SELECT 1 FROM smtp_secrets WHERE hash = $3 AND expires_at <> 0 AND expires_at <= $4)
			THEN 1 ELSE 0 END`,
		int64(server), accessKey, hash, timeToDB(tx.Now())).
		Scan(intoBool(&t.User), intoBool(&t.Revoked), intoBool(&t.Expired))
	if err != nil {
		return t, fmt.Errorf("trace login: %w", err)
	}
	return t, nil
}
