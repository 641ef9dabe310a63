package account

import (
	"context"
	"errors"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/event"
	"pennypost/internal/store"
)

// MaxSuppressions is how many addresses a call may suppress or reactivate
// (contract/bounces.md §9).
const MaxSuppressions = 50

// SuppressionResult is what became of one address of a call. Refused is "" when
// it was done.
type SuppressionResult struct {
	Given   string
	Refused string
}

// The texts of an item (contract/bounces.md §12).
const (
	textBadAddress  = "An invalid email address was provided."
	textNoAuthority = "You do not have the required authority to change this suppression."
)

// Suppress puts addresses on a stream's list for the customer, and gives a
// result for each. What is on it stays as it is.
func (a *Accounts) Suppress(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, stream pennypost.StreamID, given []string) ([]SuppressionResult, error) {
	return a.changeSuppressions(ctx, server, stream, given, func(tx *store.Tx, s pennypost.Suppression) (string, error) {
		s.Reason, s.Origin = pennypost.ReasonManual, pennypost.OriginCustomer
		_, err := event.SuppressByHand(ctx, tx, account, s)
		return "", err
	})
}

// Unsuppress takes addresses off a stream's list for the customer, as far as the
// customer may, and gives a result for each.
func (a *Accounts) Unsuppress(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, stream pennypost.StreamID, given []string) ([]SuppressionResult, error) {
	return a.changeSuppressions(ctx, server, stream, given, func(tx *store.Tx, s pennypost.Suppression) (string, error) {
		on, err := tx.Suppression(ctx, server, stream, s.Address)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return "", nil
		case err != nil:
			return "", err
		case !on.Deletable():
			return textNoAuthority, nil
		}
		_, err = event.Reactivate(ctx, tx, account, s, pennypost.OriginCustomer)
		return "", err
	})
}

func (a *Accounts) changeSuppressions(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, given []string,
	change func(tx *store.Tx, s pennypost.Suppression) (refused string, err error),
) ([]SuppressionResult, error) {
	var results []SuppressionResult
	err := a.update(ctx, "change suppressions", func(tx *store.Tx) error {
		if _, err := tx.Stream(ctx, server, stream); err != nil {
			return ifMissing(err, errNoStream())
		}
		results = make([]SuppressionResult, len(given)) // of this try
		for n, text := range given {
			results[n].Given = text
			addr, ok := parseAddress(text)
			if !ok {
				results[n].Refused = textBadAddress
				continue
			}
			s := pennypost.Suppression{ServerID: server, Stream: stream, Address: addr}
			var err error
			if results[n].Refused, err = change(tx, s); err != nil {
				return err
			}
		}
		return nil
	})
	return results, err
}

// parseAddress reads a bare address.
func parseAddress(text string) (pennypost.Address, bool) {
	m, _, err := eml.ParsePath(text)
	return pennypost.Address(m.Addr()), err == nil
}

// SuppressionFilter says which entries of a list are wanted.
type SuppressionFilter = store.SuppressionFilter

// SuppressionPage gives up to n entries of a stream's list by address, from
// after one on. An address text that is none finds nothing.
func (a *Accounts) SuppressionPage(ctx context.Context, f SuppressionFilter, address string, after pennypost.Address, n int) ([]pennypost.Suppression, error) {
	if address != "" {
		var ok bool
		if f.Address, ok = parseAddress(address); !ok {
			return nil, nil
		}
	}
	var list []pennypost.Suppression
	err := named("list suppressions", a.conf.Store.Browse(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.Suppressions(ctx, &f, after, n)
		return err
	}))
	return list, err
}
