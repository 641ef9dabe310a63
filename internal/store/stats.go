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

	Tracked      int64 // recipients of mail with open or link tracking
	TrackedOpens int64 // of these, with open tracking
	TrackedLinks int64 // and with link tracking
	LinksSent    int64 // tracked links in their copies
	Opens        int64 // all opens
	UniqueOpens  int64 // first opens
	Clicks       int64 // all clicks
	UniqueClicks int64 // first clicks of a recipient on a link

	MachineOpens, MachineClicks int64 // not in the figures above
}

// Plus sums up two counts. Server, stream and tag are those of the first.
func (c StatCount) Plus(o StatCount) StatCount {
	c.Sent += o.Sent
	c.Delivered += o.Delivered
	c.Deferred += o.Deferred
	c.Bounced += o.Bounced
	c.SMTPErrors += o.SMTPErrors
	c.Tracked += o.Tracked
	c.TrackedOpens += o.TrackedOpens
	c.TrackedLinks += o.TrackedLinks
	c.LinksSent += o.LinksSent
	c.Opens += o.Opens
	c.UniqueOpens += o.UniqueOpens
	c.Clicks += o.Clicks
	c.UniqueClicks += o.UniqueClicks
	c.MachineOpens += o.MachineOpens
	c.MachineClicks += o.MachineClicks
	return c
}

// StatHour is what was counted in one hour (UTC).
type StatHour struct {
	StatCount
	Hour time.Time // its beginning
}

// CountStats adds to the counters of the transaction's hour. On SQLite the
// closures that share a transaction mostly count in the same few rows, which
// are written once, before its commit (counter).
func (tx *Tx) CountStats(ctx context.Context, c StatCount) error {
	h := StatHour{StatCount: c, Hour: tx.Now().UTC().Truncate(time.Hour)}
	h.Tag = plain(h.Tag)
	if tx.postgres() {
		return tx.addStats(ctx, &h)
	}
	if tx.err != nil {
		return tx.err
	}
	tx.counts = append(tx.counts, h)
	return nil
}

// UncountStats adds to the counters of the hour of a moment in the past what is
// taken back of them: the counts are negative.
func (tx *Tx) UncountStats(ctx context.Context, c StatCount, at time.Time) error {
	c.Tag = plain(c.Tag)
	return tx.addStats(ctx, &StatHour{StatCount: c, Hour: at.UTC().Truncate(time.Hour)})
}

// writeCounts writes what the transaction has counted so far.
func (tx *Tx) writeCounts(ctx context.Context) error {
	for i := range tx.counts {
		if err := tx.addStats(ctx, &tx.counts[i]); err != nil {
			return err
		}
	}
	tx.counts = tx.counts[:0]
	return nil
}

// counter sums up what the closures of a transaction counted.
type counter struct{ sums map[counterKey]*StatHour }

type counterKey struct {
	server pennypost.ServerID
	stream pennypost.StreamID
	tag    string
	hour   int64
}

func (c *counter) add(list []StatHour) {
	for i := range list {
		h := &list[i]
		k := counterKey{h.Server, h.Stream, h.Tag, timeToDB(h.Hour)}
		sum := c.sums[k]
		if sum == nil {
			if c.sums == nil {
				c.sums = make(map[counterKey]*StatHour)
			}
			copied := *h
			c.sums[k] = &copied
			continue
		}
		sum.StatCount = sum.Plus(h.StatCount)
	}
}

