//go:build !nolibcrypto && (linux || darwin) && (amd64 || arm64) && !android && !ios && !faketime

package dkim

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
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
	if _, err := s.contexts.sign(digest[:], 16); !errors.Is(err, errLibcrypto) {
		t.Errorf("a buffer too small gave %v", err)
	}
	if n := len(s.contexts.idle); n != 0 {
		t.Errorf("%d contexts are kept after a failure", n)
	}
	s.contexts.pkey = 0
	got, err := s.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil || string(got) != string(want) {
		t.Errorf("wrong signature without the library, err %v", err)
	}
}

// Contexts are used again, by one goroutine at a time, and no more of them are
// kept than there is use for.
func TestLibcryptoContexts(t *testing.T) {
	lib, err := openLibcrypto()
	if err != nil {
		t.Fatalf("install OpenSSL 3 (libssl3): %v", err)
	}
	key := testRSA()
	s, err := newLibSigner(lib, key)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.contexts.idle); n != 1 {
		t.Errorf("%d contexts after one signature, want 1", n)
	}
	var wg sync.WaitGroup
	for i := range 4 * maxContexts {
		wg.Go(func() {
			for j := range 20 {
				digest := sha256.Sum256(fmt.Appendf(nil, "%d %d", i, j))
				sig, err := s.Sign(rand.Reader, digest[:], crypto.SHA256)
				if err != nil {
					t.Error(err)
					return
				}
				if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], sig); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(s.contexts.idle); n < 1 || n > maxContexts {
		t.Errorf("%d contexts are kept", n)
	}
}
