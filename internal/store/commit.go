package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"pennypost/internal/metrics"
)

const (
	maxBatch     = 256                   // closures in a transaction
	maxBatchTime = 50 * time.Millisecond // of work before its commit
	maxWaiting   = 4096                  // closures that wait; more wait at the door
)

var errTxDone = errors.New("transaction has ended")

// committer is SQLite's one writer. All closures that wait share one physical
// transaction, so that one sync serves them all. A batch is what came in while
// the one before was being synced, and what comes in while it runs. Where many
// more are expected it stays open for them a little (company). Alone, a closure
// waits for nobody, except that of UpdateSoon: those wait for each other, or
// ride in the batch of the next that cannot wait.
//
// Each closure but the first runs in a savepoint. The first needs none: when it
// fails, the whole transaction goes.
type committer struct {
	s       *Store
	conn    *liteConn
	queue   chan *update
	soon    chan *update  // of UpdateSoon
	stop    chan struct{} // closed: carry out what waits, and end
	done    chan struct{} // closed: ended
	checks  *checkpointer
	commits *metrics.Counter
	updates *metrics.Counter
	took    *metrics.Histogram
	pace    pace
	company company

	// The goroutine's own. They are here, not on its stack, since a closure
	// may end the goroutine (runtime.Goexit); the next one goes on with them.
	open    bool
	batch   []*update // ran and wait for the commit
	ended   bool
	started time.Time
	count   int
	rode    int       // of these, from UpdateSoon
	held    []*update // of UpdateSoon, not begun
	timer   *time.Timer
	counts  counter // of the statistics, to be written before the commit

	// beforeCommit stands in for a disk that fails, in tests.
	beforeCommit func() error
}

// The states of an update.
const (
	updateWaiting = iota
	updateRunning
	updateGone // its context ended before it ran
)

type update struct {
	fn    func(tx *Tx) error
	soon  bool // by UpdateSoon
	state atomic.Int32
	err   error
	done  chan struct{} // closed when err is set
}

func newCommitter(s *Store, conn *liteConn, checks *checkpointer, m *metrics.Set) *committer {
	c := &committer{
		s: s, conn: conn, checks: checks,
		queue: make(chan *update, maxWaiting), soon: make(chan *update, maxWaiting),
		stop: make(chan struct{}), done: make(chan struct{}), timer: time.NewTimer(time.Hour),
		commits: m.Counter("store_commits", "Transactions committed to SQLite."),
		updates: m.Counter("store_updates", "Closures in these transactions."),
		took:    m.Histogram("store_commit", "Time of a COMMIT with its sync."),
	}
	c.timer.Stop()
	go c.run()
	return c
}

func (c *committer) close() error {
	close(c.stop)
	<-c.done
	return c.conn.close()
}

// update hands a closure over and waits for its commit.
func (c *committer) update(ctx context.Context, fn func(tx *Tx) error, soon bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.s.failing(); err != nil {
		return err
	}
	u := &update{fn: fn, soon: soon, done: make(chan struct{})}
	to := c.queue
	if soon {
		to = c.soon
	}
	select {
	case to <- u:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return ErrClosed
	}
	select {
	case <-u.done:
		return u.result()
	case <-ctx.Done():
		if u.state.CompareAndSwap(updateWaiting, updateGone) {
			return ctx.Err()
		}
	case <-c.done:
		if u.state.CompareAndSwap(updateWaiting, updateGone) {
			return ErrClosed
		}
	}
	<-u.done
	return u.result()
}

func (u *update) result() error {
	var p *PanicError
	if errors.As(u.err, &p) {
		panic(p)
	}
	return u.err
}

func (u *update) finish(err error) {
	u.err = err
	close(u.done)
}

func (c *committer) run() {
	defer func() {
		if !c.ended { // a closure ended the goroutine
			go c.run()
		}
	}()
	for !c.ended {
		u := c.next()
		if u == nil {
			c.commit()
			u = c.wait()
		}
		if u != nil {
			c.perform(u)
		}
	}
	close(c.done)
}

// next gives the next closure of the batch, or nil when the batch is complete.
// Those that somebody waits for go first; of the others as many go with them,
// and more while there is time.
func (c *committer) next() *update {
	if !c.open || c.count >= maxBatch {
		return nil
	}
	age := c.s.now().Sub(c.started)
	if age >= maxBatchTime {
		return nil
	}
	select {
	case u := <-c.queue:
		return u
	default:
	}
	if age < companyWait || 2*c.rode < c.count {
		if u := c.nextSoon(); u != nil {
			return u
		}
	}
	if age >= companyWait || !c.busy() {
		return nil
	}
	c.timer.Reset(companyWait - age)
	defer c.timer.Stop()
	select {
	case u := <-c.queue:
		return u
	case u := <-c.soon:
		return u
	case <-c.timer.C:
		return nil
	}
}

// busy tells whether so many work at once that it pays to wait for those who
// are expected.
func (c *committer) busy() bool {
	urgent, coming := c.count-c.rode, c.company.coming(c.s.now())
	return urgent > 0 && coming > 0 && urgent+coming >= companyOf
}

// nextSoon gives an update of UpdateSoon, or nil.
func (c *committer) nextSoon() *update {
	if len(c.held) > 0 {
		u := c.held[0]
		c.held[0] = nil
		if c.held = c.held[1:]; len(c.held) == 0 {
			c.held = nil
		}
		return u
	}
	select {
	case u := <-c.soon:
		return u
	default:
		return nil
	}
}

