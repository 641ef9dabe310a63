package measure

import (
	"math"
	"strconv"
	"time"

	"bench/internal/limits"
)

// Result is all that one run found.
type Result struct {
	Start   time.Time `json:"start"`
	TookS   float64   `json:"took_s"`
	Mode    string    `json:"mode"`
	Rounds  int       `json:"rounds"`
	EachS   float64   `json:"each_s"`
	Machine Machine   `json:"machine"`

	Ours      string          `json:"ours"`              // version, engine, what signs
	Libcrypto bool            `json:"libcrypto"`         // our RSA signatures come from it
	Peers     []string        `json:"peers"`             // versions of what was measured beside
	Missing   []string        `json:"missing,omitempty"` // what could not be, and why
	Limits    *limits.Report  `json:"limits,omitempty"`
	Groups    []GroupResult   `json:"groups"`
	Memory    []Rest          `json:"memory_at_rest"`
	Backlog   []BacklogResult `json:"backlog,omitempty"`
	Soak      *Soak           `json:"soak,omitempty"`
	// IdleFlushes is what the device did per second while nobody was loaded:
	// what others on the machine add to the flushes.
	IdleFlushes float64 `json:"idle_flushes_per_s"`
	// Problems are what went wrong; figures of such runs are left out.
	Problems []string `json:"problems,omitempty"`
	Goals    []Goal   `json:"goals"`
}

// GroupResult has the figures of one kind of load.
type GroupResult struct {
	Key   string `json:"key"`
	Title string `json:"title"`
	Rows  []Row  `json:"rows"`
}

// Row is one server under one kind of load.
type Row struct {
	Server  string   `json:"server"`
	Way     way      `json:"way"`
	Samples []Sample `json:"samples"`
}

// Sample is one round of a row. What was not measured is NaN, null in JSON.
type Sample struct {
	Round     int     `json:"round"`
	Accepted  int64   `json:"accepted"`
	Rate      float64 `json:"accepted_per_s"`
	EndToEnd  figure  `json:"end_to_end_per_s"`
	P50       float64 `json:"accept_p50_ms"`
	P99       float64 `json:"accept_p99_ms"`
	Arrive50  figure  `json:"arrive_p50_ms"` // from the moment it was due until the sink had it
	Arrive99  figure  `json:"arrive_p99_ms"`
	CPU       figure  `json:"cpu_s_per_1000"`
	WriteKiB  figure  `json:"written_kib_each"` // by the processes
	DiskKiB   figure  `json:"disk_kib_each"`    // by the device, with all that others write
	Flushes   figure  `json:"flushes_each"`
	Commits   figure  `json:"commits_each"` // of Pennypost's database
	PeakMB    float64 `json:"peak_mb"`
	PerConn   figure  `json:"deliveries_per_connection"`
	Signed    int64   `json:"dkim_signed"`
	Offered   float64 `json:"offered_per_s,omitempty"` // open loop
	Meanwhile figure  `json:"delivered_meanwhile_per_s"`
}

// figure is a number that may be unknown.
type figure float64

var unknown = figure(math.NaN())

// MarshalJSON writes null for what is not known.
func (f figure) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(f)) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(f), 'g', 6, 64), nil
}

// Rest is the memory of a server that does nothing.
type Rest struct {
	Server     string  `json:"server"`
	FreshMB    float64 `json:"fresh_mb"`     // after the start
	FreshRSSMB float64 `json:"fresh_rss_mb"` // with the pages of its files
	AfterMB    float64 `json:"after_mb"`     // after all rounds
}

// row finds the samples of a server in a group.
func (r *Result) row(key, server string, w way) []Sample {
	for _, g := range r.Groups {
		if g.Key != key {
			continue
		}
		for _, row := range g.Rows {
			if row.Server == server && row.Way == w {
				return row.Samples
			}
		}
	}
	return nil
}

func rate(s Sample) float64     { return s.Rate }
func endToEnd(s Sample) float64 { return float64(s.EndToEnd) }
func cpu(s Sample) float64      { return float64(s.CPU) }
func p50(s Sample) float64      { return s.P50 }
func p99(s Sample) float64      { return s.P99 }
func arrive50(s Sample) float64 { return float64(s.Arrive50) }
func arrive99(s Sample) float64 { return float64(s.Arrive99) }
func flushes(s Sample) float64  { return float64(s.Flushes) }
func peak(s Sample) float64     { return s.PeakMB }
