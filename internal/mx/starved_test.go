package mx

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
)

// That we have no socket to ask with is not remembered of a name, and whoever
// wants to know can tell it from a broken DNS.
func TestStarved(t *testing.T) {
	s := newServer(t)
	s.set("x.test", "MX", "MX 10 mx.x.test.")
	var none atomic.Bool
	none.Store(true)
	r, _ := s.resolver(t, func(c *ResolverConfig) {
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if none.Load() {
				return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("socket", syscall.EMFILE)}
			}
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		}
	})
	f := New(FinderConfig{Resolver: r})
	_, err := f.Route(t.Context(), "x.test")
	var failure *Failure
	if !errors.As(err, &failure) || failure.Permanent || !Starved(err) {
		t.Fatalf("Route gives %v", err)
	}
	none.Store(false)
	route, err := f.Route(t.Context(), "x.test")
	if err != nil || len(route.Hosts) != 1 {
		t.Fatalf("with sockets again: %v, %v", route, err)
	}
	if Starved(errors.New("refused")) || Starved(nil) {
		t.Error("anything is want of sockets")
	}
}
