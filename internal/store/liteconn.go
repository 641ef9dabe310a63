package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// maxStatements bounds the prepared statements of a connection.
const maxStatements = 256

// liteConn is one connection. It calls the driver without database/sql between
// them, which costs more than the statements of a message, and keeps what was
// prepared.
type liteConn struct {
	conn   driver.Conn
	stmts  map[string]*liteStmt
	args   []driver.NamedValue // scratch
	bytes  int64               // that statements were handed
	closed bool
	// deaf connections do not listen to contexts: once a closure of Update has
	// begun, the end of one must not fail it, and listening costs a goroutine
	// for each statement.
	deaf bool
}

type liteStmt struct {
	stmt  driver.Stmt
	order []int // the argument of each place
	busy  bool  // a query is being read
}

func dialLite(ctx context.Context, dsn string) (*liteConn, error) {
	connector, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, liteError(err)
	}
	return &liteConn{conn: conn, stmts: make(map[string]*liteStmt)}, nil
}

func (c *liteConn) close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	var errs []error
	for _, st := range c.stmts {
		errs = append(errs, st.stmt.Close())
	}
	return errors.Join(append(errs, c.conn.Close())...)
}

// prepare gives a statement, and whether it is the caller's to close.
func (c *liteConn) prepare(ctx context.Context, query string) (_ *liteStmt, own bool, err error) {
	st := c.stmts[query]
	if st != nil && !st.busy {
		return st, false, nil
	}
	text, order := unnumbered(query)
	p, err := c.conn.(driver.ConnPrepareContext).PrepareContext(ctx, text)
	if err != nil {
		return nil, false, err
	}
	if st != nil {
		return &liteStmt{stmt: p, order: order}, true, nil
	}
	if len(c.stmts) >= maxStatements {
		c.forgetOne()
	}
	st = &liteStmt{stmt: p, order: order}
	c.stmts[query] = st
	return st, false, nil
}

// forgetOne closes some statement that is not in use.
func (c *liteConn) forgetOne() {
	for q, st := range c.stmts {
		if !st.busy {
			delete(c.stmts, q)
			_ = st.stmt.Close() // its memory is freed either way
			return
		}
	}
}

func (c *liteConn) exec(ctx context.Context, query string, args []any) (int64, error) {
	if c.deaf {
		ctx = context.Background()
	}
	st, own, err := c.prepare(ctx, query)
	if err != nil {
		return 0, liteError(err)
	}
	if own {
		defer func() { _ = st.stmt.Close() }()
	}
	bound, err := c.bind(st.order, args)
	if err != nil {
		return 0, err
	}
	res, err := st.stmt.(driver.StmtExecContext).ExecContext(ctx, bound)
	if err != nil {
		return 0, liteError(err)
	}
	return res.RowsAffected()
}

func (c *liteConn) query(ctx context.Context, query string, args []any) (rows, error) {
	if c.deaf {
		ctx = context.Background()
	}
	st, own, err := c.prepare(ctx, query)
	if err != nil {
		return nil, liteError(err)
	}
	bound, err := c.bind(st.order, args)
	if err != nil {
		return nil, err
	}
	r, err := st.stmt.(driver.StmtQueryContext).QueryContext(ctx, bound)
	if err != nil {
		if own {
			_ = st.stmt.Close()
		}
		return nil, liteError(err)
	}
	st.busy = true
	return &liteRows{st: st, own: own, rows: r, vals: make([]driver.Value, len(r.Columns()))}, nil
}

// bind makes the driver's arguments, in a buffer that lasts until the next
// statement.
func (c *liteConn) bind(order []int, args []any) ([]driver.NamedValue, error) {
	if cap(c.args) < len(order) {
		c.args = make([]driver.NamedValue, len(order), 2*len(order))
	}
	bound := c.args[:len(order)]
	for i, n := range order {
		if n >= len(args) {
			return nil, fmt.Errorf("%d arguments, and a place for number %d", len(args), n+1)
		}
		v, err := liteValue(args[n])
		if err != nil {
			return nil, err
		}
		switch x := v.(type) {
		case []byte:
			c.bytes += int64(len(x))
		case string:
			c.bytes += int64(len(x))
		}
		bound[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return bound, nil
}

// unnumbered replaces the places $1, $2, … by ?, and gives the argument of
// each: the driver asks SQLite for the name of every numbered place each time a
// statement runs. What is quoted stays as it is.
func unnumbered(query string) (string, []int) {
	var b strings.Builder
	var order []int
	quoted := false
	for i := 0; i < len(query); i++ {
		c := query[i]
		end := i + 1
		for end < len(query) && '0' <= query[end] && query[end] <= '9' {
			end++
		}
		if c == '\'' {
			quoted = !quoted
		}
		if n, err := strconv.Atoi(query[i+1 : end]); c == '$' && !quoted && err == nil {
			order = append(order, n-1)
			b.WriteByte('?')
			i = end - 1
			continue
		}
		b.WriteByte(c)
	}
	return b.String(), order
}

func liteValue(a any) (driver.Value, error) {
	switch v := a.(type) {
	case int64, string, []byte, nil:
		return v, nil
	case int:
		return int64(v), nil
	}
	v := reflect.ValueOf(a)
	switch {
	case v.CanInt():
		return v.Int(), nil
	case v.Kind() == reflect.String:
		return v.String(), nil
	}
	return nil, fmt.Errorf("argument is a %T", a)
}

type liteRows struct {
	st     *liteStmt
	own    bool
	rows   driver.Rows
	vals   []driver.Value
	err    error
	closed bool
}

func (r *liteRows) Next() bool {
	if r.err != nil || r.closed {
		return false
	}
	err := r.rows.Next(r.vals)
	if err == nil {
		return true
	}
	if !errors.Is(err, io.EOF) {
		r.err = liteError(err)
	}
	return false
}

func (r *liteRows) Scan(dest ...any) error {
	if len(dest) != len(r.vals) {
		return fmt.Errorf("%d columns for %d variables", len(r.vals), len(dest))
	}
	for i, d := range dest {
		if err := assign(d, r.vals[i]); err != nil {
			return fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	return nil
}

func (r *liteRows) Err() error { return r.err }

func (r *liteRows) Close() {
	if r.closed {
		return
	}
	r.closed, r.st.busy = true, false
	err := r.rows.Close()
	if r.own {
		err = errors.Join(err, r.st.stmt.Close())
	}
	if err != nil && r.err == nil {
		r.err = liteError(err)
	}
}

// liteError sorts SQLite's errors.
func liteError(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return &statementError{err: fmt.Errorf("%w: %w", ErrConflict, err)}
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE, sqlite3.SQLITE_TOOBIG:
		return &statementError{err: err}
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return &statementError{err: fmt.Errorf("%w: %w", ErrDamaged, err), lost: true}
	}
	// Busy, full, input and output, memory: these may roll back the whole
	// transaction (sqlite.org/lang_transaction.html §3.1).
	return &statementError{err: fmt.Errorf("%w: %w", ErrUnavailable, err), lost: true}
}

// liteCause gives SQLite's primary result code and own error, or 0 and the error
// itself.
func liteCause(err error) (int, error) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0, err
	}
	return e.Code() & 0xff, e
}
