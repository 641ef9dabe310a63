package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"bench/internal/load"
	"bench/internal/mailgen"
	"bench/internal/procs"
)

// BacklogSpec is a queue to fill: so many messages over so many domains whose
// mail servers are sick (they answer 450 to each recipient) or dead (they
// cannot be connected to).
type BacklogSpec struct {
	Messages int    `json:"messages"`
	Domains  int    `json:"domains"`
	Kind     string `json:"kind"`
}

// String is the form that ParseBacklog reads.
func (b BacklogSpec) String() string { return fmt.Sprintf("%d:%d:%s", b.Messages, b.Domains, b.Kind) }

// maxBacklog bounds a queue.
const maxBacklog = 10_000_000

// ParseBacklog reads "100000:1:dead,100000:100:sick"; "none" and "" are none.
func ParseBacklog(text string) ([]BacklogSpec, error) {
	if text == "" || text == "none" {
		return nil, nil
	}
	var list []BacklogSpec
	for _, part := range strings.Split(text, ",") {
		f := strings.Split(strings.TrimSpace(part), ":")
		if len(f) != 3 {
			return nil, fmt.Errorf("backlog %q: must be messages:domains:kind", part)
		}
		n, err1 := strconv.Atoi(f[0])
		domains, err2 := strconv.Atoi(f[1])
		switch {
		case err1 != nil || err2 != nil || n < 1 || n > maxBacklog || domains < 1 || domains > n:
			return nil, fmt.Errorf("backlog %q: needs up to %d messages, and no more domains than messages", part, maxBacklog)
		case f[2] != sick && f[2] != dead:
			return nil, fmt.Errorf("backlog %q: the kind is %s or %s", part, sick, dead)
		}
		list = append(list, BacklogSpec{Messages: n, Domains: domains, Kind: f[2]})
	}
	return list, nil
}

// BacklogResult is what a full queue did to fresh mail for healthy domains.
type BacklogResult struct {
	BacklogSpec
	Server   string  `json:"server"`
	Filled   int64   `json:"filled"`
	FillRate float64 `json:"fill_per_s"`
	FillCPU  float64 `json:"fill_cpu_s_per_1000"`
	Tried    int64   `json:"tried"`    // refusals of the sick mail server when the measurement began
	SettleS  float64 `json:"settle_s"` // after the fill until the server was quiet, or we did not wait longer
	QueueMB  float64 `json:"queue_mb"` // on disk

	Before     []Sample `json:"before"`
	With       []Sample `json:"with"`
	BeforeHalf []Sample `json:"before_half"` // open loop
	WithHalf   []Sample `json:"with_half"`   // at the same rate

	PeakMB float64 `json:"peak_mb"` // while it was filled and worked
	// Started again with that queue: until it was ready, and until the first
	// fresh message had arrived.
	ReadyS  float64 `json:"ready_s"`
	FirstS  float64 `json:"first_delivery_s"`
	StartMB float64 `json:"after_start_mb"`
}

// Share is the median of with/before.
func (b *BacklogResult) share(of func(Sample) float64, half bool) Spread {
	if half {
		return spread(ratios(b.WithHalf, b.BeforeHalf, of))
	}
	return spread(ratios(b.With, b.Before, of))
}

// backlog measures one queue, on Postfix too when that is asked for.
func (r *run) backlog(ctx context.Context, spec BacklogSpec) error {
	if err := r.backlogOfOurs(ctx, spec); err != nil {
		return err
	}
	if !r.c.Postfix || r.c.BacklogOfPostfix == 0 || spec.Domains > 1000 {
		return nil // Postfix has the destinations in a table, not in the DNS
	}
	spec.Messages = min(spec.Messages, r.c.BacklogOfPostfix)
	for _, b := range r.out.Backlog {
		if b.Server == postfixMTA && b.BacklogSpec == spec {
			return nil
		}
	}
	routes := map[string]string{sick: "127.0.0.2:" + r.world.port, dead: "127.0.0.3:" + r.world.port}
	peer, err := r.bootPostfix(ctx, "postfix-"+r.unique(), routes)
	if err != nil {
		r.lack(err)
		return nil
	}
	out := BacklogResult{BacklogSpec: spec, Server: postfixMTA}
	err = r.fillAndCompare(ctx, peer, &out, unsigned)
	r.keepBacklog(out, err)
	return errors.Join(ignoreIncomplete(err), peer.stop())
}

// unique names a directory.
func (r *run) unique() string { return strconv.Itoa(len(r.out.Backlog)) }

func ignoreIncomplete(err error) error {
	if errors.Is(err, errIncomplete) {
		return nil
	}
	return err
}

func (r *run) keepBacklog(b BacklogResult, err error) {
	if err != nil {
		r.problem("backlog %s of %s: %v", b.BacklogSpec, b.Server, err)
	}
	r.out.Backlog = append(r.out.Backlog, b)
}

