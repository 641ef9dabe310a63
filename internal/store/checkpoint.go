package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
	sqlite3 "modernc.org/sqlite/lib"

	"pennypost/internal/metrics"
)

// checkpointer copies the log into the database file, so that the log does not
// grow without bound. It copies on a connection of its own, beside the work.
// While transactions go on it never catches up, and SQLite begins the log anew
// only when it has been copied whole: when the log has grown, the committer
// copies the last few pages between two transactions, and SQLite syncs the
// whole file. Nobody commits in that time. So the file is synced beside the
// work first, and again what was copied meanwhile, until little is left: a few
// milliseconds instead of 15 to 80.
type checkpointer struct {
	s       *Store
	conn    *liteConn
	renewAt int                  // pages in the log from which it is to begin anew
	turn    chan func(*liteConn) // work for the committer, between two transactions
	file    *os.File             // the database, held open by lite
	renewed *metrics.Histogram
	left    func(pages int) // is told what the committer copies, in tests
	sync    func(*os.File) error
	wake    chan struct{}
	stop    chan struct{}
	done    chan struct{}
	written atomic.Int64 // pages since the last look, estimated
}

const (
	lookEvery = 1 << 10 // pages
	copyFrom  = 4 << 10 // pages that are not copied yet from which it copies
	nearlyAll = 128     // pages that the committer may copy: a few milliseconds
	maxPasses = 8       // passes before the committer copies whatever is left
)

// The size of the log at which it begins anew: a sixteenth of the file system,
// at most 192 MiB and at least 16.
const (
	leastLog = 4 << 10 // pages
	mostLog  = 48 << 10
)

// logPages gives that size for the file system of a directory, in pages.
func logPages(dir string) int {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return leastLog
	}
	size := int64(st.Blocks) * int64(st.Bsize) //nolint:gosec,unconvert // sizes of a file system; the types differ by system
	return logShare(size)
}

func logShare(size int64) int { return int(min(max(size/16/pageSize, leastLog), mostLog)) }

func newCheckpointer(s *Store, conn *liteConn, file *os.File, renewAt int, m *metrics.Set) *checkpointer {
	c := &checkpointer{
		s: s, conn: conn, file: file, renewAt: renewAt, turn: make(chan func(*liteConn)), wake: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}), sync: syncData, left: func(int) {},
		renewed: m.Histogram("store_renewal", "Time in which SQLite's writer stands still for its log to begin anew."),
	}
	go c.run()
	return c
}

// committed tells that closures were committed which wrote so many bytes: about
// two pages each, and those that the bytes fill.
func (c *checkpointer) committed(closures int, bytes int64) {
	if c.written.Add(2*int64(closures)+bytes>>12) < lookEvery {
		return
	}
	c.written.Store(0)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *checkpointer) run() {
	defer close(c.done)
	for {
		select {
		case <-c.stop:
			return
		case <-c.wake:
		}
		if c.s.failing() != nil {
			continue
		}
		if err := c.look(); err != nil {
			c.failed(err)
		}
	}
}

// failed tells of a log that could not be copied. After a fault of the disk that
// is final, as in commit: a second sync that succeeds would prove nothing. A
// full disk passes: the pages stay in the log (unixWrite gives SQLITE_FULL for
// ENOSPC), and what cannot be had of the index is no fault of a sync.
func (c *checkpointer) failed(err error) {
	code, cause := liteCause(err)
	if code == sqlite3.SQLITE_IOERR && !isIndexFault(err) || errors.Is(err, errBehindSync) || errors.Is(err, errFileSync) {
		c.s.fail(cause)
		return
	}
	c.s.log.Warn("log not copied into the database", "err", err)
}

// errFileSync says that the database file could not be synced.
var errFileSync = errors.New("sync of the database file failed")

// look copies, and begins the log anew, when it is time to.
func (c *checkpointer) look() error {
	log, copied, err := checkpoint(c.conn, "NOOP")
	if err != nil || log < c.renewAt && log-copied < copyFrom {
		return err
	}
	// A pass copies what was there when it began; meanwhile the log grows by
	// what is written in the time of a pass, which is less each time. When it is
	// not, more passes would only let the log grow. The first does not count: it
	// syncs what was copied since the last renewal.
	before := math.MaxInt
	for range maxPasses {
		if log, err = c.copy(c.conn); err != nil {
			return err
		}
		if log < c.renewAt {
			startWriting(c.file) // now, not all of it at the renewal
			return nil
		}
		if err := c.sync(c.file); err != nil {
			return fmt.Errorf("%w: %w", errFileSync, err)
		}
		if log, copied, err = checkpoint(c.conn, "NOOP"); err != nil {
			return err
		}
		left := log - copied
		if left < nearlyAll || left > before/8*7 || log > c.renewAt*5/4 {
			break
		}
		before = left
	}
	return c.renew()
}

// renew lets the committer copy what is left, so that its next transaction
// begins the log anew, unless a reader still needs it.
func (c *checkpointer) renew() error {
	result := make(chan error, 1)
	select {
	case c.turn <- func(conn *liteConn) {
		began := c.s.now()
		log, copied, err := checkpoint(conn, "NOOP")
		if err == nil {
			c.left(log - copied)
			_, err = c.copy(conn)
		}
		if errors.Is(err, errBehindSync) {
			c.s.fail(err) // before the next transaction begins the log anew
		}
		c.renewed.Observe(c.s.now().Sub(began))
		result <- err
	}:
		return <-result
	case <-c.stop:
		return nil
	}
}

// copy copies as much of the log as it can, and gives the pages in the log.
func (c *checkpointer) copy(conn *liteConn) (log int, err error) {
	if log, _, err = checkpoint(conn, "PASSIVE"); err == nil {
		err = c.s.confirm()
	}
	return log, err
}

// checkpoint copies as much of the log as it can without waiting for anybody
// (PASSIVE) or only looks (NOOP), and gives the pages in the log and how many of
// them are copied.
func checkpoint(conn *liteConn, mode string) (log, copied int, err error) {
	r, err := conn.query(context.Background(), `PRAGMA wal_checkpoint(`+mode+`)`, nil)
	if err != nil {
		return 0, 0, fmt.Errorf("checkpoint: %w", err)
	}
	defer r.Close()
	var busy int
	if r.Next() {
		err = r.Scan(&busy, &log, &copied)
	}
	r.Close()
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return 0, 0, fmt.Errorf("checkpoint: %w", err)
	}
	return log, copied, nil
}

func (c *checkpointer) close() error {
	close(c.stop)
	<-c.done
	return c.conn.close()
}
