package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

const (
	rsaBits    = 2048 // what we make
	minRSABits = 1024 // RFC 8301 §3.2: verifiers accept no less
	maxRSABits = 8192 // a larger key is only there to cost us time
)

// GenerateRSA makes an RSA key of 2,048 bits. Give it crypto/rand.Reader.
func GenerateRSA(random io.Reader) (*rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(random, rsaBits)
	if err != nil {
		return nil, fmt.Errorf("generate RSA key: %w", err)
	}
	return key, nil
}

// GenerateEd25519 makes an Ed25519 key. Give it crypto/rand.Reader.
func GenerateEd25519(random io.Reader) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(random)
	if err != nil {
		return nil, fmt.Errorf("generate Ed25519 key: %w", err)
	}
	return key, nil
}

// MarshalPKCS8 gives the DER form in which keys are kept. It takes what
// [GenerateRSA], [GenerateEd25519], [NewRSASigner] and [ParsePKCS8] make;
// others are [ErrKey].
func MarshalPKCS8(key crypto.Signer) ([]byte, error) {
	if w, ok := key.(interface{ privateKey() *rsa.PrivateKey }); ok {
		key = w.privateKey()
	}
	switch key.(type) {
	case *rsa.PrivateKey, ed25519.PrivateKey:
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, fmt.Errorf("marshal DKIM key: %w", err)
		}
		return der, nil
	}
	return nil, ErrKey
}

// ParsePKCS8 reads what [MarshalPKCS8] wrote. An RSA key comes back as the
// signer of [NewRSASigner]. It takes about 0.2 ms for RSA: keep the result.
func ParsePKCS8(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("parse DKIM key: %w", err)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return NewRSASigner(key), nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, ErrKey
}

// TXTValue gives the value of the DNS record that publishes a key: "k=rsa; p="
// and the SubjectPublicKeyInfo in base64 (contract/senders.md §3), or
// "k=ed25519; p=" and the 32 octets in base64 (RFC 8463 §4). It takes a
// private or a public key; others are [ErrKey].
func TXTValue(key any) (string, error) {
	if s, ok := key.(crypto.Signer); ok {
		key = s.Public()
	}
	kind, p, err := publicBytes(key)
	if err != nil {
		return "", err
	}
	return "k=" + kind + "; p=" + base64.StdEncoding.EncodeToString(p), nil
}

func publicBytes(pub crypto.PublicKey) (kind string, p []byte, err error) {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			return "", nil, fmt.Errorf("marshal public key: %w", err)
		}
		return "rsa", der, nil
	case ed25519.PublicKey:
		return "ed25519", pub, nil
	}
	return "", nil, ErrKey
}

// MatchTXT tells whether a published record carries the public key pub. As
// DNS panels add quotes, split strings and "v=DKIM1", white space and quotes
// are passed over and p= alone is compared (contract/senders.md §3).
func MatchTXT(record string, pub crypto.PublicKey) bool {
	if len(record) > maxRecord {
		return false
	}
	_, want, err := publicBytes(pub)
	if err != nil {
		return false
	}
	bare := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n\"", r) {
			return -1
		}
		return r
	}, record)
	for tag := range strings.SplitSeq(bare, ";") {
		if p, ok := strings.CutPrefix(tag, "p="); ok {
			got, err := decodeBase64(p)
			return err == nil && bytes.Equal(got, want)
		}
	}
	return false
}

// decodeBase64 takes base64 with or without padding, white space anywhere.
func decodeBase64(s string) ([]byte, error) {
	s = strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, s)
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil, fmt.Errorf("decode base64: %w", err)
	}
	return b, nil
}
