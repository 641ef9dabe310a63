package account

import (
	"context"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/store"
)

const maxReason = 500

// AccountInput is what the operator says of an account; nil: nothing.
type AccountInput struct { //nolint:revive // beside ServerInput, DomainInput and SenderInput
	Name, Plan          *string
	MonthlyLimit        *int64 // recipients; 0: no limit
	Pending, NoDeletes  *bool
	NoBulk              *bool
	NoCustomUnsubscribe *bool
}

func (in *AccountInput) apply(acc *pennypost.Account) error {
	if in.Name != nil {
		if acc.Name = strings.TrimSpace(*in.Name); !validLine(acc.Name, maxServerName) {
			return pennypost.Invalid("A valid 'Name' of up to %d characters must be provided.", maxServerName)
		}
	}
	if in.Plan != nil {
		if acc.Plan = strings.TrimSpace(*in.Plan); !validLine(acc.Plan, maxLabel) {
			return pennypost.Invalid("A valid 'Plan' of up to %d characters must be provided.", maxLabel)
		}
	}
	if in.MonthlyLimit != nil {
		if err := checkLimit(*in.MonthlyLimit); err != nil {
			return err
		}
		acc.MonthlyLimit = *in.MonthlyLimit
	}
	set(&acc.Pending, in.Pending)
	set(&acc.NoDeletes, in.NoDeletes)
	set(&acc.NoBulk, in.NoBulk)
	set(&acc.NoCustomUnsubscribe, in.NoCustomUnsubscribe)
	return nil
}

func checkLimit(n int64) error {
	if n < 0 || n > 1<<53 {
		return pennypost.Invalid("'MonthlyLimit' must be a number of recipients, or 0 for no limit.")
	}
	return nil
}

// Accounts gives a page of all accounts, and how many there are.
func (a *Accounts) Accounts(ctx context.Context, count, offset int) ([]pennypost.Account, int, error) {
	var list []pennypost.Account
	var total int
	err := a.view(ctx, "list accounts", func(tx *store.Tx) (err error) {
		list, total, err = tx.Accounts(ctx, count, offset)
		return err
	})
	return list, total, err
}

// Account gives an account.
func (a *Accounts) Account(ctx context.Context, id pennypost.AccountID) (*pennypost.Account, error) {
	var acc *pennypost.Account
	err := a.view(ctx, "read account", func(tx *store.Tx) (err error) {
		acc, err = tx.Account(ctx, id)
		return ifMissing(err, errNoAccount())
	})
	return acc, err
}

// CreateAccount makes an account, and gives it with its first token.
func (a *Accounts) CreateAccount(ctx context.Context, in *AccountInput) (*pennypost.Account, auth.Secret, error) {
	if in == nil || in.Name == nil {
		return nil, "", pennypost.Invalid("A valid 'Name' of up to %d characters must be provided.", maxServerName)
	}
	acc := &pennypost.Account{Plan: pennypost.PlanUnlimited}
	if err := in.apply(acc); err != nil {
		return nil, "", err
	}
	token := auth.NewAPIToken()
	err := a.update(ctx, "create account", func(tx *store.Tx) error {
		if err := tx.AddAccount(ctx, acc); err != nil {
			return err
		}
		return a.addToken(ctx, tx, &pennypost.APIToken{AccountID: acc.ID}, token)
	})
	if err != nil {
		return nil, "", err
	}
	a.log.InfoContext(ctx, "account created", "account", int64(acc.ID))
	return acc, token, nil
}

// EditAccount changes what in says of an account.
func (a *Accounts) EditAccount(ctx context.Context, id pennypost.AccountID, in *AccountInput) (*pennypost.Account, error) {
	if in == nil {
		in = &AccountInput{}
	}
	return a.changeAccount(ctx, id, in.apply)
}

func (a *Accounts) changeAccount(ctx context.Context, id pennypost.AccountID, change func(*pennypost.Account) error) (*pennypost.Account, error) {
	var acc *pennypost.Account
	err := a.update(ctx, "change account", func(tx *store.Tx) (err error) {
		if acc, err = tx.Account(ctx, id); err != nil {
			return ifMissing(err, errNoAccount())
		}
		if err := change(acc); err != nil {
			return err
		}
		return setAccount(ctx, tx, acc)
	})
	if err != nil {
		return nil, err
	}
	return acc, a.conf.Auth.Refresh(ctx)
}

// setAccount stores an account and tells all nodes that it changed.
func setAccount(ctx context.Context, tx *store.Tx, acc *pennypost.Account) error {
	if err := tx.SetAccount(ctx, acc); err != nil {
		return err
	}
	return tx.BumpAuth(ctx)
}

// AnyServer gives a server of whichever account, for the operator.
func (a *Accounts) AnyServer(ctx context.Context, id pennypost.ServerID) (*pennypost.Server, error) {
	var s *pennypost.Server
	err := a.view(ctx, "read server", func(tx *store.Tx) (err error) {
		s, err = tx.AnyServer(ctx, id)
		return ifMissing(err, errNoServer())
	})
	return s, err
}

// SetServerLimit sets how many recipients a server may send to in a calendar
// month; 0 is no limit of its own.
func (a *Accounts) SetServerLimit(ctx context.Context, id pennypost.ServerID, monthly int64) (*pennypost.Server, error) {
	if err := checkLimit(monthly); err != nil {
		return nil, err
	}
	var s *pennypost.Server
	err := a.update(ctx, "limit server", func(tx *store.Tx) (err error) {
		if s, err = tx.AnyServer(ctx, id); err != nil {
			return ifMissing(err, errNoServer())
		}
		s.MonthlyLimit = monthly
		return tx.SetServer(ctx, s)
	})
	if err != nil {
		return nil, err
	}
	return s, a.conf.Auth.Refresh(ctx)
}

// Usage is how many recipients were sent to in a calendar month (UTC).
type Usage struct {
	Account, Server int64
	Month           time.Time // its first instant
}

// Usage gives what an account and one server of it, or 0, used this month.
func (a *Accounts) Usage(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID) (Usage, error) {
	var u Usage
	err := a.view(ctx, "read usage", func(tx *store.Tx) (err error) {
		now := tx.Now().UTC()
		u.Month = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
		u.Account, u.Server, err = tx.Usage(ctx, account, server, now)
		return err
	})
	return u, err
}
