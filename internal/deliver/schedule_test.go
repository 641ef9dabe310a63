package deliver

import (
	"testing"
	"time"

	"pennypost/internal/bounce"
)

func TestBackoff(t *testing.T) {
	m, h := time.Minute, time.Hour
	want := []time.Duration{m, 3 * m, 7 * m, 15 * m, 30 * m, h, 2 * h, 4 * h, 8 * h, 8 * h, 8 * h}
	for i, w := range want {
		n := i + 1
		if got := Backoff(n, .5); got != w {
			t.Errorf("after attempt %d: %v, want %v", n, got, w)
		}
		if got := Backoff(n, 0); got != w-w/10 {
			t.Errorf("after attempt %d: at least %v, want %v", n, got, w-w/10)
		}
		if got := Backoff(n, .999999); got <= w || got > w+w/10 {
			t.Errorf("after attempt %d: at most %v, want below %v", n, got, w+w/10)
		}
	}
}

func TestWait(t *testing.T) {
	tests := []struct {
		name      string
		n         int
		v         bounce.Verdict
		ambiguous bool
		want      time.Duration
	}{
		{"schedule", 2, bounce.Verdict{}, false, 3 * time.Minute},
		{"a hint is taken literally", 3, bounce.Verdict{Hint: 90 * time.Second}, false, 92 * time.Second},
		{"a short one not for ever", 4, bounce.Verdict{Hint: 90 * time.Second}, false, 15 * time.Minute},
		{"a long one is", 4, bounce.Verdict{Hint: 20 * time.Minute}, false, 20*time.Minute + 2*time.Second},
		{"a long hint too", 1, bounce.Verdict{Hint: 6 * time.Hour}, false, 6*time.Hour + 2*time.Second},
		{"greylisting without a time", 1, bounce.Verdict{Greylist: true}, false, 5*time.Minute + 30*time.Second},
		{"greylisting with one", 1, bounce.Verdict{Greylist: true, Hint: time.Minute}, false, 62 * time.Second},
		{"greylisting again", 4, bounce.Verdict{Greylist: true}, false, 15 * time.Minute},
		{"ambiguous", 1, bounce.Verdict{}, true, 15*time.Minute + 30*time.Second},
		{"ambiguous later", 5, bounce.Verdict{}, true, 30 * time.Minute},
	}
	for _, tt := range tests {
		if got := wait(tt.n, tt.v, tt.ambiguous, .5); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestNext(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name      string
		wait, end time.Duration
		want      time.Duration
		ok        bool
	}{
		{"well before the end", time.Hour, 72 * time.Hour, time.Hour, true},
		{"once more before the end", 8 * time.Hour, 3 * time.Hour, 3*time.Hour - 10*time.Second, true},
		{"that was the last", 8 * time.Hour, 10 * time.Second, 0, false},
		{"over", time.Minute, -time.Second, 0, false},
	}
	for _, tt := range tests {
		at, ok := next(now, now.Add(tt.end), tt.wait)
		if ok != tt.ok || ok && at.Sub(now) != tt.want {
			t.Errorf("%s: %v, %v; want %v, %v", tt.name, at.Sub(now), ok, tt.want, tt.ok)
		}
	}
}
