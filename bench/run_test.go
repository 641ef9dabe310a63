package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"bench/internal/measure"
)

// What the modes say is what the flags allow.
func TestModes(t *testing.T) {
	for name, m := range modes() {
		list, err := measure.ParseBacklog(m.backlog)
		if err != nil || len(list) == 0 || m.within <= 0 {
			t.Errorf("%s: %v, %v", name, list, err)
		}
		if err := checkRun(&measure.Config{Rounds: m.rounds, Each: m.each, Limits: m.limits, Backlog: list}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckRun(t *testing.T) {
	good := measure.Config{Rounds: 1, Each: time.Second}
	for name, change := range map[string]func(*measure.Config){
		"no round":          func(c *measure.Config) { c.Rounds = 0 },
		"too short":         func(c *measure.Config) { c.Each = time.Millisecond },
		"negative limits":   func(c *measure.Config) { c.Limits = -1 },
		"long soak":         func(c *measure.Config) { c.Soak = 48 * time.Hour },
		"postgres, backlog": func(c *measure.Config) { c.DatabaseURL, c.Backlog = "postgres://x", make([]measure.BacklogSpec, 1) },
	} {
		c := good
		change(&c)
		if err := checkRun(&c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := checkRun(&good); err != nil {
		t.Error(err)
	}
}

func TestRunArguments(t *testing.T) {
	for _, args := range []string{"-quick -full", "-peers exim", "-backlog x", "-rounds 0", "-database-url postgres://x -backlog 1:1:dead"} {
		if err := cmdRun(strings.Fields(args)); err == nil {
			t.Errorf("%s: no error", args)
		}
	}
}

// The exit status tells what went wrong, what was missing and, at the gate,
// what was missed.
func TestVerdict(t *testing.T) {
	missed := measure.Result{Goals: []measure.Goal{{Text: "x", Measured: true}}}
	for _, tt := range []struct {
		name string
		r    measure.Result
		gate bool
		bad  bool
	}{
		{"good", measure.Result{}, true, false},
		{"missing", measure.Result{Missing: []string{"Postfix"}}, false, true},
		{"problem", measure.Result{Problems: []string{"lost"}}, false, true},
		{"missed", missed, false, false},
		{"missed at the gate", missed, true, true},
	} {
		if err := verdict(&tt.r, tt.gate); errors.Is(err, errFailed) != tt.bad {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}
