package measure

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bench/internal/limits"
	"bench/internal/load"
	"bench/internal/procs"
)

func TestParseBacklog(t *testing.T) {
	got, err := ParseBacklog("100000:1:dead, 500:100:sick")
	want := []BacklogSpec{{100000, 1, dead}, {500, 100, sick}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if got[1].String() != "500:100:sick" {
		t.Errorf("got %s", got[1])
	}
	for _, none := range []string{"", "none"} {
		if got, err := ParseBacklog(none); err != nil || got != nil {
			t.Errorf("%q: got %v, %v", none, got, err)
		}
	}
	for _, bad := range []string{"1", "1:1", "1:1:well", "0:1:dead", "x:1:dead", "1:x:dead", "10:20:dead", "1:0:sick", "99999999:1:dead", "1:1:dead,"} {
		if _, err := ParseBacklog(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestSpread(t *testing.T) {
	nan := math.NaN()
	for _, tt := range []struct {
		in   []float64
		want Spread
		text string
	}{
		{nil, Spread{}, ""},
		{[]float64{nan}, Spread{}, ""},
		{[]float64{3}, Spread{3, 3, 3, 1}, "3.00"},
		{[]float64{9, nan, 1}, Spread{5, 1, 9, 2}, "5.00 (1.00-9.00)"},
		{[]float64{1234, 5, 20}, Spread{20, 5, 1234, 3}, "20.0 (5.00-1,234)"},
	} {
		if got := spread(tt.in); got != tt.want || got.text() != tt.text {
			t.Errorf("%v: got %+v %q", tt.in, got, got.text())
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", .001234: "0.00123", .0999: "0.0999", .25: "0.25", 6: "6.00", 12.34: "12.3", 999.6: "1,000", 1234567.4: "1,234,567", -1234: "-1,234",
	} {
		if got := number(v); got != want {
			t.Errorf("%v: got %q, want %q", v, got, want)
		}
	}
	if got := number(math.NaN()); got != "" {
		t.Errorf("not a number: got %q", got)
	}
}

// Ratios are those of the same round, whatever the order and what is missing.
func TestRatios(t *testing.T) {
	ours := []Sample{{Round: 0, Rate: 10}, {Round: 1, Rate: 30}, {Round: 2, Rate: 50}, {Round: 3, Rate: 1}}
	theirs := []Sample{{Round: 2, Rate: 5}, {Round: 0, Rate: 5}, {Round: 3, Rate: 0}}
	if got := ratios(ours, theirs, rate); !slices.Equal(got, []float64{2, 10}) {
		t.Errorf("got %v", got)
	}
	if got := spread(ratios(ours, theirs, endToEnd)); got.known() {
		t.Errorf("what was not measured has the ratio %v", got)
	}
}

// full is a result in which everything was measured. Ours is better than the
// peer by so much.
func full(times float64) *Result {
	r := &Result{
		Start: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC), Mode: "standard", Rounds: 2, EachS: 6, Libcrypto: true, Ours: "pennypost 1",
		Peers: []string{"Postfix 3"}, Machine: Machine{CPU: "X", Cores: 2, MemoryGiB: 24},
		Memory: []Rest{{Server: pennypost, FreshMB: 20, FreshRSSMB: 40, AfterMB: 50}, {Server: postfixMTA, FreshMB: 10}},
		Limits: &limits.Report{RSA2048: map[string]float64{"1": 970, "2": 1730}},
	}
	for _, g := range groups() {
		out := g.empty()
		for i, row := range out.Rows {
			f := times
			if row.Server == postfixMTA {
				f = 1
			}
			for round := range 2 {
				s := newSample(probe{round: round})
				s.Accepted, s.Rate, s.EndToEnd, s.CPU = 1000, 300*f+float64(round), figure(300*f), figure(5/f)
				s.Flushes, s.P50, s.P99, s.PeakMB = figure(.3/f), 10/f, 80/f, 100
				if g.half {
					s.Offered = 150 * f
				}
				out.Rows[i].Samples = append(out.Rows[i].Samples, s)
			}
		}
		r.Groups = append(r.Groups, out)
	}
	same := func(e2e float64) []Sample {
		s := newSample(probe{})
		s.Rate, s.EndToEnd, s.P50, s.P99, s.Arrive50, s.Arrive99 = e2e, figure(e2e), 1, 5, 2, 6
		return []Sample{s}
	}
	r.Backlog = []BacklogResult{{
		BacklogSpec: BacklogSpec{1000000, 1, dead}, Server: pennypost, Filled: 1000000, FillRate: 5000, FillCPU: 1 / times,
		Before: same(1000), With: same(99 * times), BeforeHalf: same(500), WithHalf: same(500), PeakMB: 3000 / times, ReadyS: 20 / times, FirstS: 3, StartMB: 100,
	}}
	r.Soak = &Soak{Minutes: 30, Rate: 500, Points: []SoakPoint{{MB: 10}, {MB: 100}, {MB: 100 + 10/times}}}
	return r
}

func TestGoals(t *testing.T) {
	good := full(10)
	good.Goals = goals(good)
	for _, g := range good.Goals {
		if !g.Measured || !g.Met {
			t.Errorf("not met: %+v", g)
		}
	}
	if m := good.Missed(); len(m) != 0 {
		t.Errorf("missed: %v", m)
	}
	bad := full(1)
	bad.Goals = goals(bad)
	for _, g := range bad.Goals {
		// What both have alike: latency beside the backlog, memory at rest.
		alike := strings.Contains(g.Text, "against without") || g.Text == "memory at rest"
		if !g.Measured || g.Met != alike {
			t.Errorf("%+v", g)
		}
	}
	if len(bad.Missed()) < 10 {
		t.Errorf("missed: %v", bad.Missed())
	}
}

// With Go's own RSA half of the lead is asked for.
func TestGoalWithoutLibcrypto(t *testing.T) {
	r := full(4)
	r.Libcrypto = false
	if g := goals(r)[0]; !g.Met || g.Want != "≥ 3.00 ×" {
		t.Errorf("got %+v", g)
	}
}

// A gate does not pass because nothing was measured.
func TestNothingMeasured(t *testing.T) {
	r := &Result{}
	r.Goals = goals(r)
	var names []string
	for _, g := range r.Missed() {
		if !g.Gate || g.Measured {
			t.Errorf("%+v", g)
		}
		names = append(names, g.Text)
	}
	if len(names) != 4 {
		t.Errorf("missed: %q", names)
	}
}

func TestTables(t *testing.T) {
	r := full(10)
	r.Goals = goals(r)
	r.Missing, r.Problems = []string{"a peer"}, []string{"a thing"}
	var text, md bytes.Buffer
	if err := errors.Join(r.WriteText(&text), r.WriteMarkdown(&md)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Goals", "Throughput", "Cost", "Latency, open loop", "Fresh mail beside a backlog", "Memory at rest", "Limits of the machine",
		"Postfix + OpenDKIM", "Postfix, unsigned", "10.0 (10.0-10.0) ×", "MISSING: a peer", "PROBLEM: a thing", "1,000,000, 1 domain, dead", "Soak of 30 minutes",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
	for _, tab := range r.tables() {
		for _, row := range tab.rows {
			if len(row) != len(tab.rows[0]) {
				t.Errorf("%s: %d columns, not %d: %q", tab.title, len(row), len(tab.rows[0]), row)
			}
		}
	}
	for _, want := range []string{"### Throughput\n\n| load |", "**missing**: a peer", "**problem**: a thing", "| --- |"} {
		if !strings.Contains(md.String(), want) {
			t.Errorf("the Markdown lacks %q:\n%s", want, md.String())
		}
	}
	// What is not known is null, and nothing else keeps it from being written.
	b, err := json.Marshal(r)
	if err != nil || !bytes.Contains(b, []byte(`"arrive_p50_ms":null`)) || !bytes.Contains(b, []byte(`"end_to_end_per_s":3000`)) {
		t.Errorf("%v: %.300s", err, b)
	}
}

func TestSplice(t *testing.T) {
	for _, tt := range []struct{ old, want string }{
		{"", "T\n"},
		{"no marks\n", "T\n"},
		{"a\n" + markBegin + "no end\n", "T\n"},
		{"a\n" + markBegin + "old\n" + markEnd + "z\n", "a\n" + markBegin + "\nT\n\n" + markEnd + "z\n"},
	} {
		if got := string(splice([]byte(tt.old), []byte("T\n"))); got != tt.want {
			t.Errorf("%q: got %q", tt.old, got)
		}
	}
	file := filepath.Join(t.TempDir(), "x.md")
	if err := os.WriteFile(file, []byte("head\n"+markBegin+markEnd), 0o600); err != nil {
		t.Fatal(err)
	}
	r := full(10)
	for range 2 {
		if err := r.SaveMarkdown(file); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil || !bytes.HasPrefix(b, []byte("head\n")) || bytes.Count(b, []byte("### Cost")) != 1 {
		t.Errorf("%v: %s", err, b)
	}
}

func TestGrowth(t *testing.T) {
	for _, tt := range []struct {
		mb   []float64
		want float64
		ok   bool
	}{
		{[]float64{1, 2}, 0, false},
		{[]float64{10, 100, 110}, .1, true},
		{[]float64{1, 2, 100, 100, 100, 100}, 0, true},
	} {
		s := &Soak{}
		for _, v := range tt.mb {
			s.Points = append(s.Points, SoakPoint{MB: v})
		}
		if got, ok := s.growth(); ok != tt.ok || math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%v: got %v, %v", tt.mb, got, ok)
		}
	}
}

func TestValueOf(t *testing.T) {
	if got := valueOf("a: 1\nmodel name\t: AMD: EPYC\n", "model name", ":"); got != "AMD: EPYC" {
		t.Errorf("got %q", got)
	}
	if got := valueOf("a\n", "b", ":"); got != "" {
		t.Errorf("got %q", got)
	}
	if m := describe(t.TempDir(), procs.Disk{}); m.Cores < 1 || m.Go == "" {
		t.Errorf("got %+v", m)
	}
}

func TestWanted(t *testing.T) {
	keys := func(only string, soak time.Duration) string {
		r := &run{c: Config{Only: only, Soak: soak}}
		var list []string
		for _, g := range r.groups() {
			list = append(list, g.key)
		}
		return strings.Join(list, " ")
	}
	for only, want := range map[string]string{"1m": "1m", "half": "signed half busy", "busy": "signed busy", "backlog": "", "HTTP": "http batch"} {
		if got := keys(only, 0); got != want {
			t.Errorf("%s: got %q, want %q", only, got, want)
		}
	}
	if got := keys("soak", time.Minute); got != "signed" {
		t.Errorf("soak: got %q", got)
	}
}

// newRun has a world, and a subject that is the world's own sink: it accepts
// mail and delivers it in the same moment.
func newRun(t *testing.T) (*run, *subject) {
	t.Helper()
	w, err := newWorld(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := &run{
		world: w, dir: t.TempDir(), out: &Result{}, began: time.Now(),
		c: Config{Log: io.Discard, Each: 500 * time.Millisecond, Rounds: 2, Conns: 2, Domains: 3},
	}
	s := &subject{
		name:  pennypost,
		login: func(c *load.Config, _ way) { c.Addr = "127.0.0.1:" + w.port },
		tree:  func() procs.Tree { return procs.Tree{Roots: []int{os.Getpid()}} },
		stop:  func() error { return nil },
	}
	return r, s
}

// plain is a load that a sink understands.
func (r *run) plain(s *subject) load.Config {
	c := r.loadOn(s, unsigned)
	c.Proto, c.Total = "smtp", 200
	return c
}

func TestSample(t *testing.T) {
	r, s := newRun(t)
	got, err := r.sample(t.Context(), probe{s: s, way: unsigned, conf: r.plain(s), round: 3})
	if err != nil {
		t.Fatal(err)
	}
	if got.Round != 3 || got.Accepted != 200 || got.Rate <= 0 || got.EndToEnd <= 0 || got.PeakMB <= 0 || got.PerConn != 100 || !math.IsNaN(float64(got.Arrive50)) || got.Signed != 0 {
		t.Errorf("got %+v", got)
	}
	open := r.plain(s)
	open.Rate = 1000
	got, err = r.sample(t.Context(), probe{s: s, way: unsigned, conf: open})
	if err != nil {
		t.Fatal(err)
	}
	if got.Offered != 1000 || got.Arrive50 <= 0 || got.Arrive99 < got.Arrive50 {
		t.Errorf("got %+v", got)
	}
}

// What does not end as it should has no figures.
func TestSampleFails(t *testing.T) {
	r, s := newRun(t)
	if _, err := r.sample(t.Context(), probe{s: s, way: signed, conf: r.plain(s)}); !errors.Is(err, errIncomplete) {
		t.Errorf("unsigned mail: got %v", err)
	}
	c := r.plain(s)
	c.Addr = net.JoinHostPort("127.0.0.3", r.world.port)
	c.MaxFails = 1
	if _, err := r.sample(t.Context(), probe{s: s, way: unsigned, conf: c}); !errors.Is(err, errIncomplete) {
		t.Errorf("nobody there: got %v", err)
	}
}

func TestGroupAndProblems(t *testing.T) {
	r, s := newRun(t)
	g := group{key: keySigned, title: "x", set: func(c *load.Config) { c.Proto, c.Total = "smtp", 50 }, on: []entry{{pennypost, unsigned}, {pennypost, signed}, {postfixMTA, signed}}}
	out := g.empty()
	for round := range 2 {
		if err := r.group(t.Context(), []*subject{s}, g, &out, round); err != nil {
			t.Fatal(err)
		}
	}
	if len(out.Rows[0].Samples) != 2 || len(out.Rows[1].Samples) != 0 || len(out.Rows[2].Samples) != 0 || len(r.out.Problems) != 2 {
		t.Errorf("got %+v, problems %q", out, r.out.Problems)
	}
	half := group{title: "y", set: g.set, half: true}
	if _, err := r.one(t.Context(), s, half, unsigned, 0); !errors.Is(err, errIncomplete) {
		t.Errorf("half of an unknown rate: got %v", err)
	}
}

// The sick mail server refuses each recipient.
func TestWorld(t *testing.T) {
	r, s := newRun(t)
	c := r.plain(s)
	c.Total, c.SinkURL, c.MaxFails = 4, "", 100
	c.Addr = net.JoinHostPort("127.0.0.2", r.world.port)
	rep, err := load.Run(t.Context(), c)
	if err != nil || rep.Accepted != 0 || rep.Errors["rcpt_4xx"] != 4 || r.world.sick.Stats().Faults["rcpt:reply"] != 4 {
		t.Errorf("sick: %+v, %v", rep, err)
	}
	if err := r.world.publish("k._domainkey.shop.test", strings.Repeat("p", 450)); err != nil {
		t.Error(err)
	}
}

func TestJourneys(t *testing.T) {
	j := newJourneys()
	now := time.Now()
	j.begin("a", now)
	j.end("b", now)
	j.end("a", now.Add(3*time.Millisecond))
	j.end("a", now.Add(9*time.Millisecond))
	if s := j.took.Summary(); s.Count != 1 || s.Max != 3 {
		t.Errorf("got %+v", s)
	}
}
