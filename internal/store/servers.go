package store

import (
	"context"
	"fmt"
	"strings"

	"pennypost"
)

const serverColumns = `id, account_id, name, color, sandbox, smtp_activated, smtp_api_token_auth, smtp_rejection,
	raw_email, inbound_hash, inbound_domain, inbound_hook_url, inbound_spam_threshold, bounce_hook_url,
	open_hook_url, delivery_hook_url, click_hook_url, post_first_open_only, track_opens, track_links,
	bounce_content_in_hook, smtp_error_hooks, monthly_limit, suspended_at, suspend_reason, created_at`

// serverSelect has the columns that are written by a statement of their own too.
const serverSelect = serverColumns + `, allowed_ips`

func scanServer(row scanner) (*pennypost.Server, error) {
	s := &pennypost.Server{}
	err := row.Scan(&s.ID, &s.AccountID, &s.Name, &s.Color, intoBool(&s.Sandbox), intoBool(&s.SMTPActivated),
		intoBool(&s.SMTPAPITokenAuth), &s.SMTPRejection, intoBool(&s.RawEmail), &s.InboundHash, &s.InboundDomain,
		&s.InboundHookURL, &s.SpamThreshold, &s.BounceHookURL, &s.OpenHookURL, &s.DeliveryHookURL, &s.ClickHookURL,
		intoBool(&s.PostFirstOpenOnly), intoBool(&s.TrackOpens), &s.TrackLinks, intoBool(&s.BounceContent),
		intoBool(&s.SMTPErrorHooks), &s.MonthlyLimit, intoTime(&s.Suspension.Since), &s.Suspension.Reason,
		intoTime(&s.CreatedAt), intoPrefixes(&s.AllowedIPs))
	if err != nil {
		return nil, err
	}
	return s, nil
}

// AddServer stores a new server, and sets its ID and CreatedAt. ErrConflict:
// name or inbound domain is taken.
func (tx *Tx) AddServer(ctx context.Context, s *pennypost.Server) error {
	id, err := tx.next(ctx, "server")
	if err != nil {
		return err
	}
	s.ID, s.CreatedAt = pennypost.ServerID(id), tx.Now()
	_, err = tx.exec(ctx, `INSERT INTO servers (`+serverColumns+`, name_key, release_due, deleted_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
			$23, $24, $25, $26, $27, 0, 0)`,
		int64(s.ID), int64(s.AccountID), s.Name, s.Color, flag(s.Sandbox), flag(s.SMTPActivated),
		flag(s.SMTPAPITokenAuth), string(s.SMTPRejection), flag(s.RawEmail), s.InboundHash, s.InboundDomain,
		s.InboundHookURL, int64(s.SpamThreshold), s.BounceHookURL, s.OpenHookURL, s.DeliveryHookURL, s.ClickHookURL,
		flag(s.PostFirstOpenOnly), flag(s.TrackOpens), string(s.TrackLinks), flag(s.BounceContent),
		flag(s.SMTPErrorHooks), s.MonthlyLimit, timeToDB(s.Suspension.Since), s.Suspension.Reason,
		timeToDB(s.CreatedAt), strings.ToLower(s.Name))
	if err != nil {
		return fmt.Errorf("add server: %w", err)
	}
	return tx.setAllowedIPs(ctx, s)
}

// Server gives a server of an account that was not deleted, or ErrNotFound.
func (tx *Tx) Server(ctx context.Context, account pennypost.AccountID, id pennypost.ServerID) (*pennypost.Server, error) {
	s, err := scanServer(tx.row(ctx, `SELECT `+serverSelect+` FROM servers
		WHERE id = $1 AND account_id = $2 AND deleted_at = 0`, int64(id), int64(account)))
	if err != nil {
		return nil, fmt.Errorf("server %d: %w", id, err)
	}
	return s, nil
}

// AnyServer gives a server of whichever account, for the operator and for our
// own work; ErrNotFound when there is none or it was deleted.
func (tx *Tx) AnyServer(ctx context.Context, id pennypost.ServerID) (*pennypost.Server, error) {
	s, err := scanServer(tx.row(ctx, `SELECT `+serverSelect+` FROM servers
		WHERE id = $1 AND deleted_at = 0`, int64(id)))
	if err != nil {
		return nil, fmt.Errorf("server %d: %w", id, err)
	}
	return s, nil
}

