package store_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// openerVariable makes the test binary open a directory and say what came of
// it, as a second process.
const openerVariable = "PENNYPOST_STORE_TEST_OPEN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(openerVariable); dir != "" {
		st, err := store.Open(context.Background(), store.Config{Dir: dir})
		if err != nil {
			_, _ = os.Stdout.WriteString("refused: " + err.Error())
			os.Exit(0)
		}
		_, _ = os.Stdout.WriteString("opened")
		_ = st.Close()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func openElsewhere(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), openerVariable+"="+dir)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Two processes never have one directory.
func TestDirectoryIsLocked(t *testing.T) {
	c := storetest.Config(t, storetest.SQLite)
	st := storetest.OpenConfig(t, c)
	if got := openElsewhere(t, c.Dir); !strings.HasPrefix(got, "refused: ") || !strings.Contains(got, "another process uses the data directory") {
		t.Errorf("a second process: %s", got)
	}
	if _, err := store.Open(t.Context(), c); err == nil {
		t.Error("it was opened twice in one process")
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if got := openElsewhere(t, c.Dir); got != "opened" {
		t.Errorf("after the end of the first: %s", got)
	}
}

// What is acknowledged is on the disk: the settings that this rests on are
// those of the connection that writes.
func TestPragmas(t *testing.T) {
	st := storetest.Open(t, storetest.SQLite)
	update(t, st, func(ctx context.Context, tx *store.Tx) error {
		for query, want := range map[string]string{
			`SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous`:   "2", // FULL
			`SELECT journal_mode FROM pragma_journal_mode`:               "wal",
			`SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys`: "1",
		} {
			got, err := tx.Text(ctx, query)
			if err != nil {
				return err
			}
			if got != want {
				t.Errorf("%s: %s, want %s", query, got, want)
			}
		}
		return nil
	})
}

func TestNeitherDirNorURL(t *testing.T) {
	if _, err := store.Open(t.Context(), store.Config{}); err == nil {
		t.Error("a store of nothing was opened")
	}
}

// A PostgreSQL that may lose what it acknowledged is refused.
func TestLossyServer(t *testing.T) {
	url := strings.ReplaceAll(storetest.Postgres(t), "allow_data_loss=yes&", "")
	_, err := store.Open(t.Context(), store.Config{URL: url})
	if err == nil || !strings.Contains(err.Error(), "would lose acknowledged mail") {
		t.Errorf("got %v", err)
	}
	_, err = store.Open(t.Context(), store.Config{URL: url + "&synchronous_commit=off"})
	if err == nil || !strings.Contains(err.Error(), "synchronous_commit is off") {
		t.Errorf("got %v", err)
	}
}

// The error of a wrong URL does not show the password.
func TestURLIsNotShown(t *testing.T) {
	for _, url := range []string{"postgres://ann:secret@[::1/x", "postgres://ann:secret@127.0.0.1:1/x?connect_timeout=1"} {
		_, err := store.Open(t.Context(), store.Config{URL: url})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// The schema is made once and found again.
func TestMigrations(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, c store.Config) {
		st := storetest.OpenConfig(t, c)
		files, err := filepath.Glob("migrations/*.sql")
		if err != nil {
			t.Fatal(err)
		}
		if got := number(t, st, `SELECT COUNT(*) FROM goose_db_version WHERE version_id > 0`); got != int64(len(files)) {
			t.Errorf("%d migrations were applied, want %d", got, len(files))
		}
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.AddMeta(ctx, "key", "kept") })
		first := st.Session()
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		again := storetest.OpenConfig(t, c)
		if !hasMeta(t, again, "key") {
			t.Error("a row is gone")
		}
		if got := number(t, again, `SELECT COUNT(*) FROM goose_db_version WHERE version_id > 0`); got != int64(len(files)) {
			t.Errorf("%d migrations after the second start", got)
		}
		if again.Session() <= first {
			t.Errorf("session %d follows %d", again.Session(), first)
		}
	})
}

// Several nodes may start at once on an empty database.
func TestMigratedBySeveral(t *testing.T) {
	c := storetest.Config(t, storetest.PostgreSQL)
	opened := make(chan error, 4)
	for range cap(opened) {
		go func() {
			st, err := store.Open(context.Background(), c)
			if err == nil {
				err = st.Close()
			}
			opened <- err
		}()
	}
	for range cap(opened) {
		if err := <-opened; err != nil {
			t.Error(err)
		}
	}
}

func TestSQLiteVersion(t *testing.T) {
	for _, c := range []struct {
		have, want string
		ok         bool
	}{
		{"3.51.3", "3.51.3", true},
		{"3.51.2", "3.51.3", false},
		{"3.52.0", "3.51.3", true},
		{"3.9.9", "3.51.3", false},
		{"4.0.0", "3.51.3", true},
		{"3.51", "3.51.3", false},
		{"3.51.3.1", "3.51.3", true},
		{"", "3.51.3", false},
		{"three", "3.51.3", false},
	} {
		if got := store.VersionAtLeast(c.have, c.want); got != c.ok {
			t.Errorf("%q at least %q: %v", c.have, c.want, got)
		}
	}
	st := storetest.Open(t, storetest.SQLite)
	version, ok := strings.CutPrefix(st.Engine(), "sqlite ")
	if !ok || !store.VersionAtLeast(version, store.MinSQLite) {
		t.Errorf("the library is %s", st.Engine())
	}
}

// modernc.org/libc must be the version that modernc.org/sqlite was made with:
// they share the layout of C structures.
func TestLibcVersion(t *testing.T) {
	list := func(format, module string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", format, module).Output()
		if err != nil {
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				t.Fatalf("%v\n%s", err, exit.Stderr)
			}
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	mod, err := os.ReadFile(list("{{.GoMod}}", "modernc.org/sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\s*modernc\.org/libc (\S+)`).FindSubmatch(mod)
	if found == nil {
		t.Fatal("modernc.org/sqlite does not name modernc.org/libc")
	}
	if got, want := list("{{.Version}}", "modernc.org/libc"), string(found[1]); got != want {
		t.Errorf("modernc.org/libc is %s, modernc.org/sqlite wants %s", got, want)
	}
}

func TestUnnumbered(t *testing.T) {
	for _, c := range []struct {
		query, want string
		order       []int
	}{
		{`SELECT 1`, `SELECT 1`, nil},
		{`SELECT $1, $2`, `SELECT ?, ?`, []int{0, 1}},
		{`SELECT $2, $1, $2, $12`, `SELECT ?, ?, ?, ?`, []int{1, 0, 1, 11}},
		{`SELECT '$1', 'it''s $2', $1`, `SELECT '$1', 'it''s $2', ?`, []int{0}},
		{`SELECT $, $x`, `SELECT $, $x`, nil},
	} {
		got, order := store.Unnumbered(c.query)
		if got != c.want || !slices.Equal(order, c.order) {
			t.Errorf("%s: %s %v, want %s %v", c.query, got, order, c.want, c.order)
		}
	}
}

// Ids grow, also when many are taken at once or the clock stands.
func TestNextID(t *testing.T) {
	st := storetest.Open(t, storetest.SQLite)
	last := int64(0)
	for range 10_000 {
		id := st.NextID()
		if id <= last {
			t.Fatalf("%d follows %d", id, last)
		}
		last = id
	}
	if node := last & (1<<12 - 1); node != st.Session() {
		t.Errorf("the low bits are %d, want the session %d", node, st.Session())
	}
}
