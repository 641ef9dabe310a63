package deliver

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/dkim"
	"pennypost/internal/store"
)

// errNoKey says that neither the domain nor the instance has a signing key.
var errNoKey = errors.New("no signing key")

// maxRing bounds the domains whose keys are kept ready.
const maxRing = 10_000

// A keyring keeps signing keys ready: opening and parsing one takes longer than
// signing with it.
type keyring struct {
	c *Config

	mu      sync.Mutex
	entries map[ringName]*ringEntry
}

type ringName struct {
	account pennypost.AccountID
	domain  string
}

type ringEntry struct {
	mu    sync.Mutex // held while its keys are read
	until time.Time
	keys  []readyKey
}

type readyKey struct {
	dkim.Key
	id     int64
	sealed []byte
}

func newKeyring(c *Config) *keyring {
	return &keyring{c: c, entries: make(map[ringName]*ringEntry)}
}

// keys gives the keys that sign a domain's mail: its own, or the instance's.
func (r *keyring) keys(ctx context.Context, account pennypost.AccountID, domain string) ([]*dkim.Key, error) {
	if domain != "" {
		keys, err := r.of(ctx, ringName{account, domain})
		if err != nil || len(keys) > 0 {
			return keys, err
		}
	}
	keys, err := r.of(ctx, ringName{0, r.c.BounceDomain})
	if err == nil && len(keys) == 0 {
		err = errNoKey
	}
	return keys, err
}

func (r *keyring) of(ctx context.Context, name ringName) ([]*dkim.Key, error) {
	e := r.entry(name)
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := r.c.Now(); !now.Before(e.until) {
		if err := r.read(ctx, name, e); err != nil {
			return nil, err
		}
		e.until = now.Add(r.c.RefreshKeys)
	}
	keys := make([]*dkim.Key, len(e.keys))
	for i := range e.keys {
		keys[i] = &e.keys[i].Key
	}
	return keys, nil
}

func (r *keyring) entry(name ringName) *ringEntry {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[name]
	if e == nil {
		for other := range r.entries {
			if len(r.entries) < maxRing {
				break
			}
			delete(r.entries, other) // any: those in use come back
		}
		e = &ringEntry{}
		r.entries[name] = e
	}
	return e
}

// forget drops what is remembered of a domain's keys.
func (r *keyring) forget(name ringName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.entries, name)
}

// read takes the active keys from the store. Those that were there before stay
// as they are; one of several that cannot be opened is left out.
func (r *keyring) read(ctx context.Context, name ringName, e *ringEntry) error {
	var active []pennypost.DKIMKey
	err := r.c.Store.View(ctx, func(tx *store.Tx) (err error) {
		active, err = tx.SigningKeys(ctx, name.account, name.domain)
		return err
	})
	if err != nil {
		return err
	}
	var keys []readyKey
	var faults []error
	for i := range active {
		k, err := r.ready(e, &active[i])
		if err != nil {
			faults = append(faults, err)
			continue
		}
		keys = append(keys, k)
	}
	if err := errors.Join(faults...); err != nil {
		r.c.Log.ErrorContext(ctx, "signing key cannot be used", "domain", name.domain, "err", err)
		if len(keys) == 0 {
			return fmt.Errorf("%w: %w", errNoKey, err)
		}
	}
	e.keys = keys
	return nil
}

func (r *keyring) ready(e *ringEntry, k *pennypost.DKIMKey) (readyKey, error) {
	for _, old := range e.keys {
		if old.id == k.ID && bytes.Equal(old.sealed, k.Sealed) {
			return old, nil
		}
	}
	signer, err := r.openKey(k)
	if err != nil {
		return readyKey{}, fmt.Errorf("key %d, selector %s: %w", k.ID, k.Selector, err)
	}
	return readyKey{
		Key: dkim.Key{Domain: k.Domain, Selector: k.Selector, Signer: signer}, id: k.ID, sealed: k.Sealed,
	}, nil
}

func (r *keyring) openKey(k *pennypost.DKIMKey) (crypto.Signer, error) {
	der, err := r.c.Keys.Open(auth.PurposeDKIM, k.Sealed)
	if err != nil {
		return nil, err
	}
	return dkim.ParsePKCS8(der)
}

// KeysChanged forgets what is remembered of a domain's signing keys. It is
// called once a change was committed; without it the change is seen within
// Config.RefreshKeys.
func (d *Deliverer) KeysChanged(account pennypost.AccountID, domain string) {
	d.ring.forget(ringName{account, domain})
}
