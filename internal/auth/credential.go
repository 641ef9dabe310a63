package auth

import (
	"context"
	"errors"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

const (
	// maxRemembered bounds each of the things kept in memory.
	maxRemembered = 100_000
	// rememberFor bounds how long an SMTP secret works past the end of its
	// overlap with the next one; a revocation does not wait for it.
	rememberFor = 10 * time.Second
)

// openKey is the purpose and keyed hash of a secret.
type openKey struct {
	smtp bool
	hash [32]byte
}

// opened is what a secret was found to open.
type opened struct {
	cred  store.Credential
	until time.Time
}

func (k openKey) purpose() string {
	if k.smtp {
		return PurposeSMTPSecret
	}
	return PurposeAPIToken
}

func (a *Auth) keyOf(smtp bool, secret string) openKey {
	k := openKey{smtp: smtp}
	copy(k.hash[:], a.keys.Hash(k.purpose(), secret))
	return k
}

// remembered gives what a secret opens if that was found a short while ago, and
// the round to hand to remember otherwise.
func (a *Auth) remembered(k openKey) (store.Credential, int64, bool) {
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	o, ok := a.opened.get(k)
	if !ok || !now.Before(o.until) {
		return store.Credential{}, a.round, false
	}
	return o.cred, a.round, true
}

// remember keeps what a secret opens, unless all was forgotten since the
// look-up began: then it may have read what holds no longer.
func (a *Auth) remember(k openKey, c *store.Credential, round int64) {
	until := a.now().Add(rememberFor)
	a.mu.Lock()
	defer a.mu.Unlock()
	if round == a.round {
		a.opened.put(k, opened{cred: *c, until: until})
	}
}

// find looks a secret up under every master key; nil when it opens nothing.
// All keys are tried, so that what is found first takes as long as what is not
// found.
func (a *Auth) find(ctx context.Context, tx *store.Tx, smtp bool, secret string) (*store.Credential, error) {
	lookUp := tx.TokenByHash
	if smtp {
		lookUp = tx.SMTPSecretByHash
	}
	var found *store.Credential
	for _, h := range a.keys.Hashes(openKey{smtp: smtp}.purpose(), secret) {
		c, err := lookUp(ctx, h)
		switch {
		case err == nil && found == nil:
			found = c
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
	}
	return found, nil
}

// use is the latest use of a token that the database does not know yet.
type use struct {
	at time.Time
	ip string
}

func (a *Auth) noteUse(id pennypost.TokenID, ip string) {
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.used) < maxRemembered {
		a.used[id] = use{at: now, ip: ip}
	}
}
