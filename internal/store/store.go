package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"pennypost/internal/metrics"
)

// Config says where the data is. Dir or URL must be set.
type Config struct {
	// Dir is the data directory; SQLite's file is pennypost.db in it.
	Dir string
	// URL is "postgres://…"; "" is SQLite. A server that loses what it
	// acknowledged when the power goes (fsync or synchronous_commit off) is
	// refused, unless the parameter allow_data_loss=yes says that this is a test.
	URL     string
	Now     func() time.Time
	Log     *slog.Logger
	Metrics *metrics.Set
}

// Store is the database of one process.
type Store struct {
	now func() time.Time
	log *slog.Logger

	lite *lite // one of the two is set
	pg   *postgres

	browsing   chan struct{} // one for each closure of Browse that runs
	engine     string
	session    atomic.Int64
	lease      lease
	lastID     atomic.Int64 // microseconds of the latest id
	lastBounce atomic.Int64 // id of the latest bounce

	damaged *metrics.Counter

	failure  error // set before failed is closed
	failed   chan struct{}
	failOnce sync.Once
	closing  sync.Once
	closeErr error
}

// Open opens the database, brings its schema up to date and begins a session.
// On SQLite it locks the data directory for this process.
func Open(ctx context.Context, c Config) (*Store, error) {
	s := &Store{now: c.Now, log: c.Log, failed: make(chan struct{}), browsing: make(chan struct{}, maxBrowse)}
	if s.now == nil {
		s.now = time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.damaged = c.Metrics.Counter("store_damaged", "Jobs whose rows were damaged in the database.")
	if err := s.open(ctx, &c); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.beginSession(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("begin session: %w", err), s.shut())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, c *Config) (err error) {
	switch {
	case c.URL != "":
		s.pg, err = openPostgres(ctx, s, c)
	case c.Dir != "":
		s.lite, err = openLite(ctx, s, c)
	default:
		err = errors.New("neither data directory nor database URL is set")
	}
	return err
}

// Close gives the session up and closes the database. Nobody may use the store
// afterwards; updates that wait are still carried out.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closeErr = errors.Join(s.endSession(), s.shut())
	})
	return s.closeErr
}

func (s *Store) shut() error {
	if s.pg != nil {
		return s.pg.close()
	}
	return s.lite.close()
}

// Update runs a closure in a transaction and reports success when what it
// wrote is on stable storage. It is the one way to write.
//
// On SQLite all closures that wait share one physical transaction (see
// committer); on PostgreSQL each has its own, which is tried again after a
// serialization failure. A closure does no network and no long work. A context
// that ends before the closure starts takes it out; afterwards it no longer
// matters on SQLite.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) error {
	if s.pg != nil {
		return s.pg.update(ctx, fn)
	}
	return s.lite.commits.update(ctx, fn, false)
}

// UpdateSoon is Update for what happened already and nobody waits for, such as
// the outcome of an attempt: on SQLite it may take some milliseconds longer, so
// that many of them share a sync.
func (s *Store) UpdateSoon(ctx context.Context, fn func(tx *Tx) error) error {
	if s.pg != nil {
		return s.pg.update(ctx, fn)
	}
	return s.lite.commits.update(ctx, fn, true)
}

// View runs a closure that reads one state of the database. Any number run
// beside each other and beside Update.
func (s *Store) View(ctx context.Context, fn func(tx *Tx) error) error {
	if s.pg != nil {
		return s.pg.view(ctx, fn)
	}
	return s.lite.view(ctx, fn)
}

// maxBrowse is how many closures of Browse run at once.
const maxBrowse = 2

// Browse is View for searches, whose time grows with what there is. Few run at
// once, on connections that nobody else waits for: however many people search,
// logins and deliveries go on.
func (s *Store) Browse(ctx context.Context, fn func(tx *Tx) error) error {
	select {
	case s.browsing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.browsing }()
	return s.View(ctx, fn)
}

// Failed is closed once a sync or COMMIT failed for good. Nothing is written
// from then on, and the process must end: after a failed fsync nobody knows
// what the disk holds, and trying again would answer a lie.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// fail makes a failure final.
func (s *Store) fail(err error) {
	s.failOnce.Do(func() {
		s.failure = err
		s.log.Error("database failed for good", "err", err)
		close(s.failed)
	})
}

// failing gives the final failure, or nil.
func (s *Store) failing() error {
	select {
	case <-s.failed:
		return fmt.Errorf("%w: %w", ErrUnavailable, s.failure)
	default:
		return nil
	}
}

// Ping tells whether the store can be read, and written as far as is known.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.failing(); err != nil {
		return err
	}
	return s.View(ctx, func(tx *Tx) error {
		_, err := tx.exists(ctx, `SELECT 1 FROM sequences`)
		return err
	})
}

// Engine names the database with its version.
func (s *Store) Engine() string { return s.engine }

// Session is the fencing number of this process: the jobs that it holds carry
// it.
func (s *Store) Session() int64 { return s.session.Load() }
