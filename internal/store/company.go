package store

import (
	"sync"
	"time"
)

// The waits of a batch that is not complete yet. Both are short beside what a
// client notices, and long beside a sync of a good disk.
const (
	// companyWait is how long a batch in which somebody waits stays open for
	// updates that are expected, counted from its first.
	companyWait = 5 * time.Millisecond
	// companyOf is how many must be on their way or in the batch for a wait. A
	// lightly loaded service has fewer, which would only be slowed.
	companyOf = 12
	// soonWait is how long updates of UpdateSoon wait for others.
	soonWait = 5 * time.Millisecond
	// soonMost is how many of them do not wait any longer.
	soonMost = 48
)

// companyWindow is how long an update is expected: whoever takes longer, such
// as a client on a slow line, makes nobody wait.
const companyWindow = 16 * time.Millisecond

// company counts the updates that are on their way, as PostgreSQL's
// commit_siblings does: who announced one within the last window or two and
// has not brought it yet.
type company struct {
	mu    sync.Mutex
	now   int64  // number of the current window
	count [2]int // of the windows with even and with odd numbers
}

// Expected is an update that was announced. The zero value is none.
type Expected struct{ window int64 }

// Expect announces an update that is likely to come within milliseconds: a
// message is being received. A batch may wait a little for it, so that they
// share a sync. Met ends it, just before the update or when there will be none.
func (s *Store) Expect() Expected {
	if s.lite == nil {
		return Expected{}
	}
	c := &s.lite.commits.company
	now := s.now().UnixNano()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roll(now)
	c.count[c.now&1]++
	return Expected{c.now}
}

// Met ends an expectation. It may be called again, which does nothing.
func (s *Store) Met(e *Expected) {
	if e.window == 0 {
		return
	}
	c := &s.lite.commits.company
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.window == c.now || e.window == c.now-1 {
		c.count[e.window&1]--
	}
	*e = Expected{}
}

// coming is how many updates are expected.
func (c *company) coming(now time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roll(now.UnixNano())
	return c.count[0] + c.count[1]
}

// roll begins the window of a time, and forgets those before the last one. A
// clock that was set back forgets all.
func (c *company) roll(now int64) {
	n := now / int64(companyWindow)
	switch n - c.now {
	case 0:
		return
	case 1:
		c.count[n&1] = 0
	default:
		c.count = [2]int{}
	}
	c.now = n
}