func (r *run) backlogOfOurs(ctx context.Context, spec BacklogSpec) error {
	name := "backlog-" + r.unique()
	in, s, err := r.bootOurs(ctx, name)
	if err != nil {
		return err
	}
	stopped := false
	defer func() {
		if !stopped {
			_ = in.Stop() // there is an error already
		}
		_ = os.RemoveAll(filepath.Join(r.dir, name)) // it may be big; the rest goes in the end
	}()
	out := BacklogResult{BacklogSpec: spec, Server: pennypost}
	err = r.fillAndCompare(ctx, s, &out, signed)
	if ignoreIncomplete(err) != nil {
		return err
	}
	out.QueueMB = mb(sizeOf(filepath.Join(r.dir, name, "data")))
	r.say("backlog %s: starting again", spec)
	began, errStart := in.Restart(ctx)
	if errStart != nil {
		return errors.Join(err, errStart)
	}
	out.ReadyS = time.Since(began).Seconds()
	if first := r.first(ctx, s); first != nil {
		err = errors.Join(err, first)
	} else {
		out.FirstS = time.Since(began).Seconds()
	}
	if errSettle := s.tree().Settle(ctx, settleFor); errSettle != nil {
		return errSettle
	}
	c, errCost := s.tree().Cost()
	if errCost != nil {
		return errCost
	}
	out.StartMB = mb(c.Anon)
	r.keepBacklog(out, err)
	stopped = true
	return in.Stop()
}

// first sends one message and waits for it.
func (r *run) first(ctx context.Context, s *subject) error {
	c := r.loadOn(s, signed)
	groups()[0].set(&c)
	c.Total, c.Conns, c.Duration, c.SinkWait = 1, 1, 0, time.Minute
	r.world.sink.Reset()
	rep, err := load.Run(ctx, c)
	if err != nil {
		return err
	}
	if rep.EndToEnd == nil || !rep.EndToEnd.Complete {
		return fmt.Errorf("%w: the first message after the start: %v", errIncomplete, examples(rep))
	}
	return nil
}

// fillAndCompare measures fresh mail, fills the queue, and measures again.
func (r *run) fillAndCompare(ctx context.Context, s *subject, out *BacklogResult, w way) error {
	if err := r.warm(ctx, []*subject{s}); err != nil {
		return err
	}
	r.say("backlog %s: %s before", out.BacklogSpec, s.name)
	var err error
	if out.Before, err = r.fresh(ctx, s, w, 0); err != nil {
		return err
	}
	half := spread(figures(out.Before, endToEnd)).Median / 2
	if out.BeforeHalf, err = r.fresh(ctx, s, w, half); err != nil {
		return err
	}
	m := &procs.Meter{Tree: s.tree(), Disk: r.disk}
	reading, err := m.Begin()
	if err != nil {
		return err
	}
	err = r.fill(ctx, s, out)
	if err == nil {
		r.say("backlog %s: %s with", out.BacklogSpec, s.name)
		out.With, err = r.fresh(ctx, s, w, 0)
	}
	if err == nil {
		out.WithHalf, err = r.fresh(ctx, s, w, half)
	}
	use, errUse := reading.End()
	out.PeakMB = mb(use.PeakAnon)
	return errors.Join(err, errUse)
}

// backlogRounds bounds the rounds beside a backlog.
const backlogRounds = 3

// fresh sends fresh mail to healthy domains, in a closed loop or at a rate.
func (r *run) fresh(ctx context.Context, s *subject, w way, rate float64) ([]Sample, error) {
	var list []Sample
	for round := range min(r.c.Rounds, backlogRounds) {
		c := r.loadOn(s, w)
		groups()[0].set(&c)
		c.Rate = rate
		got, err := r.sample(ctx, probe{s: s, way: w, conf: c, round: round})
		if err != nil {
			return list, err
		}
		list = append(list, got)
	}
	return list, nil
}

// fillSize is that of the messages in the backlog: the smallest, since it is
// their number that counts.
const fillSize = 1536

// fill puts the backlog into the queue, the fastest way that the server has,
// and waits until it has tried what it wants to try at first.
func (r *run) fill(ctx context.Context, s *subject, out *BacklogResult) error {
	r.say("backlog %s: filling %s", out.BacklogSpec, s.name)
	r.world.sick.Reset()
	c := r.loadOn(s, unsigned)
	groups()[0].set(&c)
	if s.name == pennypost {
		c.Proto, c.Batch, c.Conns = "http", 500, 4
	}
	c.Zone, c.Domains, c.SinkURL, c.Total = out.Kind, out.Domains, "", int64(out.Messages)
	c.Sizes = []mailgen.Size{{Bytes: fillSize, Weight: 1}}
	c.Duration = time.Minute + time.Duration(out.Messages)*2*time.Millisecond // it ends even at 500/s
	m := &procs.Meter{Tree: s.tree()}
	reading, err := m.Begin()
	if err != nil {
		return err
	}
	rep, err := load.Run(ctx, c)
	use, errUse := reading.End()
	if err := errors.Join(err, errUse); err != nil {
		return err
	}
	out.Filled, out.FillRate = rep.Accepted, rep.RatePerS
	if rep.Accepted > 0 {
		out.FillCPU = use.CPU.Seconds() / float64(rep.Accepted) * 1000
	}
	if rep.Accepted < c.Total {
		r.problem("backlog %s: %s took %d: %v", out.BacklogSpec, s.name, rep.Accepted, examples(rep))
	}
	began := time.Now()
	atMost := min(5*time.Second+time.Duration(out.Messages)*time.Millisecond, 3*time.Minute)
	err = s.tree().Settle(ctx, atMost)
	out.SettleS = time.Since(began).Seconds()
	out.Tried = r.world.sick.Stats().Faults["rcpt:reply"]
	return err
}
