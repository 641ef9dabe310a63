package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bench/internal/limits"
	"bench/internal/load"
	"bench/internal/postfix"
	"bench/internal/procs"
)

// Config says what to measure.
type Config struct {
	Bin         string // pennypost
	Dir         string // where the queues are to be: the disk to measure
	DatabaseURL string // PostgreSQL instead of SQLite
	Mode        string // a word for the result
	Postfix     bool   // measure it beside

	Rounds  int
	Each    time.Duration // of one load
	Conns   int
	Domains int
	Only    string        // only groups whose key or title contains this; also "backlog", "limits"
	Limits  time.Duration // of each measurement of the machine; 0: none
	Backlog []BacklogSpec
	// BacklogOfPostfix fills Postfix's queue, too, with at most so many.
	BacklogOfPostfix int
	Soak             time.Duration // load at half rate for so long; 0: none
	Profile          string        // directory for profiles of our service; "": none

	Log io.Writer // what is being done
}

type run struct {
	c     Config
	dir   string
	world *world
	disk  procs.Disk
	out   *Result
	began time.Time
}

// Run measures all that is asked for. An error means that there is no result;
// what failed in part is in Result.Problems and Result.Missing.
func Run(ctx context.Context, c Config) (*Result, error) {
	dir, err := os.MkdirTemp(c.Dir, "pennypost-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // Postfix's own user enters it
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{c: c, dir: dir, began: time.Now()}
	r.out = &Result{Start: r.began.UTC(), Mode: c.Mode, Rounds: c.Rounds, EachS: c.Each.Seconds()}
	// Without a device flushes stay unknown.
	if r.disk, err = procs.DiskOf(dir); err != nil && !errors.Is(err, procs.ErrNoDisk) {
		r.problem("the disk's counters: %v", err)
	}
	r.out.Machine = describe(dir, r.disk)
	if err := r.version(ctx); err != nil {
		return nil, err
	}
	if r.world, err = newWorld(ctx); err != nil {
		return nil, err
	}
	if err := r.all(ctx); err != nil {
		if len(r.out.Memory) == 0 && len(r.out.Backlog) == 0 {
			return nil, err
		}
		r.problem("the run ended early: %v", err) // what was found is worth showing
	}
	r.out.Machine.LoadAfter = loadAverage()
	r.out.TookS = time.Since(r.began).Seconds()
	r.out.Goals = goals(r.out)
	return r.out, nil
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.c.Log, "%4.0f s  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

func (r *run) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.out.Problems = append(r.out.Problems, text)
	fmt.Fprintln(r.c.Log, "PROBLEM:", text)
}

func (r *run) wanted(names ...string) bool {
	for _, n := range names {
		if strings.Contains(n, r.c.Only) {
			return true
		}
	}
	return false
}

// version asks the binary what it is and what signs for it.
func (r *run) version(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, r.c.Bin, "version").Output()
	if err != nil {
		return fmt.Errorf("%s version: %w", r.c.Bin, err)
	}
	text := strings.Join(strings.FieldsFunc(strings.TrimSpace(string(out)), func(c rune) bool { return c == '\n' }), ", ")
	engine := "SQLite"
	if r.c.DatabaseURL != "" {
		engine = "PostgreSQL, whose own cost is not in the figures"
	}
	r.out.Ours = text + ", " + engine
	r.out.Libcrypto = strings.Contains(text, "libcrypto")
	return nil
}