// wait waits for the first closure of a batch. It gives nil at the end, and
// when it has done something else meanwhile.
func (c *committer) wait() *update {
	select {
	case f := <-c.checks.turn: // first, since under load the queue is never empty
		f(c.conn)
	default:
	}
	select {
	case u := <-c.queue:
		return u
	default:
	}
	if len(c.held) > 0 { // they have waited already
		return c.nextSoon()
	}
	for len(c.held) < soonMost {
		select {
		case u := <-c.queue:
			return u
		case u := <-c.soon:
			if c.held = append(c.held, u); len(c.held) == 1 {
				c.timer.Reset(soonWait)
			}
		case <-c.timer.C:
			return c.nextSoon()
		case f := <-c.checks.turn:
			f(c.conn)
			return nil
		case <-c.stop:
			u := c.nextSoon()
			c.ended = u == nil && len(c.queue) == 0
			return u
		}
	}
	return c.nextSoon()
}

// perform runs one closure within the transaction.
func (c *committer) perform(u *update) {
	if !u.state.CompareAndSwap(updateWaiting, updateRunning) {
		return
	}
	if err := c.s.failing(); err != nil {
		u.finish(err)
		return
	}
	ctx := context.Background()
	first := !c.open
	begin := `SAVEPOINT part`
	if first {
		begin = `BEGIN IMMEDIATE`
		c.started, c.count, c.rode = c.s.now(), 0, 0
		c.pace.begin(c.started)
	}
	if _, err := c.conn.exec(ctx, begin, nil); err != nil {
		c.giveUp(err)
		u.finish(err)
		return
	}
	c.open = true
	c.count++
	if u.soon {
		c.rode++
	}
	tx := &Tx{s: c.s, q: c.conn, now: c.s.now().UTC()}
	returned := false
	var err error
	defer func() {
		if !returned {
			err = &PanicError{Value: recover(), Stack: debug.Stack()}
		}
		c.settle(u, tx, err, first)
	}()
	err = u.fn(tx)
	returned = true
}

// settle keeps or rolls back what a closure did.
func (c *committer) settle(u *update, tx *Tx, err error, first bool) {
	if err == nil {
		err = tx.err
	}
	failed := tx.err
	tx.err = errTxDone
	ctx := context.Background()
	if err == nil {
		if !first {
			_, err = c.conn.exec(ctx, `RELEASE part`, nil)
		}
		if err == nil {
			c.batch = append(c.batch, u)
			c.counts.add(tx.counts)
			return
		}
		failed = err
	}
	var st *statementError
	lost := errors.As(failed, &st) && st.lost
	if !first && !lost {
		_, back := c.conn.exec(ctx, `ROLLBACK TO part`, nil)
		if back == nil {
			_, back = c.conn.exec(ctx, `RELEASE part`, nil)
		}
		lost = back != nil
	}
	if first || lost {
		c.giveUp(fmt.Errorf("%w: transaction was lost: %w", ErrUnavailable, failed))
	}
	u.finish(err)
}

// giveUp rolls the whole transaction back; those that ran in it have failed.
func (c *committer) giveUp(err error) {
	if c.open {
		// It fails when SQLite has rolled back by itself.
		_, _ = c.conn.exec(context.Background(), `ROLLBACK`, nil) //nolint:errcheck // see above
	}
	c.open = false
	c.pace.idle()
	for _, u := range c.batch {
		u.finish(err)
	}
	c.forgetBatch()
	c.counts.forget()
}

// forgetBatch lets go of the closures, and of the messages that they hold.
func (c *committer) forgetBatch() {
	clear(c.batch)
	c.batch = c.batch[:0]
}

// commit ends the transaction, if there is one, and tells those who wait. A
// sync that failed is final: the kernel may have dropped the pages and
// forgotten the error, so a second try that succeeds would prove nothing.
func (c *committer) commit() {
	if !c.open {
		return
	}
	if err := c.counts.write(context.Background(), &Tx{s: c.s, q: c.conn}); err != nil {
		c.giveUp(fmt.Errorf("%w: %w", ErrUnavailable, err))
		return
	}
	began := c.s.now()
	err := c.sync()
	if err == nil {
		c.open = false
		c.commits.Add(1)
		c.updates.Add(len(c.batch))
		c.took.Observe(c.s.now().Sub(began))
		c.pace.ended(len(c.batch), began, c.s.now())
		for _, u := range c.batch {
			u.finish(nil)
		}
		c.checks.committed(len(c.batch), c.conn.bytes)
		c.conn.bytes = 0
		c.forgetBatch()
		c.counts.forget()
		return
	}
	// walFrames gives SQLITE_FULL while it writes the frames, the last of which
	// is the commit: what did not fit was not committed. All that comes after
	// them, the sync and the index of the log (walindex.go), leaves it open.
	switch code, cause := liteCause(err); code {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM:
		c.giveUp(err)
	default:
		c.s.fail(cause)
		c.giveUp(fmt.Errorf("%w: %w", ErrUnknown, cause))
	}
}

func (c *committer) sync() error {
	if c.beforeCommit != nil {
		if err := c.beforeCommit(); err != nil {
			return err
		}
	}
	_, err := c.conn.exec(context.Background(), `COMMIT`, nil)
	if err == nil {
		err = c.s.confirm()
	}
	return err
}
