package store

import (
	"context"
	"fmt"
	"time"

	"pennypost"
)

// StatCount is what is added to the counters of the current hour.
type StatCount struct {
	Server pennypost.ServerID
	Stream pennypost.StreamID
	Tag    string

	Sent       int64 // recipients that were accepted and not suppressed
	Delivered  int64
	Deferred   int64 // attempts that failed for now
	Bounced    int64 // without SMTPErrors
	SMTPErrors int64 // SMTPApiError
}

// StatHour is what was counted in one hour (UTC).
type StatHour struct {
	StatCount
	Hour time.Time // its beginning
}

// CountStats adds to the counters of the transaction's hour.
func (tx *Tx) CountStats(ctx context.Context, c StatCount) error {
	hour := timeToDB(tx.Now().UTC().Truncate(time.Hour))
	_, err := tx.exec(ctx, `INSERT INTO stats_hourly (server_id, stream, hour, tag, slot, sent, delivered, deferred, bounced,
			smtp_errors) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (server_id, stream, hour, tag, slot) DO UPDATE SET sent = stats_hourly.sent + excluded.sent,
			delivered = stats_hourly.delivered + excluded.delivered, deferred = stats_hourly.deferred + excluded.deferred,
			bounced = stats_hourly.bounced + excluded.bounced, smtp_errors = stats_hourly.smtp_errors + excluded.smtp_errors`,
		int64(c.Server), string(c.Stream), hour, plain(c.Tag), tx.usageSlot(), c.Sent, c.Delivered, c.Deferred, c.Bounced, c.SMTPErrors)
	if err != nil {
		return fmt.Errorf("count statistics: %w", err)
	}
	return nil
}

// StatsHours gives the counters of a server's stream ("": all its streams) in
// the hours that begin from from until before to, by hour, stream and tag.
func (tx *Tx) StatsHours(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, from, to time.Time) ([]StatHour, error) {
	where := ` WHERE server_id = $1 AND hour >= $2 AND hour < $3`
	args := []any{int64(server), timeToDB(from), timeToDB(to)}
	if stream != "" {
		where += ` AND stream = $4`
		args = append(args, string(stream))
	}
	list, err := collect(tx, ctx, func(row scanner) (*StatHour, error) {
		h := &StatHour{StatCount: StatCount{Server: server}}
		return h, row.Scan(intoTime(&h.Hour), &h.Stream, &h.Tag, &h.Sent, &h.Delivered, &h.Deferred, &h.Bounced, &h.SMTPErrors)
	}, `SELECT hour, stream, tag, CAST(SUM(sent) AS BIGINT), CAST(SUM(delivered) AS BIGINT), CAST(SUM(deferred) AS BIGINT),
			CAST(SUM(bounced) AS BIGINT), CAST(SUM(smtp_errors) AS BIGINT)
		FROM stats_hourly`+where+` GROUP BY hour, stream, tag ORDER BY hour, stream, tag`, args...)
	if err != nil {
		return nil, fmt.Errorf("read statistics: %w", err)
	}
	return list, nil
}
