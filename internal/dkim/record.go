package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
)

// maxRecord is how many octets of a TXT record are read; an RSA key of 8,192
// bits takes 1,400.
const maxRecord = 4096

// Why a key record cannot be used (RFC 6376 §6.1.2, RFC 8301 §3.2).
var (
	ErrNoKey      = errors.New("no key record")
	ErrRecord     = errors.New("malformed key record")
	ErrRevoked    = errors.New("key revoked")
	ErrKeyUse     = errors.New("key not meant for this use")
	ErrWeakKey    = errors.New("RSA key too short")
	errOtherValue = errors.New("not a DKIM record")
)

// A record is a published key (RFC 6376 §3.6.1).
type record struct {
	public  crypto.PublicKey
	kind    string // "rsa" or "ed25519"
	testing bool   // t=y
	strict  bool   // t=s: i= must not be a subdomain
}

func parseRecord(txt string) (*record, error) {
	if len(txt) > maxRecord {
		return nil, ErrRecord
	}
	tags, err := parseTags(txt)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if v, ok := tags["v"]; ok && v != "DKIM1" {
		return nil, errOtherValue
	}
	p, ok := tags["p"]
	if !ok {
		return nil, ErrRecord
	}
	if p == "" {
		return nil, ErrRevoked
	}
	if h, ok := tags["h"]; ok && !listHas(h, "sha256") {
		return nil, ErrKeyUse
	}
	if s, ok := tags["s"]; ok && !listHas(s, "*", "email") {
		return nil, ErrKeyUse
	}
	r := &record{kind: "rsa", testing: listHas(tags["t"], "y"), strict: listHas(tags["t"], "s")}
	if k, ok := tags["k"]; ok {
		r.kind = k
	}
	der, err := decodeBase64(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	r.public, err = parsePublic(r.kind, der)
	return r, err
}

func parsePublic(kind string, der []byte) (crypto.PublicKey, error) {
	switch kind {
	case "rsa":
		return parseRSAPublic(der)
	case "ed25519":
		if len(der) != ed25519.PublicKeySize {
			return nil, ErrRecord
		}
		return ed25519.PublicKey(der), nil
	}
	return nil, ErrKeyUse
}

// parseRSAPublic takes a SubjectPublicKeyInfo and, as RFC 6376 §3.6.1 can be
// read so too (erratum 3017), a bare RSAPublicKey.
func parseRSAPublic(der []byte) (*rsa.PublicKey, error) {
	var pub *rsa.PublicKey
	if any, err := x509.ParsePKIXPublicKey(der); err == nil {
		pub, _ = any.(*rsa.PublicKey) // another kind of key leaves nil
	} else if pub, err = x509.ParsePKCS1PublicKey(der); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if pub == nil || pub.N.BitLen() > maxRSABits {
		return nil, ErrRecord
	}
	if pub.N.BitLen() < minRSABits {
		return nil, ErrWeakKey
	}
	return pub, nil
}
