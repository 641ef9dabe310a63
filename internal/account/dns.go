package account

import (
	"context"
	"errors"
	"time"

	"pennypost"
	"pennypost/internal/dkim"
	"pennypost/internal/mx"
	"pennypost/internal/store"
)

const (
	maxKeysAsked = 8               // of a domain at once; there are never so many
	askWithin    = 8 * time.Second // for all questions about one domain
)

// aspects of a domain that DNS is asked about.
type aspects struct {
	keys, returnPath, tracking bool
}

// answer is what DNS says of one name.
type answer int8

const (
	unknown answer = iota // could not be asked: changes nothing
	missing
	found
)

// answers is what DNS says of a domain as it was when it was asked.
type answers struct {
	domain               *pennypost.Domain
	keys                 map[int64]answer // by key
	returnPath, tracking answer
}

// isMissing tells an answer that says no from one that did not come.
func isMissing(err error) bool {
	var e *mx.Error
	return errors.As(err, &e) && (e.Kind == mx.NoName || e.Kind == mx.NoRecord)
}

// ask asks DNS about a domain.
func (a *Accounts) ask(ctx context.Context, d *pennypost.Domain, what aspects) answers {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	out := answers{domain: d, keys: make(map[int64]answer)}
	if what.keys {
		for n := range d.Keys {
			k := &d.Keys[n]
			if k.State != pennypost.KeyRevoked && len(out.keys) < maxKeysAsked {
				out.keys[k.ID] = a.askKey(ctx, k)
			}
		}
	}
	if what.returnPath && d.ReturnPath != "" {
		out.returnPath = a.askAlias(ctx, d.ReturnPath, a.conf.BounceDomain)
	}
	if what.tracking && d.Tracking != "" && a.conf.TrackDomain != "" {
		out.tracking = a.askAlias(ctx, d.Tracking, a.conf.TrackDomain)
	}
	return out
}

// askKey looks for a key's record. Others at the same name, and how the record
// is written, do not matter (contract/senders.md §3).
func (a *Accounts) askKey(ctx context.Context, k *pennypost.DKIMKey) answer {
	pub, err := publicKey(k)
	if err != nil {
		a.log.ErrorContext(ctx, "DKIM key cannot be read", "key", k.ID, "err", err)
		return unknown
	}
	records, err := a.conf.Resolver.TXT(ctx, k.Host())
	switch {
	case isMissing(err):
		return missing
	case err != nil:
		a.log.DebugContext(ctx, "DKIM record not asked", "name", k.Host(), "err", err)
		return unknown
	}
	for _, r := range records {
		if dkim.MatchTXT(r, pub) {
			return found
		}
	}
	return missing
}

func (a *Accounts) askAlias(ctx context.Context, name, target string) answer {
	got, err := a.conf.Resolver.CNAME(ctx, name)
	switch {
	case isMissing(err):
		return missing
	case err != nil:
		a.log.DebugContext(ctx, "CNAME not asked", "name", name, "err", err)
		return unknown
	case sameName(got, target):
		return found
	}
	return missing
}

// check asks DNS about a domain and records what it says.
func (a *Accounts) check(ctx context.Context, d *pennypost.Domain, what aspects) (*pennypost.Domain, error) {
	said := a.ask(ctx, d, what)
	var out *pennypost.Domain
	var keys bool
	err := a.update(ctx, "record DNS of domain", func(tx *store.Tx) error {
		var err error
		if out, err = tx.Domain(ctx, d.AccountID, d.ID); err != nil {
			return ifMissing(err, errNoDomain())
		}
		keys, err = a.record(ctx, tx, out, said)
		return err
	})
	if err != nil {
		return nil, err
	}
	if keys {
		a.keysChanged(out)
	}
	return out, nil
}

// record moves a domain on by what DNS said of it, where it is still as it was
// when DNS was asked. It tells whether keys changed.
func (a *Accounts) record(ctx context.Context, tx *store.Tx, d *pennypost.Domain, said answers) (keys bool, err error) {
	asked := false
	for _, s := range said.keys {
		asked = asked || s != unknown
	}
	if said.returnPath != unknown && d.ReturnPath == said.domain.ReturnPath {
		d.ReturnPathVerified, asked = said.returnPath == found, true
	}
	if said.tracking != unknown && d.Tracking == said.domain.Tracking {
		d.TrackingVerified, asked = said.tracking == found, true
	}
	if asked {
		d.CheckedAt = tx.Now()
	}
	before := d.MaySend(tx.Now())
	if keys, err = recordKeys(ctx, tx, d, said.keys); err != nil {
		return false, err
	}
	a.tellMissing(ctx, tx.Now(), d, before)
	return keys, tx.SetDomain(ctx, d, nextCheck(d, tx.Now()))
}

