package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pennypost"
)

const domainColumns = `id, account_id, name, listed, spf_verified, dkim_verified_at, missing_since, return_path,
	return_path_verified, tracking, tracking_verified, checked_at, created_at`

func scanDomain(row scanner) (*pennypost.Domain, error) {
	d := &pennypost.Domain{}
	err := row.Scan(&d.ID, &d.AccountID, &d.Name, intoBool(&d.Listed), intoBool(&d.SPFVerified),
		intoTime(&d.VerifiedAt), intoTime(&d.MissingSince), &d.ReturnPath, intoBool(&d.ReturnPathVerified),
		&d.Tracking, intoBool(&d.TrackingVerified), intoTime(&d.CheckedAt), intoTime(&d.CreatedAt))
	if err != nil {
		return nil, err
	}
	return d, nil
}

// AddDomain stores a new domain without its keys, and sets its ID and
// CreatedAt; its DNS is asked first at checkAt. ErrConflict: the account has
// it, listed or not.
func (tx *Tx) AddDomain(ctx context.Context, d *pennypost.Domain, checkAt time.Time) error {
	id, err := tx.next(ctx, "domain")
	if err != nil {
		return err
	}
	d.ID, d.CreatedAt = pennypost.DomainID(id), tx.Now()
	_, err = tx.exec(ctx, `INSERT INTO domains (`+domainColumns+`, check_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		id, int64(d.AccountID), d.Name, flag(d.Listed), flag(d.SPFVerified), timeToDB(d.VerifiedAt),
		timeToDB(d.MissingSince), d.ReturnPath, flag(d.ReturnPathVerified), d.Tracking, flag(d.TrackingVerified),
		timeToDB(d.CheckedAt), timeToDB(d.CreatedAt), timeToDB(checkAt))
	if err != nil {
		return fmt.Errorf("add domain: %w", err)
	}
	return nil
}

// Domain gives a domain of an account with its keys, listed or not, or
// ErrNotFound.
func (tx *Tx) Domain(ctx context.Context, account pennypost.AccountID, id pennypost.DomainID) (*pennypost.Domain, error) {
	d, err := scanDomain(tx.row(ctx, `SELECT `+domainColumns+` FROM domains WHERE id = $1 AND account_id = $2`,
		int64(id), int64(account)))
	if err != nil {
		return nil, fmt.Errorf("domain %d: %w", id, err)
	}
	return d, tx.addKeys(ctx, d)
}

// DomainByName gives a domain of an account with its keys, listed or not, or
// ErrNotFound.
func (tx *Tx) DomainByName(ctx context.Context, account pennypost.AccountID, name string) (*pennypost.Domain, error) {
	d, err := scanDomain(tx.row(ctx, `SELECT `+domainColumns+` FROM domains WHERE account_id = $1 AND name = $2`,
		int64(account), name))
	if err != nil {
		return nil, fmt.Errorf("domain %s: %w", name, err)
	}
	return d, tx.addKeys(ctx, d)
}

func (tx *Tx) addKeys(ctx context.Context, d *pennypost.Domain) error {
	keys, err := collect(tx, ctx, scanDKIMKey, `SELECT `+keyColumns+` FROM dkim_keys WHERE domain_id = $1 ORDER BY id`, int64(d.ID))
	if err != nil {
		return fmt.Errorf("keys of domain %d: %w", d.ID, err)
	}
	d.Keys = keys
	return nil
}

// Domains gives a page of an account's listed domains by id, with their keys,
// and how many there are.
func (tx *Tx) Domains(ctx context.Context, account pennypost.AccountID, count, offset int) ([]pennypost.Domain, int, error) {
	var total int
	err := tx.row(ctx, `SELECT COUNT(*) FROM domains WHERE account_id = $1 AND listed = 1`, int64(account)).Scan(&total)
	if err != nil {
		return nil, 0, fmt.Errorf("count domains: %w", err)
	}
	list, err := collect(tx, ctx, scanDomain, `SELECT `+domainColumns+` FROM domains WHERE account_id = $1 AND listed = 1
		ORDER BY id LIMIT $2 OFFSET $3`, int64(account), int64(count), int64(offset))
	if err != nil {
		return nil, 0, fmt.Errorf("list domains: %w", err)
	}
	for i := range list {
		if err := tx.addKeys(ctx, &list[i]); err != nil {
			return nil, 0, err
		}
	}
	return list, total, nil
}

// SetDomain stores all that may change of a domain, without its keys, and when
// its DNS is asked next; ErrNotFound.
func (tx *Tx) SetDomain(ctx context.Context, d *pennypost.Domain, checkAt time.Time) error {
	n, err := tx.exec(ctx, `UPDATE domains SET listed = $3, spf_verified = $4, dkim_verified_at = $5,
		missing_since = $6, return_path = $7, return_path_verified = $8, tracking = $9, tracking_verified = $10,
		checked_at = $11, check_at = $12 WHERE id = $1 AND account_id = $2`,
		int64(d.ID), int64(d.AccountID), flag(d.Listed), flag(d.SPFVerified), timeToDB(d.VerifiedAt),
		timeToDB(d.MissingSince), d.ReturnPath, flag(d.ReturnPathVerified), d.Tracking, flag(d.TrackingVerified),
		timeToDB(d.CheckedAt), timeToDB(checkAt))
	return changed(n, err, "domain", d.ID)
}

// DeleteDomain deletes a domain with its keys; ErrNotFound.
func (tx *Tx) DeleteDomain(ctx context.Context, account pennypost.AccountID, id pennypost.DomainID) error {
	n, err := tx.exec(ctx, `DELETE FROM domains WHERE id = $1 AND account_id = $2`, int64(id), int64(account))
	if err := changed(n, err, "domain", id); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `DELETE FROM dkim_keys WHERE domain_id = $1`, int64(id)); err != nil {
		return fmt.Errorf("delete keys of domain %d: %w", id, err)
	}
	return nil
}

// ReturnDomain tells whether an account has a domain as its verified
// return-path domain.
func (tx *Tx) ReturnDomain(ctx context.Context, domain string) (bool, error) {
	return tx.exists(ctx, `SELECT 1 FROM domains WHERE return_path = $1 AND return_path_verified = 1`, domain)
}

// DomainRef names a domain of an account.
type DomainRef struct {
	Account pennypost.AccountID
	ID      pennypost.DomainID
}

// ClaimDomains gives up to n domains whose DNS is to be asked, the longest
// waiting first, and puts their next time to until, so that no other node
// takes them.
func (tx *Tx) ClaimDomains(ctx context.Context, n int, until time.Time) ([]DomainRef, error) {
	due, err := collect(tx, ctx, func(row scanner) (*DomainRef, error) {
		r := &DomainRef{}
		return r, row.Scan(&r.Account, &r.ID)
	}, `SELECT account_id, id FROM domains WHERE check_at <= $1 ORDER BY check_at LIMIT $2`, timeToDB(tx.Now()), int64(n))
	if err != nil {
		return nil, fmt.Errorf("claim domains: %w", err)
	}
	var claimed []DomainRef
	for _, r := range due {
		n, err := tx.exec(ctx, `UPDATE domains SET check_at = $2 WHERE id = $1 AND check_at <= $3`,
			int64(r.ID), timeToDB(until), timeToDB(tx.Now()))
		if err != nil {
			return nil, fmt.Errorf("claim domain %d: %w", r.ID, err)
		}
		if n > 0 {
			claimed = append(claimed, r)
		}
	}
	return claimed, nil
}

const keyColumns = `id, account_id, domain_id, domain, selector, algorithm, state, txt, sealed, created_at, activated_at, revoked_at`

func scanDKIMKey(row scanner) (*pennypost.DKIMKey, error) {
	k := &pennypost.DKIMKey{}
	err := row.Scan(&k.ID, &k.AccountID, &k.DomainID, &k.Domain, &k.Selector, &k.Algorithm, &k.State, &k.TXT,
		&k.Sealed, intoTime(&k.CreatedAt), intoTime(&k.ActivatedAt), intoTime(&k.RevokedAt))
	if err != nil {
		return nil, err
	}
	return k, nil
}

// SelectorTaken tells whether a key of any account uses a selector of a domain
// name.
func (tx *Tx) SelectorTaken(ctx context.Context, domain, selector string) (bool, error) {
	return tx.exists(ctx, `SELECT 1 FROM dkim_keys WHERE domain = $1 AND selector = $2`, domain, selector)
}

// AddDKIMKey stores a key, and sets its ID and CreatedAt. ErrConflict: the
// selector is taken.
func (tx *Tx) AddDKIMKey(ctx context.Context, k *pennypost.DKIMKey) error {
	id, err := tx.next(ctx, "dkim")
	if err != nil {
		return err
	}
	k.ID, k.CreatedAt = id, tx.Now()
	_, err = tx.exec(ctx, `INSERT INTO dkim_keys (`+keyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		id, int64(k.AccountID), int64(k.DomainID), k.Domain, k.Selector, string(k.Algorithm), string(k.State), k.TXT,
		k.Sealed, timeToDB(k.CreatedAt), timeToDB(k.ActivatedAt), timeToDB(k.RevokedAt))
	if err != nil {
		return fmt.Errorf("add DKIM key: %w", err)
	}
	return nil
}

// SetDKIMKeyState moves a key on and notes when; ErrNotFound.
func (tx *Tx) SetDKIMKeyState(ctx context.Context, k *pennypost.DKIMKey, state pennypost.KeyState) error {
	switch state {
	case pennypost.KeyPending:
	case pennypost.KeyActive:
		k.ActivatedAt = tx.Now()
	case pennypost.KeyRevoked:
		k.RevokedAt = tx.Now()
	}
	k.State = state
	n, err := tx.exec(ctx, `UPDATE dkim_keys SET state = $3, activated_at = $4, revoked_at = $5 WHERE id = $1 AND account_id = $2`,
		k.ID, int64(k.AccountID), string(state), timeToDB(k.ActivatedAt), timeToDB(k.RevokedAt))
	return changed(n, err, "DKIM key", k.ID)
}

// DeleteDKIMKey deletes a key.
func (tx *Tx) DeleteDKIMKey(ctx context.Context, k *pennypost.DKIMKey) error {
	_, err := tx.exec(ctx, `DELETE FROM dkim_keys WHERE id = $1 AND account_id = $2`, k.ID, int64(k.AccountID))
	if err != nil {
		return fmt.Errorf("delete DKIM key %d: %w", k.ID, err)
	}
	return nil
}

// SigningKeys gives the active keys that an account signs mail of a domain
// with, RSA first; account 0 and the bounce domain give the instance's own.
// None is no error.
func (tx *Tx) SigningKeys(ctx context.Context, account pennypost.AccountID, domain string) ([]pennypost.DKIMKey, error) {
	keys, err := collect(tx, ctx, scanDKIMKey, `SELECT `+keyColumns+` FROM dkim_keys
		WHERE account_id = $1 AND domain = $2 AND state = 'active' ORDER BY algorithm DESC, id DESC`, int64(account), domain)
	if err != nil {
		return nil, fmt.Errorf("signing keys of %s: %w", domain, err)
	}
	return keys, nil
}

// SenderFor tells what an account knows of a From address: whether its domain
// is verified or the address confirmed, and with which names and domains it is
// sent.
func (tx *Tx) SenderFor(ctx context.Context, account pennypost.AccountID, addr pennypost.Address) (*pennypost.SenderMatch, error) {
	m := &pennypost.SenderMatch{}
	if err := tx.matchSignature(ctx, account, addr, m); err != nil {
		return nil, err
	}
	if err := tx.matchDomain(ctx, account, addr.Domain(), m); err != nil {
		return nil, err
	}
	return m, nil
}

func (tx *Tx) matchSignature(ctx context.Context, account pennypost.AccountID, addr pennypost.Address, m *pennypost.SenderMatch) error {
	s, err := scanSender(tx.row(ctx, `SELECT `+senderColumns+` FROM senders WHERE account_id = $1 AND address_key = $2`,
		int64(account), addr.Key()))
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up sender: %w", err)
	}
	m.Status, m.Name, m.ReplyTo = pennypost.SenderUnconfirmed, s.Name, s.ReplyTo
	if !s.ConfirmedAt.IsZero() {
		m.Status = pennypost.SenderConfirmed
	}
	return nil
}

func (tx *Tx) matchDomain(ctx context.Context, account pennypost.AccountID, name string, m *pennypost.SenderMatch) error {
	d, err := scanDomain(tx.row(ctx, `SELECT `+domainColumns+` FROM domains WHERE account_id = $1 AND name = $2`,
		int64(account), name))
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up domain of sender: %w", err)
	}
	if d.MaySend(tx.Now()) {
		m.Status = pennypost.SenderDomain
	}
	// A key whose record is gone would only break the signature.
	if !d.VerifiedAt.IsZero() && (d.MissingSince.IsZero() || tx.Now().Sub(d.MissingSince) < pennypost.MissingGrace) {
		m.SignDomain = d.Name
	}
	if d.ReturnPathVerified {
		m.ReturnDomain = d.ReturnPath
	}
	if d.TrackingVerified {
		m.TrackDomain = d.Tracking
	}
	return nil
}
