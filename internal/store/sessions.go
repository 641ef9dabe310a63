package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// leaseTime is how long a session lives without being renewed.
const leaseTime = 30 * time.Second

// lease is what this process knows of its session's end, by its own monotonic
// clock: a step of the wall clock neither ends nor lengthens it.
type lease struct {
	mu    sync.Mutex
	until time.Time
	over  bool
}

func (l *lease) set(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = until
}

// beginSession takes a number and stores its end. On SQLite the lock on the
// directory proves that every other session is dead.
func (s *Store) beginSession(ctx context.Context) error {
	begun := s.now()
	var id int64
	err := s.Update(ctx, func(tx *Tx) error {
		if !tx.postgres() {
			if _, err := tx.exec(ctx, `UPDATE sessions SET expires_at = 0`); err != nil {
				return err
			}
		}
		var err error
		if id, err = tx.next(ctx, "session"); err != nil {
			return err
		}
		_, err = tx.exec(ctx, `INSERT INTO sessions (id, started_at, expires_at, walked, walk_began) VALUES ($1, $2, $3, 0, 0)`,
			id, timeToDB(tx.Now()), timeToDB(tx.Now().Add(leaseTime)))
		return err
	})
	if err != nil {
		return err
	}
	s.session.Store(id)
	s.lease.set(begun.Add(leaseTime))
	return nil
}

// endSession gives the session up: its jobs may be taken at once.
func (s *Store) endSession() error {
	if s.failing() != nil {
		return nil // nothing can be written any more; the session runs out
	}
	s.lease.mu.Lock()
	s.lease.over = true
	s.lease.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, `UPDATE sessions SET expires_at = 0 WHERE id = $1`, s.Session())
		return err
	})
}

// ErrSessionLost says that the session ended before it was renewed: others may
// have taken its jobs.
var ErrSessionLost = errors.New("session ended before it was renewed")

// KeepSession renews the session every third of its time, until ctx ends. It
// returns ErrSessionLost when it could not in time; the process must end then.
func (s *Store) KeepSession(ctx context.Context) error {
	t := time.NewTicker(leaseTime / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.failed:
			return s.failing()
		case <-t.C:
		}
		err := s.renew(ctx)
		if ctx.Err() != nil {
			return nil // the end was asked for
		}
		if err != nil && (errors.Is(err, ErrSessionLost) || !s.LeaseOK()) {
			return fmt.Errorf("keep session: %w", err)
		}
		if err != nil {
			s.log.WarnContext(ctx, "session not renewed, trying again", "err", err)
		}
	}
}

func (s *Store) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseTime/4)
	defer cancel()
	begun := s.now()
	var n int64
	err := s.Update(ctx, func(tx *Tx) (err error) {
		alive := timeToDB(tx.Now())
		if !tx.postgres() {
			alive = 0 // the lock on the directory says so, whatever the clock did
		}
		n, err = tx.exec(ctx, `UPDATE sessions SET expires_at = $2 WHERE id = $1 AND expires_at > $3`,
			s.Session(), timeToDB(tx.Now().Add(leaseTime)), alive)
		return err
	})
	if err == nil && n == 0 {
		return ErrSessionLost
	}
	// On SQLite the lock on the directory keeps everybody else out, whatever the
	// row says: while nothing can be written, the disk being full, this session
	// goes on with what it holds, and nothing is done twice.
	if err == nil || s.pg == nil && s.failing() == nil {
		s.lease.set(begun.Add(leaseTime))
	}
	return err
}

// LeaseOK tells whether the session has not ended by our own clock: the last
// look before the end of a message goes out.
func (s *Store) LeaseOK() bool {
	s.lease.mu.Lock()
	defer s.lease.mu.Unlock()
	return !s.lease.over && s.now().Before(s.lease.until)
}

// TakeDeadSessions looks at the next n jobs for such that a dead session holds,
// frees them, due now, and gives how many: each may have been delivered already
// (docs/lifecycle.md). more says that it is not through.
//
// No index leads from a session to its jobs, since every message would pay for
// it: one walk over the jobs by id frees those of all dead sessions. The oldest
// of them keeps how far it has come.
func (tx *Tx) TakeDeadSessions(ctx context.Context, n int) (freed int, more bool, err error) {
	w, err := tx.walk(ctx)
	if errors.Is(err, ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look for dead sessions: %w", err)
	}
	last := int64(math.MaxInt64)
	err = tx.row(ctx, `SELECT id FROM jobs WHERE id > $1 ORDER BY id LIMIT 1 OFFSET $2`, w.walked, int64(n-1)).Scan(&last)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, false, fmt.Errorf("look for jobs of dead sessions: %w", err)
	}
	jobs, err := collect(tx, ctx, scanJobRow, `UPDATE jobs SET lease = 0, run_at = $1
		WHERE id > $2 AND id <= $3 AND lease <> 0 AND lease <= $4
			AND lease NOT IN (SELECT id FROM sessions WHERE id = $5 OR expires_at > $1)
		RETURNING `+jobColumns, timeToDB(tx.Now()), w.walked, last, w.latest, tx.s.Session())
	if err != nil {
		return 0, false, fmt.Errorf("free jobs of dead sessions: %w", err)
	}
	if err := tx.dueRows(ctx, jobs); err != nil {
		return 0, false, err
	}
	if more, err = tx.walkOn(ctx, w, last); err != nil {
		return 0, false, fmt.Errorf("free jobs of dead sessions: %w", err)
	}
	return len(jobs), more, nil
}

// mayLease tells whether jobs may be given to this session: after its end they
// might be behind a walk already. On SQLite nobody else walks.
func (s *Store) mayLease() bool { return s.pg == nil || s.LeaseOK() }

// A walk over the jobs is one for all sessions that were dead when it began.
type walk struct {
	id, walked, began int64
	latest            int64 // the newest session; a job of a later one belongs to the living
}

// walk gives the one that is under way, or begins one; ErrNotFound when no
// session is dead, or another node walks.
func (tx *Tx) walk(ctx context.Context) (*walk, error) {
	w := &walk{}
	err := tx.row(ctx, `SELECT id, walked, walk_began FROM sessions WHERE expires_at <= $1 AND id <> $2 ORDER BY id LIMIT 1`+tx.skipLocked(),
		timeToDB(tx.Now()), tx.s.Session()).Scan(&w.id, &w.walked, &w.began)
	if err != nil {
		return nil, err
	}
	if w.began == 0 {
		w.began = timeToDB(tx.Now())
	}
	return w, tx.row(ctx, `SELECT n FROM sequences WHERE name = 'session'`).Scan(&w.latest)
}

// walkOn notes how far a walk has come. At its end the sessions go that were
// dead when it began.
func (tx *Tx) walkOn(ctx context.Context, w *walk, last int64) (more bool, err error) {
	if last != math.MaxInt64 {
		_, err := tx.exec(ctx, `UPDATE sessions SET walked = $2, walk_began = $3 WHERE id = $1`, w.id, last, w.began)
		return true, err
	}
	if _, err := tx.exec(ctx, `DELETE FROM sessions WHERE expires_at <= $1 AND id <> $2`, w.began, tx.s.Session()); err != nil {
		return false, err
	}
	return tx.exists(ctx, `SELECT 1 FROM sessions WHERE expires_at <= $1 AND id <> $2`, timeToDB(tx.Now()), tx.s.Session())
}
