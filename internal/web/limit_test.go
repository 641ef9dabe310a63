package web

import (
	"net/http"
	"testing"
	"time"
)

func TestNoLimiter(t *testing.T) {
	for _, l := range []*Limiter{nil, NewLimiter(0, time.Second, time.Now), NewLimiter(-1, time.Second, time.Now)} {
		h := http.Header{}
		if !l.Allow(h, 1) || len(h) != 0 {
			t.Errorf("%v refuses, or says %v", l, h)
		}
	}
}

// Over a long time the rate holds, however the calls come.
func TestLimiterHoldsItsRate(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l := NewLimiter(5, 10*time.Second, func() time.Time { return now })
	taken := 0
	for range 1000 { // 100 s, ten calls a second
		now = now.Add(100 * time.Millisecond)
		if l.Allow(http.Header{}, 7) {
			taken++
		}
	}
	if taken < 545 || taken > 551 {
		t.Errorf("%d calls in 100 s, want 500 and the 50 of the beginning", taken)
	}
	now = now.Add(time.Hour)
	h := http.Header{}
	if !l.Allow(h, 7) || h.Get("RateLimit") != `"token";r=49;t=1` || h.Get("RateLimit-Policy") != `"token";q=50;w=10` {
		t.Errorf("after an hour: %v", h)
	}
	now = now.Add(-2 * time.Hour) // a clock that steps back shuts nobody out for long
	for range 50 {
		l.Allow(http.Header{}, 8)
	}
	if l.Allow(http.Header{}, 8) {
		t.Error("more than the span at once")
	}
}

// The memory is bounded whoever calls, and who is over the rate stays so as long
// as there is room.
func TestLimiterIsBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l := NewLimiter(1, time.Second, func() time.Time { return now })
	for n := range int64(3 * maxCallers) {
		if n%maxCallers == 0 {
			now = now.Add(time.Minute)
		}
		l.Allow(http.Header{}, n)
	}
	if n := len(l.full); n > maxCallers {
		t.Errorf("%d callers are kept", n)
	}
	now = now.Add(time.Minute)
	for n := range int64(maxCallers + 10) {
		l.Allow(http.Header{}, -n-1)
	}
	if n := len(l.full); n > maxCallers {
		t.Errorf("%d callers are kept of those at once", n)
	}
}

// A call costs no more than the text of its header fields.
func TestLimiterIsCheap(t *testing.T) {
	l := NewLimiter(1_000_000, 10*time.Second, time.Now)
	h := http.Header{}
	l.Allow(h, 1)
	if n := testing.AllocsPerRun(100, func() { l.Allow(h, 1) }); n > 2 {
		t.Errorf("%v allocations a call, want at most those of one header field", n)
	}
}
