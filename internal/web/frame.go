package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
)

type ctxKey struct{}

// visit is what the frame knows of a request.
type visit struct {
	id   string
	addr netip.Addr
}

// RequestID gives the id of the request that a context belongs to, or "".
func RequestID(ctx context.Context) string { return visitOf(ctx).id }

// ClientAddr gives the client's address as the frame found it, or the zero
// Addr.
func ClientAddr(ctx context.Context) netip.Addr { return visitOf(ctx).addr }

func visitOf(ctx context.Context) visit {
	v, ok := ctx.Value(ctxKey{}).(visit)
	if !ok {
		return visit{}
	}
	return v
}

// Frame is the middleware of all HTTP edges. The zero value works.
type Frame struct {
	// Trusted proxies: their X-Forwarded-For is believed.
	Trusted []netip.Prefix
	// Panicked answers a request whose handler panicked before it wrote
	// anything; nil: 500 without a body.
	Panicked func(w http.ResponseWriter, r *http.Request, id string)
	Log      *slog.Logger // nil: discarded
}

// Wrap puts the frame around a handler.
func (f Frame) Wrap(next http.Handler) http.Handler {
	if f.Log == nil {
		f.Log = slog.New(slog.DiscardHandler)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := visit{id: newID(), addr: ForwardedAddr(r, f.Trusted)}
		h := w.Header()
		h.Set("X-Request-Id", v.id)
		h.Set("X-Content-Type-Options", "nosniff")
		r = r.WithContext(context.WithValue(r.Context(), ctxKey{}, v))
		defer f.recovered(w, r, v.id)
		next.ServeHTTP(w, r)
	})
}

// recovered ends a panic here. A panic with http.ErrAbortHandler is how a
// handler cuts the connection, and goes on.
func (f Frame) recovered(w http.ResponseWriter, r *http.Request, id string) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	f.Log.ErrorContext(r.Context(), "request panicked", "request_id", id, "method", r.Method,
		"panic", p, "stack", string(debug.Stack()))
	if f.Panicked == nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	f.Panicked(w, r, id)
}

func newID() string {
	var b [12]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err) // crypto/rand.Read never fails since Go 1.24
	}
	return hex.EncodeToString(b[:])
}

// maxForwarded is how many hops of X-Forwarded-For are looked at.
const maxForwarded = 20

// ForwardedAddr gives the address of the client. The peer's own address
// counts, unless it is a trusted proxy: then the last address of
// X-Forwarded-For that is not one. What a client writes in front of that is
// never believed.
func ForwardedAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	addr := peerAddr(r.RemoteAddr)
	if !within(addr, trusted) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for n := 1; n <= min(len(hops), maxForwarded); n++ {
		hop := peerAddr(strings.TrimSpace(hops[len(hops)-n]))
		if !hop.IsValid() {
			return addr
		}
		addr = hop
		if !within(hop, trusted) {
			return hop
		}
	}
	return addr
}

// peerAddr reads an address with or without a port.
func peerAddr(s string) netip.Addr {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

func within(addr netip.Addr, list []netip.Prefix) bool {
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
