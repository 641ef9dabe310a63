package api

import (
	"testing"
	"time"
)

func TestTimeText(t *testing.T) {
	tests := []struct {
		name string
		t    time.Time
		want string
	}{
		{"seven digits", time.Date(2026, 7, 4, 11, 5, 57, 95116800, time.UTC), "2026-07-04T11:05:57.0951168Z"},
		{"digits beyond seven are cut", time.Date(2026, 7, 4, 11, 5, 57, 999999999, time.UTC), "2026-07-04T11:05:57.9999999Z"},
		{"trailing zeros are left out", time.Date(2026, 7, 4, 11, 5, 57, 90000000, time.UTC), "2026-07-04T11:05:57.09Z"},
		{"no fraction", time.Date(2026, 7, 4, 11, 5, 57, 0, time.UTC), "2026-07-04T11:05:57Z"},
		{"another zone becomes UTC", time.Date(2026, 7, 4, 11, 5, 57, 0, time.FixedZone("", -4*3600)), "2026-07-04T15:05:57Z"},
		{"no time", time.Time{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := timeText(tt.t); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	if got := timeOrNull(time.Time{}); got != nil {
		t.Errorf("timeOrNull of no time = %q, want nil", *got)
	}
}

func TestParseQueryTime(t *testing.T) {
	eastern, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	utc := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	tests := []struct{ in, start, end string }{
		{"2026-01-05", "2026-01-05T05:00:00Z", "2026-01-06T05:00:00Z"},
		{"2026-7-4", "2026-07-04T04:00:00Z", "2026-07-05T04:00:00Z"},
		{"2026-03-08", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"}, // a day of 23 hours
		{"2026-01-01T12:00:00", "2026-01-01T17:00:00Z", "2026-01-01T17:00:01Z"},
		{"2026-01-01T12:00", "2026-01-01T17:00:00Z", "2026-01-01T17:01:00Z"},
		{"2026-01-01 12:00:00", "2026-01-01T17:00:00Z", "2026-01-01T17:00:01Z"},
		{"2026-01-01T12:00:00Z", "2026-01-01T12:00:00Z", "2026-01-01T12:00:01Z"},
		{"2026-01-01T12:00:00+02:00", "2026-01-01T10:00:00Z", "2026-01-01T10:00:01Z"},
		{"2026-01-01T12:00:00.5Z", "2026-01-01T12:00:00.5Z", "2026-01-01T12:00:00.500001Z"},
		{" 2026-01-05 ", "2026-01-05T05:00:00Z", "2026-01-06T05:00:00Z"},
	}
	for _, tt := range tests {
		start, end, ok := parseQueryTime(tt.in, eastern)
		if !ok || !start.Equal(utc(tt.start)) || !end.Equal(utc(tt.end)) {
			t.Errorf("%q: got %v – %v, %v; want %s – %s", tt.in, start.UTC(), end.UTC(), ok, tt.start, tt.end)
		}
	}
	for _, in := range []string{"", "yesterday", "2026-13-01", "2026-02-30", "05/01/2026", "20260105", "2026-01-05T25:00:00", "0001-01-01", "2026-01-05T10:00:00.123456789123456789123456789Z"} {
		if _, _, ok := parseQueryTime(in, eastern); ok {
			t.Errorf("%q was taken for a time", in)
		}
	}
}
