package store

import (
	"context"
	"sync/atomic"
	"time"
)

type lease struct {
	until atomic.Int64
}

func (s *Store) beginSession(ctx context.Context) error { return nil }
func (s *Store) endSession() error                      { return nil }

// KeepSession runs.
func (s *Store) KeepSession(ctx context.Context) error { return nil }

// LeaseOK tells.
func (s *Store) LeaseOK() bool { return true }

// TakeDeadSessions frees.
func (tx *Tx) TakeDeadSessions(ctx context.Context, n int) (freed int, more bool, err error) {
	return 0, false, nil
}

var _ = time.Now
