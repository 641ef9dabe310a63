package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// The room that the index of the log takes is there from the start, on the disk
// and not as a hole.
func TestWALIndexIsHeld(t *testing.T) {
	c := storetest.Config(t, storetest.SQLite)
	storetest.OpenConfig(t, c)
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(c.Dir, "pennypost.db-shm"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Size < 1<<20 || st.Blocks*512 < 1<<20 {
		t.Errorf("the index has %d octets, %d on the disk", st.Size, st.Blocks*512)
	}
}

// fullIndex puts a full disk under the index of the log: what SQLite does not
// have mapped yet cannot be had. again gives the index back.
func fullIndex(t *testing.T, dir string) (again func()) {
	t.Helper()
	full, err := syscall.Open("/dev/full", syscall.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	files := openFiles(dir + "/pennypost.db-shm")
	if len(files) == 0 {
		t.Fatal("the index is not open")
	}
	var kept []int
	for _, fd := range files {
		old, err := syscall.Dup(fd)
		if err == nil {
			err = syscall.Dup3(full, fd, syscall.O_CLOEXEC)
		}
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, old)
	}
	return func() {
		_ = syscall.Close(full)
		for i, fd := range files {
			if err := syscall.Dup3(kept[i], fd, syscall.O_CLOEXEC); err != nil {
				t.Error(err)
			}
			_ = syscall.Close(kept[i])
		}
	}
}

const shmSize = 10 | 19<<8 // SQLITE_IOERR_SHMSIZE

func insert(size int, keep *store.InboundMail) func(tx *store.Tx) error {
	return func(tx *store.Tx) error {
		keep.ID, keep.Content = newID(), []byte(strings.Repeat("x", size))
		return tx.InsertInbound(context.Background(), keep)
	}
}

// Before the commit, want of room for the index fails the transaction alone: it
// is rolled back, and the connection is as good as before.
func TestWALIndexFullBeforeCommit(t *testing.T) {
	c := storetest.Config(t, storetest.SQLite)
	st := storetest.OpenConfig(t, c)
	again := fullIndex(t, c.Dir)
	// Larger than the page cache: pages go to the log before the commit.
	err := st.Update(t.Context(), insert(40<<20, &store.InboundMail{}))
	code, _ := store.LiteError(err)
	if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrUnknown) || code != shmSize {
		t.Fatalf("%v (code %d), want ErrUnavailable for want of room", err, code)
	}
	if err := st.Update(t.Context(), setMeta("meanwhile")); err != nil {
		t.Errorf("what fits: %v", err)
	}
	again()
	if err := st.Update(t.Context(), insert(40<<20, &store.InboundMail{})); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if !hasMeta(t, st, "meanwhile") || number(t, st, `SELECT count(*) FROM inbound_mails`) != 1 {
		t.Error("what is there is not what was committed")
	}
	view(t, st, func(ctx context.Context, tx *store.Tx) error {
		if got, err := tx.Text(ctx, `PRAGMA integrity_check`); err != nil || got != "ok" {
			return fmt.Errorf("%s %w", got, err)
		}
		return nil
	})
	select {
	case <-st.Failed():
		t.Error("the failure is final")
	default:
	}
}

// At the commit SQLite asks for that room when the transaction is in the log and
// synced: COMMIT fails, and it is there after the next start all the same. So
// that failure has to be final.
func TestWALIndexFullAtCommit(t *testing.T) {
	c := storetest.Config(t, storetest.SQLite)
	st, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	again := fullIndex(t, c.Dir)
	var last store.InboundMail
	for n := 0; err == nil && n < 100; n++ {
		err = st.Update(t.Context(), insert(1<<20, &last))
	}
	code, _ := store.LiteError(err)
	if !errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrUnavailable) || code != shmSize {
		t.Fatalf("%v (code %d), want ErrUnknown for want of room", err, code)
	}
	final(t, st)
	after := storetest.Config(t, storetest.SQLite)
	for _, name := range []string{"pennypost.db", "pennypost.db-wal"} { // what a crash would leave
		b, err := os.ReadFile(filepath.Join(c.Dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(after.Dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	again()
	if err := st.Close(); err != nil {
		t.Logf("close: %v", err)
	}
	next := storetest.OpenConfig(t, after)
	if number(t, next, `SELECT count(*) FROM inbound_mails WHERE id = $1`, last.ID[:]) != 1 {
		t.Error("the transaction is gone: such a failure might pass after all")
	}
}
