package auth

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/store"
)

func testKeys(t *testing.T, master ...byte) *Keys {
	t.Helper()
	var all [][]byte
	for _, m := range master {
		all = append(all, bytes.Repeat([]byte{m}, 32))
	}
	k, err := NewKeys(all...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSeal(t *testing.T) {
	k := testKeys(t, 1)
	plain := []byte("a private key")
	sealed, err := k.Seal(PurposeDKIM, plain)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, plain) {
		t.Error("sealed in the clear")
	}
	if again, _ := k.Seal(PurposeDKIM, plain); bytes.Equal(again, sealed) {
		t.Error("sealed twice alike")
	}
	if got, err := k.Open(PurposeDKIM, sealed); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("open: %q, %v", got, err)
	}
	if got, err := testKeys(t, 9, 1).Open(PurposeDKIM, sealed); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("open with the key as a former one: %q, %v", got, err)
	}
	if _, err := k.Open(PurposeAPIToken, sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("for another purpose: %v", err)
	}
	if _, err := testKeys(t, 2).Open(PurposeDKIM, sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("with another key: %v", err)
	}
	for n := range sealed {
		bad := bytes.Clone(sealed)
		bad[n] ^= 1
		if _, err := k.Open(PurposeDKIM, bad); !errors.Is(err, ErrSealed) {
			t.Errorf("octet %d changed: %v", n, err)
		}
		if _, err := k.Open(PurposeDKIM, sealed[:n]); !errors.Is(err, ErrSealed) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

func TestHash(t *testing.T) {
	k := testKeys(t, 2, 1)
	h := k.Hash(PurposeAPIToken, "secret")
	for what, other := range map[string][]byte{
		"another purpose": k.Hash(PurposeSMTPSecret, "secret"), "another secret": k.Hash(PurposeAPIToken, "Secret"),
		"another key": testKeys(t, 1).Hash(PurposeAPIToken, "secret"), "derived key": k.Derive(PurposeAPIToken),
	} {
		if bytes.Equal(h, other) {
			t.Errorf("same as for %s", what)
		}
	}
	all := k.Hashes(PurposeAPIToken, "secret")
	if len(all) != 2 || !bytes.Equal(all[0], h) || !bytes.Equal(all[1], testKeys(t, 1).Hash(PurposeAPIToken, "secret")) {
		t.Error("Hashes are not those of all keys, the current one first")
	}
	if d := k.DeriveAll("x"); len(d) != 2 || !bytes.Equal(d[0], k.Derive("x")) || len(d[0]) != 32 {
		t.Error("DeriveAll")
	}
	if _, err := NewKeys(make([]byte, 31)); !errors.Is(err, ErrMasterKey) {
		t.Errorf("short key: %v", err)
	}
	if _, err := NewKeys(); !errors.Is(err, ErrMasterKey) {
		t.Errorf("no key: %v", err)
	}
}

func TestLoadKeys(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	st, err := store.Open(ctx, store.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()

	first, err := LoadKeys(ctx, st, path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v, %v", info, err)
	}
	again, err := LoadKeys(ctx, st, path)
	if err != nil || again.Fingerprint() != first.Fingerprint() {
		t.Fatalf("second start: %v", err)
	}
	made, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(made), first.Fingerprint()) {
		t.Error("the fingerprint gives the key away")
	}

	write := func(s string, mode os.FileMode) {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(s), mode); err != nil {
			t.Fatal(err)
		}
	}
	fresh := strings.Repeat("0f", 32) + "\n"
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		want       error
	}{
		{"another key", fresh, 0o600, ErrKeyWrong},
		{"readable by others", string(made), 0o640, ErrKeyReadable},
		{"no key", "# nothing\n", 0o600, ErrMasterKey},
		{"no hex", "zz\n", 0o600, ErrMasterKey},
		{"short", "0f0f\n", 0o600, ErrMasterKey},
		{"huge", strings.Repeat("#", 5000), 0o600, ErrMasterKey},
		{"replaced, the former kept", "# new\n" + fresh + "\n" + string(made), 0o600, nil},
		{"the former dropped", fresh, 0o600, ErrKeyWrong},
	} {
		write(c.text, c.mode)
		if _, err := LoadKeys(ctx, st, path); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKeys(ctx, st, path); !errors.Is(err, ErrKeyMissing) {
		t.Errorf("file gone: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a new key was made although the database knows one")
	}
}
