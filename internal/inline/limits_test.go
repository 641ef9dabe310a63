package inline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestLimits(t *testing.T) {
	rules := func(n int, f string) string {
		var s strings.Builder
		for i := range n {
			fmt.Fprintf(&s, f, i)
		}
		return s.String()
	}
	for _, e := range []struct {
		what, src string
		limits    Limits
	}{
		{"html", strings.Repeat("x", 101), Limits{HTML: 100}},
		{"html", strings.Repeat("x", 5<<20+1), Limits{}},
		{"tags", style(" ") + strings.Repeat("<i></i>", 100_000), Limits{}},
		{"css", style(strings.Repeat("p{x:1}", 10) + "</style><style>" + strings.Repeat("p{x:1}", 10)), Limits{CSS: 100}},
		{"css", style(strings.Repeat(" ", 1<<20+1)), Limits{}},
		{"selectors", style(rules(20_001, "p%d{}")), Limits{}},
		{"selectors", style("a,b,c:hover{}"), Limits{Selectors: 2}},
		{"depth", style(strings.Repeat("p:not(", 10_000) + "{x:1}"), Limits{}},
		{"elements", style("p{x:1}") + strings.Repeat("<div>", 600), Limits{}},
		{"work", style(rules(1000, "*:not(.c%d){x:1}")) + strings.Repeat("<br>", 10_000), Limits{Work: 1_000_000}},
		{"work", style("q~br{x:1}") + strings.Repeat("<br>", 10_000), Limits{Work: 1_000_000}},
		{"work", style("br:nth-last-child(2n+1){x:1}") + strings.Repeat("<br>", 10_000), Limits{}},
		{"work", style("p{"+rules(3000, "x%d:1;")+"}") + "<p>", Limits{Work: 1_000_000}},
		// End tags that look for their start tags behind many others.
		{"work", style("p{x:1}") + strings.Repeat("<i>", 30_000) + strings.Repeat("<b>", 30_000) + strings.Repeat("</i>", 30_000), Limits{}},
		{"work", style("p{x:1}") + strings.Repeat("<b>", 30_000) + strings.Repeat("</td>", 30_000), Limits{}},
		{"output", style("br{x:"+strings.Repeat("1", 10_000)+"}") + strings.Repeat("<br>", 10_000), Limits{}},
	} {
		_, err := Inline(t.Context(), []byte(e.src), Options{Limits: e.limits})
		var le *LimitError
		if !errors.As(err, &le) || le.What != e.what || !strings.Contains(le.Error(), e.what) {
			t.Errorf("%.60s…: got %v, want the limit of %s", e.src, err, e.what)
		}
	}
}

// Backtracking over combinators must not grow with their number.
func TestCombinatorsStayPolynomial(t *testing.T) {
	src := page(strings.Repeat("div ", 40)+"i b{x:1}"+strings.Repeat("div>", 40)+"i b{x:1}", strings.Repeat("<div>", 300)+"<b>")
	if _, err := Inline(t.Context(), []byte(src), Options{Limits: Limits{Work: 100_000}}); err != nil {
		t.Error(err)
	}
}

// The name that numbers the tags is found in one pass, whatever names the source
// has.
func TestNamesInSource(t *testing.T) {
	var names strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&names, "data-tag%d data-tag%08d ", i, i)
	}
	src := page("p{x:1}", "<p "+names.String()[:4<<20]+">")
	began := time.Now()
	out, err := Inline(t.Context(), []byte(src), Options{Limits: Limits{Work: 1 << 40}})
	if err != nil || !strings.Contains(string(out), `<p style="x: 1;" data-tag0 `) {
		t.Errorf("%v, %.200s", err, out)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Inline(ctx, []byte(page("p{x:1}", "<p>")), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	src := style("p{x:1}") + strings.Repeat("<b><p>", 200) + strings.Repeat("</b><i class=x><p>", 200_000)
	_, err := Inline(ctx, []byte(src), Options{Limits: Limits{Tags: 1 << 20}})
	if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 2*time.Second {
		t.Errorf("%v after %v, with a deadline of 50 ms", err, took)
	}
}
