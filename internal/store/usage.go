package store

import (
	"context"
	"fmt"
	"time"

	"pennypost"
)

// usageSlots is how many rows a busy server's count is spread over on
// PostgreSQL, where transactions that change one row wait for each other's
// commit.
const usageSlots = 16

// OverLimitError says that a monthly limit would be passed.
type OverLimitError struct {
	Limit int64     // recipients a month
	Until time.Time // the first instant of the next month, UTC
}

// Error gives the text of code 405.
func (e *OverLimitError) Error() string {
	return fmt.Sprintf("You are not allowed to send: the monthly limit of %d is used up until %s.",
		e.Limit, e.Until.Format(time.DateOnly))
}

// AddUsage counts n accepted recipients in the calendar month (UTC) of the
// transaction. When account or server pass their limit it is an
// *OverLimitError, and the caller rolls back. On PostgreSQL several
// transactions at once do not see each other, so that the limit may be passed
// by what they accept in that moment.
func (tx *Tx) AddUsage(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, n int, limits pennypost.Limits) error {
	now := tx.Now().UTC()
	month := usageMonth(now)
	_, err := tx.exec(ctx, `INSERT INTO usage_monthly (account_id, month, server_id, slot, n) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (account_id, month, server_id, slot) DO UPDATE SET n = usage_monthly.n + excluded.n`,
		int64(account), month, int64(server), tx.usageSlot(), int64(n))
	if err != nil {
		return fmt.Errorf("count usage: %w", err)
	}
	if limits == (pennypost.Limits{}) {
		return nil
	}
	all, own, err := tx.Usage(ctx, account, server, now)
	if err != nil {
		return err
	}
	return within(all, own, limits, now)
}

// CheckUsage tells whether one recipient more would be within the limits of the
// month: nil, or an *OverLimitError. It counts nothing.
func (tx *Tx) CheckUsage(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, limits pennypost.Limits) error {
	if limits == (pennypost.Limits{}) {
		return nil
	}
	now := tx.Now().UTC()
	all, own, err := tx.Usage(ctx, account, server, now)
	if err != nil {
		return err
	}
	return within(all+1, own+1, limits, now)
}

func within(all, own int64, limits pennypost.Limits, now time.Time) error {
	until := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	if limits.Account > 0 && all > limits.Account {
		return &OverLimitError{Limit: limits.Account, Until: until}
	}
	if limits.Server > 0 && own > limits.Server {
		return &OverLimitError{Limit: limits.Server, Until: until}
	}
	return nil
}

// Usage gives the recipients that an account and one server of it sent to in
// the calendar month (UTC) of a time.
func (tx *Tx) Usage(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, at time.Time) (all, own int64, err error) {
	err = tx.row(ctx, `SELECT CAST(COALESCE(SUM(n), 0) AS BIGINT),
			CAST(COALESCE(SUM(CASE WHEN server_id = $3 THEN n ELSE 0 END), 0) AS BIGINT)
		FROM usage_monthly WHERE account_id = $1 AND month = $2`,
		int64(account), usageMonth(at.UTC()), int64(server)).Scan(&all, &own)
	if err != nil {
		return 0, 0, fmt.Errorf("read usage: %w", err)
	}
	return all, own, nil
}

// TakeBackUsage takes n recipients out of the count of the month in which they
// were accepted, since nothing is sent to them.
func (tx *Tx) TakeBackUsage(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, n int, accepted time.Time) error {
	_, err := tx.exec(ctx, `INSERT INTO usage_monthly (account_id, month, server_id, slot, n) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (account_id, month, server_id, slot) DO UPDATE SET n = usage_monthly.n + excluded.n`,
		int64(account), usageMonth(accepted.UTC()), int64(server), tx.usageSlot(), -int64(n))
	if err != nil {
		return fmt.Errorf("take usage back: %w", err)
	}
	return nil
}

func usageMonth(t time.Time) int64 { return int64(t.Year())*100 + int64(t.Month()) }

// usageSlot is one per transaction, so that two transactions never lock two
// slots in different order.
func (tx *Tx) usageSlot() int64 {
	if !tx.postgres() {
		return 0
	}
	return tx.Now().UnixMicro() % usageSlots
}
