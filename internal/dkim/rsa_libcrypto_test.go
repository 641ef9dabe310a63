//go:build !nolibcrypto && (linux || darwin) && (amd64 || arm64) && !android && !ios && !faketime

package dkim

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/ebitengine/purego"
)

func TestLibcryptoIsUsed(t *testing.T) {
	if !strings.HasPrefix(Backend(), "libcrypto 3.") && !strings.HasPrefix(Backend(), "libcrypto 4.") {
		t.Fatalf("backend is %q: install OpenSSL 3 (libssl3)", Backend())
	}
	if _, ok := NewRSASigner(testRSA()).(*libSigner); !ok {
		t.Error("a key is not signed with by libcrypto")
	}
}

func TestLibcryptoRefusesNonsense(t *testing.T) {
	lib, err := openLibcrypto()
	if err != nil {
		t.Fatalf("install OpenSSL 3 (libssl3): %v", err)
	}
	if _, err := lib.parse([]byte("nonsense")); !errors.Is(err, errLibcrypto) {
		t.Errorf("got %v", err)
	}
	if _, err := newLibcrypto(purego.RTLD_DEFAULT); err != nil && !errors.Is(err, errLibcrypto) {
		t.Errorf("got %v", err)
	}
}

// When the library refuses, crypto/rsa signs.
func TestLibcryptoFailure(t *testing.T) {
	lib, err := openLibcrypto()
	if err != nil {
		t.Fatalf("install OpenSSL 3 (libssl3): %v", err)
	}
	s, err := newLibSigner(lib, testRSA())
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("x"))
	want, err := s.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lib.sign(s.pkey, digest[:], 16); !errors.Is(err, errLibcrypto) {
		t.Errorf("a buffer too small gave %v", err)
	}
	s.pkey = 0
	got, err := s.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil || string(got) != string(want) {
		t.Errorf("wrong signature without the library, err %v", err)
	}
}
