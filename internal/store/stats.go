package store

import (
	"context"
	"fmt"
	"time"

	"pennypost"
)

// StatCount is what is added to the counters of an hour.
type StatCount struct {
	Server pennypost.ServerID
	Stream pennypost.StreamID
	Tag    string
	// Recipients, by what happened.
	Sent, Delivered, Deferred, Bounced int64
	SMTPErrors                         int64 // SMTPApiError events
}

// CountStats adds to the counters of the transaction's hour (UTC).
func (tx *Tx) CountStats(ctx context.Context, c StatCount) error {
	_, err := tx.exec(ctx, `INSERT INTO stats_hourly (server_id, stream, hour, tag, slot, sent, delivered, deferred, bounced, smtp_errors)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (server_id, stream, hour, tag, slot) DO UPDATE SET sent = stats_hourly.sent + excluded.sent,
			delivered = stats_hourly.delivered + excluded.delivered, deferred = stats_hourly.deferred + excluded.deferred,
			bounced = stats_hourly.bounced + excluded.bounced, smtp_errors = stats_hourly.smtp_errors + excluded.smtp_errors`,
		int64(c.Server), string(c.Stream), hourOf(tx.Now()), c.Tag, tx.usageSlot(), c.Sent, c.Delivered, c.Deferred, c.Bounced, c.SMTPErrors)
	if err != nil {
		return fmt.Errorf("count: %w", err)
	}
	return nil
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// StatHour is the counters of one hour and tag.
type StatHour struct {
	Hour time.Time // its first instant
	StatCount
}

// StatsHours gives the counters of a stream's hours in [from, to), oldest
// first, by tag.
func (tx *Tx) StatsHours(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, from, to time.Time) ([]StatHour, error) {
	list, err := collect(tx, ctx, func(row scanner) (*StatHour, error) {
		h := &StatHour{StatCount: StatCount{Server: server, Stream: stream}}
		var hour int64
		err := row.Scan(&hour, &h.Tag, &h.Sent, &h.Delivered, &h.Deferred, &h.Bounced, &h.SMTPErrors)
		h.Hour = time.Unix(hour*3600, 0).UTC()
		return h, err
	}, `SELECT hour, tag, CAST(SUM(sent) AS BIGINT), CAST(SUM(delivered) AS BIGINT), CAST(SUM(deferred) AS BIGINT),
			CAST(SUM(bounced) AS BIGINT), CAST(SUM(smtp_errors) AS BIGINT)
		FROM stats_hourly WHERE server_id = $1 AND stream = $2 AND hour >= $3 AND hour < $4 GROUP BY hour, tag ORDER BY hour, tag`,
		int64(server), string(stream), hourOf(from), hourOf(to.Add(time.Hour-1)))
	if err != nil {
		return nil, fmt.Errorf("read statistics: %w", err)
	}
	return list, nil
}
