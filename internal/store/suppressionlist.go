package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pennypost"
)

// SuppressionFilter says which entries of a stream's list are wanted; what is
// empty is not asked for (contract/bounces.md §10).
type SuppressionFilter struct {
	Server         pennypost.ServerID
	Stream         pennypost.StreamID
	Reason, Origin string
	Address        pennypost.Address
	From, Before   time.Time // put on the list at or after, and before
}

// Suppressions gives up to n entries by address, from after one on. The
// address is its key: lower case.
func (tx *Tx) Suppressions(ctx context.Context, f *SuppressionFilter, after pennypost.Address, n int) ([]pennypost.Suppression, error) {
	where := ` WHERE server_id = $1 AND stream = $2 AND address_key > $3`
	args := []any{int64(f.Server), string(f.Stream), string(after)}
	add := func(cond string, arg any) {
		args = append(args, arg)
		where += fmt.Sprintf(` AND `+cond, len(args))
	}
	if f.Reason != "" {
		add(`reason = $%d`, f.Reason)
	}
	if f.Origin != "" {
		add(`origin = $%d`, f.Origin)
	}
	if f.Address != "" {
		add(`address_key = $%d`, f.Address.Key())
	}
	if !f.From.IsZero() {
		add(`created_at >= $%d`, timeToDB(f.From))
	}
	if !f.Before.IsZero() {
		add(`created_at < $%d`, timeToDB(f.Before))
	}
	args = append(args, int64(n))
	list, err := collect(tx, ctx, func(row scanner) (*pennypost.Suppression, error) {
		s := &pennypost.Suppression{ServerID: f.Server, Stream: f.Stream}
		return s, row.Scan(&s.Address, &s.Reason, &s.Origin, intoTime(&s.At))
	}, fmt.Sprintf(`SELECT address_key, reason, origin, created_at FROM suppressions%s ORDER BY address_key LIMIT $%d`,
		where, len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("list suppressions: %w", err)
	}
	return list, nil
}

// suppressAtOnce are stored with one statement.
const suppressAtOnce = 250

// SuppressAll puts addresses on the list of one stream, each with its time, and
// tells how many were not there; entries that are there stay as they are.
func (tx *Tx) SuppressAll(ctx context.Context, list []pennypost.Suppression) (int, error) {
	// In one order, so that two transactions never wait for each other.
	list = slices.SortedFunc(slices.Values(list), func(a, b pennypost.Suppression) int {
		return strings.Compare(a.Address.Key(), b.Address.Key())
	})
	added := 0
	args := make([]any, 0, 6*min(len(list), suppressAtOnce))
	err := inGroups(list, suppressAtOnce, func(group []pennypost.Suppression) error {
		args = args[:0]
		for i := range group {
			s := &group[i]
			at := s.At
			if at.IsZero() {
				at = tx.Now()
			}
			args = append(args, int64(s.ServerID), string(s.Stream), s.Address.Key(), s.Reason, s.Origin, timeToDB(at))
		}
		n, err := tx.exec(ctx, insertMany(`INSERT INTO suppressions (server_id, stream, address_key, reason, origin, created_at)
			VALUES `, 6, len(group))+` ON CONFLICT (server_id, stream, address_key) DO NOTHING`, args...)
		added += int(n)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("suppress addresses: %w", err)
	}
	return added, nil
}

// Reactivate makes the bounces of an address active again, and gives the
// latest, or ErrNotFound when none was inactive.
func (tx *Tx) Reactivate(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, addr pennypost.Address) (*pennypost.Bounce, error) {
	var id int64
	err := tx.row(ctx, `SELECT id FROM bounces WHERE server_id = $1 AND stream = $2 AND recipient_key = $3 AND inactive = 1
		ORDER BY id DESC LIMIT 1`, int64(server), string(stream), addr.Key()).Scan(&id)
	if errors.Is(err, ErrNotFound) {
		return nil, err
	}
	if err == nil {
		_, err = tx.exec(ctx, `UPDATE bounces SET inactive = 0 WHERE server_id = $1 AND stream = $2 AND recipient_key = $3 AND inactive = 1`,
			int64(server), string(stream), addr.Key())
	}
	if err != nil {
		return nil, fmt.Errorf("reactivate bounces: %w", err)
	}
	return tx.Bounce(ctx, server, id)
}
