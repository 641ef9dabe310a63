package store_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// A sound database has no findings, also while it is in use; one with a page of
// garbage in a table has some, or cannot be read.
func TestCheck(t *testing.T) {
	c := storetest.Config(t, storetest.SQLite)
	st := storetest.OpenConfig(t, c)
	for i := range 200 {
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			return tx.SetMeta(ctx, fmt.Sprintf("key %04d", i), fmt.Sprintf("%200d", i))
		})
	}
	if list, err := store.Check(t.Context(), c.Dir); err != nil || len(list) > 0 {
		t.Fatalf("a sound database: %q, %v", list, err)
	}
	// What was killed left its log behind: that is read as well, and nothing is
	// written.
	copied := t.TempDir()
	for _, name := range []string{"pennypost.db", "pennypost.db-wal"} {
		b, err := os.ReadFile(filepath.Join(c.Dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(copied, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if list, err := store.Check(t.Context(), copied); err != nil || len(list) > 0 {
		t.Errorf("what a killed service left: %q, %v", list, err)
	}
	for _, name := range []string{"pennypost.db", "pennypost.db-wal"} {
		before, err1 := os.ReadFile(filepath.Join(c.Dir, name))
		after, err2 := os.ReadFile(filepath.Join(copied, name))
		if err1 != nil || err2 != nil || !bytes.Equal(before, after) {
			t.Errorf("%s was changed by the check: %v, %v", name, err1, err2)
		}
	}
	root := number(t, st, `SELECT rootpage FROM sqlite_schema WHERE name = 'meta'`)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(c.Dir, "pennypost.db"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	if _, err := f.WriteAt(make([]byte, page), (root-1)*page); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if list, err := store.Check(t.Context(), c.Dir); err == nil && len(list) == 0 {
		t.Error("nothing was found in a damaged database")
	}
	if _, err := store.Check(t.Context(), t.TempDir()); err == nil {
		t.Error("a directory without a database was found sound")
	}
}
