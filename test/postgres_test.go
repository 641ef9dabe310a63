package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pennypost/internal/fakenet"
)

// postgres starts a cluster of its own, as durable as a real one, and gives the
// URL of its database. PENNYPOST_TEST_PG takes another in its place.
func postgres(t *testing.T) string {
	t.Helper()
	if url := os.Getenv("PENNYPOST_TEST_PG"); url != "" {
		return url
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		t.Fatal("PostgreSQL is not there; tools/test-deps installs it, or set PENNYPOST_TEST_PG")
	}
	bin := filepath.Dir(slices.Max(found))
	// The server refuses to run as root.
	dir, err := os.MkdirTemp("/tmp", "pennypost-pg-") //nolint:usetesting // its user must reach it
	if err != nil {
		t.Fatal(err)
	}
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		attr.Credential = ownerOf(t, dir)
	}
	run := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...) //nolint:noctx // ended below
		cmd.Dir, cmd.SysProcAttr = dir, attr
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
		return cmd
	}
	data := filepath.Join(dir, "data")
	if out, err := run("initdb", "-D", data, "-U", "pennypost", "-A", "trust", "-E", "UTF8").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	port := strings.TrimPrefix(addr, "127.0.0.1:")
	var log lockedBuffer
	server := run("postgres", "-D", data, "-h", "127.0.0.1", "-p", port, "-k", dir)
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// SIGINT is PostgreSQL's fast shutdown.
		if err := errors.Join(server.Process.Signal(syscall.SIGINT), server.Wait(), os.RemoveAll(dir)); err != nil {
			t.Errorf("PostgreSQL ended with %v\n%s", err, log.String())
		}
	})
	waitUntil(t, 30*time.Second, "PostgreSQL", func() bool {
		return run("psql", "-h", dir, "-p", port, "-U", "pennypost", "-d", "postgres", "-c", "CREATE DATABASE pennypost").Run() == nil
	})
	return fmt.Sprintf("postgres://pennypost@127.0.0.1:%s/pennypost?sslmode=disable", port)
}

// ownerOf gives a directory to the user that PostgreSQL's package made, or to
// nobody.
func ownerOf(t *testing.T, dir string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			t.Fatal(err)
		}
	}
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(errUID, errGID, os.Chown(dir, int(uid), int(gid))); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// TestPostgres does the main job on PostgreSQL, and goes on after kill -9.
func TestPostgres(t *testing.T) {
	url := postgres(t)
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