func (r *run) all(ctx context.Context) error {
	if r.c.Limits > 0 && r.wanted("limits") {
		r.say("limits of the machine")
		var err error
		workers := []int{1}
		if r.out.Machine.Cores > 1 {
			workers = append(workers, r.out.Machine.Cores)
		}
		if r.out.Limits, err = limits.Measure(r.dir, r.c.Limits, workers); err != nil {
			return err
		}
	}
	if err := r.compare(ctx); err != nil {
		return err
	}
	for _, b := range r.c.Backlog {
		if !r.wanted("backlog") {
			break
		}
		if err := r.backlog(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// compare measures all groups, round by round.
func (r *run) compare(ctx context.Context) error {
	list := r.groups()
	for _, g := range list {
		r.out.Groups = append(r.out.Groups, g.empty())
	}
	if len(list) == 0 {
		return nil
	}
	servers, err := r.boot(ctx)
	defer func() {
		for _, s := range servers {
			if err := s.stop(); err != nil {
				r.problem("stop %s: %v", s.name, err)
			}
		}
	}()
	if err != nil {
		return err
	}
	r.idleFlushes(ctx)
	if err := r.warm(ctx, servers); err != nil {
		return err
	}
	for round := range r.c.Rounds {
		for i, g := range list {
			if err := r.group(ctx, servers, g, &r.out.Groups[i], round); err != nil {
				return err
			}
		}
	}
	if r.c.Soak > 0 && r.wanted("soak") {
		if err := r.soak(ctx, servers[0]); err != nil {
			return err
		}
	}
	if r.c.Profile != "" {
		if err := r.profiles(ctx, servers[0]); err != nil {
			return err
		}
	}
	return r.rest(ctx, servers)
}

// groups are those that are wanted, and the one that others take their rate
// from.
func (r *run) groups() []group {
	rated := r.c.Soak > 0 && r.wanted("soak")
	for _, g := range groups() {
		rated = rated || g.half && r.wanted(g.key, g.title)
	}
	return slices.DeleteFunc(groups(), func(g group) bool {
		return !r.wanted(g.key, g.title) && !(rated && g.key == keySigned)
	})
}

func (g group) empty() GroupResult {
	out := GroupResult{Key: g.key, Title: g.title}
	for _, e := range g.on {
		out.Rows = append(out.Rows, Row{Server: e.server, Way: e.way})
	}
	return out
}

// boot starts the servers, ours first. Those that could be started are given
// also with an error.
func (r *run) boot(ctx context.Context) ([]*subject, error) {
	r.say("starting the servers")
	_, ours, err := r.bootOurs(ctx, "pennypost")
	if err != nil {
		return nil, err
	}
	servers := []*subject{ours}
	if r.c.Postfix {
		switch peer, err := r.bootPostfix(ctx, "postfix", nil); {
		case err == nil:
			servers = append(servers, peer)
		default:
			r.lack(err)
		}
	}
	for _, s := range servers {
		if err := s.tree().Settle(ctx, 5*time.Second); err != nil {
			return servers, err
		}
		c, err := s.tree().Cost()
		if err != nil {
			return servers, err
		}
		r.out.Memory = append(r.out.Memory, Rest{Server: s.name, FreshMB: mb(c.Anon), FreshRSSMB: mb(c.Resident)})
	}
	return servers, nil
}

// lack notes that Postfix cannot be measured.
func (r *run) lack(err error) {
	text := "Postfix with OpenDKIM: " + err.Error()
	var missing *postfix.MissingError
	if errors.As(err, &missing) {
		text = "Postfix with OpenDKIM is not measured, for it needs " + missing.Error()
	}
	if slices.Contains(r.out.Missing, text) {
		return
	}
	r.out.Missing = append(r.out.Missing, text)
	fmt.Fprintln(r.c.Log, "MISSING:", text)
}

// idleFlushes looks what the device does without us.
func (r *run) idleFlushes(ctx context.Context) {
	before, err := r.disk.Count()
	if err != nil {
		return
	}
	const look = time.Second
	select {
	case <-ctx.Done():
		return
	case <-time.After(look):
	}
	if after, err := r.disk.Count(); err == nil {
		r.out.IdleFlushes = float64(after.Sub(before).Flushes) / look.Seconds()
	}
}

// warm lets everybody send a little before it counts.
func (r *run) warm(ctx context.Context, servers []*subject) error {
	g := groups()[0]
	for _, s := range servers {
		c := r.loadOn(s, signed)
		g.set(&c)
		c.Duration = min(r.c.Each, time.Second)
		r.world.sink.Reset()
		rep, err := load.Run(ctx, c)
		if err != nil {
			return err
		}
		if rep.Accepted == 0 {
			return fmt.Errorf("%s accepts nothing: %v", s.name, examples(rep))
		}
		if err := s.tree().Settle(ctx, settleFor); err != nil {
			return err
		}
	}
	return nil
}

// group measures one group in one round, each second round the other way round.
func (r *run) group(ctx context.Context, servers []*subject, g group, out *GroupResult, round int) error {
	for i := range g.on {
		if round%2 == 1 {
			i = len(g.on) - 1 - i
		}
		e := g.on[i]
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, s := range servers {
			if s.name != e.server {
				continue
			}
			r.say("round %d of %d: %s: %s, %s", round+1, r.c.Rounds, g.title, s.name, e.way)
			sample, err := r.one(ctx, s, g, e.way, round)
			switch {
			case errors.Is(err, errIncomplete):
				r.problem("%s, %s, round %d: %v", g.title, s.name, round+1, err)
			case err != nil:
				return fmt.Errorf("%s, %s: %w", g.title, s.name, err)
			default:
				out.Rows[i].Samples = append(out.Rows[i].Samples, sample)
			}
		}
	}
	return nil
}

func (r *run) one(ctx context.Context, s *subject, g group, w way, round int) (Sample, error) {
	c := r.loadOn(s, w)
	g.set(&c)
	p := probe{s: s, way: w, conf: c, round: round}
	if g.half {
		full := r.rateOf(s.name, round)
		if full <= 0 {
			return Sample{}, fmt.Errorf("%w: its full rate is not known", errIncomplete)
		}
		p.conf.Rate = full / 2
	}
	if g.busy {
		return r.busy(ctx, p)
	}
	return r.sample(ctx, p)
}

// rateOf is the rate of signed delivery that a server reached in a round.
func (r *run) rateOf(server string, round int) float64 {
	for _, s := range r.out.row(keySigned, server, signed) {
		if s.Round == round {
			return float64(s.EndToEnd)
		}
	}
	return 0
}

// restFor is how long a server does nothing before its memory is read: Go gives
// memory back over some time.
const restFor = 10 * time.Second

func (r *run) rest(ctx context.Context, servers []*subject) error {
	r.say("memory at rest")
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(min(restFor, 2*r.c.Each)):
	}
	for i, s := range servers {
		c, err := s.tree().Cost()
		if err != nil {
			return err
		}
		r.out.Memory[i].AfterMB = mb(c.Anon)
	}
	return nil
}

// sizeOf is what the files below a directory take.
func sizeOf(dir string) int64 {
	var sum int64
	_ = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	return sum
}
