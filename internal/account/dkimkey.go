package account

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/dkim"
	"pennypost/internal/store"
)

// keysInAdvance is how many RSA keys wait for domains: making one takes a
// quarter of a second of a core.
const keysInAdvance = 4

// safeAfter is how long mail that was signed with a revoked key may still be on
// its way: three days of retries here, some more at the other side.
const safeAfter = 7 * 24 * time.Hour

// makeKeys keeps the stock of RSA keys full until ctx ends.
func (a *Accounts) makeKeys(ctx context.Context) error {
	for ctx.Err() == nil {
		k, err := dkim.GenerateRSA(a.conf.Random)
		if err != nil {
			return err
		}
		select {
		case a.rsa <- k:
		case <-ctx.Done():
		}
	}
	return nil
}

// newKey makes a key that belongs to no domain yet: its public text and its
// sealed private part.
func (a *Accounts) newKey(algorithm pennypost.Algorithm) (pennypost.DKIMKey, error) {
	k := pennypost.DKIMKey{Algorithm: algorithm, State: pennypost.KeyPending}
	private, err := a.privateKey(algorithm)
	if err != nil {
		return k, err
	}
	if k.TXT, err = dkim.TXTValue(private); err != nil {
		return k, fmt.Errorf("publish DKIM key: %w", err)
	}
	der, err := dkim.MarshalPKCS8(private)
	if err != nil {
		return k, err
	}
	if k.Sealed, err = a.conf.Keys.Seal(auth.PurposeDKIM, der); err != nil {
		return k, fmt.Errorf("seal DKIM key: %w", err)
	}
	return k, nil
}

func (a *Accounts) privateKey(algorithm pennypost.Algorithm) (crypto.Signer, error) {
	if algorithm == pennypost.AlgorithmEd25519 {
		return dkim.GenerateEd25519(a.conf.Random)
	}
	select {
	case k := <-a.rsa:
		return k, nil
	default:
		return dkim.GenerateRSA(a.conf.Random)
	}
}

// addKey gives a key to a domain of an account, under the first free selector:
// the time of creation and "pm" (contract/senders.md §3).
func addKey(ctx context.Context, tx *store.Tx, account pennypost.AccountID, id pennypost.DomainID, domain string, k pennypost.DKIMKey) error {
	k.AccountID, k.DomainID, k.Domain = account, id, domain
	at := tx.Now().UTC()
	for range 1000 {
		k.Selector = at.Format("20060102150405") + "pm"
		taken, err := tx.SelectorTaken(ctx, domain, k.Selector)
		if err != nil {
			return err
		}
		if !taken {
			return tx.AddDKIMKey(ctx, &k)
		}
		at = at.Add(time.Second)
	}
	return fmt.Errorf("no free selector for %s", domain)
}

// publicKey reads the key of a TXT value that dkim.TXTValue made.
func publicKey(k *pennypost.DKIMKey) (crypto.PublicKey, error) {
	_, p, _ := strings.Cut(k.TXT, "p=")
	der, err := base64.StdEncoding.DecodeString(p)
	if err != nil {
		return nil, fmt.Errorf("DKIM key %d: %w", k.ID, err)
	}
	if k.Algorithm == pennypost.AlgorithmEd25519 {
		if len(der) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("DKIM key %d: %w", k.ID, dkim.ErrKey)
		}
		return ed25519.PublicKey(der), nil
	}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("DKIM key %d: %w", k.ID, err)
	}
	return pub, nil
}

// keyOf gives the newest key of a domain in a state, or nil.
func keyOf(d *pennypost.Domain, algorithm pennypost.Algorithm, state pennypost.KeyState) *pennypost.DKIMKey {
	for n := len(d.Keys) - 1; n >= 0; n-- {
		if d.Keys[n].Algorithm == algorithm && d.Keys[n].State == state {
			return &d.Keys[n]
		}
	}
	return nil
}

// DKIM is what the contract shows of a domain's keys (contract/senders.md §2);
// "" where there is none.
type DKIM struct {
	Verified, Weak           bool
	Host, Text               string
	PendingHost, PendingText string
	RevokedHost, RevokedText string
	SafeToRemove             bool
	Status                   string // Pending, Verified, Failed

	// Ours: a second key beside the RSA one.
	Ed25519Host, Ed25519Text string
	Ed25519Verified          bool
}

