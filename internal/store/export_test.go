package store

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"modernc.org/sqlite"
)

// What tests reach into the store for.

// Queries whose plans are tested.
const (
	SQLDueDests     = dueDests
	SQLNextPriority = nextPriority
	SQLEarliestJob  = earliestJob
	SQLClaimJobs    = claimJobs + `)`
	SQLTemplateRef  = templateRef
	SQLLongDeleted  = longDeleted
)

// SearchSQL gives the query of a search.
func SearchSQL(f MessageFilter) string {
	from, _ := f.query(days{}, time.Time{})
	return `SELECT m.id` + from + newestFirst
}

// Exec runs any statement.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	return tx.exec(ctx, query, args...)
}

// Number gives the one number that a query answers.
func (tx *Tx) Number(ctx context.Context, query string, args ...any) (int64, error) {
	var n int64
	err := tx.row(ctx, query, args...).Scan(&n)
	return n, err
}

// Text gives the one text that a query answers.
func (tx *Tx) Text(ctx context.Context, query string, args ...any) (string, error) {
	var s string
	err := tx.row(ctx, query, args...).Scan(&s)
	return s, err
}

// Plan gives SQLite's plan of a query, a line for each step. The values of its
// places do not matter.
func (tx *Tx) Plan(ctx context.Context, query string) (string, error) {
	_, order := unnumbered(query)
	args := make([]any, 0, len(order))
	for _, n := range order {
		for len(args) <= n {
			args = append(args, int64(1))
		}
	}
	steps, err := collect(tx, ctx, func(row scanner) (*string, error) {
		var id, parent, unused int64
		var detail string
		return &detail, row.Scan(&id, &parent, &unused, &detail)
	}, `EXPLAIN QUERY PLAN `+query, args...)
	return strings.Join(steps, "\n"), err
}

// BeforeCommit sets what stands in for a disk that fails. It is called from
// within Update, on the goroutine that commits.
func (tx *Tx) BeforeCommit(f func() error) { tx.s.lite.commits.beforeCommit = f }

// Waiting gives the closures that wait for SQLite's writer.
func (s *Store) Waiting() int { return len(s.lite.commits.queue) }

// LogPages gives the pages in SQLite's log.
func (s *Store) LogPages(ctx context.Context) (n int, err error) {
	c, err := dialLite(ctx, s.lite.dsn(true))
	if err != nil {
		return 0, err
	}
	n, _, err = checkpoint(c, "NOOP")
	return n, errors.Join(err, c.close())
}

// RenewAt sets from how many pages the log begins anew. Nothing may be written
// yet.
func (s *Store) RenewAt(pages int) { s.lite.checks.renewAt = pages }

// OnRenewal sets what is told how many pages the writer copies before the log
// begins anew. Nothing may be written yet.
func (s *Store) OnRenewal(f func(pages int)) { s.lite.checks.left = f }

// FileSync sets what stands in for the sync of the database file beside the
// work. Nothing may be written yet.
func (s *Store) FileSync(f func(*os.File) error) { s.lite.checks.sync = f }

// LogShare gives that number for a file system of so many octets.
func LogShare(size int64) int { return logShare(size) }

// MaxBatch is how many closures share a transaction.
const MaxBatch = maxBatch

// LeaseTime is how long a session lives without being renewed.
const LeaseTime = leaseTime

// VersionAtLeast compares versions.
func VersionAtLeast(have, want string) bool { return versionAtLeast(have, want) }

// MinSQLite is the oldest library that is used.
const MinSQLite = minSQLite

// Unnumbered replaces the places of a query.
func Unnumbered(query string) (string, []int) { return unnumbered(query) }

// PastLease lets this process's own clock pass the end of its session.
func (s *Store) PastLease() { s.lease.set(s.now()) }

// LiteError tells whether an error is one of SQLite, and its code.
func LiteError(err error) (code int, ok bool) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0, false
	}
	return e.Code(), true
}

// NextBounceAfter sets the id after which the next bounce is numbered.
func (s *Store) NextBounceAfter(id int64) { s.lastBounce.Store(id) }

// Renew renews the session once.
func (s *Store) Renew(ctx context.Context) error { return s.renew(ctx) }

// Abandon closes the store as a crash does: the session is not given up.
func (s *Store) Abandon() (err error) {
	s.closing.Do(func() { err = s.shut() })
	return err
}

// What UpdateSoon and Expect go by.
const (
	SoonMost      = soonMost
	CompanyOf     = companyOf
	CompanyWindow = companyWindow
)
