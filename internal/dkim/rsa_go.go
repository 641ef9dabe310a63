//go:build nolibcrypto || !(linux || darwin) || !(amd64 || arm64) || android || ios || faketime

package dkim

import (
	"crypto"
	"crypto/rsa"
)

// NewRSASigner gives the fastest signer there is for a key: here the key
// itself, as this build does not use libcrypto.
func NewRSASigner(key *rsa.PrivateKey) crypto.Signer { return key }

// Backend says what signs RSA: "crypto/rsa", or "libcrypto" and the version of
// the library.
func Backend() string { return "crypto/rsa" }