// DKIM gives what is shown of a domain's keys.
func (a *Accounts) DKIM(d *pennypost.Domain) DKIM {
	out := DKIM{Verified: !d.VerifiedAt.IsZero(), Status: "Verified"}
	if k := keyOf(d, pennypost.AlgorithmRSA, pennypost.KeyActive); k != nil {
		out.Host, out.Text, out.Weak = k.Host(), k.TXT, isWeak(k)
	}
	if k := keyOf(d, pennypost.AlgorithmRSA, pennypost.KeyPending); k != nil {
		out.PendingHost, out.PendingText = k.Host(), k.TXT
	}
	if k := keyOf(d, pennypost.AlgorithmRSA, pennypost.KeyRevoked); k != nil {
		out.RevokedHost, out.RevokedText = k.Host(), k.TXT
		out.SafeToRemove = a.now().Sub(k.RevokedAt) >= safeAfter
	}
	for _, state := range []pennypost.KeyState{pennypost.KeyPending, pennypost.KeyActive} {
		if k := keyOf(d, pennypost.AlgorithmEd25519, state); k != nil {
			out.Ed25519Host, out.Ed25519Text, out.Ed25519Verified = k.Host(), k.TXT, state == pennypost.KeyActive
		}
	}
	switch {
	case out.PendingHost != "" || !out.Verified:
		out.Status = "Pending"
	case !d.MissingSince.IsZero() && a.now().Sub(d.MissingSince) >= pennypost.MissingGrace:
		out.Status = "Failed"
	}
	return out
}

// weakBits is the length below which a key is called weak (contract/senders.md
// §2).
const weakBits = 1024

func isWeak(k *pennypost.DKIMKey) bool {
	pub, err := publicKey(k)
	if err != nil {
		return false
	}
	r, ok := pub.(*rsa.PublicKey)
	return ok && r.N.BitLen() < weakBits
}

// RotateDKIM gives a domain a new RSA key. The active one signs until the
// record of the new one is seen.
func (a *Accounts) RotateDKIM(ctx context.Context, account pennypost.AccountID, id pennypost.DomainID) (*pennypost.Domain, error) {
	d, err := a.Domain(ctx, account, id)
	if err != nil {
		return nil, err
	}
	return a.rotate(ctx, d)
}

func (a *Accounts) rotate(ctx context.Context, d *pennypost.Domain) (*pennypost.Domain, error) {
	return a.addPending(ctx, d, pennypost.AlgorithmRSA, func(d *pennypost.Domain) (bool, error) {
		if keyOf(d, pennypost.AlgorithmRSA, pennypost.KeyPending) != nil {
			return false, pennypost.Refuse(codeRenewing, "This DKIM is already being renewed.")
		}
		return true, nil
	})
}

// AddEd25519 gives a domain an Ed25519 key beside the RSA one, unless it has one
// (RFC 8463). It signs once its record is seen.
func (a *Accounts) AddEd25519(ctx context.Context, account pennypost.AccountID, id pennypost.DomainID) (*pennypost.Domain, error) {
	d, err := a.Domain(ctx, account, id)
	if err != nil {
		return nil, err
	}
	return a.addPending(ctx, d, pennypost.AlgorithmEd25519, func(d *pennypost.Domain) (bool, error) {
		return keyOf(d, pennypost.AlgorithmEd25519, pennypost.KeyPending) == nil &&
			keyOf(d, pennypost.AlgorithmEd25519, pennypost.KeyActive) == nil, nil
	})
}

// addPending gives a domain a new key if needed says so, before the key is made
// and again in the transaction.
func (a *Accounts) addPending(ctx context.Context, d *pennypost.Domain, algorithm pennypost.Algorithm, needed func(d *pennypost.Domain) (bool, error)) (*pennypost.Domain, error) {
	need, err := needed(d)
	if err != nil || !need {
		return d, err
	}
	k, err := a.newKey(algorithm)
	if err != nil {
		return nil, err
	}
	var out *pennypost.Domain
	err = a.update(ctx, "add DKIM key", func(tx *store.Tx) error {
		var err error
		if out, err = tx.Domain(ctx, d.AccountID, d.ID); err != nil {
			return ifMissing(err, errNoDomain())
		}
		need, err := needed(out)
		if err != nil || !need {
			return err
		}
		if err := addKey(ctx, tx, d.AccountID, d.ID, d.Name, k); err != nil {
			return err
		}
		if err := tx.SetDomain(ctx, out, tx.Now().Add(firstCheck)); err != nil {
			return err
		}
		out, err = tx.Domain(ctx, d.AccountID, d.ID)
		return err
	})
	if errors.Is(err, store.ErrConflict) { // two calls at once took one selector
		return nil, pennypost.Refuse(codeRenewing, "This DKIM is already being renewed.")
	}
	return out, err
}
