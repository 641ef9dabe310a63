package measure

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"bench/internal/load"
	"bench/internal/mailgen"
	"bench/internal/procs"
	"bench/internal/service"
)

// errIncomplete says that a load did not end as it should; its figures mean
// nothing.
var errIncomplete = errors.New("not everything that was accepted arrived in time")

// loadOn is a load on a server, without what its group sets.
func (r *run) loadOn(s *subject, w way) load.Config {
	c := load.Config{
		Conns: r.c.Conns, Domains: r.c.Domains, Rcpts: 1, Zone: healthy, From: "orders@" + service.Domain,
		Sizes: []mailgen.Size{{Bytes: 4 << 10, Weight: 1}}, Duration: r.c.Each, Timeout: time.Minute,
		SinkWait:  4*r.c.Each + 20*time.Second,
		TLSConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1"},
	}
	if w != nowhere {
		c.SinkURL = r.world.control
	}
	s.login(&c, w)
	return c
}

// probe is one load on one server.
type probe struct {
	s     *subject
	way   way
	conf  load.Config
	round int
}

func newSample(p probe) Sample {
	return Sample{
		Round: p.round, Offered: p.conf.Rate, EndToEnd: unknown, Arrive50: unknown, Arrive99: unknown, CPU: unknown,
		WriteKiB: unknown, DiskKiB: unknown, Flushes: unknown, Commits: unknown, PerConn: unknown, Meanwhile: unknown,
	}
}

// settleFor bounds the work that goes on after the last answer.
const settleFor = 15 * time.Second

// sample puts a load on a server and measures what it costs, with the work that
// goes on after the last answer.
func (r *run) sample(ctx context.Context, p probe) (Sample, error) {
	s := newSample(p)
	r.world.sink.Reset()
	commits, errCommits := p.s.countCommits(ctx)
	var j *journeys
	if p.conf.Rate > 0 && p.way != nowhere {
		j = newJourneys()
		r.world.watch.Store(j)
		defer r.world.watch.Store(nil)
		p.conf.OnSend = j.begin
	}
	m := &procs.Meter{Tree: p.s.tree(), Disk: r.disk}
	reading, err := m.Begin()
	if err != nil {
		return s, err
	}
	rep, err := load.Run(ctx, p.conf)
	errSettle := m.Tree.Settle(ctx, settleFor)
	use, errUse := reading.End()
	if err := errors.Join(err, errSettle, errUse); err != nil {
		return s, err
	}
	s.fromReport(rep)
	if rep.Accepted == 0 || len(rep.Errors) > 0 || rep.EndToEnd != nil && !rep.EndToEnd.Complete {
		return s, fmt.Errorf("%w: accepted %d, end to end %+v, errors %v", errIncomplete, rep.Accepted, rep.EndToEnd, examples(rep))
	}
	s.fromUse(use)
	if after, err := p.s.countCommits(ctx); err == nil && errCommits == nil {
		s.Commits = figure((after - commits) / float64(s.Accepted))
	}
	if j != nil && j.took.Count() > 0 {
		sum := j.took.Summary()
		s.Arrive50, s.Arrive99 = figure(sum.P50), figure(sum.P99)
	}
	if p.way == nowhere {
		return s, nil
	}
	got := r.world.sink.Stats()
	s.Signed = got.DKIMSigned
	if got.Connections > 0 {
		s.PerConn = figure(float64(got.Deliveries) / float64(got.Connections))
	}
	if p.way == signed && s.Signed != got.Messages {
		return s, fmt.Errorf("%w: %d of %d were signed", errIncomplete, s.Signed, got.Messages)
	}
	return s, nil
}

func (s *Sample) fromUse(u procs.Use) {
	n := float64(s.Accepted)
	s.PeakMB = mb(u.PeakAnon)
	s.CPU = figure(u.CPU.Seconds() / n * 1000)
	s.WriteKiB = figure(float64(u.WriteBytes) / n / 1024)
	if u.Flushes >= 0 {
		s.Flushes = figure(float64(u.Flushes) / n)
		s.DiskKiB = figure(float64(u.DiskBytes) / n / 1024)
	}
}

func (s *Sample) fromReport(rep *load.Report) {
	s.Accepted, s.Rate = rep.Accepted, rep.RatePerS
	s.P50, s.P99 = rep.Latency.P50, rep.Latency.P99
	if rep.EndToEnd != nil {
		s.EndToEnd = figure(rep.EndToEnd.RatePerS)
	}
}

func (s *subject) countCommits(ctx context.Context) (float64, error) {
	if s.metric == nil {
		return 0, errors.New("it does not count commits")
	}
	return s.metric(ctx, "pennypost_store_commits_total")
}

func examples(rep *load.Report) map[string]string {
	out := maps.Clone(rep.ErrorExamples)
	for _, class := range slices.Sorted(maps.Keys(out)) {
		out[class] = fmt.Sprintf("%d x %s", rep.Errors[class], out[class])
	}
	return out
}

func mb(n int64) float64 { return float64(n) / (1 << 20) }

// errDry says that delivery had nothing more to do before a load was over.
var errDry = fmt.Errorf("%w: delivery was done before the load was, so that it was not at full speed", errIncomplete)

// busy measures a load while the server delivers at full speed. That may be
// faster than what it reached with mail coming in as fast: it is given more
// when it runs dry.
func (r *run) busy(ctx context.Context, p probe) (s Sample, err error) {
	for times := 2.0; times <= 8; times *= 2 {
		if s, err = r.beside(ctx, p, times); !errors.Is(err, errDry) {
			return s, err
		}
	}
	return s, err
}

// beside gives a server so much mail at once that it has to deliver during the
// whole load, if that is at most so many times as fast as it was before.
func (r *run) beside(ctx context.Context, p probe, times float64) (Sample, error) {
	s := newSample(p)
	r.world.sink.Reset()
	fill := r.loadOn(p.s, p.way)
	fill.Proto, fill.Batch, fill.Conns, fill.SinkURL, fill.Duration = "http", 500, 4, "", time.Minute
	full := 2 * p.conf.Rate
	fill.Total = int64(full * times * (r.c.Each.Seconds() + .5))
	// Hardly anything is delivered before the load begins.
	release := r.world.sink.Hold()
	filled, err := load.Run(ctx, fill)
	release()
	if err != nil {
		return s, err
	}
	if filled.Accepted != fill.Total {
		return s, fmt.Errorf("%w: it took %d of %d at once: %v", errIncomplete, filled.Accepted, fill.Total, examples(filled))
	}
	before, began := r.world.sink.Stats().Unique, time.Now()
	p.conf.SinkURL = "" // waited for below
	rep, err := load.Run(ctx, p.conf)
	if err != nil {
		return s, err
	}
	after := r.world.sink.Stats().Unique
	s.fromReport(rep)
	s.Meanwhile = figure(float64(after-before) / time.Since(began).Seconds())
	all := fill.Total + rep.Accepted
	if err := r.await(ctx, all, time.Now().Add(fill.SinkWait)); err != nil {
		return s, err
	}
	switch {
	case len(rep.Errors) > 0:
		return s, fmt.Errorf("%w: errors %v", errIncomplete, examples(rep))
	case all-after < int64(p.conf.Rate/20):
		return s, errDry
	}
	return s, p.s.tree().Settle(ctx, settleFor)
}

// await waits until the sink has that many deliveries.
func (r *run) await(ctx context.Context, n int64, end time.Time) error {
	for r.world.sink.Stats().Unique < n {
		if time.Now().After(end) {
			return fmt.Errorf("%w: %d of %d", errIncomplete, r.world.sink.Stats().Unique, n)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
