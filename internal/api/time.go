package api

import (
	"strings"
	"time"
)

// timeText writes a time as contract/common.md §7: UTC, at most seven digits of
// fraction, trailing zeros trimmed. A zero time is "".
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Truncate(100 * time.Nanosecond).Format("2006-01-02T15:04:05.9999999Z")
}

// timeOrNull is timeText for fields that are null when there is no time.
func timeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := timeText(t)
	return &s
}

// parseQueryTime reads a date or time of a query (contract/messages.md §2,
// contract/clients.md 1.6). Without a zone it is US Eastern. end is the first
// moment after what the text names, so that a day or second as an upper bound
// includes all of itself.
func parseQueryTime(s string, eastern *time.Location) (start, end time.Time, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) > 40 {
		return start, end, false
	}
	if t, err := time.ParseInLocation("2006-1-2", s, eastern); err == nil {
		return t, t.AddDate(0, 0, 1), inRange(t)
	}
	for _, layout := range []string{"2006-1-2T15:04:05", "2006-1-2 15:04:05", "2006-1-2T15:04", "2006-1-2T15:04:05Z07:00", "2006-1-2T15:04Z07:00"} {
		t, err := time.ParseInLocation(layout, s, eastern) // a fraction after the seconds is taken too
		if err != nil {
			continue
		}
		unit := time.Second
		if !strings.Contains(layout, ":05") {
			unit = time.Minute
		}
		if t.Nanosecond() != 0 {
			unit = time.Microsecond
		}
		return t, t.Add(unit), inRange(t)
	}
	return start, end, false
}

// inRange keeps times where their microseconds fit an integer.
func inRange(t time.Time) bool { return t.Year() >= 1900 && t.Year() < 10000 }

// wholeSeconds is timeText for dates that the contract shows without a fraction
// (contract/bounces.md §10).
func wholeSeconds(t time.Time) string { return timeText(t.Truncate(time.Second)) }
