package main

import (
	"context"
	"fmt"

	"pennypost/internal/store"
)

// serveCmd runs the service until it is told to stop.
type serveCmd struct{ configured }

// Help is the text above the flags.
func (serveCmd) Help() string {
	return `Examples:
  PENNYPOST_HOSTNAME=mail.example.com pennypost serve
  pennypost serve --config /etc/pennypost.toml

Every setting is a flag, an environment variable (in brackets) or a line of the
file: the flag goes before the environment, that before the file. Secrets can be
read from a file named by the variable with _FILE behind it.

SIGTERM and SIGINT stop it: what is under way is finished or put back. SIGHUP
reads the certificate again.`
}

// Run is called by kong.
func (c *serveCmd) Run(ctx context.Context, a *app) error {
	conf, err := loadConfig(&c.Settings, a.env, c.Config)
	if err != nil {
		return err
	}
	log := newLog(a.stderr, conf.logLevel, conf.logJSON)
	s, err := newService(ctx, conf, log)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	s.showFirstRun(a.stdout)
	if err := s.run(ctx, a.reload); err != nil {
		log.ErrorContext(ctx, "ended", "err", err)
		return &exitError{exitFailed, err}
	}
	return nil
}

// migrateCmd opens the database once, which brings it up to date.
type migrateCmd struct{ configured }

// Help is the text above the flags.
func (migrateCmd) Help() string {
	return `Examples:
  pennypost migrate --data-dir /var/lib/pennypost
  PENNYPOST_DATABASE_URL=postgres://… pennypost migrate

"serve" does the same when it starts. With SQLite the service must not run.`
}

// Run is called by kong.
func (c *migrateCmd) Run(ctx context.Context, a *app) error {
	conf, err := loadConfig(&c.Settings, a.env, c.Config)
	if err != nil {
		return err
	}
	st, err := store.Open(ctx, store.Config{
		Dir: conf.dataDir, URL: conf.databaseURL, Log: newLog(a.stderr, conf.logLevel, conf.logJSON),
	})
	if err != nil {
		return err
	}
	if err := st.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "schema is up to date (%s)\n", st.Engine())
	return err
}
