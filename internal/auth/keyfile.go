package auth

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pennypost/internal/store"
)

// Why the master key is refused at start.
var (
	// ErrKeyReadable says that others than its owner may read the key file.
	ErrKeyReadable = errors.New("master key file can be read by others; set its mode to 0600")
	// ErrKeyMissing says that the key file is gone while the database holds
	// secrets made with it.
	ErrKeyMissing = errors.New("master key file is missing, but the database was made with one; restore it")
	// ErrKeyWrong says that the database was made with another key.
	ErrKeyWrong = errors.New("master key is not the one that the database was made with")
)

const (
	maxKeyFile = 4096
	metaKeys   = "master_keys"
)

// LoadKeys reads the master key file, one key of 64 hex digits a line, the
// current one first; empty lines and those that begin with # are passed over.
// At the first start, when database and file know of no key, it makes one with
// mode 0600. The fingerprints of all keys in use are kept in the database:
// when the file lacks one of them the start is refused, so that nothing is
// hashed or sealed with a wrong key.
func LoadKeys(ctx context.Context, st *store.Store, path string) (*Keys, error) {
	known, err := knownKeys(ctx, st)
	if err != nil {
		return nil, err
	}
	keys, err := readKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if len(known) > 0 {
			return nil, fmt.Errorf("%s: %w (fingerprint %s)", path, ErrKeyMissing, known[0])
		}
		if err := makeKeyFile(path); err != nil {
			return nil, err
		}
		keys, err = readKeyFile(path)
	}
	if err != nil {
		return nil, err
	}
	if err := recordKeys(ctx, st, keys); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

func knownKeys(ctx context.Context, st *store.Store) ([]string, error) {
	var known []string
	err := st.View(ctx, func(tx *store.Tx) error {
		v, err := tx.Meta(ctx, metaKeys)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		known = strings.Fields(v)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read fingerprint of master key: %w", err)
	}
	return known, nil
}

// recordKeys compares with what the database knows inside one transaction, so
// that of two nodes at their first start only one key wins.
func recordKeys(ctx context.Context, st *store.Store, keys *Keys) error {
	return st.Update(ctx, func(tx *store.Tx) error {
		v, err := tx.Meta(ctx, metaKeys)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		known := strings.Fields(v)
		have := keys.fingerprints()
		for _, f := range known {
			if !slices.Contains(have, f) {
				return fmt.Errorf("%w (its fingerprint is %s)", ErrKeyWrong, f)
			}
		}
		if slices.Contains(known, keys.Fingerprint()) {
			return nil
		}
		now := strings.Join(append([]string{keys.Fingerprint()}, known...), " ")
		if len(known) == 0 {
			return tx.AddMeta(ctx, metaKeys, now)
		}
		return tx.SetMeta(ctx, metaKeys, now)
	})
}

func (k *Keys) fingerprints() []string {
	all := make([]string, 0, len(k.all))
	for _, m := range k.all {
		all = append(all, m.print)
	}
	return all
}

func readKeyFile(path string) (*Keys, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: %w", path, ErrKeyReadable)
	}
	if info.Size() > maxKeyFile {
		return nil, fmt.Errorf("%s: %w", path, ErrMasterKey)
	}
	b, err := os.ReadFile(path) //nolint:gosec // the operator's own setting
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	var master [][]byte
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		m, err := hex.DecodeString(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, ErrMasterKey)
		}
		master = append(master, m)
	}
	keys, err := NewKeys(master...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// makeKeyFile writes a new key and syncs file and directory before anything is
// sealed with it. It never overwrites.
func makeKeyFile(path string) (err error) {
	secret := make([]byte, masterSize)
	if _, err := rand.Read(secret); err != nil {
		return fmt.Errorf("make master key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator's own setting
	if err != nil {
		return fmt.Errorf("make master key: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.WriteString(hex.EncodeToString(secret) + "\n"); err != nil {
		return fmt.Errorf("write master key: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync master key: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) (err error) {
	d, err := os.Open(dir) //nolint:gosec // the operator's own setting
	if err != nil {
		return fmt.Errorf("sync directory of master key: %w", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory of master key: %w", err)
	}
	return nil
}
