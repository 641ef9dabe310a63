package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// checkpointer copies the log into the database file, so that the log does not
// grow without bound. It copies on a connection of its own, beside the work.
// While transactions go on it never catches up, and SQLite begins the log anew
// only when it has been copied whole: when the log has grown, the committer
// copies the last few pages between two transactions.
type checkpointer struct {
	s      *Store
	conn   *liteConn
	turn   chan func(*liteConn) // work for the committer, between two transactions
	stop   chan struct{}
	done   chan struct{}
	commit atomic.Bool // something was committed since the last look
}

const (
	checkEvery = 200 * time.Millisecond
	checkFrom  = 1000 // pages in the log below which nothing is done
	renewFrom  = 4000 // pages from which the log is to begin anew
)

func newCheckpointer(s *Store, conn *liteConn) *checkpointer {
	c := &checkpointer{
		s: s, conn: conn, turn: make(chan func(*liteConn)),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	c.commit.Store(true)
	go c.run()
	return c
}

// committed tells that the log has grown.
func (c *checkpointer) committed() { c.commit.Store(true) }

func (c *checkpointer) run() {
	defer close(c.done)
	t := time.NewTicker(checkEvery)
	defer t.Stop()
	left := 0 // pages in the log after the last look
	for {
		select {
		case <-c.stop:
			return
		case <-t.C:
		}
		if !c.commit.Swap(false) && left < checkFrom || c.s.failing() != nil {
			continue
		}
		log, copied, err := checkpoint(c.conn)
		if err != nil {
			c.s.log.Warn("log not copied into the database", "err", err)
			continue
		}
		if left = log; log >= renewFrom && log-copied < renewFrom {
			c.renew()
			left = 0
		}
	}
}

// renew lets the committer copy what is left, so that its next transaction
// begins the log anew.
func (c *checkpointer) renew() {
	copied := make(chan error, 1)
	select {
	case c.turn <- func(conn *liteConn) {
		_, _, err := checkpoint(conn)
		copied <- err
	}:
	case <-c.stop:
		return
	}
	if err := <-copied; err != nil {
		c.s.log.Warn("log not copied into the database", "err", err)
	}
}

// checkpoint copies as much of the log as it can without waiting for anybody,
// and gives the pages in the log and how many of them are copied. A passive one
// never disturbs readers or the writer.
func checkpoint(conn *liteConn) (log, copied int, err error) {
	r, err := conn.query(context.Background(), `PRAGMA wal_checkpoint(PASSIVE)`, nil)
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
