package mx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// ResolverConfig says whom to ask. The zero value works.
type ResolverConfig struct {
	// Servers are addresses with ports; empty: those of /etc/resolv.conf, which
	// is looked at again when it changes.
	Servers []string
	// Dial replaces the system's dialer. It is given "udp" or "tcp".
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Now is for the age of answers; nil means time.Now.
	Now func() time.Time
	// Timeout bounds a question, all tries included; 0 is 10 s.
	Timeout time.Duration
	// CacheSize is how many answers are kept; 0 is 20,000. They take 16 MiB
	// together at most.
	CacheSize int
}

const (
	maxUnderWay  = 512 // questions at a time
	tries        = 4   // of one question, each a quarter of its time
	cacheMemory  = 16 << 20
	entrySize    = 256 // of an answer's frame
	oneFamily    = 3 * time.Second
	defaultTries = 10 * time.Second
)

// Resolver asks DNS and remembers the answers. It is safe for concurrent use.
type Resolver struct {
	conf    ResolverConfig
	system  *resolvConf // nil when Servers are given
	slots   chan struct{}
	server  atomic.Uint32 // the one that answered last
	mu      sync.Mutex    // of what follows
	cache   *lru[question, *entry]
	flights map[question]*flight
}

// NewResolver makes a Resolver. It does not ask anything yet.
func NewResolver(c ResolverConfig) (*Resolver, error) {
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTries
	}
	if c.CacheSize <= 0 {
		c.CacheSize = 20_000
	}
	r := &Resolver{
		conf: c, slots: make(chan struct{}, maxUnderWay),
		cache: newLRU[question, *entry](c.CacheSize, cacheMemory), flights: make(map[question]*flight),
	}
	for _, s := range c.Servers {
		if _, _, err := net.SplitHostPort(s); err != nil {
			return nil, fmt.Errorf("DNS server %q: %w", s, err)
		}
	}
	if len(c.Servers) == 0 {
		r.system = &resolvConf{path: "/etc/resolv.conf"}
	}
	return r, nil
}

func (r *Resolver) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return r.conf.Dial(ctx, network, addr)
}

// TXT gives the TXT records of a name, the strings of each joined: 50 at
// most, of 64 KiB together.
func (r *Resolver) TXT(ctx context.Context, name string) ([]string, error) {
	a, err := r.ask(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	return slices.Clone(a.texts), nil
}

// CNAME gives the name that a name is an alias of, in lower case without the
// final dot.
func (r *Resolver) CNAME(ctx context.Context, name string) (string, error) {
	a, err := r.ask(ctx, name, dns.TypeCNAME)
	if err != nil {
		return "", err
	}
	return a.target, nil
}

// MX gives the MX records of a name by preference, 64 at most. The host of a
// null MX (RFC 7505) is "".
func (r *Resolver) MX(ctx context.Context, name string) ([]Host, error) {
	a, err := r.ask(ctx, name, dns.TypeMX)
	if err != nil {
		return nil, err
	}
	return slices.Clone(a.hosts), nil
}

// Addrs gives the addresses of a host, IPv6 first, 32 of each family at most.
// When one family's question fails, or takes much longer than the other's,
// the other's addresses are all.
func (r *Resolver) Addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	six, err6 := r.known(host, dns.TypeAAAA)
	four, err4 := r.known(host, dns.TypeA)
	if (six == nil && err6 == nil) || (four == nil && err4 == nil) {
		six, err6, four, err4 = r.askBoth(ctx, host)
	}
	var out []netip.Addr
	if err6 == nil {
		out = append(out, six.addrs...)
	}
	if err4 == nil {
		out = append(out, four.addrs...)
	}
	switch {
	case len(out) > 0:
		return out, nil
	case errors.Is(err4, ErrNoRecord):
		return nil, err6
	case errors.Is(err6, ErrNoName):
		return nil, err6 // it says the same of every type
	}
	return nil, err4
}

var errSlow = errors.New("much slower than the other family's")

// askBoth asks for both families at once.
func (r *Resolver) askBoth(ctx context.Context, host string) (six *answer, err6 error, four *answer, err4 error) {
	ctx6, cancel6 := context.WithCancelCause(ctx)
	ctx4, cancel4 := context.WithCancelCause(ctx)
	var timers [2]*time.Timer
	var wg sync.WaitGroup
	wg.Go(func() {
		if six, err6 = r.ask(ctx6, host, dns.TypeAAAA); err6 == nil {
			timers[0] = time.AfterFunc(oneFamily, func() { cancel4(errSlow) })
		}
	})
	if four, err4 = r.ask(ctx4, host, dns.TypeA); err4 == nil {
		timers[1] = time.AfterFunc(oneFamily, func() { cancel6(errSlow) })
	}
	wg.Wait()
	for _, t := range timers {
		if t != nil {
			t.Stop()
		}
	}
	cancel6(nil)
	cancel4(nil)
	return six, err6, four, err4
}