func (c *counter) write(ctx context.Context, tx *Tx) error {
	for _, h := range c.sums {
		if err := tx.addStats(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

func (c *counter) forget() { clear(c.sums) }

func (tx *Tx) addStats(ctx context.Context, h *StatHour) error {
	_, err := tx.exec(ctx, `INSERT INTO stats_hourly (server_id, stream, hour, tag, slot, sent, delivered, deferred, bounced,
			smtp_errors, tracked, tracked_opens, tracked_links, links_sent, opens, unique_opens, clicks, unique_clicks,
			machine_opens, machine_clicks)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
		ON CONFLICT (server_id, stream, hour, tag, slot) DO UPDATE SET sent = stats_hourly.sent + excluded.sent,
			delivered = stats_hourly.delivered + excluded.delivered, deferred = stats_hourly.deferred + excluded.deferred,
			bounced = stats_hourly.bounced + excluded.bounced, smtp_errors = stats_hourly.smtp_errors + excluded.smtp_errors,
			tracked = stats_hourly.tracked + excluded.tracked,
			tracked_opens = stats_hourly.tracked_opens + excluded.tracked_opens,
			tracked_links = stats_hourly.tracked_links + excluded.tracked_links,
			links_sent = stats_hourly.links_sent + excluded.links_sent, opens = stats_hourly.opens + excluded.opens,
			unique_opens = stats_hourly.unique_opens + excluded.unique_opens, clicks = stats_hourly.clicks + excluded.clicks,
			unique_clicks = stats_hourly.unique_clicks + excluded.unique_clicks,
			machine_opens = stats_hourly.machine_opens + excluded.machine_opens,
			machine_clicks = stats_hourly.machine_clicks + excluded.machine_clicks`,
		int64(h.Server), string(h.Stream), timeToDB(h.Hour), h.Tag, tx.usageSlot(), h.Sent, h.Delivered, h.Deferred, h.Bounced,
		h.SMTPErrors, h.Tracked, h.TrackedOpens, h.TrackedLinks, h.LinksSent, h.Opens, h.UniqueOpens, h.Clicks, h.UniqueClicks,
		h.MachineOpens, h.MachineClicks)
	if err != nil {
		return fmt.Errorf("count statistics: %w", err)
	}
	return nil
}

// StatsHours gives the counters of a server's stream ("": all its streams) in
// the hours that begin from from until before to, by hour, stream and tag.
func (tx *Tx) StatsHours(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, from, to time.Time) ([]StatHour, error) {
	if err := tx.writeCounts(ctx); err != nil {
		return nil, err
	}
	where := ` WHERE server_id = $1 AND hour >= $2 AND hour < $3`
	args := []any{int64(server), timeToDB(from), timeToDB(to)}
	if stream != "" {
		where += ` AND stream = $4`
		args = append(args, string(stream))
	}
	list, err := collect(tx, ctx, func(row scanner) (*StatHour, error) {
		h := &StatHour{StatCount: StatCount{Server: server}}
		return h, row.Scan(intoTime(&h.Hour), &h.Stream, &h.Tag, &h.Sent, &h.Delivered, &h.Deferred, &h.Bounced, &h.SMTPErrors,
			&h.Tracked, &h.TrackedOpens, &h.TrackedLinks, &h.LinksSent, &h.Opens, &h.UniqueOpens, &h.Clicks, &h.UniqueClicks,
			&h.MachineOpens, &h.MachineClicks)
	}, `SELECT hour, stream, tag, CAST(SUM(sent) AS BIGINT), CAST(SUM(delivered) AS BIGINT), CAST(SUM(deferred) AS BIGINT),
			CAST(SUM(bounced) AS BIGINT), CAST(SUM(smtp_errors) AS BIGINT), CAST(SUM(tracked) AS BIGINT),
			CAST(SUM(tracked_opens) AS BIGINT), CAST(SUM(tracked_links) AS BIGINT), CAST(SUM(links_sent) AS BIGINT),
			CAST(SUM(opens) AS BIGINT), CAST(SUM(unique_opens) AS BIGINT), CAST(SUM(clicks) AS BIGINT),
			CAST(SUM(unique_clicks) AS BIGINT), CAST(SUM(machine_opens) AS BIGINT), CAST(SUM(machine_clicks) AS BIGINT)
		FROM stats_hourly`+where+` GROUP BY hour, stream, tag ORDER BY hour, stream, tag`, args...)
	if err != nil {
		return nil, fmt.Errorf("read statistics: %w", err)
	}
	return list, nil
}
