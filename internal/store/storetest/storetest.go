// Package storetest opens stores for tests, on SQLite and on PostgreSQL. It
// starts one PostgreSQL for a test binary, in a temporary directory, and gives
// each test a database of its own; or it uses the server that
// PENNYPOST_TEST_PG names. A PostgreSQL that cannot be had is a failure, never a
// test skipped.
package storetest

import (
	"testing"

	"pennypost/internal/store"
)

// The engines.
const (
	SQLite     = "sqlite"
	PostgreSQL = "postgres"
)

// Config is where a new, empty store of an engine lies. Opening it again opens
// the same one.
func Config(tb testing.TB, engine string) store.Config {
	tb.Helper()
	switch engine {
	case SQLite:
		return store.Config{Dir: tb.TempDir()}
	case PostgreSQL:
		return store.Config{URL: Postgres(tb)}
	}
	tb.Fatalf("no engine is called %q", engine)
	return store.Config{}
}

// Open opens a new, empty store, which ends with the test.
func Open(tb testing.TB, engine string) *store.Store {
	tb.Helper()
	return OpenConfig(tb, Config(tb, engine))
}

// OpenConfig opens a store, which ends with the test if it was not closed
// before.
func OpenConfig(tb testing.TB, c store.Config) *store.Store {
	tb.Helper()
	st, err := store.Open(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := st.Close(); err != nil {
			tb.Errorf("close store: %v", err)
		}
	})
	return st
}

// Each runs a test on a new, empty store of each engine.
func Each(t *testing.T, test func(t *testing.T, st *store.Store)) {
	t.Helper()
	EachConfig(t, func(t *testing.T, c store.Config) {
		t.Helper()
		test(t, OpenConfig(t, c))
	})
}

// EachConfig runs a test for each engine that opens its stores itself.
func EachConfig(t *testing.T, test func(t *testing.T, c store.Config)) {
	t.Helper()
	for _, engine := range []string{SQLite, PostgreSQL} {
		t.Run(engine, func(t *testing.T) { test(t, Config(t, engine)) })
	}
}
