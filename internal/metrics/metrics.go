// Package metrics holds what the service counts and the page that shows it in
// the Prometheus text format. All methods work on nil receivers, so that parts
// can be built without metrics. Labels never carry addresses, tokens or any
// other text from outside; their sets are small and closed.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Set is all that one process counts.
type Set struct {
	reg *prometheus.Registry
}

// New makes an empty set with the Go runtime's and the process's own figures.
func New() *Set {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Set{reg: reg}
}

// Handler serves the page.
func (s *Set) Handler() http.Handler {
	return promhttp.HandlerFor(s.reg, promhttp.HandlerOpts{})
}

// Counter counts what only grows, by label values.
type Counter struct{ vec *prometheus.CounterVec }

// Counter registers a counter named pennypost_NAME_total.
func (s *Set) Counter(name, help string, labels ...string) *Counter {
	if s == nil {
		return nil
	}
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "pennypost", Name: name + "_total", Help: help}, labels)
	s.reg.MustRegister(v)
	return &Counter{vec: v}
}

// Add adds n for the label values, in the order of registration.
func (c *Counter) Add(n int, values ...string) {
	if c != nil {
		c.vec.WithLabelValues(values...).Add(float64(n))
	}
}

// Histogram collects durations in seconds, by label values.
type Histogram struct{ vec *prometheus.HistogramVec }

// Histogram registers a histogram named pennypost_NAME_seconds, from 100 µs to
// 10 minutes.
func (s *Set) Histogram(name, help string, labels ...string) *Histogram {
	if s == nil {
		return nil
	}
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "pennypost", Name: name + "_seconds", Help: help,
		Buckets: []float64{.0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 60, 600},
	}, labels)
	s.reg.MustRegister(v)
	return &Histogram{vec: v}
}

// Observe adds one duration.
func (h *Histogram) Observe(d time.Duration, values ...string) {
	if h != nil {
		h.vec.WithLabelValues(values...).Observe(d.Seconds())
	}
}

// Gauge registers a figure that is read when the page is asked for.
func (s *Set) Gauge(name, help string, read func() float64) {
	if s == nil {
		return
	}
	s.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "pennypost", Name: name, Help: help}, read))
}
