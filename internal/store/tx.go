package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Tx is one transaction, or on SQLite one closure's part of a shared one. It
// belongs to the goroutine that was handed it and ends with its closure. An
// error of a statement ends it too: the closure returns that error, and what it
// does before it returns has no effect. Closures of Update may run more than
// once (PostgreSQL, after a serialization failure), so they set what they
// report and never add to it.
type Tx struct {
	s     *Store
	q     querier
	now   time.Time
	err   error // the statement error that ended it
	depth int   // of nested savepoints
	// counts are what CountStats left to be written.
	counts []StatHour
}

// querier runs statements on one connection, on SQLite or PostgreSQL.
type querier interface {
	exec(ctx context.Context, sql string, args []any) (int64, error)
	query(ctx context.Context, sql string, args []any) (rows, error)
}

// rows is the result of a query; Close ends it and may be called again.
type rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close()
}

// scanner is a row to be read.
type scanner interface {
	Scan(dest ...any) error
}

// Now is the time of the transaction, the same for all of it: our clock's on
// SQLite, the server's on PostgreSQL, so that all nodes agree on leases.
func (tx *Tx) Now() time.Time { return tx.now.Truncate(time.Microsecond) }

func (tx *Tx) postgres() bool { return tx.s.pg != nil }

// exec runs a statement and gives the number of rows that it changed.
func (tx *Tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	if tx.err != nil {
		return 0, tx.err
	}
	n, err := tx.q.exec(ctx, query, args)
	return n, tx.note(err)
}

func (tx *Tx) query(ctx context.Context, query string, args ...any) (rows, error) {
	if tx.err != nil {
		return nil, tx.err
	}
	r, err := tx.q.query(ctx, query, args)
	return r, tx.note(err)
}

// note keeps the error that ends the transaction.
func (tx *Tx) note(err error) error {
	if err != nil {
		tx.err = err
	}
	return err
}

// row is the first row of a query, which its Scan runs.
type row struct {
	tx   *Tx
	rows rows
	err  error
}

// row asks for one row. Its Scan must be called; it gives ErrNotFound when
// there is none.
func (tx *Tx) row(ctx context.Context, query string, args ...any) *row {
	r, err := tx.query(ctx, query, args...)
	return &row{tx: tx, rows: r, err: err}
}

// Scan reads the row.
func (r *row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.tx.note(r.rows.Err()); err != nil {
			return err
		}
		return ErrNotFound
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.tx.note(r.rows.Err())
}

// exists tells whether a query has a row.
func (tx *Tx) exists(ctx context.Context, query string, args ...any) (bool, error) {
	var one int64
	err := tx.row(ctx, query+` LIMIT 1`, args...).Scan(&one)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// collect reads all rows of a query.
func collect[T any](tx *Tx, ctx context.Context, scan func(scanner) (*T, error), query string, args ...any) ([]T, error) {
	r, err := tx.query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var list []T
	for r.Next() {
		v, err := scan(r)
		if err != nil {
			return nil, err
		}
		list = append(list, *v)
	}
	r.Close()
	return list, tx.note(r.Err())
}

// Nested runs a part of the transaction that may fail without the rest: what
// it wrote is rolled back when it returns an error or panics, and the
// transaction goes on.
func (tx *Tx) Nested(ctx context.Context, part func(tx *Tx) error) error {
	tx.depth++
	defer func() { tx.depth-- }()
	name := fmt.Sprintf("nested%d", tx.depth)
	if err := tx.writeCounts(ctx); err != nil { // so that those of the part are alone
		return err
	}
	if _, err := tx.exec(ctx, `SAVEPOINT `+name); err != nil {
		return fmt.Errorf("begin part of transaction: %w", err)
	}
	finished := false
	defer func() {
		if !finished { // a panic: whoever recovers it finds the transaction as it was
			_ = tx.back(ctx, name) //nolint:errcheck // the panic goes on
		}
	}()
	err := part(tx)
	finished = true
	if err == nil && tx.err != nil {
		err = tx.err
	}
	if err != nil {
		return errors.Join(err, tx.back(ctx, name))
	}
	if _, err := tx.exec(ctx, `RELEASE SAVEPOINT `+name); err != nil {
		return fmt.Errorf("end part of transaction: %w", err)
	}
	return nil
}

// back rolls back to a savepoint, after which the transaction goes on, unless
// it is lost as a whole.
func (tx *Tx) back(ctx context.Context, savepoint string) error {
	tx.counts = nil
	var lost *statementError
	if errors.As(tx.err, &lost) && lost.lost {
		return nil
	}
	tx.err = nil
	if _, err := tx.exec(ctx, `ROLLBACK TO SAVEPOINT `+savepoint); err != nil {
		return fmt.Errorf("roll part of transaction back: %w", err)
	}
	if _, err := tx.exec(ctx, `RELEASE SAVEPOINT `+savepoint); err != nil {
		return fmt.Errorf("roll part of transaction back: %w", err)
	}
	return nil
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// timeToDB is how times are stored: microseconds since 1970, 0 for the zero
// time.
func timeToDB(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func timeFromDB(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

type boolDest struct{ p *bool }

// intoBool reads a flag.
func intoBool(p *bool) sql.Scanner { return boolDest{p} }

// Scan implements sql.Scanner.
func (d boolDest) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("flag is a %T", v)
	}
	*d.p = n != 0
	return nil
}

type timeDest struct{ p *time.Time }

// intoTime reads a time.
func intoTime(p *time.Time) sql.Scanner { return timeDest{p} }

// Scan implements sql.Scanner.
func (d timeDest) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("time is a %T", v)
	}
	*d.p = timeFromDB(n)
	return nil
}
