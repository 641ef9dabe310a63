package measure

import "fmt"

// Goal is one figure that Pennypost is to reach.
type Goal struct {
	Text string `json:"text"`
	Gate bool   `json:"gate"` // of shared performance.md §6: it must be measured
	Want string `json:"want"`
	Got  string `json:"got"`
	// Measured is false when the run had no figure for it.
	Measured bool `json:"measured"`
	Met      bool `json:"met"`
}

// failed tells whether a gate stops at the goal.
func (g Goal) failed() bool { return g.Measured && !g.Met || !g.Measured && g.Gate }

// Missed gives the goals that a gate stops at.
func (r *Result) Missed() []Goal {
	var list []Goal
	for _, g := range r.Goals {
		if g.failed() {
			list = append(list, g)
		}
	}
	return list
}

// sheet collects goals.
type sheet struct{ list []Goal }

func (s *sheet) atLeast(gate bool, text string, want float64, unit string, got Spread) {
	s.add(gate, text, "≥ "+number(want)+unit, got.text()+unit, got.known(), got.Median >= want)
}

func (s *sheet) atMost(gate bool, text string, want float64, unit string, got Spread) {
	s.add(gate, text, "≤ "+number(want)+unit, got.text()+unit, got.known(), got.Median <= want)
}

func (s *sheet) add(gate bool, text, want, got string, measured, met bool) {
	if !measured {
		got = "not measured"
	}
	s.list = append(s.list, Goal{Text: text, Gate: gate, Want: want, Got: got, Measured: measured, Met: measured && met})
}

// goals holds a result against shared performance.md §5 and §6 and the issue
// that asks for speed.
func goals(r *Result) []Goal {
	s := &sheet{}
	s.ofRates(r)
	s.ofLatency(r)
	s.ofMemory(r)
	s.ofBacklog(r)
	return s.list
}

func (s *sheet) ofRates(r *Result) {
	ours, theirs := r.row(keySigned, pennypost, signed), r.row(keySigned, postfixMTA, signed)
	times := 6.0
	signer := "libcrypto"
	if !r.Libcrypto {
		times, signer = 3, "crypto/rsa"
	}
	s.atLeast(true, "end to end, 4 KiB, signed ("+signer+"), against Postfix + OpenDKIM", times, " ×", spread(ratios(ours, theirs, endToEnd)))
	s.atLeast(true, "accepted over SMTP, unsigned on both sides, against Postfix", 5, " ×",
		spread(ratios(r.row(keyAccept, pennypost, nowhere), r.row(keyAccept, postfixMTA, nowhere), rate)))
	s.atMost(true, "CPU per signed message, against Postfix + OpenDKIM", .16, " ×", spread(ratios(ours, theirs, cpu)))
	s.atLeast(false, "accepted over SMTP, 1 message per connection, against Postfix", 3, " ×",
		spread(ratios(r.row(keySingle, pennypost, nowhere), r.row(keySingle, postfixMTA, nowhere), rate)))
	s.atMost(false, "CPU-s per 1,000 delivered, signed messages", .8, "", spread(figures(ours, cpu)))
	var fill []float64
	for _, b := range r.Backlog {
		if b.Server == pennypost && b.Kind == dead && b.Domains == 1 && b.Filled > 0 {
			fill = append(fill, b.FillCPU)
		}
	}
	s.atMost(false, "CPU-s per 1,000 accepted by POST /email/batch (for a dead destination)", .25, "", spread(fill))
	s.atMost(false, "device flushes per message, 20 connections", .1, "", spread(figures(ours, flushes)))
}

func (s *sheet) ofLatency(r *Result) {
	half := r.row(keyHalf, pennypost, signed)
	s.atMost(false, "acceptance at half load, p50", 2, " ms", spread(figures(half, p50)))
	s.atMost(false, "acceptance at half load, p99", 10, " ms", spread(figures(half, p99)))
	s.atMost(false, "acceptance at half load while it delivers at full speed, p99", 50, " ms", spread(figures(r.row(keyBusy, pennypost, signed), p99)))
}

func (s *sheet) ofMemory(r *Result) {
	var rest []float64
	for _, m := range r.Memory {
		if m.Server == pennypost {
			rest = append(rest, m.FreshMB)
		}
	}
	s.atMost(false, "memory at rest", 60, " MB", spread(rest))
	if r.Soak != nil {
		growth, ok := r.Soak.growth()
		s.add(false, fmt.Sprintf("memory over a soak of %.0f minutes, last third against the one before", r.Soak.Minutes), "≤ +5 %",
			fmt.Sprintf("%+.1f %%", growth*100), ok, growth <= .05)
	}
}

// slack is how much a backlog may cost fresh mail.
const slack = .1

func (s *sheet) ofBacklog(r *Result) {
	some := false
	for _, b := range r.Backlog {
		if b.Server != pennypost {
			continue
		}
		some = true
		name := fmt.Sprintf("backlog of %s over %s %s: ", thousands(float64(b.Messages)), count(b.Domains, "domain"), b.Kind)
		s.atLeast(true, name+"end to end, share of the rate without", 1-slack, "", b.share(endToEnd, false))
		s.atMost(false, name+"acceptance p50 at half load, against without", 1+slack, " ×", b.share(p50, true))
		s.atMost(false, name+"arrival p50 at half load, against without", 1+slack, " ×", b.share(arrive50, true))
		s.atMost(false, name+"memory", 512, " MB", one(b.PeakMB))
		s.atMost(false, name+"start until ready", 5, " s", one(b.ReadyS))
	}
	if !some {
		s.add(true, "backlog: end to end, share of the rate without", "≥ 0.9", "", false, false)
	}
}

// one is a figure that was measured once; 0 means that it was not.
func one(v float64) Spread {
	if v == 0 {
		return Spread{}
	}
	return spread([]float64{v})
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return thousands(float64(n)) + " " + what + "s"
}
