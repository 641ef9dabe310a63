package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
)

// Purposes of keys that more than one package uses.
const (
	PurposeAPIToken   = "api-token"
	PurposeSMTPSecret = "smtp-secret"
	PurposeDKIM       = "dkim"
	PurposeReturnPath = "return-path"
	PurposeConfirm    = "confirm-sender"
	PurposeOperator   = "operator-token"
	PurposeTracking   = "tracking"
)

const (
	masterSize = 32
	keyIDSize  = 4
	sealFormat = 1
)

// ErrSealed says that a sealed secret cannot be opened: it is damaged, was
// sealed for another purpose or with a key that we do not have.
var ErrSealed = errors.New("sealed secret cannot be opened")

// ErrMasterKey says that a master key has the wrong form.
var ErrMasterKey = errors.New("master key is not 32 octets")

// Keys hashes and seals. It is safe for any number of goroutines.
type Keys struct {
	all []*masterKey // the current one first
}

type masterKey struct {
	id      [keyIDSize]byte
	print   string
	secret  []byte
	sealing cipher.AEAD
	hashing sync.Map // purpose -> derived key: deriving costs more than hashing
}

// NewKeys makes Keys of one or more master keys of 32 octets. The first seals
// and hashes; the others only open and look up what was made with them before
// they were replaced.
func NewKeys(master ...[]byte) (*Keys, error) {
	if len(master) == 0 {
		return nil, ErrMasterKey
	}
	k := &Keys{}
	for _, m := range master {
		mk, err := newMasterKey(m)
		if err != nil {
			return nil, err
		}
		k.all = append(k.all, mk)
	}
	return k, nil
}

func newMasterKey(m []byte) (*masterKey, error) {
	if len(m) != masterSize {
		return nil, ErrMasterKey
	}
	mk := &masterKey{secret: append([]byte(nil), m...)}
	print := mk.derive("fingerprint")
	copy(mk.id[:], print)
	mk.print = hex.EncodeToString(print[:16])
	block, err := aes.NewCipher(mk.derive("seal"))
	if err != nil {
		return nil, fmt.Errorf("make sealing key: %w", err)
	}
	if mk.sealing, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("make sealing key: %w", err)
	}
	return mk, nil
}

// derive gives 32 octets of HKDF-SHA-256 (RFC 5869); for that length it cannot
// fail.
func (m *masterKey) derive(purpose string) []byte {
	key, err := hkdf.Key(sha256.New, m.secret, nil, "pennypost "+purpose, sha256.Size)
	if err != nil {
		panic(err)
	}
	return key
}

// Derive gives a key of 32 octets for a purpose.
func (k *Keys) Derive(purpose string) []byte { return k.all[0].derive(purpose) }

// DeriveAll gives the keys for a purpose of every master key, the current one
// first, for checking what was made before a replacement.
func (k *Keys) DeriveAll(purpose string) [][]byte {
	keys := make([][]byte, 0, len(k.all))
	for _, m := range k.all {
		keys = append(keys, m.derive(purpose))
	}
	return keys
}

// Fingerprint names the current master key without giving it away: 32 hex
// digits.
func (k *Keys) Fingerprint() string { return k.all[0].print }

// Hash gives the keyed hash of a secret, HMAC-SHA-256.
func (k *Keys) Hash(purpose, secret string) []byte { return k.all[0].hash(purpose, secret) }

// Hashes gives the keyed hashes of a secret under every master key, the
// current one first: what to look for.
func (k *Keys) Hashes(purpose, secret string) [][]byte {
	hashes := make([][]byte, 0, len(k.all))
	for _, m := range k.all {
		hashes = append(hashes, m.hash(purpose, secret))
	}
	return hashes
}

func (m *masterKey) hash(purpose, secret string) []byte {
	key, ok := m.hashing.Load(purpose)
	if !ok {
		key, _ = m.hashing.LoadOrStore(purpose, m.derive("hash "+purpose))
	}
	h := hmac.New(sha256.New, key.([]byte))
	h.Write([]byte(secret))
	return h.Sum(nil)
}

// Seal encrypts with AES-256-GCM. The result opens for the same purpose only:
// format, key id, nonce, ciphertext.
func (k *Keys) Seal(purpose string, plain []byte) ([]byte, error) {
	m := k.all[0]
	head := append([]byte{sealFormat}, m.id[:]...)
	nonce := make([]byte, m.sealing.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("make nonce: %w", err)
	}
	return m.sealing.Seal(append(head, nonce...), nonce, plain, sealContext(head, purpose)), nil
}

// Open gives back what Seal was given, or ErrSealed.
func (k *Keys) Open(purpose string, sealed []byte) ([]byte, error) {
	const head = 1 + keyIDSize
	if len(sealed) < head || sealed[0] != sealFormat {
		return nil, ErrSealed
	}
	for _, m := range k.all {
		n := m.sealing.NonceSize()
		if [keyIDSize]byte(sealed[1:head]) != m.id || len(sealed) < head+n {
			continue
		}
		plain, err := m.sealing.Open(nil, sealed[head:head+n], sealed[head+n:], sealContext(sealed[:head], purpose))
		if err != nil {
			return nil, ErrSealed
		}
		return plain, nil
	}
	return nil, ErrSealed
}

func sealContext(head []byte, purpose string) []byte {
	return append(append([]byte(nil), head...), purpose...)
}
