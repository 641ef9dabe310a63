package account

import (
	"context"
	"errors"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/store"
)

// maxName is the longest domain that a call may name (contract/senders.md §1).
const maxName = 255

// DomainInput is what a call says of a domain; nil: it says nothing, "" clears.
// Name counts when a domain is made. A nil *DomainInput is a call without a
// body.
type DomainInput struct {
	Name, ReturnPath, Tracking *string
}

// Domains gives a page of the domains that an account added, and how many there
// are.
func (a *Accounts) Domains(ctx context.Context, account pennypost.AccountID, count, offset int) ([]pennypost.Domain, int, error) {
	var list []pennypost.Domain
	var total int
	err := a.view(ctx, "list domains", func(tx *store.Tx) (err error) {
		list, total, err = tx.Domains(ctx, account, count, offset)
		return err
	})
	return list, total, err
}

// Domain gives a domain that an account added, with its keys.
func (a *Accounts) Domain(ctx context.Context, account pennypost.AccountID, id pennypost.DomainID) (*pennypost.Domain, error) {
	var d *pennypost.Domain
	err := a.view(ctx, "read domain", func(tx *store.Tx) (err error) {
		d, err = listed(ctx, tx, account, id)
		return err
	})
	return d, err
}

// listed gives a domain; one that came with a signature is as good as none.
func listed(ctx context.Context, tx *store.Tx, account pennypost.AccountID, id pennypost.DomainID) (*pennypost.Domain, error) {
	d, err := tx.Domain(ctx, account, id)
	if err == nil && !d.Listed {
		err = store.ErrNotFound
	}
	return d, ifMissing(err, errNoDomain())
}

// CreateDomain adds a domain with a pending key.
func (a *Accounts) CreateDomain(ctx context.Context, account pennypost.AccountID, in *DomainInput) (*pennypost.Domain, error) {
	name, err := newDomainName(in)
	if err != nil {
		return nil, err
	}
	names, err := a.subdomains(name, in)
	if err != nil {
		return nil, err
	}
	if err := a.view(ctx, "look for domain", func(tx *store.Tx) error { return checkDomainNew(ctx, tx, account, name) }); err != nil {
		return nil, err
	}
	key, err := a.newKey(pennypost.AlgorithmRSA)
	if err != nil {
		return nil, err
	}
	var out *pennypost.Domain
	err = a.update(ctx, "create domain", func(tx *store.Tx) error {
		if err := checkDomainNew(ctx, tx, account, name); err != nil {
			return err
		}
		id, err := ensureDomain(ctx, tx, account, name, key)
		if err != nil {
			return err
		}
		d, err := tx.Domain(ctx, account, id)
		if err != nil {
			return err
		}
		d.Listed = true
		names.apply(d)
		if err := tx.SetDomain(ctx, d, tx.Now().Add(firstCheck)); err != nil {
			return err
		}
		out = d
		return nil
	})
	if errors.Is(err, store.ErrConflict) {
		return nil, errDomainExists()
	}
	if err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "domain added", "account", int64(account), "domain", name)
	return out, nil
}

func errDomainExists() *pennypost.Error {
	return pennypost.Refuse(codeDomainExists, "Domain already exists.")
}

func newDomainName(in *DomainInput) (string, error) {
	if in == nil || !given(in.Name) {
		return "", pennypost.Refuse(codeDomainMissing, "Name is a required field to create a Domain.")
	}
	if len(*in.Name) > maxName {
		return "", pennypost.Refuse(codeDomainLong, "Name must be %d characters or less.", maxName)
	}
	name, err := eml.CanonicalDomain(*in.Name)
	if err != nil {
		return "", pennypost.Refuse(codeDomainFormat, "Name format is invalid.")
	}
	if isPublicDomain(name) {
		return "", pennypost.Refuse(codePublicDomain, "You can't use public domains.")
	}
	return name, nil
}

// checkDomainNew refuses a domain that the account has added: others may have
// it too.
func checkDomainNew(ctx context.Context, tx *store.Tx, account pennypost.AccountID, name string) error {
	if _, err := tx.Account(ctx, account); err != nil {
		return ifMissing(err, errNoAccount())
	}
	d, err := tx.DomainByName(ctx, account, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case d.Listed:
		return errDomainExists()
	}
	return nil
}

