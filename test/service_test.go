package test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pennypost/internal/fakenet"
)

// booted is a rig whose program runs and is seeded.
func booted(t *testing.T, c fakenet.Config, settings map[string]string) *rig {
	t.Helper()
	n, stopNet, err := pretendNet(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRig(t.TempDir(), n)
	if err != nil {
		t.Fatal(errors.Join(err, stopNet()))
	}
	t.Cleanup(func() {
		if err := errors.Join(r.stop(), stopNet()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(tail(r.log.String(), 20_000))
		}
	})
	r.settings["PENNYPOST_ACCOUNT_TOKEN"] = accountToken
	for k, v := range settings {
		r.settings[k] = v
	}
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	if err := r.seed(); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestStopsGracefully stops the program within a mail transaction and within a
// request: both are finished, nothing new is begun, and who asks is told.
func TestStopsGracefully(t *testing.T) {
	r := booted(t, fakenet.Config{}, nil)
	conn, err := net.Dial("tcp", r.smtp)
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClient(conn, "mail.pennypost.test")
	if err != nil {
		t.Fatal(err)
	}
	idle, err := net.Dial("tcp", r.smtp)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		c.StartTLS(&tls.Config{InsecureSkipVerify: true}),
		c.Auth(smtp.PlainAuth("", r.user, r.secret, "mail.pennypost.test")),
		c.Mail("orders@shop.test"), c.Rcpt("alice@one.test"),
	); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(w, "From: orders@shop.test\r\nSubject: half\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, 5*time.Second, "/readyz to fail", func() bool {
		status, body, err := r.get("/readyz")
		return err == nil && status == http.StatusServiceUnavailable && strings.Contains(body, "stopping")
	})
	if status, _, err := r.get("/healthz"); err != nil || status != http.StatusOK {
		t.Errorf("/healthz while stopping: %d, %v", status, err)
	}
	waitUntil(t, 5*time.Second, "the listener to close", func() bool {
		d, err := net.Dial("tcp", r.smtp)
		if err != nil {
			return true
		}
		_ = d.Close()
		return false
	})
	buf := make([]byte, 1024)
	n, err := idle.Read(buf) // the banner
	for err == nil && !strings.Contains(string(buf[:n]), "421") {
		n, err = idle.Read(buf)
	}
	if !strings.Contains(string(buf[:n]), "421 4.3.2") {
		t.Errorf("an idle session got %q, %v", buf[:n], err)
	}
	if _, err := fmt.Fprint(w, "the other half\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("the transaction under way: %v", err)
	}
	select {
	case err := <-r.ended:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("did not end")
	}
	r.cmd = nil
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := r.net.Box().WaitFor(ctx, "alice@one.test", 1)
	if err != nil || len(got) != 1 || !strings.Contains(string(got[0].Data), "the other half") {
		t.Errorf("got %d mails, %v", len(got), err)
	}
}

// putCert writes a certificate that is good for a time.
func putCert(t *testing.T, dir string, good time.Duration) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "mail.pennypost.test"},
		DNSNames: []string{"mail.pennypost.test"}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(good),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o600),
		os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}

// TestCertificate serves HTTPS and SMTP with a given certificate, warns before
// it ends, and takes over its successor without a restart.
func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	free, err := fakenet.FreeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	https := free[0]
	roots := putCert(t, dir, 10*24*time.Hour)
	r := booted(t, fakenet.Config{}, map[string]string{
		"PENNYPOST_HTTPS_LISTEN": https, "PENNYPOST_TLS_CERT": filepath.Join(dir, "cert.pem"), "PENNYPOST_TLS_KEY": filepath.Join(dir, "key.pem"),
	})
	reach := func(roots *x509.CertPool) error {
		conf := &tls.Config{RootCAs: roots, ServerName: "mail.pennypost.test"}
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: conf}, Timeout: 5 * time.Second}
		resp, err := c.Get("https://" + https + "/server")
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			return fmt.Errorf("HTTPS without a token: %s", resp.Status)
		}
		s, err := tls.Dial("tcp", r.smtps, conf)
		if err != nil {
			return err
		}
		return s.Close()
	}
	health := func() (int, string) {
		t.Helper()
		status, body, err := r.get("/healthz")
		var answer struct {
			Checks map[string]struct{ Status string }
		}
		if err := errors.Join(err, json.Unmarshal([]byte(body), &answer)); err != nil {
			t.Fatal(err)
		}
		return status, answer.Checks["certificate"].Status
	}
	if err := reach(roots); err != nil {
		t.Error(err)
	}
	if status, cert := health(); status != http.StatusOK || cert != "warn" {
		t.Errorf("ten days before the end: %d, %s", status, cert)
	}
	for _, tt := range []struct {
		good   time.Duration
		status int
		cert   string
	}{
		{90 * 24 * time.Hour, http.StatusOK, "ok"},
		{-24 * time.Hour, http.StatusServiceUnavailable, "fail"},
	} {
		roots = putCert(t, dir, tt.good)
		if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, 5*time.Second, "the new certificate", func() bool {
			status, cert := health()
			return status == tt.status && cert == tt.cert
		})
		if err := reach(roots); (err == nil) != (tt.good > 0) {
			t.Errorf("a certificate good for %v: %v", tt.good, err)
		}
	}
	if left, err := r.metric("pennypost_certificate_expires_in_seconds"); err != nil || left > -23*3600 {
		t.Errorf("metric %v, %v", left, err)
	}
	// Mail still goes: an old certificate is no reason to refuse it.
	if status, _, err := r.get("/readyz"); err != nil || status != http.StatusOK {
		t.Errorf("/readyz: %d, %v", status, err)
	}
}

// TestDiskFails lets the disk refuse a write. The program ends at once and says
// why, and everything that it acknowledged goes out after the next start.
func TestDiskFails(t *testing.T) {
	r := booted(t, fakenet.Config{}, nil)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.fileLimit = 4000
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	acked := make(map[string]bool)
	for i := range 200 {
		to := fmt.Sprintf("a%d@one.test", i)
		var result struct{ ErrorCode int }
		err := r.serverCall("POST", "/email", map[string]string{
			"From": "orders@shop.test", "To": to, "Subject": "x", "TextBody": strings.Repeat("0123456789\n", 10_000),
		}, &result)
		if err != nil {
			break
		}
		acked[to] = true
	}
	select {
	case err := <-r.ended:
		if err == nil {
			t.Error("ended without an error")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the program goes on with a database that failed")
	}
	r.cmd = nil
	if !strings.Contains(r.log.String(), "database failed for good") || len(acked) == 0 || len(acked) == 200 {
		t.Errorf("%d acknowledged", len(acked))
	}
	r.fileLimit = 0
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for to := range acked {
		if _, err := r.net.Box().WaitFor(ctx, to, 1); err != nil {
			t.Error(err)
		}
	}
}
