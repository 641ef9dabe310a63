package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// dialect is what differs between the engines in the schema.
type dialect struct {
	goose   goose.Dialect
	bytes   string // type of binary strings
	norowid string // a table that is its primary key's tree
}

func (d dialect) render(text string) string {
	return strings.NewReplacer("{{bytes}}", d.bytes, "{{norowid}}", d.norowid).Replace(text)
}

func liteDialect() dialect {
	return dialect{goose: goose.DialectSQLite3, bytes: "BLOB", norowid: "WITHOUT ROWID"}
}

func postgresDialect() dialect {
	return dialect{goose: goose.DialectPostgres, bytes: "BYTEA"}
}

// migrate brings the schema up to date: numbered steps, forward only, each in
// a transaction.
func migrate(ctx context.Context, db *sql.DB, d dialect) error {
	steps, err := d.steps()
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	opts := []goose.ProviderOption{
		goose.WithGoMigrations(steps...), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()),
	}
	if d.goose == goose.DialectPostgres {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 600)) // asks each second, for ten minutes
		if err != nil {
			return fmt.Errorf("lock for migrations: %w", err)
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(d.goose, db, nil, opts...)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// steps makes goose's migrations of the files, which are named by number.
func (d dialect) steps() ([]*goose.Migration, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var steps []*goose.Migration
	for _, name := range names {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, "migrations/"), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		text, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		script := d.render(string(text))
		steps = append(steps, goose.NewGoMigration(version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, script)
			return err
		}}, nil))
	}
	return steps, nil
}
