package web_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pennypost/internal/web"
)

func okHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
}

func TestSlowHeaderIsCutOff(t *testing.T) {
	addr := serve(t, web.ServerConfig{Handler: okHandler(), HeaderWithin: 30 * time.Millisecond})
	start := time.Now()
	talk(t, addr, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ") // ends when the peer closes
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("closed after %v, want about 30 ms", took)
	}
}

func TestIdleConnectionIsClosed(t *testing.T) {
	addr := serve(t, web.ServerConfig{Handler: okHandler(), IdleFor: 30 * time.Millisecond})
	if got := talk(t, addr, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("got %q, want 200 before the close", got)
	}
}

func TestLargeHeaderIs431(t *testing.T) {
	addr := serve(t, web.ServerConfig{Handler: okHandler()})
	status, _ := ask(t, addr, "GET / HTTP/1.1\r\nHost: x\r\nX-Big: "+strings.Repeat("a", 70<<10)+"\r\n\r\n")
	if status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %d, want 431", status)
	}
}

// A request under way is finished when the server is told to end, and no new
// connection is taken.
func TestServeDrains(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(started)
		<-finish
		_, _ = io.WriteString(w, "done")
	})
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- web.NewServer(web.ServerConfig{Handler: h}).Serve(ctx, l, nil) }()

	answer := make(chan string, 1)
	go func() {
		answer <- talkOr(t.Context(), l.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	}()
	<-started
	cancel()
	select {
	case err := <-ended:
		t.Fatalf("Serve returned %v while a request was under way", err)
	case <-time.After(30 * time.Millisecond):
	}
	close(finish)
	if got := <-answer; !strings.HasSuffix(got, "done") {
		t.Errorf("answer %q, want it finished", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	var d net.Dialer
	if c, err := d.DialContext(t.Context(), "tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("a connection was taken after the end")
	}
}

func talkOr(ctx context.Context, addr, text string) string {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		return err.Error()
	}
	b, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// A handler that does not end is cut off after DrainWithin, and Serve says so.
func TestServeDrainIsBounded(t *testing.T) {
	started := make(chan struct{})
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
	})
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- web.NewServer(web.ServerConfig{Handler: h, DrainWithin: 20 * time.Millisecond}).Serve(ctx, l, nil)
	}()
	go talkOr(t.Context(), l.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-started
	cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("Serve returned nil although a request was cut off")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Serve did not return")
	}
}

func TestServeGivesListenerError(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := web.NewServer(web.ServerConfig{Handler: okHandler()}).Serve(t.Context(), l, nil); err == nil {
		t.Error("Serve on a closed listener returned nil")
	}
}

// Connections beyond the limit wait until one ends.
func TestConnectionLimit(t *testing.T) {
	addr := serve(t, web.ServerConfig{Handler: okHandler(), Conns: 1})
	var d net.Dialer
	first, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(first, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	answer := make(chan string, 1)
	go func() {
		answer <- talkOr(t.Context(), addr, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	}()
	select {
	case got := <-answer:
		t.Errorf("second connection was served beside the first: %q", got)
	case <-time.After(50 * time.Millisecond):
	}
	first.Close()
	if got := <-answer; !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("after the first ended: %q", got)
	}
}

func TestServeTLSSpeaksHTTP2(t *testing.T) {
	// httptest's certificate, for a server of our own.
	donor := httptest.NewTLSServer(okHandler())
	defer donor.Close()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	conf := &tls.Config{Certificates: donor.TLS.Certificates, MinVersion: tls.VersionTLS12}
	go func() { ended <- web.NewServer(web.ServerConfig{Handler: okHandler()}).Serve(ctx, l, conf) }()

	roots := x509.NewCertPool()
	roots.AddCert(donor.Certificate())
	for _, tt := range []struct {
		h2   bool
		want string
	}{{true, "HTTP/2.0"}, {false, "HTTP/1.1"}} {
		tr := &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2: tt.h2,
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+l.Addr().String()+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := (&http.Client{Transport: tr}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(got) != tt.want {
			t.Errorf("spoke %q, error %v; want %s", got, err, tt.want)
		}
		tr.CloseIdleConnections()
	}
	if len(conf.NextProtos) != 0 {
		t.Errorf("the caller's configuration was changed: %v", conf.NextProtos)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
