package web

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Limiter bounds how often each caller calls: so many times a second on
// average, and what that makes in a span of time at once. It keeps one number
// for a caller, the time at which its whole allowance is there again (the
// generic cell rate algorithm, ITU-T I.371). Nil bounds nothing.
type Limiter struct {
	span   time.Duration
	each   time.Duration // what one call takes of the span
	most   int           // calls in a span
	policy []string
	now    func() time.Time

	mu   sync.Mutex
	full map[int64]int64 // by caller, in ns since 1970
}

// maxCallers bounds the memory. Callers past it find the others forgotten.
const maxCallers = 100_000

// NewLimiter makes one; rate is calls a second, 0 gives nil.
func NewLimiter(rate int, span time.Duration, now func() time.Time) *Limiter {
	most := rate * int(span/time.Second)
	if most <= 0 {
		return nil
	}
	return &Limiter{
		span: span, each: span / time.Duration(most), most: most, now: now, full: make(map[int64]int64),
		policy: []string{`"token";q=` + strconv.Itoa(most) + `;w=` + strconv.Itoa(int(span/time.Second))},
	}
}

// Allow counts a call and sets the header fields of
// draft-ietf-httpapi-ratelimit-headers: RateLimit-Policy, RateLimit and, when it
// is one too many, Retry-After.
func (l *Limiter) Allow(h http.Header, caller int64) bool {
	if l == nil {
		return true
	}
	left, reset, ok := l.take(caller)
	var b [32]byte
	text := append(b[:0], `"token";r=`...)
	text = strconv.AppendInt(text, int64(left), 10)
	text = append(text, ";t="...)
	text = strconv.AppendInt(text, seconds(reset), 10)
	h["Ratelimit-Policy"], h["Ratelimit"] = l.policy, []string{string(text)} // in the form of Header.Set
	if !ok {
		h.Set("Retry-After", strconv.FormatInt(max(seconds(l.each), 1), 10))
	}
	return ok
}

// take gives the calls that are left and when all of them will be there again.
func (l *Limiter) take(caller int64) (left int, reset time.Duration, ok bool) {
	now := l.now().UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	full, known := l.full[caller]
	if full < now {
		full = now
	}
	next := full + int64(l.each)
	if ok = next-now <= int64(l.span); ok {
		full = next
		if !known && len(l.full) >= maxCallers {
			l.forget(now)
		}
		l.full[caller] = full
	}
	used := time.Duration(full - now)
	return int((l.span - used) / l.each), used, ok
}

// forget drops those who have their whole allowance, which is what callers have
// that are not known; if that makes too little room it drops all.
func (l *Limiter) forget(now int64) {
	for c, full := range l.full {
		if full <= now {
			delete(l.full, c)
		}
	}
	if len(l.full) > maxCallers*3/4 {
		clear(l.full)
	}
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
