package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"pennypost/internal/fakenet"
)

// demoCmd sends through a world and checks what came of it.
type demoCmd struct {
	Level string `name:"log-level" default:"error" enum:"debug,info,warn,error" help:"What the service logs: debug, info, warn or error."`
}

// Help is the text above the flags.
func (demoCmd) Help() string {
	return `Example:
  pennypost demo

Starts the service with a pretend internet as "dev" does, on free ports, sends
messages over SMTP and HTTP, waits until the mail servers have them, checks
signatures and contents, and shows each message's way. Exit 0 means that all of
it held.`
}

// demoWithin bounds a demonstration.
const demoWithin = 55 * time.Second

// errDone ends a world whose work is done.
var errDone = errors.New("done")

// Run is called by kong.
func (c *demoCmd) Run(ctx context.Context, a *app) error {
	begun := time.Now()
	dir, err := os.MkdirTemp("", "pennypost-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, demoWithin)
	defer cancel()
	w, err := newWorld(ctx, dir, freePorts(),
		fakenet.Config{Again: time.Second}, newLog(a.stderr, level, false))
	if err != nil {
		return err
	}
	d := &demo{w: w, out: a.stdout, want: make(map[string]wanted)}
	err = w.run(ctx, func(ctx context.Context) error {
		if err := d.show(ctx); err != nil {
			return err
		}
		return errDone
	})
	// The world ends with errDone, and with nothing else.
	if !errors.Is(err, errDone) {
		return err
	}
	took := time.Since(begun).Seconds()
	if d.failed > 0 {
		return &exitError{exitFailed, fmt.Errorf("%d of %d checks failed", d.failed, d.failed+d.held)}
	}
	d.say("\nAll %d checks held, %.1f s.\n", d.held, took)
	return nil
}

// demo is one demonstration.
type demo struct {
	w            *world
	out          io.Writer
	held, failed int
	ids          []string          // of the messages accepted, in order
	want         map[string]wanted // by recipient
	arrivals     []fakenet.Mail
}

// wanted is what a recipient must get.
type wanted struct {
	subject string
	text    string            // somewhere in the text part
	files   map[string][]byte // attachments by name
	bcc     bool              // the recipient must not be named in the message
}

func (d *demo) say(format string, args ...any) { _, _ = fmt.Fprintf(d.out, format, args...) }

// check prints what was looked at, and counts.
func (d *demo) check(ok bool, format string, args ...any) {
	if ok {
		d.held++
		d.say("  ok      "+format+"\n", args...)
		return
	}
	d.failed++
	d.say("  FAILED  "+format+"\n", args...)
}

func (d *demo) show(ctx context.Context) error {
	d.say("Everything happens on this machine: the service, DNS, and the recipients' mail servers.\n\n")
	d.say("SMTP %s (STARTTLS), %s (TLS); API http://%s\n", d.w.svc.smtp[0].Addr(), d.w.svc.smtp[1].Addr(), d.w.svc.http[0].Addr())
	d.say("Server %d, domain %s verified by DNS, SMTP token made\n", d.w.seed.ServerID, worldDomain)
	for _, part := range []struct {
		title string
		run   func(context.Context) error
	}{
		{"First start", d.firstStart},
		{"Sending over SMTP", d.sendSMTP},
		{"Sending over HTTP", d.sendHTTP},
		{"What is refused", d.refusals},
		{"Delivery", d.await},
		{"What arrived", d.inspect},
		{"What the service tells", d.explain},
	} {
		d.say("\n%s\n", part.title)
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.title, err)
		}
	}
	return nil
}
