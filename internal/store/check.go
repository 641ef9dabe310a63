package store

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
)

// maxFindings is how many findings a check gives.
const maxFindings = 20

// Check reads the whole SQLite database of a data directory and gives what is
// wrong with it: pages, the order of trees, and indexes that are not what their
// tables say (sqlite.org/pragma.html#pragma_integrity_check). The service may
// run meanwhile; nothing is written, not even what waits in the log. It takes about a second for a gigabyte that is in the kernel's
// cache. What checksums of rows tell is found when the rows are read.
func Check(ctx context.Context, dir string) ([]string, error) {
	path := (&url.URL{Path: filepath.Join(dir, "pennypost.db")}).EscapedPath()
	c, err := dialLite(ctx, "file:"+path+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, fmt.Errorf("check database: %w", err)
	}
	defer func() { _ = c.close() }() // nothing was written
	rows, err := c.query(ctx, fmt.Sprintf(`PRAGMA integrity_check(%d)`, maxFindings), nil)
	if err != nil {
		return nil, fmt.Errorf("check database: %w", err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("check database: %w", err)
		}
		if text != "ok" {
			list = append(list, text)
		}
	}
	if err := rows.Err(); err != nil {
		return list, fmt.Errorf("check database: %w", err)
	}
	return list, nil
}