// ensureDomain gives the account's domain of a name, listed or not; a new one is
// unlisted and takes the key.
func ensureDomain(ctx context.Context, tx *store.Tx, account pennypost.AccountID, name string, key pennypost.DKIMKey) (pennypost.DomainID, error) {
	d, err := tx.DomainByName(ctx, account, name)
	if err == nil {
		return d.ID, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	d = &pennypost.Domain{AccountID: account, Name: name}
	if err := tx.AddDomain(ctx, d, tx.Now().Add(firstCheck)); err != nil {
		return 0, err
	}
	return d.ID, addKey(ctx, tx, account, d.ID, name, key)
}

// subdomains are the names below a domain that a call sets; nil: not said.
type subdomains struct {
	returnPath, tracking *string
}

// subdomains checks the names that a call gives for a domain.
func (a *Accounts) subdomains(domain string, in *DomainInput) (subdomains, error) {
	var out subdomains
	var err error
	if out.returnPath, err = subdomain(domain, "ReturnPathDomain", in.ReturnPath); err != nil {
		return out, err
	}
	if out.tracking, err = subdomain(domain, "CustomTrackingDomain", in.Tracking); err != nil {
		return out, err
	}
	if given(out.tracking) && a.conf.TrackDomain == "" {
		return out, pennypost.Refuse(codeDomainFields, "Invalid fields supplied.")
	}
	return out, nil
}

// subdomain checks that a name is below a domain (contract/senders.md §4).
func subdomain(domain, field string, s *string) (*string, error) {
	if !given(s) {
		return s, nil
	}
	if len(*s) > maxName {
		return nil, pennypost.Refuse(codeSenderLong, "%s must be %d characters or less.", field, maxName)
	}
	name, err := eml.CanonicalDomain(*s)
	if err != nil || name == domain || !isWithin(name, domain) {
		return nil, pennypost.Refuse(codeSenderFormat, "%s must be a subdomain of %s.", field, domain)
	}
	return &name, nil
}

// apply sets the names; a changed one is unverified.
func (s subdomains) apply(d *pennypost.Domain) {
	if s.returnPath != nil && *s.returnPath != d.ReturnPath {
		d.ReturnPath, d.ReturnPathVerified = *s.returnPath, false
	}
	if s.tracking != nil && *s.tracking != d.Tracking {
		d.Tracking, d.TrackingVerified = *s.tracking, false
	}
}

// EditDomain changes the names below a domain.
func (a *Accounts) EditDomain(ctx context.Context, account pennypost.AccountID, id pennypost.DomainID, in *DomainInput) (*pennypost.Domain, error) {
	d, err := a.Domain(ctx, account, id)
	if err != nil {
		return nil, err
	}
	if in == nil {
		return nil, pennypost.Refuse(codeDomainFields, "Invalid fields supplied.")
	}
	names, err := a.subdomains(d.Name, in)
	if err != nil {
		return nil, err
	}
	err = a.update(ctx, "edit domain", func(tx *store.Tx) error {
		var err error
		if d, err = listed(ctx, tx, account, id); err != nil {
			return err
		}
		names.apply(d)
		return tx.SetDomain(ctx, d, tx.Now().Add(firstCheck))
	})
	return d, err
}

// DeleteDomain takes a domain from the account. Its keys stay while signatures
// need them. It gives the domain for the answer.
func (a *Accounts) DeleteDomain(ctx context.Context, account pennypost.AccountID, id pennypost.DomainID) (*pennypost.Domain, error) {
	var d *pennypost.Domain
	err := a.update(ctx, "delete domain", func(tx *store.Tx) error {
		var err error
		if d, err = listed(ctx, tx, account, id); err != nil {
			return err
		}
		n, err := tx.SendersInDomain(ctx, account, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return tx.DeleteDomain(ctx, account, id)
		}
		d.Listed = false
		return tx.SetDomain(ctx, d, nextCheck(d, tx.Now()))
	})
	if err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "domain removed", "account", int64(account), "domain", d.Name)
	a.keysChanged(d)
	return d, nil
}

func (a *Accounts) keysChanged(d *pennypost.Domain) {
	if a.conf.KeysChanged != nil {
		a.conf.KeysChanged(d.AccountID, d.Name)
	}
}
