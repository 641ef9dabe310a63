package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pennypost"
)

// AddImport stores an import that has no parts yet, and sets its ID and
// CreatedAt.
func (tx *Tx) AddImport(ctx context.Context, im *pennypost.Import) error {
	id, err := tx.next(ctx, "import")
	if err != nil {
		return err
	}
	im.ID, im.CreatedAt = pennypost.ImportID(id), tx.Now()
	_, err = tx.exec(ctx, `INSERT INTO imports (id, server_id, stream, status, total, processed, added, failed, errors, created_at,
			finished_at) VALUES ($1, $2, $3, $4, $5, 0, 0, 0, '', $6, 0)`,
		id, int64(im.ServerID), string(im.Stream), string(im.Status), int64(im.Total), timeToDB(im.CreatedAt))
	if err != nil {
		return fmt.Errorf("add import: %w", err)
	}
	return nil
}

// AddImportPart stores entries of an import.
func (tx *Tx) AddImportPart(ctx context.Context, id pennypost.ImportID, n int, entries []byte) error {
	_, err := tx.exec(ctx, `INSERT INTO import_parts (import_id, n, entries, checksum) VALUES ($1, $2, $3, $4)`,
		int64(id), int64(n), entries, sumPart(id, n, entries))
	if err != nil {
		return fmt.Errorf("add part of import %d: %w", id, err)
	}
	return nil
}

func sumPart(id pennypost.ImportID, n int, entries []byte) int64 {
	s := seal{}
	return s.num(int64(id), int64(n)).bytes(entries).sum()
}

const importColumns = `id, server_id, stream, status, total, processed, added, failed, errors, created_at, finished_at`

func scanImport(row scanner) (*pennypost.Import, error) {
	im := &pennypost.Import{}
	var errs string
	err := row.Scan(&im.ID, &im.ServerID, &im.Stream, &im.Status, &im.Total, &im.Processed, &im.Added, &im.Failed, &errs,
		intoTime(&im.CreatedAt), intoTime(&im.FinishedAt))
	if err == nil && errs != "" {
		err = json.Unmarshal([]byte(errs), &im.Errors)
	}
	return im, err
}

// Import gives an import of a server's stream, or ErrNotFound.
func (tx *Tx) Import(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, id pennypost.ImportID) (*pennypost.Import, error) {
	im, err := scanImport(tx.row(ctx, `SELECT `+importColumns+` FROM imports WHERE id = $1 AND server_id = $2 AND stream = $3`,
		int64(id), int64(server), string(stream)))
	if err != nil {
		return nil, fmt.Errorf("import %d: %w", id, err)
	}
	return im, nil
}

// OpenImports gives all imports that are not finished, by id.
func (tx *Tx) OpenImports(ctx context.Context) ([]pennypost.Import, error) {
	list, err := collect(tx, ctx, scanImport, `SELECT `+importColumns+` FROM imports WHERE finished_at = 0 ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list imports: %w", err)
	}
	return list, nil
}

// ImportPart gives the next entries of an import and their number; ErrNotFound
// when there are no more, ErrDamaged.
func (tx *Tx) ImportPart(ctx context.Context, id pennypost.ImportID) (n int, entries []byte, err error) {
	var sum int64
	err = tx.row(ctx, `SELECT n, entries, checksum FROM import_parts WHERE import_id = $1 ORDER BY n LIMIT 1`, int64(id)).
		Scan(&n, &entries, &sum)
	if err == nil && sum != sumPart(id, n, entries) {
		err = ErrDamaged
	}
	if err != nil {
		return n, nil, fmt.Errorf("part of import %d: %w", id, err)
	}
	return n, entries, nil
}

// EndImportPart deletes entries that were dealt with; ErrNotFound: somebody
// else did.
func (tx *Tx) EndImportPart(ctx context.Context, id pennypost.ImportID, n int) error {
	count, err := tx.exec(ctx, `DELETE FROM import_parts WHERE import_id = $1 AND n = $2`, int64(id), int64(n))
	return changed(count, err, "part of import", id)
}

// SetImport stores how far an import has come; ErrNotFound.
func (tx *Tx) SetImport(ctx context.Context, im *pennypost.Import) error {
	errs := ""
	if len(im.Errors) > 0 {
		errs = plain(jsonText(im.Errors))
	}
	n, err := tx.exec(ctx, `UPDATE imports SET status = $2, processed = $3, added = $4, failed = $5, errors = $6, finished_at = $7
		WHERE id = $1`, int64(im.ID), string(im.Status), int64(im.Processed), int64(im.Added), int64(im.Failed), errs,
		timeToDB(im.FinishedAt))
	return changed(n, err, "import", im.ID)
}

// importPartsAtOnce are deleted with a transaction: mail waits for it.
const importPartsAtOnce = 4

// DeleteImport deletes a little of an import, the import itself last, and tells
// whether there may be more. It is for imports that
// nobody works on.
func (tx *Tx) DeleteImport(ctx context.Context, id pennypost.ImportID) (more bool, err error) {
	n, err := tx.exec(ctx, `DELETE FROM import_parts WHERE import_id = $1 AND n IN (
		SELECT n FROM import_parts WHERE import_id = $1 ORDER BY n LIMIT $2)`, int64(id), int64(importPartsAtOnce))
	if err == nil && n < importPartsAtOnce {
		_, err = tx.exec(ctx, `DELETE FROM imports WHERE id = $1`, int64(id))
	}
	if err != nil {
		return false, fmt.Errorf("delete import %d: %w", id, err)
	}
	return n == importPartsAtOnce, nil
}

// DropImport deletes a little of an import that was not opened, and tells
// whether there may be more. One that was opened after all is left.
func (tx *Tx) DropImport(ctx context.Context, id pennypost.ImportID) (more bool, err error) {
	var status pennypost.ImportStatus
	err = tx.row(ctx, `SELECT status FROM imports WHERE id = $1`, int64(id)).Scan(&status)
	switch {
	case errors.Is(err, ErrNotFound): // a purge took it, and may have left what came after
	case err != nil:
		return false, fmt.Errorf("drop import %d: %w", id, err)
	case status != pennypost.ImportReceiving:
		return false, nil
	}
	return tx.DeleteImport(ctx, id)
}

// DeleteImports deletes a little of the imports that ended before a time, and of
// those whose parts had not all come although they began before another. It
// tells whether there was any.
func (tx *Tx) DeleteImports(ctx context.Context, ended, begun time.Time) (bool, error) {
	var id pennypost.ImportID
	err := tx.row(ctx, `SELECT id FROM imports WHERE finished_at <> 0 AND finished_at < $1
		OR finished_at = 0 AND status = $2 AND created_at < $3 ORDER BY id LIMIT 1`,
		timeToDB(ended), string(pennypost.ImportReceiving), timeToDB(begun)).Scan(&id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("list old imports: %w", err)
	}
	_, err = tx.DeleteImport(ctx, id)
	return true, err
}

// Importing tells whether an import into a stream is under way.
func (tx *Tx) Importing(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID) (bool, error) {
	ok, err := tx.exists(ctx, `SELECT 1 FROM imports WHERE server_id = $1 AND stream = $2 AND finished_at = 0 AND status <> $3`,
		int64(server), string(stream), string(pennypost.ImportReceiving))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return false, fmt.Errorf("imports of stream %q: %w", stream, err)
	}
	return ok, nil
}