// tellMissing says when a verified domain's record is gone, and when sending
// stops or goes on because of it.
func (a *Accounts) tellMissing(ctx context.Context, now time.Time, d *pennypost.Domain, before bool) {
	attrs := []any{"account", int64(d.AccountID), "domain", d.Name}
	switch after := d.MaySend(now); {
	case d.MissingSince.Equal(now) && !now.IsZero():
		a.log.WarnContext(ctx, "DKIM record of verified domain is gone", attrs...)
	case before && !after:
		a.log.WarnContext(ctx, "domain may not send any more: its DKIM record is gone", attrs...)
	case !before && after:
		a.log.InfoContext(ctx, "domain verified", attrs...)
	}
}

// recordKeys moves the keys of a domain (contract/senders.md §3).
func recordKeys(ctx context.Context, tx *store.Tx, d *pennypost.Domain, said map[int64]answer) (changed bool, err error) {
	for n := range d.Keys {
		k := &d.Keys[n]
		switch {
		case k.State == pennypost.KeyPending && said[k.ID] == found:
			if err := activate(ctx, tx, d, k); err != nil {
				return false, err
			}
			changed = true
		case k.State == pennypost.KeyActive && k.Algorithm == pennypost.AlgorithmEd25519 && said[k.ID] == missing:
			// The second signature would only fail: it waits for its record again.
			if err := tx.SetDKIMKeyState(ctx, k, pennypost.KeyPending); err != nil {
				return false, err
			}
			changed = true
		}
	}
	active := keyOf(d, pennypost.AlgorithmRSA, pennypost.KeyActive)
	switch {
	case active == nil:
	case said[active.ID] == found:
		d.MissingSince = time.Time{}
	case said[active.ID] == missing && d.MissingSince.IsZero():
		d.MissingSince = tx.Now()
	}
	return changed, dropRevoked(ctx, tx, d)
}

// activate lets a key sign in place of the one before, which is revoked.
func activate(ctx context.Context, tx *store.Tx, d *pennypost.Domain, k *pennypost.DKIMKey) error {
	if before := keyOf(d, k.Algorithm, pennypost.KeyActive); before != nil {
		if err := tx.SetDKIMKeyState(ctx, before, pennypost.KeyRevoked); err != nil {
			return err
		}
	}
	if err := tx.SetDKIMKeyState(ctx, k, pennypost.KeyActive); err != nil {
		return err
	}
	if k.Algorithm == pennypost.AlgorithmRSA && d.VerifiedAt.IsZero() {
		d.VerifiedAt = tx.Now() // sticky
	}
	return nil
}

// keepRevoked is how long a revoked key is shown after its record may go.
const keepRevoked = 30 * 24 * time.Hour

// dropRevoked deletes the revoked keys that are not shown any more: all but the
// newest, and that after a while.
func dropRevoked(ctx context.Context, tx *store.Tx, d *pennypost.Domain) error {
	kept := d.Keys[:0:0]
	for n := range d.Keys {
		k := &d.Keys[n]
		old := k.State == pennypost.KeyRevoked &&
			(k.ID != keyOf(d, k.Algorithm, pennypost.KeyRevoked).ID || tx.Now().Sub(k.RevokedAt) > safeAfter+keepRevoked)
		if !old {
			kept = append(kept, *k)
			continue
		}
		if err := tx.DeleteDKIMKey(ctx, k); err != nil {
			return err
		}
	}
	d.Keys = kept
	return nil
}

// When DNS is asked again.
const (
	firstCheck   = time.Minute
	waitingCheck = time.Hour      // at the longest, while something is awaited
	dailyCheck   = 24 * time.Hour // of what is verified, and of what nobody seems to wait for
	stillAwaited = 14 * 24 * time.Hour
)

