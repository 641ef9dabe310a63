package store

import (
	"context"
	"fmt"
	"time"

	"pennypost"
)

const senderColumns = `id, account_id, domain_id, address, name, reply_to, note, confirmed_at, created_at`

func scanSender(row scanner) (*pennypost.SenderSignature, error) {
	s := &pennypost.SenderSignature{}
	err := row.Scan(&s.ID, &s.AccountID, &s.DomainID, &s.Address, &s.Name, &s.ReplyTo, &s.Note,
		intoTime(&s.ConfirmedAt), intoTime(&s.CreatedAt))
	if err != nil {
		return nil, err
	}
	return s, nil
}

// AddSender stores a new signature, and sets its ID and CreatedAt; ErrConflict:
// the account has one for the address.
func (tx *Tx) AddSender(ctx context.Context, s *pennypost.SenderSignature) error {
	id, err := tx.next(ctx, "sender")
	if err != nil {
		return err
	}
	s.ID, s.CreatedAt = pennypost.SenderID(id), tx.Now()
	_, err = tx.exec(ctx, `INSERT INTO senders (`+senderColumns+`, address_key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		id, int64(s.AccountID), int64(s.DomainID), string(s.Address), s.Name, s.ReplyTo, s.Note,
		timeToDB(s.ConfirmedAt), timeToDB(s.CreatedAt), s.Address.Key())
	if err != nil {
		return fmt.Errorf("add sender: %w", err)
	}
	return nil
}

// Sender gives a signature of an account, or ErrNotFound.
func (tx *Tx) Sender(ctx context.Context, account pennypost.AccountID, id pennypost.SenderID) (*pennypost.SenderSignature, error) {
	s, err := scanSender(tx.row(ctx, `SELECT `+senderColumns+` FROM senders WHERE id = $1 AND account_id = $2`,
		int64(id), int64(account)))
	if err != nil {
		return nil, fmt.Errorf("sender %d: %w", id, err)
	}
	return s, nil
}

// SenderExists tells whether an account has a signature for an address,
// without regard to case.
func (tx *Tx) SenderExists(ctx context.Context, account pennypost.AccountID, addr pennypost.Address) (bool, error) {
	return tx.exists(ctx, `SELECT 1 FROM senders WHERE account_id = $1 AND address_key = $2`, int64(account), addr.Key())
}

// Senders gives a page of an account's signatures by id, and how many there
// are.
func (tx *Tx) Senders(ctx context.Context, account pennypost.AccountID, count, offset int) ([]pennypost.SenderSignature, int, error) {
	var total int
	if err := tx.row(ctx, `SELECT COUNT(*) FROM senders WHERE account_id = $1`, int64(account)).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count senders: %w", err)
	}
	list, err := collect(tx, ctx, scanSender, `SELECT `+senderColumns+` FROM senders WHERE account_id = $1
		ORDER BY id LIMIT $2 OFFSET $3`, int64(account), int64(count), int64(offset))
	if err != nil {
		return nil, 0, fmt.Errorf("list senders: %w", err)
	}
	return list, total, nil
}

// SetSender stores name, reply address and note of a signature; ErrNotFound.
func (tx *Tx) SetSender(ctx context.Context, s *pennypost.SenderSignature) error {
	n, err := tx.exec(ctx, `UPDATE senders SET name = $3, reply_to = $4, note = $5 WHERE id = $1 AND account_id = $2`,
		int64(s.ID), int64(s.AccountID), s.Name, s.ReplyTo, s.Note)
	return changed(n, err, "sender", s.ID)
}

// DeleteSender deletes a signature; its links no longer work. ErrNotFound.
func (tx *Tx) DeleteSender(ctx context.Context, account pennypost.AccountID, id pennypost.SenderID) error {
	n, err := tx.exec(ctx, `DELETE FROM senders WHERE id = $1 AND account_id = $2`, int64(id), int64(account))
	return changed(n, err, "sender", id)
}

// SendersInDomain gives the number of signatures that belong to a domain.
func (tx *Tx) SendersInDomain(ctx context.Context, account pennypost.AccountID, id pennypost.DomainID) (int, error) {
	var n int
	err := tx.row(ctx, `SELECT COUNT(*) FROM senders WHERE domain_id = $1 AND account_id = $2`, int64(id), int64(account)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count senders of domain %d: %w", id, err)
	}
	return n, nil
}

// Confirmations gives how many confirmation mails were sent since a time to an
// address, by whichever account, and by an account.
func (tx *Tx) Confirmations(ctx context.Context, account pennypost.AccountID, addr pennypost.Address, since time.Time) (toAddress, byAccount int, err error) {
	err = tx.row(ctx, `SELECT
		(SELECT COUNT(*) FROM confirmations WHERE address_key = $1 AND created_at > $3),
		(SELECT COUNT(*) FROM confirmations WHERE account_id = $2 AND created_at > $3)`,
		addr.Key(), int64(account), timeToDB(since)).Scan(&toAddress, &byAccount)
	if err != nil {
		return 0, 0, fmt.Errorf("count confirmation mails: %w", err)
	}
	return toAddress, byAccount, nil
}

// AddConfirmation notes a confirmation mail by the hash of its token, and
// deletes those that have been of no use for a while.
func (tx *Tx) AddConfirmation(ctx context.Context, s *pennypost.SenderSignature, hash []byte, expires time.Time) error {
	now := tx.Now()
	_, err := tx.exec(ctx, `INSERT INTO confirmations (hash, account_id, sender_id, address_key, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6)`,
		hash, int64(s.AccountID), int64(s.ID), s.Address.Key(), timeToDB(now), timeToDB(expires))
	if err != nil {
		return fmt.Errorf("note confirmation mail: %w", err)
	}
	_, err = tx.exec(ctx, `DELETE FROM confirmations WHERE created_at < $1`, timeToDB(now.AddDate(0, 0, -30)))
	if err != nil {
		return fmt.Errorf("delete old confirmation mails: %w", err)
	}
	return nil
}

// RemoveConfirmation forgets a mail that was not sent.
func (tx *Tx) RemoveConfirmation(ctx context.Context, hash []byte) error {
	if _, err := tx.exec(ctx, `DELETE FROM confirmations WHERE hash = $1`, hash); err != nil {
		return fmt.Errorf("forget confirmation mail: %w", err)
	}
	return nil
}

// SenderToConfirm gives the signature that a token's hash confirms, and its
// account; ErrNotFound when the token is unknown or too old, when the
// signature is confirmed already, or gone.
func (tx *Tx) SenderToConfirm(ctx context.Context, hash []byte) (*pennypost.SenderSignature, *pennypost.Account, error) {
	var account, sender int64
	err := tx.row(ctx, `SELECT account_id, sender_id FROM confirmations WHERE hash = $1 AND expires_at > $2`,
		hash, timeToDB(tx.Now())).Scan(&account, &sender)
	if err != nil {
		return nil, nil, fmt.Errorf("confirmation: %w", err)
	}
	s, err := tx.Sender(ctx, pennypost.AccountID(account), pennypost.SenderID(sender))
	if err != nil {
		return nil, nil, err
	}
	if !s.ConfirmedAt.IsZero() {
		return nil, nil, fmt.Errorf("sender %d is confirmed: %w", s.ID, ErrNotFound)
	}
	a, err := tx.Account(ctx, s.AccountID)
	return s, a, err
}

// ConfirmSender marks a signature confirmed; ErrNotFound when it was already,
// or is gone.
func (tx *Tx) ConfirmSender(ctx context.Context, s *pennypost.SenderSignature) error {
	s.ConfirmedAt = tx.Now()
	n, err := tx.exec(ctx, `UPDATE senders SET confirmed_at = $3 WHERE id = $1 AND account_id = $2 AND confirmed_at = 0`,
		int64(s.ID), int64(s.AccountID), timeToDB(s.ConfirmedAt))
	return changed(n, err, "sender", s.ID)
}
