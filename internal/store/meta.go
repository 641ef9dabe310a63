package store

import (
	"context"
	"fmt"
)

// Meta gives what the instance keeps under a key, or ErrNotFound.
func (tx *Tx) Meta(ctx context.Context, key string) (string, error) {
	var v string
	if err := tx.row(ctx, `SELECT value FROM meta WHERE key = $1`, key).Scan(&v); err != nil {
		return "", fmt.Errorf("read %s: %w", key, err)
	}
	return v, nil
}

// AddMeta keeps a value under a new key; ErrConflict when there is one.
func (tx *Tx) AddMeta(ctx context.Context, key, value string) error {
	_, err := tx.exec(ctx, `INSERT INTO meta (key, value) VALUES ($1, $2)`, key, value)
	if err != nil {
		return fmt.Errorf("add %s: %w", key, err)
	}
	return nil
}

// SetMeta keeps a value under a key, in place of an earlier one.
func (tx *Tx) SetMeta(ctx context.Context, key, value string) error {
	_, err := tx.exec(ctx, `INSERT INTO meta (key, value) VALUES ($1, $2)
		ON CONFLICT (key) DO UPDATE SET value = excluded.value`, key, value)
	if err != nil {
		return fmt.Errorf("set %s: %w", key, err)
	}
	return nil
}

// next gives the next number of a sequence. It fits a signed 32-bit integer as
// long as fewer than two thousand million were handed out.
func (tx *Tx) next(ctx context.Context, sequence string) (int64, error) {
	var n int64
	err := tx.row(ctx, `UPDATE sequences SET n = n + 1 WHERE name = $1 RETURNING n`, sequence).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("take number from %s: %w", sequence, err)
	}
	return n, nil
}

// AuthEpoch grows with every change that may end a credential's validity.
func (tx *Tx) AuthEpoch(ctx context.Context) (int64, error) {
	var n int64
	if err := tx.row(ctx, `SELECT n FROM sequences WHERE name = 'auth'`).Scan(&n); err != nil {
		return 0, fmt.Errorf("read epoch of credentials: %w", err)
	}
	return n, nil
}

// BumpAuth marks a change that may end a credential's validity.
func (tx *Tx) BumpAuth(ctx context.Context) error {
	_, err := tx.next(ctx, "auth")
	return err
}
