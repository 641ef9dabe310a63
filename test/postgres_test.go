package test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pennypost/internal/fakenet"
	"pennypost/internal/store/storetest"
)

// TestPostgres does the main job on PostgreSQL, and goes on after kill -9.
func TestPostgres(t *testing.T) {
	url := storetest.Postgres(t)
	r := booted(t, fakenet.Config{Again: time.Second}, map[string]string{"PENNYPOST_DATABASE_URL": url})
	if !strings.Contains(r.log.String(), "postgres") {
		t.Errorf("the log does not name the database")
	}
	if _, err := os.Stat(filepath.Join(r.dir, "data", "pennypost.db")); err == nil {
		t.Error("there is an SQLite database as well")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	l := &ledger{acked: make(map[string]bool), offered: make(map[string]bool)}
	for range 3 {
		if err := errors.Join(l.sendSMTP(ctx, r), l.sendHTTP(r)); err != nil {
			t.Fatal(err)
		}
	}
	_, acked := l.counts()
	if _, err := r.net.Box().Wait(ctx, acked); err != nil {
		t.Fatal(err)
	}
	var result struct{ ErrorCode int }
	const to = "greylist+2@sim.test"
	if err := r.serverCall("POST", "/email", map[string]string{"From": "orders@shop.test", "To": to, "Subject": "x", "TextBody": "x"}, &result); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, 10*time.Second, "the first attempt", func() bool {
		state, err := r.state(to)
		return err == nil && strings.EqualFold(state, "deferred")
	})
	if err := r.kill(); err != nil {
		t.Fatal(err)
	}
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.net.Box().WaitFor(ctx, to, 1); err != nil {
		t.Fatal(err)
	}
	if got := r.net.Box().Total(); got != acked+1 {
		t.Errorf("%d mails arrived, want %d", got, acked+1)
	}
}
