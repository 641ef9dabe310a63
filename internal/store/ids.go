package store

import "sync/atomic"

const (
	idEpoch    = 1_704_067_200_000_000 // 2024-01-01 in microseconds, so that ids fit 63 bits until 2095
	idNodeBits = 12
)

// NextID gives a new id for a job or an event: microseconds, which run ahead of
// the clock in a burst, and the low bits of the session, so that no two
// processes give the same. Ids of one process grow.
func (s *Store) NextID() int64 {
	us := advance(&s.lastID, s.now().UnixMicro()-idEpoch)
	return us<<idNodeBits | s.session.Load()&(1<<idNodeBits-1)
}

// advance moves a clock to a time, or one step on when it is there already.
func advance(last *atomic.Int64, now int64) int64 {
	for {
		was := last.Load()
		next := max(now, was+1)
		if last.CompareAndSwap(was, next) {
			return next
		}
	}
}
