package store

import (
	"context"
	"fmt"

	"pennypost"
)

const accountColumns = `id, name, plan, monthly_limit, pending, no_deletes, no_custom_unsubscribe, no_bulk,
	suspended_at, suspend_reason, created_at`

func scanAccount(row scanner) (*pennypost.Account, error) {
	a := &pennypost.Account{}
	err := row.Scan(&a.ID, &a.Name, &a.Plan, &a.MonthlyLimit, intoBool(&a.Pending), intoBool(&a.NoDeletes),
		intoBool(&a.NoCustomUnsubscribe), intoBool(&a.NoBulk), intoTime(&a.Suspension.Since), &a.Suspension.Reason, intoTime(&a.CreatedAt))
	if err != nil {
		return nil, err
	}
	return a, nil
}

// AddAccount stores a new account, and sets its ID and CreatedAt.
func (tx *Tx) AddAccount(ctx context.Context, a *pennypost.Account) error {
	id, err := tx.next(ctx, "account")
	if err != nil {
		return err
	}
	a.ID, a.CreatedAt = pennypost.AccountID(id), tx.Now()
	_, err = tx.exec(ctx, `INSERT INTO accounts (`+accountColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		int64(a.ID), a.Name, a.Plan, a.MonthlyLimit, flag(a.Pending), flag(a.NoDeletes), flag(a.NoCustomUnsubscribe), flag(a.NoBulk),
		timeToDB(a.Suspension.Since), a.Suspension.Reason, timeToDB(a.CreatedAt))
	if err != nil {
		return fmt.Errorf("add account: %w", err)
	}
	return nil
}

// Account gives an account, or ErrNotFound.
func (tx *Tx) Account(ctx context.Context, id pennypost.AccountID) (*pennypost.Account, error) {
	a, err := scanAccount(tx.row(ctx, `SELECT `+accountColumns+` FROM accounts WHERE id = $1`, int64(id)))
	if err != nil {
		return nil, fmt.Errorf("account %d: %w", id, err)
	}
	return a, nil
}

// Accounts gives a page of all accounts by id, and how many there are.
func (tx *Tx) Accounts(ctx context.Context, count, offset int) ([]pennypost.Account, int, error) {
	var total int
	if err := tx.row(ctx, `SELECT COUNT(*) FROM accounts`).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count accounts: %w", err)
	}
	list, err := collect(tx, ctx, scanAccount,
		`SELECT `+accountColumns+` FROM accounts ORDER BY id LIMIT $1 OFFSET $2`, int64(count), int64(offset))
	if err != nil {
		return nil, 0, fmt.Errorf("list accounts: %w", err)
	}
	return list, total, nil
}

// SetAccount stores name, plan, limit, the permissions and the suspension
// of an account; ErrNotFound when there is none.
func (tx *Tx) SetAccount(ctx context.Context, a *pennypost.Account) error {
	if err := tx.lockAccept(ctx, a.ID, 0, false); err != nil {
		return err
	}
	n, err := tx.exec(ctx, `UPDATE accounts SET name = $2, plan = $3, monthly_limit = $4, pending = $5,
		no_deletes = $6, suspended_at = $7, suspend_reason = $8, no_custom_unsubscribe = $9, no_bulk = $10 WHERE id = $1`,
		int64(a.ID), a.Name, a.Plan, a.MonthlyLimit, flag(a.Pending), flag(a.NoDeletes),
		timeToDB(a.Suspension.Since), a.Suspension.Reason, flag(a.NoCustomUnsubscribe), flag(a.NoBulk))
	return changed(n, err, "account", a.ID)
}

// changed turns the result of an update by key into an error.
func changed[T any](n int64, err error, what string, id T) error {
	if err != nil {
		return fmt.Errorf("change %s %v: %w", what, id, err)
	}
	if n == 0 {
		return fmt.Errorf("change %s %v: %w", what, id, ErrNotFound)
	}
	return nil
}
