package store

import (
	"context"
	"fmt"
	"time"

	"pennypost"
)

// readingColumns are what opens and clicks have in common.
const readingColumns = `message_id, n, machine, rule, id, at, count, last_at, account_id, server_id, stream, recipient,
	recipient_key, tag, user_agent, client_name, client_company, client_family, os_name, os_company, os_family, platform,
	country_code, country, region_code, region, city, zip, coords, ip`

const readingPlaces = `$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
	$24, $25, $26, $27, $28, $29, $30`

func readingArgs(r *pennypost.Reading) []any {
	p := &r.Place
	return []any{
		r.MessageID[:], int64(r.N), flag(r.Machine != ""), r.Machine, r.ID, timeToDB(r.At), int64(1), timeToDB(r.At),
		int64(r.AccountID), int64(r.ServerID), string(r.Stream), string(r.Recipient), r.Recipient.Key(), plain(r.Tag),
		plain(r.UserAgent), plain(r.Client.Name), plain(r.Client.Company), plain(r.Client.Family), plain(r.OS.Name),
		plain(r.OS.Company), plain(r.OS.Family), string(r.Platform), plain(p.CountryISOCode), plain(p.Country),
		plain(p.RegionISOCode), plain(p.Region), plain(p.City), plain(p.Zip), plain(p.Coords), p.IP,
	}
}

// readingRow is the common part as it is read.
type readingRow struct {
	r      *pennypost.Reading
	count  *int
	lastAt *time.Time

	id      []byte
	machine bool
	key     string
}

func (row *readingRow) dest() []any {
	r := row.r
	p := &r.Place
	return []any{
		&row.id, &r.N, intoBool(&row.machine), &r.Machine, &r.ID, intoTime(&r.At), row.count, intoTime(row.lastAt), &r.AccountID,
		&r.ServerID, &r.Stream, &r.Recipient, &row.key, &r.Tag, &r.UserAgent, &r.Client.Name, &r.Client.Company, &r.Client.Family,
		&r.OS.Name, &r.OS.Company, &r.OS.Family, &r.Platform, &p.CountryISOCode, &p.Country, &p.RegionISOCode, &p.Region, &p.City,
		&p.Zip, &p.Coords, &p.IP,
	}
}

// setReading gives an id and a time to a reading that has none.
func (tx *Tx) setReading(r *pennypost.Reading) {
	if r.ID == 0 {
		r.ID = tx.s.NextID()
	}
	if r.At.IsZero() {
		r.At = tx.Now()
	}
}

// AddOpen stores an open if it is the recipient's first, and counts it in that
// one otherwise. It tells whether it was the first. Those of machines are apart.
func (tx *Tx) AddOpen(ctx context.Context, r *pennypost.Reading) (first bool, err error) {
	tx.setReading(r)
	n, err := tx.exec(ctx, `INSERT INTO opens (`+readingColumns+`) VALUES (`+readingPlaces+`)
		ON CONFLICT (message_id, n, machine) DO NOTHING`, readingArgs(r)...)
	if err == nil && n == 0 {
		_, err = tx.exec(ctx, `UPDATE opens SET count = count + 1, last_at = $4 WHERE message_id = $1 AND n = $2 AND machine = $3`,
			r.MessageID[:], int64(r.N), flag(r.Machine != ""), timeToDB(r.At))
	}
	if err != nil {
		return false, fmt.Errorf("add open: %w", err)
	}
	return n > 0, nil
}

// AddClick does for the recipient's clicks on one link what AddOpen does for
// opens.
func (tx *Tx) AddClick(ctx context.Context, c *pennypost.Click) (first bool, err error) {
	tx.setReading(&c.Reading)
	n, err := tx.exec(ctx, `INSERT INTO clicks (`+readingColumns+`, link, location, target) VALUES (`+readingPlaces+`, $31, $32, $33)
		ON CONFLICT (message_id, n, link, machine) DO NOTHING`,
		append(readingArgs(&c.Reading), int64(c.Link), string(c.Location), plain(c.Target))...)
	if err == nil && n == 0 {
		_, err = tx.exec(ctx, `UPDATE clicks SET count = count + 1, last_at = $5
			WHERE message_id = $1 AND n = $2 AND machine = $3 AND link = $4`,
			c.MessageID[:], int64(c.N), flag(c.Machine != ""), int64(c.Link), timeToDB(c.At))
	}
	if err != nil {
		return false, fmt.Errorf("add click: %w", err)
	}
	return n > 0, nil
}

func scanOpen(row scanner) (*pennypost.Open, error) {
	o := &pennypost.Open{}
	r := readingRow{r: &o.Reading, count: &o.Count, lastAt: &o.LastAt}
	if err := row.Scan(r.dest()...); err != nil {
		return nil, err
	}
	copy(o.MessageID[:], r.id)
	return o, nil
}

func scanClick(row scanner) (*pennypost.Click, error) {
	c := &pennypost.Click{}
	r := readingRow{r: &c.Reading, count: &c.Count, lastAt: &c.LastAt}
	if err := row.Scan(append(r.dest(), &c.Link, &c.Location, &c.Target)...); err != nil {
		return nil, err
	}
	copy(c.MessageID[:], r.id)
	return c, nil
}

// Opens gives the first opens of a message's recipients, by time, those of
// machines included.
func (tx *Tx) Opens(ctx context.Context, id pennypost.MessageID) ([]pennypost.Open, error) {
	list, err := collect(tx, ctx, scanOpen, `SELECT `+readingColumns+` FROM opens WHERE message_id = $1 ORDER BY id`, id[:])
	if err != nil {
		return nil, fmt.Errorf("opens of message %s: %w", id, err)
	}
	return list, nil
}

// Clicks gives the first clicks on a message's links, by time, those of
// machines included.
func (tx *Tx) Clicks(ctx context.Context, id pennypost.MessageID) ([]pennypost.Click, error) {
	list, err := collect(tx, ctx, scanClick,
		`SELECT `+readingColumns+`, link, location, target FROM clicks WHERE message_id = $1 ORDER BY id`, id[:])
	if err != nil {
		return nil, fmt.Errorf("clicks of message %s: %w", id, err)
	}
	return list, nil
}
