package store

import (
	"context"
	"sync/atomic"
)

// checkpointer copies the log into the database file, so that the log's file
// does not grow without bound.
type checkpointer struct {
	s       *Store
	conn    *liteConn
	turn    chan func(*liteConn) // work for the committer, between two transactions
	wake    chan struct{}
	stop    chan struct{}
	done    chan struct{}
	pending atomic.Int64
}

func newCheckpointer(s *Store, conn *liteConn) *checkpointer {
	c := &checkpointer{
		s: s, conn: conn, turn: make(chan func(*liteConn)), wake: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	go c.run()
	return c
}

func (c *checkpointer) committed() {}

func (c *checkpointer) run() {
	defer close(c.done)
	<-c.stop
}

func (c *checkpointer) close() error {
	close(c.stop)
	<-c.done
	_ = context.Background
	return c.conn.close()
}
