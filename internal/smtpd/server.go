package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Server is an SMTP server. Make it with New, start it with Serve.
type Server struct {
	cfg   Config
	lim   Limits
	log   *slog.Logger
	now   func() time.Time
	stats *stats
	mem   memory
	watch watches

	// TLS for submission, and for port 25: Microsoft's senders broke off on
	// TLS 1.3 tickets (golang/go#70232).
	tls, tls25 *tls.Config

	grace atomic.Int64 // Unix µs when the grace time ends
	said  atomic.Int64 // Unix µs when it was last logged that there is no memory
	open  atomic.Int64 // connections
	mu    sync.Mutex
	conns map[*conn]struct{}
	from  map[netip.Prefix]*place
	done  sync.WaitGroup
}

// place is what one address (IPv4 /32, IPv6 /64) takes of the server.
type place struct {
	conns  int // under Server.mu
	memory budget
}

// New makes a Server.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Hostname == "":
		return nil, errors.New("smtp server: no host name")
	case cfg.Authenticate == nil || cfg.Accept == nil:
		return nil, errors.New("smtp server: Authenticate and Accept must be set")
	case cfg.TLS == nil:
		return nil, errors.New("smtp server: no TLS")
	}
	s := &Server{
		cfg: cfg, lim: cfg.Limits.withDefaults(), log: cfg.Log, now: cfg.Now,
		conns: make(map[*conn]struct{}), from: make(map[netip.Prefix]*place),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	s.stats = newStats(cfg.Metrics, &s.open)
	s.mem.init(&s.lim)
	s.watch.tokens = make(map[int64]*watch)
	s.tls = cfg.TLS.Clone()
	s.tls.MinVersion = max(s.tls.MinVersion, tls.VersionTLS12)
	s.tls25 = s.tls.Clone()
	s.tls25.SessionTicketsDisabled = true
	return s, nil
}

// lastWord is how long a session may go on after the grace time, to say 421.
const lastWord = time.Second

// Serve accepts connections on all listeners until ctx ends, and returns once
// the last session has ended, at most Limits.Grace and lastWord later. It
// closes the listeners. A listener that fails ends all.
func (s *Server) Serve(ctx context.Context, listeners ...Listener) error {
	// A transaction may outlive ctx by the grace time.
	work, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(listeners))
	var accepting sync.WaitGroup
	for i, l := range listeners {
		accepting.Go(func() {
			defer cancel()
			errs[i] = s.accept(ctx, work, l)
		})
	}
	<-ctx.Done()
	for _, l := range listeners {
		s.drain(l)
	}
	accepting.Wait()
	for i, l := range listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs[i] = errors.Join(errs[i], fmt.Errorf("close SMTP listener: %w", err))
		}
	}
	s.stop()
	// What waits for the store, and what waits for a peer that takes no reply.
	store := time.AfterFunc(s.lim.Grace, kill)
	defer store.Stop()
	peers := time.AfterFunc(s.lim.Grace+lastWord, s.closeAll)
	defer peers.Stop()
	s.done.Wait()
	return errors.Join(errs...)
}

// lastCalls is how long a listener goes on to answer with 421 who has come
// already: what the system took and we did not would be reset.
const lastCalls = 50 * time.Millisecond

// drain lets accept end once it has answered who waits.
func (s *Server) drain(l Listener) {
	d, ok := l.Listener.(interface{ SetDeadline(t time.Time) error })
	if !ok || d.SetDeadline(time.Now().Add(lastCalls)) != nil { //nolint:forbidigo // of the system's clock
		_ = l.Close()
	}
}

// accept runs one listener. Running out of file descriptors is no reason to
// end: it goes on after a rest.
func (s *Server) accept(ctx, work context.Context, l Listener) error {
	const maxRest = time.Second
	rest := time.Duration(0)
	for {
		nc, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				s.hangUp(nc, replyStopping, l.ImplicitTLS)
				continue
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept SMTP connection: %w", err)
		}
		if err != nil {
			rest = min(max(2*rest, 5*time.Millisecond), maxRest)
			s.log.WarnContext(ctx, "accept failed", "listener", l.Addr().String(), "err", err)
			select {
			case <-time.After(rest):
			case <-ctx.Done():
			}
			continue
		}
		rest = 0
		s.welcome(work, l, nc)
	}
}

// welcome starts a connection, or refuses it without a handshake when there
// are too many.
func (s *Server) welcome(ctx context.Context, l Listener, nc net.Conn) {
	c := &conn{srv: s, lis: l, nc: nc, ip: addressOf(nc.RemoteAddr()), since: s.now()}
	if !s.add(c) {
		s.stats.connections.Add(1, "refused")
		s.hangUp(nc, replyTooManyConn, l.ImplicitTLS)
		return
	}
	s.stats.connections.Add(1, "accepted")
	s.done.Go(func() {
		defer s.remove(c)
		c.serve(ctx)
	})
}

// hangUp says why, unless the peer waits for TLS, and closes. It never blocks:
// a fresh socket has room for one line.
func (s *Server) hangUp(nc net.Conn, r reply, implicit bool) {
	if !implicit {
		if err := nc.SetWriteDeadline(s.now().Add(100 * time.Millisecond)); err == nil {
			_, _ = nc.Write(r.appendTo(nil)) //nolint:errcheck // the peer may be gone
		}
	}
	_ = nc.Close()
}

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	prefix := prefixOf(c.ip)
	p := s.from[prefix]
	if len(s.conns) >= s.lim.Connections || p != nil && p.conns >= s.lim.PerAddress {
		return false
	}
	if p == nil {
		p = &place{}
		p.memory.set(s.mem.perAddress)
		s.from[prefix] = p
	}
	p.conns++
	c.place = p
	s.conns[c] = struct{}{}
	s.open.Store(int64(len(s.conns)))
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.open.Store(int64(len(s.conns)))
	if c.place.conns--; c.place.conns == 0 {
		delete(s.from, prefixOf(c.ip))
	}
}

// crowded: three quarters of all connections are taken. Strangers must then
// hurry, so that idle ones cannot keep everybody else out.
func (s *Server) crowded() bool { return 4*s.open.Load() >= 3*int64(s.lim.Connections) }

func (s *Server) stop() {
	s.grace.Store(s.now().Add(s.lim.Grace).UnixMicro())
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.finish(endStop)
	}
}

func (s *Server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.nc.Close()
	}
}

func addressOf(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.IPv6Unspecified() // not TCP: all such peers share a place
	}
	return ap.Addr().Unmap()
}

// prefixOf is what counts as one address: IPv4 /32, IPv6 /64.
func prefixOf(ip netip.Addr) netip.Prefix {
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
