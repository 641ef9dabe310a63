package mx

import (
	"time"

	"github.com/miekg/dns"
)

// How long answers are kept. The bounds are ours (catalogue D-014), so is that
// for records that people wait for; RFC 9520 §3.2 wants failures kept as well,
// for longer when they repeat.
const (
	minTTL     = 5 * time.Second
	maxTTL     = time.Hour
	watchedTTL = time.Minute // TXT, CNAME
	maxFailure = 5 * time.Minute
	maxStale   = time.Hour
	staleTTL   = 30 * time.Second // RFC 8767 §4
)

// entry is what is known about a question.
type entry struct {
	ans   *answer   // nil: never answered
	until time.Time // when the answer is to be asked for again
	// The latest failure, since the answer; how many there were.
	failure     *Error
	failedUntil time.Time
	failures    int
}

// cached gives what is known, if it is still good: an answer, or an error.
// r.mu is held.
func (r *Resolver) cached(q question, now time.Time) (*answer, error) {
	e, ok := r.cache.get(q)
	if !ok {
		return nil, nil //nolint:nilnil // nothing is known
	}
	if e.ans != nil && now.Before(e.until) {
		return e.ans.result()
	}
	if e.failure != nil && now.Before(e.failedUntil) {
		return e.stale(q, now)
	}
	return nil, nil //nolint:nilnil // what is known is too old
}

func (a *answer) result() (*answer, error) {
	if a.absent != nil {
		return nil, a.absent
	}
	return a, nil
}

// stale gives an answer that is too old but better than none (RFC 8767), or
// the failure. That there was nothing is not repeated: mail would bounce.
func (e *entry) stale(q question, now time.Time) (*answer, error) {
	usable := e.ans != nil && e.ans.absent == nil && now.Before(e.until.Add(maxStale)) && !watched(q)
	if usable {
		return e.ans, nil
	}
	return nil, e.failure
}

// watched tells whether somebody may be waiting for a record to change.
func watched(q question) bool { return q.qtype == dns.TypeTXT || q.qtype == dns.TypeCNAME }

// keep remembers an answer. r.mu is held.
func (r *Resolver) keep(q question, a *answer, now time.Time) (*answer, error) {
	ttl := min(max(time.Duration(a.ttl)*time.Second, minTTL), maxTTL)
	if watched(q) {
		if ttl = min(ttl, watchedTTL); a.absent != nil {
			ttl = minTTL
		}
	}
	r.cache.put(q, &entry{ans: a, until: now.Add(ttl)}, a.size)
	return a.result()
}

// keepFailure remembers that there was no answer, beside the last one. r.mu is
// held.
func (r *Resolver) keepFailure(q question, failure *Error, now time.Time) (*answer, error) {
	old, ok := r.cache.get(q)
	e := &entry{failure: failure, failures: 1}
	size := entrySize + 2*len(q.name)
	if ok {
		e.ans, e.until, e.failures = old.ans, old.until, old.failures+1
	}
	if e.ans != nil {
		size = e.ans.size
	}
	wait := minTTL << min(e.failures-1, 10)
	e.failedUntil = now.Add(min(wait, maxFailure))
	r.cache.put(q, e, size)
	return e.stale(q, now)
}

// fresh tells until when an answer that was just given may be relied upon.
func (r *Resolver) fresh(name string, qtype uint16) time.Time {
	q, now := question{normal(name), qtype}, r.conf.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.cache.get(q)
	switch {
	case !ok:
		return now.Add(minTTL)
	case now.Before(e.until):
		return e.until
	}
	return now.Add(staleTTL)
}