// ServerNameTaken tells whether another server of the account has a name; case
// does not matter.
func (tx *Tx) ServerNameTaken(ctx context.Context, account pennypost.AccountID, name string, but pennypost.ServerID) (bool, error) {
	return tx.exists(ctx, `SELECT 1 FROM servers WHERE account_id = $1 AND name_key = $2 AND id <> $3 AND deleted_at = 0`,
		int64(account), strings.ToLower(name), int64(but))
}

// InboundDomainTaken tells whether another server, of any account, has an
// inbound domain.
func (tx *Tx) InboundDomainTaken(ctx context.Context, domain string, but pennypost.ServerID) (bool, error) {
	return tx.exists(ctx, `SELECT 1 FROM servers WHERE inbound_domain = $1 AND inbound_domain <> '' AND id <> $2 AND deleted_at = 0`,
		domain, int64(but))
}

// Servers gives a page of an account's servers by id, those whose name
// contains a text in whichever case, and how many such there are.
func (tx *Tx) Servers(ctx context.Context, account pennypost.AccountID, name string, count, offset int) ([]pennypost.Server, int, error) {
	const where = ` FROM servers WHERE account_id = $1 AND deleted_at = 0 AND name_key LIKE $2 ESCAPE '!'`
	like := "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(strings.ToLower(name)) + "%"
	var total int
	if err := tx.row(ctx, `SELECT COUNT(*)`+where, int64(account), like).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count servers: %w", err)
	}
	list, err := collect(tx, ctx, scanServer, `SELECT `+serverSelect+where+` ORDER BY id LIMIT $3 OFFSET $4`,
		int64(account), like, int64(count), int64(offset))
	if err != nil {
		return nil, 0, fmt.Errorf("list servers: %w", err)
	}
	return list, total, nil
}

// ServerIDs gives the ids of an account's servers.
func (tx *Tx) ServerIDs(ctx context.Context, account pennypost.AccountID) ([]pennypost.ServerID, error) {
	list, err := collect(tx, ctx, scanServerID,
		`SELECT id FROM servers WHERE account_id = $1 AND deleted_at = 0 ORDER BY id`, int64(account))
	if err != nil {
		return nil, fmt.Errorf("list servers: %w", err)
	}
	return list, nil
}

func scanServerID(row scanner) (*pennypost.ServerID, error) {
	var id pennypost.ServerID
	return &id, row.Scan(&id)
}

// SetServer stores all that may change of a server. ErrConflict: name or
// inbound domain is taken; ErrNotFound.
func (tx *Tx) SetServer(ctx context.Context, s *pennypost.Server) error {
	if err := tx.lockAccept(ctx, 0, s.ID, false); err != nil {
		return err
	}
	n, err := tx.exec(ctx, `UPDATE servers SET name = $3, color = $4, smtp_activated = $5, smtp_api_token_auth = $6,
		smtp_rejection = $7, raw_email = $8, inbound_domain = $9, inbound_hook_url = $10, inbound_spam_threshold = $11,
		bounce_hook_url = $12, open_hook_url = $13, delivery_hook_url = $14, click_hook_url = $15,
		post_first_open_only = $16, track_opens = $17, track_links = $18, bounce_content_in_hook = $19,
		smtp_error_hooks = $20, monthly_limit = $21, suspended_at = $22, suspend_reason = $23, name_key = $24
		WHERE id = $1 AND account_id = $2 AND deleted_at = 0`,
		int64(s.ID), int64(s.AccountID), s.Name, s.Color, flag(s.SMTPActivated), flag(s.SMTPAPITokenAuth),
		string(s.SMTPRejection), flag(s.RawEmail), s.InboundDomain, s.InboundHookURL, int64(s.SpamThreshold),
		s.BounceHookURL, s.OpenHookURL, s.DeliveryHookURL, s.ClickHookURL, flag(s.PostFirstOpenOnly),
		flag(s.TrackOpens), string(s.TrackLinks), flag(s.BounceContent), flag(s.SMTPErrorHooks), s.MonthlyLimit,
		timeToDB(s.Suspension.Since), s.Suspension.Reason, strings.ToLower(s.Name))
	if err := changed(n, err, "server", s.ID); err != nil {
		return err
	}
	if err := tx.setAllowedIPs(ctx, s); err != nil {
		return err
	}
	return tx.BumpAuth(ctx)
}

