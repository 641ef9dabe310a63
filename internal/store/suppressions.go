package store

import (
	"context"
	"fmt"
	"strings"

	"pennypost"
)

// Suppressed gives those of the addresses, at most some hundred, that a stream
// does not send to, in the order given (contract/bounces.md §13).
func (tx *Tx) Suppressed(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, addrs []pennypost.Address) ([]pennypost.Address, error) {
	if len(addrs) == 0 {
		return nil, nil
	}
	var list strings.Builder
	args := make([]any, 0, len(addrs)+2)
	args = append(args, int64(server), string(stream))
	for i, a := range addrs {
		fmt.Fprintf(&list, ", $%d", i+3)
		args = append(args, a.Key())
	}
	found, err := collect(tx, ctx, func(row scanner) (*string, error) {
		var key string
		return &key, row.Scan(&key)
	}, `SELECT address_key FROM suppressions WHERE server_id = $1 AND stream = $2 AND address_key IN (`+list.String()[2:]+`)`, args...)
	if err != nil {
		return nil, fmt.Errorf("look up suppressions: %w", err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	is := make(map[string]bool, len(found))
	for _, k := range found {
		is[k] = true
	}
	var out []pennypost.Address
	for _, a := range addrs {
		if is[a.Key()] {
			out = append(out, a)
		}
	}
	return out, nil
}

// Suppress puts an address on a stream's list and tells whether it was not
// there; an entry that is there stays as it is.
func (tx *Tx) Suppress(ctx context.Context, s pennypost.Suppression) (bool, error) {
	n, err := tx.exec(ctx, `INSERT INTO suppressions (server_id, stream, address_key, reason, origin, created_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (server_id, stream, address_key) DO NOTHING`,
		int64(s.ServerID), string(s.Stream), s.Address.Key(), s.Reason, s.Origin, timeToDB(tx.Now()))
	if err != nil {
		return false, fmt.Errorf("suppress address: %w", err)
	}
	return n > 0, nil
}

// Suppression gives the entry of an address, or ErrNotFound.
func (tx *Tx) Suppression(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, addr pennypost.Address) (*pennypost.Suppression, error) {
	s := &pennypost.Suppression{ServerID: server, Stream: stream}
	err := tx.row(ctx, `SELECT address_key, reason, origin, created_at FROM suppressions
		WHERE server_id = $1 AND stream = $2 AND address_key = $3`, int64(server), string(stream), addr.Key()).
		Scan(&s.Address, &s.Reason, &s.Origin, intoTime(&s.At))
	if err != nil {
		return nil, fmt.Errorf("suppression: %w", err)
	}
	return s, nil
}

// Unsuppress takes an address off a stream's list and tells whether it was
// there.
func (tx *Tx) Unsuppress(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, addr pennypost.Address) (bool, error) {
	n, err := tx.exec(ctx, `DELETE FROM suppressions WHERE server_id = $1 AND stream = $2 AND address_key = $3`,
		int64(server), string(stream), addr.Key())
	if err != nil {
		return false, fmt.Errorf("take suppression off: %w", err)
	}
	return n > 0, nil
}
