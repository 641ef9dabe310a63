package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// lite is the store on SQLite: one connection that writes, owned by the
// committer, and a pool that reads.
type lite struct {
	s       *Store
	lock    *os.File
	index   *os.File // the index of the log, held open; see holdWALIndex
	file    *os.File // the database, held open to be synced
	path    string
	renewAt int // pages of the log at which it begins anew
	commits *committer
	readers chan *liteConn // those that are free; nil entries are not opened yet
	checks  *checkpointer
}

// pageSize is SQLite's default.
const pageSize = 4 << 10

// minSQLite has the WAL-reset bug fixed.
const minSQLite = "3.51.3"

func openLite(ctx context.Context, s *Store, c *Config) (_ *lite, err error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	l := &lite{s: s, path: filepath.Join(c.Dir, "pennypost.db"), renewAt: logPages(c.Dir)}
	if l.lock, err = lockDir(c.Dir); err != nil {
		return nil, err
	}
	if err = checkRoom(c.Dir); err == nil {
		err = l.start(ctx, c)
	}
	if err != nil {
		return nil, errors.Join(err, l.lock.Close())
	}
	return l, nil
}

func (l *lite) start(ctx context.Context, c *Config) error {
	if err := l.prepare(ctx); err != nil {
		return err
	}
	writer, err := dialLite(ctx, l.dsn(true))
	if err != nil {
		return err
	}
	writer.deaf = true
	if err := l.hold(); err != nil {
		return errors.Join(err, writer.close(), l.letGo())
	}
	check, err := dialLite(ctx, l.dsn(true))
	if err != nil {
		return errors.Join(err, writer.close(), l.letGo())
	}
	n := maxBrowse + max(4, 2*runtime.GOMAXPROCS(0))
	l.readers = make(chan *liteConn, n)
	for range n {
		l.readers <- nil
	}
	l.checks = newCheckpointer(l.s, check, l.file, l.renewAt, c.Metrics)
	l.commits = newCommitter(l.s, writer, l.checks, c.Metrics)
	return nil
}

// prepare checks the library and brings the schema up to date, on a connection
// of its own.
func (l *lite) prepare(ctx context.Context) (err error) {
	db, err := sql.Open("sqlite", l.dsn(true))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	var version, mode string
	if err := db.QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&version); err != nil {
		return err
	}
	if !versionAtLeast(version, minSQLite) {
		return fmt.Errorf("SQLite %s may corrupt its file: at least %s is needed", version, minSQLite)
	}
	l.s.engine = "sqlite " + version
	if err := db.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the file system does not allow a write-ahead log: journal mode is %s", mode)
	}
	return migrate(ctx, db, liteDialect())
}

// dsn names the file with the settings of a connection, which SQLite keeps per
// connection. synchronous=FULL syncs the log at each commit.
func (l *lite) dsn(write bool) string {
	pragmas := []string{
		"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"cell_size_check(1)", "temp_store(MEMORY)", "wal_autocheckpoint(0)", "cache_size(-" + strconv.Itoa(cacheKiB(write)) + ")",
		// What it grew beyond that is given back; the rest is written over and over.
		"journal_size_limit(" + strconv.Itoa(l.renewAt/3*4*pageSize) + ")",
	}
	q := url.Values{"_txlock": {"immediate"}}
	if !write {
		q.Set("_txlock", "deferred")
		pragmas = append(pragmas, "query_only(1)")
	}
	q["_pragma"] = pragmas
	return "file:" + (&url.URL{Path: l.path}).EscapedPath() + "?" + q.Encode()
}

// cacheKiB is the page cache of a connection. SQLite looks through the whole of
// the writer's after many commits, so that more of it would cost more than it
// saves: behind it is the kernel's.
func cacheKiB(write bool) int {
	if write {
		return 16 << 10
	}
	return 4 << 10
}

// view lends a reading connection to a closure. After a final failure there is
// nothing to be read: SQLite shows what is in the kernel's memory, which proves
// nothing about the disk, and a message that is found would be acknowledged.
func (l *lite) view(ctx context.Context, fn func(tx *Tx) error) (err error) {
	if err := l.s.failing(); err != nil {
		return err
	}
	var c *liteConn
	select {
	case c = <-l.readers:
	case <-ctx.Done():
		return ctx.Err()
	}
	if c != nil && c.closed {
		l.readers <- c
		return ErrClosed
	}
	if c == nil {
		if c, err = dialLite(ctx, l.dsn(false)); err != nil {
			l.readers <- nil
			return err
		}
	}
	tx := &Tx{s: l.s, q: c, now: l.s.now().UTC()}
	broken := true
	defer func() {
		tx.err = errors.Join(tx.err, errTxDone)
		if _, rerr := c.exec(context.WithoutCancel(ctx), `ROLLBACK`, nil); rerr != nil || broken {
			err = errors.Join(err, c.close())
			c = nil
		}
		l.readers <- c
	}()
	if _, err := c.exec(ctx, `BEGIN`, nil); err != nil {
		return err
	}
	err = fn(tx)
	broken = false
	if err == nil {
		err = tx.err
	}
	return err
}

// close ends writer and readers, those in use as soon as they come back.
func (l *lite) close() error {
	err := errors.Join(l.commits.close(), l.checks.close())
	for range cap(l.readers) {
		c := <-l.readers
		if c != nil {
			err = errors.Join(err, c.close())
		}
	}
	for range cap(l.readers) {
		l.readers <- &liteConn{closed: true}
	}
	return errors.Join(err, l.letGo(), l.lock.Close())
}

// hold opens the files that are needed beside SQLite's own descriptors. They
// stay open as long as any connection (holdWALIndex says why).
func (l *lite) hold() (err error) {
	if l.index, err = holdWALIndex(l.path + "-shm"); err != nil {
		return err
	}
	l.file, err = os.Open(l.path)
	return err
}

// letGo closes them once no connection is open.
func (l *lite) letGo() error {
	var errs []error
	for _, f := range []*os.File{l.index, l.file} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// versionAtLeast compares versions number by number.
func versionAtLeast(have, want string) bool {
	h, w := strings.Split(have, "."), strings.Split(want, ".")
	for i := range w {
		if i >= len(h) {
			return false
		}
		a, errA := strconv.Atoi(h[i])
		b, errB := strconv.Atoi(w[i])
		if errA != nil || errB != nil {
			return false
		}
		if a != b {
			return a > b
		}
	}
	return true
}
