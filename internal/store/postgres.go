package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgres is the store on PostgreSQL: each Update has a transaction of its
// own on a bounded pool.
type postgres struct {
	s    *Store
	pool *pgxpool.Pool
}

// allowLoss is the parameter of the URL that admits a server of tests.
const allowLoss = "allow_data_loss"

// maxTries is how often an update runs that PostgreSQL could not serialize.
const maxTries = 10

func openPostgres(ctx context.Context, s *Store, c *Config) (*postgres, error) {
	conf, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, errors.New("database URL is not understood") // the error may hold the password
	}
	lossy := conf.ConnConfig.RuntimeParams[allowLoss] == "yes"
	delete(conf.ConnConfig.RuntimeParams, allowLoss)
	if !strings.Contains(c.URL, "pool_max_conns") {
		conf.MaxConns = int32(max(16, 4*runtime.GOMAXPROCS(0))) //nolint:gosec // small
	}
	if conf.ConnConfig.RuntimeParams["application_name"] == "" {
		conf.ConnConfig.RuntimeParams["application_name"] = "pennypost"
	}
	pool, err := pgxpool.NewWithConfig(ctx, conf)
	if err != nil {
		return nil, err
	}
	p := &postgres{s: s, pool: pool}
	if err := p.prepare(ctx, lossy); err != nil {
		pool.Close()
		return nil, err
	}
	return p, nil
}

// prepare checks that an acknowledged commit is on disk, and brings the schema
// up to date.
func (p *postgres) prepare(ctx context.Context, lossy bool) (err error) {
	var version, fsync, commit string
	err = p.pool.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit')`).
		Scan(&version, &fsync, &commit)
	if err != nil {
		return pgError(err)
	}
	if !lossy && (fsync == "off" || commit == "off") {
		return fmt.Errorf("PostgreSQL would lose acknowledged mail at power loss: fsync is %s, synchronous_commit is %s", fsync, commit)
	}
	p.s.engine = "postgres " + version
	db := stdlib.OpenDBFromPool(p.pool)
	defer func() { err = errors.Join(err, db.Close()) }()
	return migrate(ctx, db, postgresDialect())
}

func (p *postgres) close() error {
	p.pool.Close()
	return nil
}

func (p *postgres) update(ctx context.Context, fn func(tx *Tx) error) error {
	for try := 1; ; try++ {
		err := p.transact(ctx, `BEGIN`, fn)
		if err == nil || !serialization(err) {
			return err
		}
		if try == maxTries {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		wait := time.Duration(rand.Int64N(int64(time.Millisecond) << try)) //nolint:gosec // spreads those that collided
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (p *postgres) view(ctx context.Context, fn func(tx *Tx) error) error {
	return p.transact(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`, fn)
}

func (p *postgres) transact(ctx context.Context, begin string, fn func(tx *Tx) error) error {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return pgError(err)
	}
	defer conn.Release() // closes it when a transaction is open still
	tx := &Tx{s: p.s, q: pgConn{conn.Conn()}}
	if tx.now, err = beginPostgres(ctx, conn.Conn(), begin); err != nil {
		return err
	}
	settled := false
	defer func() {
		tx.err = errors.Join(tx.err, errTxDone)
		if !settled { // it failed or panicked
			rollback, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_, _ = conn.Exec(rollback, `ROLLBACK`) //nolint:errcheck // Release closes the connection when this fails
		}
	}()
	if err := fn(tx); err != nil {
		return err
	}
	if tx.err != nil {
		return tx.err
	}
	settled = true
	return commitPostgres(ctx, conn.Conn())
}

// beginPostgres begins a transaction and asks for its time, in one round trip.
func beginPostgres(ctx context.Context, conn *pgx.Conn, begin string) (time.Time, error) {
	b := &pgx.Batch{}
	b.Queue(begin)
	b.Queue(`SELECT CAST(EXTRACT(EPOCH FROM now()) * 1000000 AS BIGINT)`)
	res := conn.SendBatch(ctx, b)
	_, err := res.Exec()
	var us int64
	if err == nil {
		err = res.QueryRow().Scan(&us)
	}
	if cerr := res.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return time.Time{}, pgConn{conn}.sort(err)
	}
	return timeFromDB(us), nil
}

func commitPostgres(ctx context.Context, conn *pgx.Conn) error {
	// A context that ends now would only leave the outcome open.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	tag, err := conn.Exec(ctx, `COMMIT`)
	var server *pgconn.PgError
	switch {
	case err == nil && tag.String() == "COMMIT":
		return nil
	case err == nil:
		return fmt.Errorf("transaction ended with %s", tag.String())
	case errors.As(err, &server) && !pgGone(server):
		return pgError(err)
	}
	// The connection went while COMMIT was on its way.
	return fmt.Errorf("%w: %w", ErrUnknown, err)
}

// pgConn is a connection with a transaction.
type pgConn struct{ conn *pgx.Conn }

func (c pgConn) exec(ctx context.Context, query string, args []any) (int64, error) {
	tag, err := c.conn.Exec(ctx, query, args...)
	if err != nil {
		return 0, c.sort(err)
	}
	return tag.RowsAffected(), nil
}

func (c pgConn) query(ctx context.Context, query string, args []any) (rows, error) {
	r, err := c.conn.Query(ctx, query, args...)
	if err != nil {
		return nil, c.sort(err)
	}
	return pgRows{r, c}, nil
}

// sort is pgError for an error on a connection, which may be gone because of
// it.
func (c pgConn) sort(err error) error {
	var server *pgconn.PgError
	if err == nil || ended(err) || errors.As(err, &server) || !c.conn.IsClosed() {
		return pgError(err)
	}
	return &statementError{err: fmt.Errorf("%w: %w", ErrUnavailable, err)}
}

type pgRows struct {
	pgx.Rows
	c pgConn
}

func (r pgRows) Err() error { return r.c.sort(r.Rows.Err()) }

// serialization tells whether the transaction may succeed when it runs again
// (SQLSTATE 40001 serialization_failure, 40P01 deadlock_detected).
func serialization(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40001" || e.Code == "40P01")
}

// pgGone tells whether the server is ending the connection (SQLSTATE class 57:
// operator intervention).
func pgGone(e *pgconn.PgError) bool { return strings.HasPrefix(e.Code, "57P") }

// pgError sorts PostgreSQL's errors.
func pgError(err error) error {
	if err == nil || ended(err) {
		return err
	}
	var e *pgconn.PgError
	if errors.As(err, &e) {
		switch {
		case e.Code == "23505": // unique_violation
			return &statementError{err: fmt.Errorf("%w: %w", ErrConflict, err)}
		case pgGone(e), strings.HasPrefix(e.Code, "53"), strings.HasPrefix(e.Code, "08"), e.Code == "25006":
			// Out of resources, connection lost, a standby.
			return &statementError{err: fmt.Errorf("%w: %w", ErrUnavailable, err)}
		}
		return &statementError{err: err}
	}
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed") {
		return &statementError{err: fmt.Errorf("%w: %w", ErrUnavailable, err)}
	}
	return err
}
