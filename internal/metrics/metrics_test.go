package metrics_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pennypost/internal/metrics"
)

func TestPageShowsWhatWasCounted(t *testing.T) {
	s := metrics.New()
	s.Counter("accepted", "messages accepted", "source").Add(3, "smtp")
	s.Histogram("commit", "time of a commit").Observe(2 * time.Millisecond)
	s.Gauge("queue_jobs", "jobs in memory", func() float64 { return 7 })
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`pennypost_accepted_total{source="smtp"} 3`,
		`pennypost_commit_seconds_bucket{le="0.0025"} 1`,
		`pennypost_queue_jobs 7`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("page lacks %q", want)
		}
	}
}

func TestNilSetCountsNothing(t *testing.T) {
	var s *metrics.Set
	s.Counter("a", "").Add(1)
	s.Histogram("b", "").Observe(time.Second)
	s.Gauge("c", "", nil)
}
