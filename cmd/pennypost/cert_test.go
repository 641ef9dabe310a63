package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func openTestCert(t *testing.T, c *config, now func() time.Time) *certificate {
	t.Helper()
	cert, err := openCertificate(c, now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestSelfSigned(t *testing.T) {
	c := &config{dataDir: t.TempDir(), hostname: "mail.example.com"}
	now := time.Now()
	first := openTestCert(t, c, func() time.Time { return now })
	st, err := os.Stat(first.keyFile)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", st.Mode(), err)
	}
	if err := first.current.Leaf.VerifyHostname("mail.example.com"); err != nil {
		t.Error(err)
	}
	again := openTestCert(t, c, func() time.Time { return now.Add(300 * 24 * time.Hour) })
	if !again.current.Leaf.Equal(first.current.Leaf) {
		t.Error("a good certificate was made anew")
	}
	later := openTestCert(t, c, func() time.Time { return now.Add(340 * 24 * time.Hour) })
	if later.current.Leaf.Equal(first.current.Leaf) || later.left() < 364*24*time.Hour {
		t.Errorf("a certificate that ends soon was kept: %v left", later.left())
	}
	c.hostname = "other.example.com"
	other := openTestCert(t, c, time.Now)
	if err := other.current.Leaf.VerifyHostname("other.example.com"); err != nil {
		t.Errorf("another host name: %v", err)
	}
}

// A renewed certificate is taken over without a restart, half of one is not.
func TestCertificateIsReadAgain(t *testing.T) {
	made := openTestCert(t, &config{dataDir: t.TempDir(), hostname: "a.example.com"}, time.Now)
	renewed := openTestCert(t, &config{dataDir: t.TempDir(), hostname: "a.example.com"}, time.Now)
	dir := t.TempDir()
	c := &config{tlsCert: filepath.Join(dir, "c.pem"), tlsKey: filepath.Join(dir, "k.pem"), hostname: "a.example.com"}
	put := func(from, to string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(made.certFile, c.tlsCert)
	put(made.keyFile, c.tlsKey)
	var log syncBuffer
	cert, err := openCertificate(c, time.Now, newLog(&log, slog.LevelInfo, true))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	reload := make(chan os.Signal)
	done := make(chan error, 1)
	go func() { done <- cert.run(ctx, reload) }()
	shown := func() *tls.Certificate {
		c, err := cert.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	put(renewed.certFile, c.tlsCert) // its key is not there yet
	reload <- syscall.SIGHUP
	reload <- syscall.SIGHUP
	if !shown().Leaf.Equal(made.current.Leaf) || !strings.Contains(log.String(), "could not be read again") {
		t.Errorf("half of a renewal: log %s", log.String())
	}
	put(renewed.keyFile, c.tlsKey)
	reload <- syscall.SIGHUP
	reload <- syscall.SIGHUP // the one before has been dealt with
	if !shown().Leaf.Equal(renewed.current.Leaf) {
		t.Error("the renewed certificate is not shown")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCertificateHealth(t *testing.T) {
	now := time.Now()
	cert := openTestCert(t, &config{dataDir: t.TempDir(), hostname: "a.example.com"}, func() time.Time { return now })
	h := &health{cert: cert}
	for _, tt := range []struct {
		left time.Duration
		want string
	}{
		{15 * 24 * time.Hour, healthOK},
		{14*24*time.Hour - time.Minute, healthWarn},
		{3 * 24 * time.Hour, healthWarn},
		{-time.Second, healthFail},
	} {
		now = cert.until().Add(-tt.left)
		if got := h.checkCert(); got.Status != tt.want || got.Expires == nil {
			t.Errorf("%v left: got %+v, want %s", tt.left, got, tt.want)
		}
		w := httptest.NewRecorder()
		answer(w, map[string]check{"certificate": h.checkCert(), "other": {Status: healthOK}})
		want := http.StatusOK
		if tt.want == healthFail {
			want = http.StatusServiceUnavailable
		}
		if w.Code != want || !strings.HasPrefix(w.Body.String(), `{"status":"`+tt.want+`"`) {
			t.Errorf("%v left: got %d %s", tt.left, w.Code, w.Body)
		}
	}
}

func TestProfilesAreLocal(t *testing.T) {
	h := localOnly(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for addr, want := range map[string]int{
		"127.0.0.1:1": 204, "[::1]:1": 204, "[::ffff:127.0.0.1]:1": 204, "192.0.2.1:1": 404, "x": 404,
	} {
		r := httptest.NewRequest(http.MethodGet, "/debug/pprof/heap", nil)
		r.RemoteAddr = addr
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("from %s: got %d, want %d", addr, w.Code, want)
		}
	}
}

func TestWriteFileReplaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	for _, text := range []string{"one", "two"} {
		if err := writeFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != text {
			t.Errorf("got %q, %v", b, err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("files left over: %v, %v", left, err)
	}
	if err := writeFile(filepath.Join(t.TempDir(), "none", "f"), nil, 0o600); err == nil {
		t.Error("no error for a directory that is not there")
	}
}
