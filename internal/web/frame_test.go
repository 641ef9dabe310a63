package web_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"pennypost/internal/web"
)

func get(t *testing.T) *http.Request {
	t.Helper()
	return httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
}

func TestFrameNamesRequests(t *testing.T) {
	var inside string
	h := web.Frame{}.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		inside = web.RequestID(r.Context())
	}))
	seen := map[string]bool{}
	for range 3 {
		w := httptest.NewRecorder()
		r := get(t)
		r.Header.Set("X-Request-Id", "chosen-by-client")
		h.ServeHTTP(w, r)
		id := w.Header().Get("X-Request-Id")
		if len(id) != 24 || id != inside || seen[id] {
			t.Errorf("X-Request-Id %q, inside %q, seen %v", id, inside, seen)
		}
		seen[id] = true
		if got := w.Header().Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("X-Content-Type-Options = %q, want nosniff", got)
		}
	}
	if id := web.RequestID(t.Context()); id != "" {
		t.Errorf("a context outside has request id %q", id)
	}
}

func TestPanicIsAFault(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	j := web.NewJSON(logger, nil)
	h := web.Frame{Panicked: j.Fault, Log: logger}.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic("secret detail")
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, get(t))
	id := w.Header().Get("X-Request-Id")
	want := `{"ErrorCode":101,"Message":"An unexpected error occurred. Please try again. Error ID: ` + id + `","ErrorID":"` + id + `"}`
	if w.Code != http.StatusInternalServerError || w.Body.String() != want {
		t.Errorf("got %d %s, want 500 %s", w.Code, w.Body, want)
	}
	if !strings.Contains(log.String(), "secret detail") || !strings.Contains(log.String(), id) {
		t.Errorf("log has not the panic with the id %s: %s", id, &log)
	}
}

func TestPanicWithoutAnswererIsBare500(t *testing.T) {
	h := web.Frame{}.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") }))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, get(t))
	if w.Code != http.StatusInternalServerError || w.Body.Len() != 0 {
		t.Errorf("got %d %q, want 500 without a body", w.Code, w.Body)
	}
}

func TestAbortGoesOn(t *testing.T) {
	h := web.Frame{}.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("recovered %v, want http.ErrAbortHandler", err)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), get(t))
}

func TestForwardedAddr(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	tests := []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"no proxy", "192.0.2.1:5000", nil, "192.0.2.1"},
		{"a stranger's claim", "192.0.2.1:5000", []string{"203.0.113.9"}, "192.0.2.1"},
		{"a trusted proxy's claim", "10.1.2.3:5000", []string{"203.0.113.9"}, "203.0.113.9"},
		{"what the client wrote in front", "10.1.2.3:5000", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		{"two proxies", "10.1.2.3:5000", []string{"203.0.113.9, 10.9.9.9"}, "203.0.113.9"},
		{"two header lines", "10.1.2.3:5000", []string{"198.51.100.1", "203.0.113.9"}, "203.0.113.9"},
		{"all are proxies", "10.1.2.3:5000", []string{"10.7.7.7"}, "10.7.7.7"},
		{"no header", "10.1.2.3:5000", nil, "10.1.2.3"},
		{"garbage", "10.1.2.3:5000", []string{"<script>"}, "10.1.2.3"},
		{"garbage in front", "10.1.2.3:5000", []string{"x, 203.0.113.9"}, "203.0.113.9"},
		{"with a port", "10.1.2.3:5000", []string{"203.0.113.9:1234"}, "203.0.113.9"},
		{"IPv6", "[::1]:5000", []string{"2001:db8::5"}, "2001:db8::5"},
		{"IPv6 in brackets with a port", "[::1]:5000", []string{"[2001:db8::5]:99"}, "2001:db8::5"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:5000", nil, "192.0.2.1"},
		{"mapped proxy", "[::ffff:10.1.2.3]:5000", []string{"203.0.113.9"}, "203.0.113.9"},
		{"zone", "[fe80::1%eth0]:5000", nil, "fe80::1"},
		{"more hops than are looked at", "10.1.2.3:5000", []string{"203.0.113.9" + strings.Repeat(", 10.0.0.1", 50)}, "10.0.0.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := get(t)
			r.RemoteAddr = tt.remote
			for _, v := range tt.forwarded {
				r.Header.Add("X-Forwarded-For", v)
			}
			if got := web.ForwardedAddr(r, trusted); got.String() != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
}

func TestClientAddrInContext(t *testing.T) {
	var got netip.Addr
	h := web.Frame{}.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = web.ClientAddr(r.Context()) }))
	r := get(t)
	r.RemoteAddr = "198.51.100.7:1"
	h.ServeHTTP(httptest.NewRecorder(), r)
	if got.String() != "198.51.100.7" {
		t.Errorf("ClientAddr = %v, want 198.51.100.7", got)
	}
	if addr := web.ClientAddr(t.Context()); addr.IsValid() {
		t.Errorf("a context outside has address %v", addr)
	}
}