// known gives what is remembered, if it is: else neither answer nor error.
func (r *Resolver) known(name string, qtype uint16) (*answer, error) {
	q := question{normal(name), qtype}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cached(q, r.conf.Now())
}

// flight is a question under way, for all who ask it.
type flight struct {
	done chan struct{}
	ans  *answer
	err  error
	// dropped: who asked went away; somebody else must.
	dropped bool
}

// ask gives the answer to a question. An error is an *Error, unless the
// context ended.
func (r *Resolver) ask(ctx context.Context, name string, qtype uint16) (*answer, error) {
	q := question{normal(name), qtype}
	if !valid(q.name) {
		q.name = strconv.QuoteToASCII(clip(name))
		return nil, q.fail(NoName, nil)
	}
	for {
		r.mu.Lock()
		if a, err := r.cached(q, r.conf.Now()); a != nil || err != nil {
			r.mu.Unlock()
			return a, err
		}
		f, waiting := r.flights[q]
		if !waiting {
			f = &flight{done: make(chan struct{})}
			r.flights[q] = f
		}
		r.mu.Unlock()
		if !waiting {
			r.fly(ctx, q, f)
			return f.ans, f.err
		}
		select {
		case <-f.done:
			if !f.dropped {
				return f.ans, f.err
			}
		case <-ctx.Done():
			return nil, stopped(ctx, q)
		}
	}
}

// stopped is the error when the context ended: that of the caller, or ours when
// a question was given up in favour of the other family's.
func stopped(ctx context.Context, q question) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, errSlow) {
		return q.fail(Temporary, cause)
	}
	return fmt.Errorf("ask DNS for %s: %w", q.name, cause)
}

// fly asks a question for all who wait for it, and remembers what came of it.
func (r *Resolver) fly(ctx context.Context, q question, f *flight) {
	a, err := r.resolve(ctx, q)
	gone := err != nil && ctx.Err() != nil
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.flights, q)
	defer close(f.done)
	switch {
	case gone && !errors.Is(context.Cause(ctx), errSlow):
		f.dropped, f.err = true, stopped(ctx, q)
	case errors.Is(err, errBusy), Starved(err): // nobody was asked
		f.err = q.fail(Temporary, err)
	case err != nil:
		f.ans, f.err = r.keepFailure(q, q.fail(Temporary, err), r.conf.Now())
	default:
		f.ans, f.err = r.keep(q, a, r.conf.Now())
	}
}

var errBusy = errors.New("too many questions at a time")

// resolve asks servers until one answers, and follows the answer to other
// names if need be.
func (r *Resolver) resolve(ctx context.Context, q question) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.conf.Timeout)
	defer cancel()
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return nil, errBusy
	}
	a, hops := &answer{ttl: 1<<31 - 1, size: entrySize + 2*len(q.name)}, 0
	for at := q; ; {
		m, err := r.try(ctx, at)
		if err != nil {
			return nil, err
		}
		next, err := a.take(at, m, &hops)
		if err != nil || next == "" {
			if a.absent != nil {
				a.absent.Name = q.name
			}
			return a, err
		}
		if !valid(next) {
			a.absent = q.fail(NoName, nil)
			return a, nil
		}
		at.name = next
	}
}

// try asks the servers one after the other, the one that answered last first.
// Each refusal sends us to the next; silence too, a few times.
func (r *Resolver) try(ctx context.Context, q question) (*dns.Msg, error) {
	servers := r.servers()
	first, refusals, edns := r.server.Load(), 0, true
	var failed error
	for i := uint32(0); i < tries && ctx.Err() == nil; {
		n := (first + i) % uint32(len(servers)) //nolint:gosec // G115: a few servers
		m, err := r.tryServer(ctx, servers[n], q, edns)
		if err == nil {
			r.server.Store(n)
			return m, nil
		}
		failed = fmt.Errorf("%s: %w", servers[n], err)
		var refused *refusedError
		if errors.As(err, &refused) {
			if edns && (refused.rcode == dns.RcodeFormatError || refused.rcode == dns.RcodeNotImplemented) {
				edns = false // RFC 6891 §7: it knows no EDNS; once more without
				continue
			}
			if refusals++; refusals >= len(servers) {
				break
			}
		}
		i++
	}
	if failed == nil {
		failed = context.Cause(ctx)
	}
	return nil, failed
}

var errTimeout = errors.New("timed out")

func (r *Resolver) tryServer(ctx context.Context, server string, q question, edns bool) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.conf.Timeout/tries)
	defer cancel()
	m, err := r.roundTrip(ctx, server, q, edns)
	var late net.Error
	var op *net.OpError
	switch {
	case err == nil:
		return m, nil
	case ctx.Err() != nil, errors.As(err, &late) && late.Timeout():
		return nil, errTimeout
	case errors.As(err, &op):
		return nil, op.Err // the server is named already
	}
	return nil, err
}

func (r *Resolver) servers() []string {
	if r.system == nil {
		return r.conf.Servers
	}
	return r.system.servers(r.conf.Now())
}
