package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// When the certificate makes the health check warn; it fails once it expired.
const certWarnBefore = 14 * 24 * time.Hour

// A self-signed certificate lives a year and is made anew a month before.
const (
	selfSignedFor   = 365 * 24 * time.Hour
	selfSignedRenew = 30 * 24 * time.Hour
)

// certEvery is how often the files are looked at.
const certEvery = 10 * time.Second

// certificate is the one that all TLS listeners show. It is read again when
// its files change.
type certificate struct {
	certFile, keyFile string
	selfSigned        bool
	names             []string
	now               func() time.Time
	log               *slog.Logger

	mu      sync.RWMutex
	current *tls.Certificate
	expires time.Time
	stamp   string // of the files that current was read from
}

// openCertificate reads the given files, or makes a self-signed certificate in
// the data directory.
func openCertificate(c *config, now func() time.Time, log *slog.Logger) (*certificate, error) {
	cert := &certificate{
		certFile: c.tlsCert, keyFile: c.tlsKey, names: []string{c.hostname, "localhost"}, now: now, log: log,
	}
	if cert.certFile == "" {
		cert.selfSigned = true
		cert.certFile = filepath.Join(c.dataDir, "self-signed.crt")
		cert.keyFile = filepath.Join(c.dataDir, "self-signed.key")
	}
	if err := cert.refresh(); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return cert, nil
}

// refresh reads the files when they changed since they were read, and makes
// them when they are ours to make.
func (c *certificate) refresh() error {
	if c.selfSigned {
		if err := c.makeSelfSigned(); err != nil {
			return err
		}
	}
	stamp, err := stampOf(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.mu.RLock()
	same := stamp == c.stamp
	c.mu.RUnlock()
	if same {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return err
	}
	pair.Leaf = leaf
	c.mu.Lock()
	defer c.mu.Unlock()
	again := c.current != nil
	c.current, c.expires, c.stamp = &pair, leaf.NotAfter, stamp
	if again {
		c.log.Info("certificate read again", "expires", leaf.NotAfter.UTC())
	}
	return nil
}

// stampOf tells two states of files apart.
func stampOf(files ...string) (string, error) {
	stamp := ""
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			return "", err
		}
		stamp += fmt.Sprintf("%d %d;", st.ModTime().UnixNano(), st.Size())
	}
	return stamp, nil
}

// run reads the files again when they change, or when it is told to. A file
// that cannot be read leaves the certificate as it is: half of a renewal may
// be written.
func (c *certificate) run(ctx context.Context, reload <-chan os.Signal) error {
	tick := time.NewTicker(certEvery)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-reload:
			c.mu.Lock()
			c.stamp = ""
			c.mu.Unlock()
		}
		if err := c.refresh(); err != nil && err.Error() != told {
			told = err.Error()
			c.log.WarnContext(ctx, "certificate could not be read again, the former stays", "err", err)
		} else if err == nil {
			told = ""
		}
	}
}

// get fits as tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.current, nil
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

// left is how long the certificate is still good.
func (c *certificate) left() time.Duration {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.expires.Sub(c.now())
}

func (c *certificate) until() time.Time {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.expires
}

// makeSelfSigned writes key and certificate unless good ones are there. The
// key is ECDSA: some senders to port 25 take no other.
func (c *certificate) makeSelfSigned() error {
	if old, err := tls.LoadX509KeyPair(c.certFile, c.keyFile); err == nil {
		leaf, err := x509.ParseCertificate(old.Certificate[0])
		if err == nil && leaf.NotAfter.Sub(c.now()) > selfSignedRenew && leaf.VerifyHostname(c.names[0]) == nil {
			return nil
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: c.names[0]},
		NotBefore:             c.now().Add(-time.Hour),
		NotAfter:              c.now().Add(selfSignedFor),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              c.names,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(c.keyFile, "PRIVATE KEY", pkcs8, 0o600),
		writePEM(c.certFile, "CERTIFICATE", der, 0o644),
	)
}

// writePEM replaces a file in one step.
func writePEM(name, kind string, der []byte, mode os.FileMode) error {
	return writeFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

// writeFile replaces a file in one step, so that nobody reads half of it.
func writeFile(name string, content []byte, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close(), os.Rename(f.Name(), name))
}
