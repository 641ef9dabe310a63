package store

import (
	"context"
	"fmt"
	"time"

	"pennypost"
)

// ReadingKind is what first opens and first clicks are counted by
// (contract/stats.md §3).
type ReadingKind string

// The kinds: the series that has the name as a key.
const (
	OpenPlatform  ReadingKind = "open platform"
	OpenClient    ReadingKind = "open client" // opens whose client is known
	ClickPlatform ReadingKind = "click platform"
	ClickBrowser  ReadingKind = "click browser" // clicks whose browser is known
	ClickLocation ReadingKind = "click location"
)

// ReadingCount is how many first opens or clicks had a name in an hour.
type ReadingCount struct {
	Server pennypost.ServerID
	Stream pennypost.StreamID
	Tag    string
	Hour   time.Time // its beginning, UTC
	Kind   ReadingKind
	Name   string
	N      int64
}

// CountReading adds one to a name in the transaction's hour. Names come from
// our own tables, so that they are few.
func (tx *Tx) CountReading(ctx context.Context, r *pennypost.Reading, kind ReadingKind, name string) error {
	_, err := tx.exec(ctx, `INSERT INTO stats_readings (server_id, stream, hour, tag, kind, name, slot, n)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 1)
		ON CONFLICT (server_id, stream, hour, tag, kind, name, slot) DO UPDATE SET n = stats_readings.n + 1`,
		int64(r.ServerID), string(r.Stream), timeToDB(tx.Now().UTC().Truncate(time.Hour)), plain(r.Tag), string(kind), plain(name),
		tx.usageSlot())
	if err != nil {
		return fmt.Errorf("count readings: %w", err)
	}
	return nil
}

// ReadingCounts gives the counts of one kind for a server's stream ("": all its
// streams) in the hours that begin from from until before to.
func (tx *Tx) ReadingCounts(
	ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, kind ReadingKind, from, to time.Time,
) ([]ReadingCount, error) {
	where := ` WHERE server_id = $1 AND kind = $2 AND hour >= $3 AND hour < $4`
	args := []any{int64(server), string(kind), timeToDB(from), timeToDB(to)}
	if stream != "" {
		where += ` AND stream = $5`
		args = append(args, string(stream))
	}
	list, err := collect(tx, ctx, func(row scanner) (*ReadingCount, error) {
		c := &ReadingCount{Server: server, Kind: kind}
		return c, row.Scan(intoTime(&c.Hour), &c.Stream, &c.Tag, &c.Name, &c.N)
	}, `SELECT hour, stream, tag, name, CAST(SUM(n) AS BIGINT) FROM stats_readings`+where+`
		GROUP BY hour, stream, tag, name ORDER BY hour, stream, tag, name`, args...)
	if err != nil {
		return nil, fmt.Errorf("read counts of readings: %w", err)
	}
	return list, nil
}
