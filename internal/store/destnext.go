package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pennypost"
)

// DestNext gives when a destination is looked at next, or the zero time when
// it has no free job: later than its earliest job while it rests.
func (tx *Tx) DestNext(ctx context.Context, kind pennypost.JobKind, dest string) (time.Time, error) {
	var at time.Time
	err := tx.row(ctx, `SELECT next_at FROM dests WHERE kind = $1 AND dest = $2`, int64(kind), dest).Scan(intoTime(&at))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return at, fmt.Errorf("look for destination: %w", err)
	}
	return at, nil
}
