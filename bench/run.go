package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"bench/internal/measure"
	"bench/internal/runctx"
)

// A mode is how long everything takes.
type mode struct {
	rounds           int
	each, limits     time.Duration
	backlog          string
	backlogOfPostfix int
	within           time.Duration // a bound, not what to expect
}

func modes() map[string]mode {
	return map[string]mode{
		"quick":    {rounds: 1, each: 1500 * time.Millisecond, limits: 50 * time.Millisecond, backlog: "10000:1:dead", within: 5 * time.Minute},
		"standard": {rounds: 5, each: 6 * time.Second, limits: time.Second, backlog: "20000:1:dead,20000:100:sick", within: time.Hour},
		"full": {
			rounds: 5, each: 10 * time.Second, limits: 2 * time.Second, backlogOfPostfix: 50_000, within: 4 * time.Hour,
			backlog: "100000:1:dead,100000:100:sick,100000:100000:dead,1000000:1:dead,1000000:100:dead,1000000:100000:dead",
		},
	}
}

func cmdRun(args []string) error {
	fs := flags("run")
	var c measure.Config
	fs.StringVar(&c.Bin, "bin", "../bin/pennypost", "the pennypost binary")
	fs.StringVar(&c.Dir, "dir", "", "directory on the disk to measure; the system's one for temporary files when empty")
	fs.StringVar(&c.DatabaseURL, "database-url", "", "PostgreSQL instead of SQLite; only without backlogs")
	quick := fs.Bool("quick", false, "a first impression in a minute and a half")
	full := fs.Bool("full", false, "with backlogs up to a million messages; takes more than an hour")
	peers := fs.String("peers", "postfix", "what to measure beside: postfix or none")
	fs.IntVar(&c.Rounds, "rounds", 0, "rounds [1 with -quick, else 5]")
	fs.DurationVar(&c.Each, "each", 0, "time of each load [1.5s with -quick, 10s with -full, else 6s]")
	fs.IntVar(&c.Conns, "conns", 20, "connections")
	fs.IntVar(&c.Domains, "domains", 100, "recipient domains")
	fs.StringVar(&c.Only, "only", "", "only loads whose name contains this; also limits, backlog, soak")
	backlog := fs.String("backlog", "", "queues to fill, as messages:domains:dead|sick, with commas between; none")
	fs.IntVar(&c.BacklogOfPostfix, "postfix-backlog", -1, "fill Postfix's queue, too, with at most so many [50,000 with -full, else 0]")
	fs.DurationVar(&c.Limits, "limits", -1, "time of each measurement of the machine's limits; 0 is none")
	fs.DurationVar(&c.Soak, "soak", 0, "load at half rate for so long, and watch the memory")
	fs.StringVar(&c.Profile, "profile", "", "directory for CPU and heap profiles of Pennypost, taken after the rounds")
	gate := fs.Bool("gate", false, "end with status 1 when a goal is missed")
	jsonOut := fs.String("json", "", "write all figures to this file")
	mdOut := fs.String("md", "", "write the tables in Markdown to this file, between its marks when it has them")
	limit := fs.Duration("for", 0, "end after this time whatever happens [5m with -quick, 4h with -full, else 1h, and the soak]")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *quick && *full {
		return errors.New("-quick and -full exclude each other")
	}
	c.Mode = "standard"
	if *quick {
		c.Mode = "quick"
	} else if *full {
		c.Mode = "full"
	}
	m := modes()[c.Mode]
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if !given["rounds"] {
		c.Rounds = m.rounds
	}
	if !given["each"] {
		c.Each = m.each
	}
	if !given["limits"] {
		c.Limits = m.limits
	}
	if !given["postfix-backlog"] {
		c.BacklogOfPostfix = m.backlogOfPostfix
	}
	if !given["backlog"] {
		*backlog = m.backlog
	}
	if c.DatabaseURL != "" && !given["backlog"] {
		*backlog = "none"
	}
	if *limit == 0 {
		*limit = m.within + c.Soak
	}
	var err error
	if c.Backlog, err = measure.ParseBacklog(*backlog); err != nil {
		return err
	}
	switch *peers {
	case "postfix":
		c.Postfix = true
	case "none":
	default:
		return fmt.Errorf("unknown -peers %q", *peers)
	}
	if err := checkRun(&c); err != nil {
		return err
	}
	c.Log = os.Stderr
	ctx, cancel := runctx.New(*limit)
	defer cancel()
	r, err := measure.Run(ctx, c)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	if err := writeResult(r, *jsonOut, *mdOut); err != nil {
		return err
	}
	return verdict(r, *gate)
}

// checkRun holds the bounds of a run.
func checkRun(c *measure.Config) error {
	switch {
	case c.Rounds < 1 || c.Rounds > 100:
		return errors.New("-rounds must be between 1 and 100")
	case c.Each < 500*time.Millisecond || c.Each > 10*time.Minute:
		return errors.New("-each must be between 500ms and 10m")
	case c.Limits < 0 || c.Limits > time.Minute:
		return errors.New("-limits must be at most 1m")
	case c.Soak < 0 || c.Soak > 24*time.Hour:
		return errors.New("-soak must be at most 24h")
	case c.DatabaseURL != "" && len(c.Backlog) > 0:
		return errors.New("backlogs need SQLite: each begins with an empty database")
	}
	return nil
}

func writeResult(r *measure.Result, jsonOut, mdOut string) error {
	if err := r.WriteText(os.Stdout); err != nil {
		return err
	}
	if jsonOut != "" {
		if err := writeJSONFile(jsonOut, r); err != nil {
			return err
		}
	}
	if mdOut == "" {
		return nil
	}
	return r.SaveMarkdown(mdOut)
}

// verdict makes the exit status: 1 when something could not be measured or went
// wrong, and with -gate when a goal was missed.
func verdict(r *measure.Result, gate bool) error {
	failed := len(r.Problems) > 0 || len(r.Missing) > 0
	if gate {
		for _, g := range r.Missed() {
			fmt.Fprintf(os.Stderr, "GATE: %s: wanted %s, got %s\n", g.Text, g.Want, g.Got)
			failed = true
		}
	}
	if failed {
		return errFailed
	}
	return nil
}
