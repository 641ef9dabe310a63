package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// conn is one TCP connection. It survives STARTTLS; what it remembers then is
// only what counts against the peer.
type conn struct {
	srv   *Server
	lis   Listener
	nc    net.Conn // the socket itself
	ip    netip.Addr
	place *place
	since time.Time // start, or the last accepted message
	end   atomic.Int32

	wrong, idle, refused, failed int
}

// finish ends the connection from outside. Any goroutine may call it.
func (c *conn) finish(why int32) {
	if c.end.CompareAndSwap(endNot, why) || why == endRevoked {
		c.end.Store(why)
	}
	// A read in progress ends; the session looks at c.end then.
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a closed connection has ended anyway
}

// serve runs the sessions of the connection and closes it. A panic ends this
// connection alone.
func (c *conn) serve(ctx context.Context) {
	defer c.nc.Close()
	var s *session
	defer func() {
		if p := recover(); p != nil {
			c.srv.stats.panics.Add(1)
			c.srv.log.ErrorContext(ctx, "session panicked", "ip", c.ip.String(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			s.abandon(replyPanic)
		}
		s.leave()
	}()
	nc := c.nc
	var secure *tls.Conn
	if c.lis.ImplicitTLS {
		if secure = c.handshake(ctx); secure == nil {
			return
		}
		nc = secure
	}
	s = newSession(c, nc, secure)
	s.greet()
	for {
		err := s.run(ctx)
		if !errors.Is(err, errUpgrade) {
			s.bye(ctx, err)
			return
		}
		// RFC 3207 §4.2: nothing is kept, least of all what stands in the
		// buffer: it came before the handshake, from anybody.
		s.leave()
		if secure = c.handshake(ctx); secure == nil {
			return
		}
		s = newSession(c, secure, secure)
	}
}

// handshake gives nil when it did not come about.
func (c *conn) handshake(ctx context.Context) *tls.Conn {
	cfg := c.srv.tls
	if c.lis.Inbound {
		cfg = c.srv.tls25
	}
	t := tls.Server(c.nc, cfg)
	deadline := c.srv.now().Add(c.srv.lim.Handshake)
	if err := c.nc.SetDeadline(deadline); err != nil {
		return nil
	}
	if c.end.Load() != endNot {
		return nil
	}
	// The deadline ends it; a context would cost a goroutine.
	err := t.HandshakeContext(context.WithoutCancel(ctx))
	if err == nil {
		return t
	}
	var notTLS tls.RecordHeaderError
	if errors.As(err, &notTLS) {
		// RFC 8446 §6: alert, level fatal, unexpected_message.
		_, _ = c.nc.Write([]byte{21, 3, 1, 0, 2, 2, 10}) //nolint:errcheck // the peer may be gone
		c.linger(c.nc)
	}
	c.srv.log.InfoContext(ctx, "TLS handshake failed", "ip", c.ip.String(), "err", err)
	return nil
}

// linger ends our direction and reads on for a moment: closing a socket with
// octets unread would reset it, and the peer might lose our last reply.
func (c *conn) linger(nc net.Conn) {
	const (
		moment = 500 * time.Millisecond
		most   = 256 << 10
	)
	if err := nc.SetDeadline(c.srv.now().Add(moment)); err != nil {
		return
	}
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	if tcp, ok := c.nc.(*net.TCPConn); ok && nc != c.nc {
		if tcp.CloseWrite() != nil {
			return
		}
	}
	_, _ = io.CopyN(io.Discard, c.nc, most) //nolint:errcheck // whatever ends it
}