// DeleteServer marks a server deleted and revokes its tokens. Its row and its
// mail stay; what was accepted is still delivered.
func (tx *Tx) DeleteServer(ctx context.Context, account pennypost.AccountID, id pennypost.ServerID) error {
	if err := tx.lockAccept(ctx, 0, id, false); err != nil {
		return err
	}
	now := timeToDB(tx.Now())
	n, err := tx.exec(ctx, `UPDATE servers SET deleted_at = $3 WHERE id = $1 AND account_id = $2 AND deleted_at = 0`,
		int64(id), int64(account), now)
	if err := changed(n, err, "server", id); err != nil {
		return err
	}
	_, err = tx.exec(ctx, `UPDATE tokens SET revoked_at = $2 WHERE server_id = $1 AND revoked_at = 0`, int64(id), now)
	if err != nil {
		return fmt.Errorf("revoke tokens of server %d: %w", id, err)
	}
	return tx.BumpAuth(ctx)
}

// Suspension tells whether a server may not send, by itself or with its
// account; its zero value is no. ErrNotFound: there is no such server; a
// deleted one answers.
func (tx *Tx) Suspension(ctx context.Context, id pennypost.ServerID) (pennypost.Suspension, error) {
	var own, all pennypost.Suspension
	err := tx.row(ctx, `SELECT s.suspended_at, s.suspend_reason, a.suspended_at, a.suspend_reason
		FROM servers s JOIN accounts a ON a.id = s.account_id WHERE s.id = $1`, int64(id)).
		Scan(intoTime(&own.Since), &own.Reason, intoTime(&all.Since), &all.Reason)
	if err != nil {
		return own, fmt.Errorf("suspension of server %d: %w", id, err)
	}
	if all.Active() {
		return all, nil
	}
	return own, nil
}

// SuspensionKept does what Suspension does, and keeps the answer true until the
// transaction ends: whoever suspends or reactivates waits for it.
func (tx *Tx) SuspensionKept(ctx context.Context, id pennypost.ServerID) (pennypost.Suspension, error) {
	var account pennypost.AccountID
	if err := tx.row(ctx, `SELECT account_id FROM servers WHERE id = $1`, int64(id)).Scan(&account); err != nil {
		return pennypost.Suspension{}, fmt.Errorf("suspension of server %d: %w", id, err)
	}
	if err := tx.lockAccept(ctx, account, id, true); err != nil {
		return pennypost.Suspension{}, err
	}
	return tx.Suspension(ctx, id)
}

// SuspendedServers gives all servers that may not send, by themselves or with
// their account, and why.
func (tx *Tx) SuspendedServers(ctx context.Context) (map[pennypost.ServerID]pennypost.Suspension, error) {
	type entry struct {
		id pennypost.ServerID
		s  pennypost.Suspension
	}
	list, err := collect(tx, ctx, func(row scanner) (*entry, error) {
		e := &entry{}
		return e, row.Scan(&e.id, intoTime(&e.s.Since), &e.s.Reason)
	}, `SELECT id, suspended_at, suspend_reason FROM servers WHERE suspended_at <> 0
		UNION ALL
		SELECT s.id, a.suspended_at, a.suspend_reason FROM accounts a JOIN servers s ON s.account_id = a.id
		WHERE a.suspended_at <> 0`)
	if err != nil {
		return nil, fmt.Errorf("list suspended servers: %w", err)
	}
	suspended := make(map[pennypost.ServerID]pennypost.Suspension, len(list))
	for _, e := range list {
		suspended[e.id] = e.s
	}
	return suspended, nil
}

// SetReleaseDue notes that the held mail of a server is to be released, or
// that this was done.
func (tx *Tx) SetReleaseDue(ctx context.Context, id pennypost.ServerID, due bool) error {
	_, err := tx.exec(ctx, `UPDATE servers SET release_due = $2 WHERE id = $1`, int64(id), flag(due))
	if err != nil {
		return fmt.Errorf("note release of server %d: %w", id, err)
	}
	return nil
}

// ReleaseDue gives the servers whose held mail is to be released.
func (tx *Tx) ReleaseDue(ctx context.Context) ([]pennypost.ServerID, error) {
	list, err := collect(tx, ctx, scanServerID, `SELECT id FROM servers WHERE release_due <> 0 ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list servers to release: %w", err)
	}
	return list, nil
}
