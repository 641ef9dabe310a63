package deliver

import (
	"context"
	"errors"
	"sync"
	"time"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/store"
)

// defaultLifetime is how long delivery is tried when the stream says nothing.
const defaultLifetime = 72 * time.Hour

const (
	// ambiguousWait gives the other side time to be done with a message whose
	// final dot it did not answer (catalogue O-016).
	ambiguousWait = 15 * time.Minute
	// greylistWait is for greylisting that does not say how long.
	greylistWait = 5 * time.Minute
	// lastTry is how long before its end a message is tried once more.
	lastTry = 10 * time.Second
	// hintSlack makes sure that we come after the time that we were told, not
	// at it.
	hintSlack = 2 * time.Second
)

// Backoff is how long to wait after the n-th attempt, from 1: 1, 3, 7, 15, 30,
// 60 minutes, then 2, 4 and 8 hours, give or take a tenth by jitter in [0, 1).
func Backoff(n int, jitter float64) time.Duration {
	d := 8 * time.Hour
	switch {
	case n <= 1:
		d = time.Minute
	case n == 2:
		d = 3 * time.Minute
	case n == 3:
		d = 7 * time.Minute
	case n == 4:
		d = 15 * time.Minute
	case n == 5:
		d = 30 * time.Minute
	case n <= 8:
		d = time.Hour << (n - 6)
	}
	return d + time.Duration((jitter-.5)/5*float64(d))
}

// shortHints is for how many attempts a server's hint may be shorter than the
// schedule. One that always says "in a minute" for three days is not believed.
const shortHints = 3

// wait is how long to wait after an attempt that was deferred. What the server
// asks for is taken literally.
func wait(n int, v bounce.Verdict, ambiguous bool, jitter float64) time.Duration {
	d := Backoff(n, jitter)
	switch {
	case v.Hint > 0 && (n <= shortHints || v.Hint > d):
		d = v.Hint + hintSlack
	case v.Greylist:
		d = max(d, greylistWait+time.Duration(jitter*float64(time.Minute)))
	}
	if ambiguous {
		d = max(d, ambiguousWait+time.Duration(jitter*float64(time.Minute)))
	}
	return d
}

// next gives the time of the next attempt, or false when the message's time
// ends before. The last one is made shortly before the end.
func next(now, end time.Time, d time.Duration) (time.Time, bool) {
	at := now.Add(d)
	if at.Before(end) {
		return at, true
	}
	if at = end.Add(-lastTry); at.Before(now.Add(lastTry)) {
		return time.Time{}, false
	}
	return at, true
}

// end is when a letter is given up: after the lifetime of its stream, without
// the time that it was held, or when its sender said.
func (d *Deliverer) end(ctx context.Context, k *letter) time.Time {
	life := d.streams.of(ctx, k.m.ServerID, k.m.Stream)
	end := k.m.Begins().Add(life + k.rcpt.HeldFor)
	if by := k.m.DeliverBy; !by.IsZero() && by.Before(end) {
		end = by
	}
	return end
}

// maxLifetimes bounds the streams that are remembered.
const (
	maxLifetimes = 10_000
	lifetimeFor  = time.Minute
)

// lifetimes remembers how long streams try.
type lifetimes struct {
	st  *store.Store
	now func() time.Time
	mu  *sync.Mutex
	all map[streamName]lifetime
}

type streamName struct {
	server pennypost.ServerID
	id     pennypost.StreamID
}

type lifetime struct {
	d     time.Duration
	until time.Time
}

func newLifetimes(st *store.Store, now func() time.Time) lifetimes {
	return lifetimes{st: st, now: now, mu: &sync.Mutex{}, all: make(map[streamName]lifetime)}
}

// of gives the lifetime of a stream's mail. When the store cannot say, it is
// the default: nothing is given up early for that.
func (l *lifetimes) of(ctx context.Context, server pennypost.ServerID, id pennypost.StreamID) time.Duration {
	name := streamName{server, id}
	l.mu.Lock()
	known, ok := l.all[name]
	l.mu.Unlock()
	if ok && l.now().Before(known.until) {
		return known.d
	}
	d := defaultLifetime
	err := l.st.View(ctx, func(tx *store.Tx) error {
		s, err := tx.Stream(ctx, server, id)
		if err == nil && s.RetryFor > 0 {
			d = s.RetryFor
		}
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		if ok {
			return known.d
		}
		return defaultLifetime
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) >= maxLifetimes {
		clear(l.all)
	}
	l.all[name] = lifetime{d: d, until: l.now().Add(lifetimeFor)}
	return d
}
