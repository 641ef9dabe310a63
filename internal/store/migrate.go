package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"pennypost"
)

//go:embed migrations/*.sql
var migrations embed.FS

// dialect is what differs between the engines in the schema.
type dialect struct {
	goose   goose.Dialect
	bytes   string // type of binary strings
	norowid string // a table that is its primary key's tree
	arg     string // the place of a statement's first argument
}

func (d dialect) render(text string) string {
	return strings.NewReplacer("{{bytes}}", d.bytes, "{{norowid}}", d.norowid).Replace(text)
}

func liteDialect() dialect {
	return dialect{goose: goose.DialectSQLite3, bytes: "BLOB", norowid: "WITHOUT ROWID", arg: "?"}
}

func postgresDialect() dialect {
	return dialect{goose: goose.DialectPostgres, bytes: "BYTEA", arg: "$1"}
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
			if _, err := tx.ExecContext(ctx, script); err != nil || version != foldsRecipients {
				return err
			}
			return d.foldRecipients(ctx, tx)
		}}, nil))
	}
	return steps, nil
}

// foldsRecipients is the step that has foldRecipients beside its file.
const foldsRecipients = 11

// foldRecipients writes recipient_key of bounces as pennypost.Address.Key gives
// it, where SQL's lower() may have given something else.
func (d dialect) foldRecipients(ctx context.Context, tx *sql.Tx) error {
	for last := int64(0); ; {
		page, err := wideRecipients(ctx, tx, last)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, b := range page {
			last = b.id
			query := fmt.Sprintf(`UPDATE bounces SET recipient_key = %s WHERE id = %d`, d.arg, b.id) //nolint:gosec // a constant of the dialect and a number
			if _, err := tx.ExecContext(ctx, query, b.recipient.Key()); err != nil {
				return err
			}
		}
	}
}

type wideRecipient struct {
	id        int64
	recipient pennypost.Address
}

// wideRecipients gives a page of the bounces after an id whose recipient is not
// all ASCII.
func wideRecipients(ctx context.Context, tx *sql.Tx, after int64) (page []wideRecipient, err error) {
	rows, err := tx.QueryContext(ctx, fmt.Sprintf(`SELECT id, recipient FROM bounces
		WHERE id > %d AND octet_length(recipient) <> length(recipient) ORDER BY id LIMIT 1000`, after))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var b wideRecipient
		if err := rows.Scan(&b.id, &b.recipient); err != nil {
			return nil, err
		}
		page = append(page, b)
	}
	return page, rows.Err()
}
