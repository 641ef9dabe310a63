package measure

import (
	"fmt"
	"math"
	"slices"
)

// Spread is the median of some figures with the lowest and the highest.
type Spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	N      int     `json:"n"`
}

// spread leaves out what is not known (NaN).
func spread(values []float64) Spread {
	v := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(v) == 0 {
		return Spread{}
	}
	slices.Sort(v)
	mid := v[len(v)/2]
	if len(v)%2 == 0 {
		mid = (v[len(v)/2-1] + v[len(v)/2]) / 2
	}
	return Spread{Median: mid, Low: v[0], High: v[len(v)-1], N: len(v)}
}

// known tells whether there was anything to take the median of.
func (s Spread) known() bool { return s.N > 0 }

// text prints the median, and the range when there is one to see.
func (s Spread) text() string {
	switch {
	case !s.known():
		return ""
	case s.N == 1:
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s-%s)", number(s.Median), number(s.Low), number(s.High))
}

// number prints three digits that count.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return ""
	case a >= 100:
		return thousands(v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// thousands sets commas, as in 12,345.
func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// ratios divides what two had in the same round.
func ratios(ours, theirs []Sample, of func(Sample) float64) []float64 {
	by := make(map[int]float64, len(theirs))
	for _, s := range theirs {
		by[s.Round] = of(s)
	}
	var out []float64
	for _, s := range ours {
		if d, ok := by[s.Round]; ok && d > 0 {
			out = append(out, of(s)/d)
		}
	}
	return out
}

func figures(samples []Sample, of func(Sample) float64) []float64 {
	out := make([]float64, len(samples))
	for i, s := range samples {
		out[i] = of(s)
	}
	return out
}
