package deliver

import (
	"context"
	"sync"
	"time"

	"pennypost/internal/mx"
)

// How long all deliveries that need a new connection rest when this machine has
// no descriptor, port or memory left for one.
const (
	starveFirst = time.Second
	starveMost  = 10 * time.Second
)

// starvation is our own want of sockets. It says nothing about any mail server,
// so that it is no attempt: jobs are put back for as long as the pause lasts.
type starvation struct {
	mu    sync.Mutex
	pause time.Duration
	until time.Time
}

// begin begins a pause, twice as long as the one before, unless there is one; it
// gives its length and whether it is new.
func (s *starvation) begin(now time.Time) (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.until) {
		return s.pause, false
	}
	s.pause = min(max(2*s.pause, starveFirst), starveMost)
	s.until = now.Add(s.pause)
	return s.pause, true
}

// left is how much of a pause is left.
func (s *starvation) left(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.until.Sub(now)
}

// over tells that a connection was made.
func (s *starvation) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause, s.until = 0, time.Time{}
}

// starving puts a letter back during a pause, untried, unless its connection is
// there, and tells whether it did.
func (d *Deliverer) starving(ctx context.Context, l *line, k *letter) bool {
	if l.client != nil {
		return false
	}
	left := d.starved.left(d.c.Now())
	if left <= 0 {
		return false
	}
	d.spread(ctx, k, left)
	return true
}

// starve handles an attempt that had no socket, and tells whether it was one.
func (d *Deliverer) starve(ctx context.Context, k *letter, t *talk) bool {
	if !mx.Starved(t.err) {
		return false
	}
	pause, fresh := d.starved.begin(d.c.Now())
	if fresh {
		d.met.starved.Add(1)
		d.c.Log.WarnContext(ctx, "no connections can be made for now: this machine has no sockets left", "pause", pause, "err", t.err)
	}
	d.spread(ctx, k, pause)
	return true
}

// spread puts a letter back for so long, and up to half as long again, so that
// not all come at once.
func (d *Deliverer) spread(ctx context.Context, k *letter, wait time.Duration) {
	d.later(ctx, k.task, wait+time.Duration(d.c.Rand()*float64(wait/2)))
}