// nextCheck tells when DNS is asked about a domain again: soon while its records
// are new and awaited, then less and less often; daily in the end.
func nextCheck(d *pennypost.Domain, now time.Time) time.Time {
	var since time.Time // the latest change that is awaited
	for _, k := range d.Keys {
		if k.State == pennypost.KeyPending && k.CreatedAt.After(since) {
			since = k.CreatedAt
		}
	}
	names := d.ReturnPath != "" && !d.ReturnPathVerified || d.Tracking != "" && !d.TrackingVerified
	wait := dailyCheck
	switch age := now.Sub(since); {
	case !since.IsZero() && age < stillAwaited:
		wait = min(max(age/4, firstCheck), waitingCheck)
	case !d.MissingSince.IsZero(), names && now.Sub(d.CreatedAt) < stillAwaited:
		wait = waitingCheck
	}
	// Spread over the hour, so that domains added together are not asked together.
	return now.Add(wait + wait/10*time.Duration(d.ID%8)/8)
}

// VerifyDKIM asks DNS now for the records of a domain's keys.
func (a *Accounts) VerifyDKIM(ctx context.Context, account pennypost.AccountID, id pennypost.DomainID) (*pennypost.Domain, error) {
	return a.verify(ctx, account, id, aspects{keys: true})
}

// VerifyReturnPath asks DNS now for the CNAME of a domain's return path. A
// missing one is an answer, no refusal (contract/senders.md §9).
func (a *Accounts) VerifyReturnPath(ctx context.Context, account pennypost.AccountID, id pennypost.DomainID) (*pennypost.Domain, error) {
	return a.verify(ctx, account, id, aspects{returnPath: true})
}

// VerifyTracking asks DNS now for the CNAME of a domain's tracking name.
func (a *Accounts) VerifyTracking(ctx context.Context, account pennypost.AccountID, id pennypost.DomainID) (*pennypost.Domain, error) {
	return a.verify(ctx, account, id, aspects{tracking: true})
}

func (a *Accounts) verify(ctx context.Context, account pennypost.AccountID, id pennypost.DomainID, what aspects) (*pennypost.Domain, error) {
	d, err := a.Domain(ctx, account, id)
	if err != nil {
		return nil, err
	}
	return a.check(ctx, d, what)
}

// VerifySPF marks SPF as verified. It asks nothing: SPF of the From domain is not
// needed to send here, and the contract's answer is true for a domain without
// any DNS (contract/clients.md 12.5).
func (a *Accounts) VerifySPF(ctx context.Context, account pennypost.AccountID, id pennypost.DomainID) (*pennypost.Domain, error) {
	var d *pennypost.Domain
	err := a.update(ctx, "verify SPF", func(tx *store.Tx) (err error) {
		if d, err = listed(ctx, tx, account, id); err != nil {
			return err
		}
		d.SPFVerified = true
		return tx.SetDomain(ctx, d, nextCheck(d, tx.Now()))
	})
	return d, err
}

const (
	checkEvery   = 5 * time.Second
	checkAtOnce  = 8 // domains
	checkClaimed = 5 * time.Minute
)

// checkDomains asks DNS about the domains that are due, until ctx ends.
func (a *Accounts) checkDomains(ctx context.Context) error {
	every(ctx, checkEvery, func() {
		for ctx.Err() == nil {
			n, err := a.CheckDue(ctx)
			if err != nil && ctx.Err() == nil {
				a.log.WarnContext(ctx, "domains not checked", "err", err)
			}
			if err != nil || n < checkAtOnce {
				return
			}
		}
	})
	return nil
}

// CheckDue asks DNS about a few domains that are due, and tells how many it was.
// A domain that is claimed and not checked, since the process died, is due again
// after some minutes.
func (a *Accounts) CheckDue(ctx context.Context) (int, error) {
	var due []store.DomainRef
	err := a.update(ctx, "claim domains", func(tx *store.Tx) (err error) {
		due, err = tx.ClaimDomains(ctx, checkAtOnce, tx.Now().Add(checkClaimed))
		return err
	})
	if err != nil {
		return 0, err
	}
	errs := make(chan error, len(due))
	for _, ref := range due {
		go func() { errs <- a.checkOne(ctx, ref) }()
	}
	var all error
	for range due {
		all = errors.Join(all, <-errs)
	}
	return len(due), all
}

func (a *Accounts) checkOne(ctx context.Context, ref store.DomainRef) error {
	var d *pennypost.Domain
	err := a.view(ctx, "read domain to check", func(tx *store.Tx) (err error) {
		d, err = tx.Domain(ctx, ref.Account, ref.ID)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil // deleted since
	}
	if err != nil {
		return err
	}
	_, err = a.check(ctx, d, aspects{keys: true, returnPath: true, tracking: true})
	var gone *pennypost.Error
	if errors.As(err, &gone) {
		return nil
	}
	return err
}
