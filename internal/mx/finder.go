package mx

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Bounds of a route (catalogue D-008, D-015).
const (
	maxRouteHosts = 10
	maxRouteAddrs = 5
	maxRoutes     = 20_000
	ownAddrsWait  = 3 * time.Second
)

// Host is a mail server that a domain names.
type Host struct {
	Name string // lower case, no final dot
	Pref uint16 // smaller goes first
}

// Route says where mail for a domain goes. It is shared: do not change it.
type Route struct {
	Domain string
	// Hosts are to be tried in this order: by preference, equal ones in a
	// random order that [Finder.Plan] makes anew.
	Hosts []Host
	// Implicit: there is no MX record, and the domain is the host.
	Implicit bool
	// Site is what shares limits with the domain.
	Site string
	// Expires is when the route is to be looked for again.
	Expires time.Time
}

// FinderConfig says what a Finder works with. Resolver must be set.
type FinderConfig struct {
	Resolver *Resolver
	// Own are the names that we take mail under. OwnAddrs gives the addresses; it
	// is asked once a second at most.
	Own      []string
	OwnAddrs func() []netip.Addr
	// AllowPrivate lets mail go to any address, private and our own too: for
	// tests and labs.
	AllowPrivate bool
	// Rand gives a number from 0 to n-1; nil is a good one.
	Rand func(n int) int
	// Now is for the age of routes; nil is the Resolver's.
	Now func() time.Time
}

// Finder finds routes. It is safe for concurrent use.
type Finder struct {
	conf   FinderConfig
	own    map[string]bool
	egress *egress

	mu     sync.Mutex
	routes *lru[string, *Route]
}

// New makes a Finder.
func New(c FinderConfig) *Finder {
	if c.Rand == nil {
		c.Rand = rand.IntN
	}
	if c.Now == nil {
		c.Now = c.Resolver.conf.Now
	}
	f := &Finder{
		conf: c, own: make(map[string]bool), egress: newEgress(c.OwnAddrs, c.AllowPrivate, c.Now),
		routes: newLRU[string, *Route](maxRoutes, maxRoutes),
	}
	for _, name := range c.Own {
		f.own[normal(name)] = true
	}
	return f
}

// Route gives the route to a domain, which is in A-labels. The error is a
// *[Failure], unless the context ended.
func (f *Finder) Route(ctx context.Context, domain string) (*Route, error) {
	domain = normal(domain)
	r := f.remembered(domain)
	if r == nil {
		if !valid(domain) {
			return nil, noDomain(domain)
		}
		var err error
		if r, err = f.find(ctx, domain); err != nil {
			return nil, err
		}
		f.remember(r)
	}
	if !ties(r.Hosts) {
		return r, nil
	}
	shuffled := *r
	shuffled.Hosts = f.Plan(r)
	return &shuffled, nil
}

// Plan gives the hosts of a route in the order of one attempt. RFC 5321 §5.1:
// hosts of equal preference are taken at random, to spread the load.
func (f *Finder) Plan(r *Route) []Host {
	hosts := slices.Clone(r.Hosts)
	for start := 0; start < len(hosts); {
		end := start + 1
		for end < len(hosts) && hosts[end].Pref == hosts[start].Pref {
			end++
		}
		shuffle(hosts[start:end], f.conf.Rand)
		start = end
	}
	return hosts
}

func shuffle[T any](s []T, random func(int) int) {
	for i := len(s) - 1; i > 0; i-- {
		j := random(i + 1)
		s[i], s[j] = s[j], s[i]
	}
}

func ties(hosts []Host) bool {
	for i := 1; i < len(hosts); i++ {
		if hosts[i].Pref == hosts[i-1].Pref {
			return true
		}
	}
	return false
}

func (f *Finder) remembered(domain string) *Route {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r, ok := f.routes.get(domain); ok && f.conf.Now().Before(r.Expires) {
		return r
	}
	return nil
}

func (f *Finder) remember(r *Route) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routes.put(r.Domain, r, 1)
}

// find asks for the route.
func (f *Finder) find(ctx context.Context, domain string) (*Route, error) {
	found, err := f.conf.Resolver.MX(ctx, domain)
	switch {
	case errors.Is(err, ErrNoRecord):
		return f.implicit(ctx, domain)
	case errors.Is(err, ErrNoName):
		return nil, noDomain(domain)
	case errors.Is(err, ErrTemporary):
		return nil, noAnswer(err)
	case err != nil:
		return nil, err
	}
	hosts, failure := usable(domain, found)
	if failure == nil {
		hosts, failure = f.before(ctx, domain, hosts)
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if failure != nil {
		return nil, failure
	}
	hosts = hosts[:min(len(hosts), maxRouteHosts)]
	return &Route{
		Domain: domain, Hosts: hosts, Site: site(domain, hosts),
		Expires: f.conf.Resolver.fresh(domain, dns.TypeMX),
	}, nil
}

// implicit gives the route to a domain without MX records (RFC 5321 §5.1).
func (f *Finder) implicit(ctx context.Context, domain string) (*Route, error) {
	if f.own[domain] {
		return nil, loop(domain)
	}
	_, err := f.conf.Resolver.Addrs(ctx, domain)
	switch {
	case errors.Is(err, ErrNoRecord):
		return nil, permanent(550, "5.4.4", "domain %s has neither MX nor address records", domain)
	case errors.Is(err, ErrNoName):
		return nil, noDomain(domain)
	case errors.Is(err, ErrTemporary):
		return nil, noAnswer(err)
	case err != nil:
		return nil, err
	}
	return &Route{
		Domain: domain, Hosts: []Host{{Name: domain}}, Implicit: true, Site: domain,
		Expires: f.conf.Resolver.fresh(domain, dns.TypeMX),
	}, nil
}

// usable leaves out what is no host. RFC 7505 §3: "." alone says that the
// domain takes no mail; beside others it says nothing.
func usable(domain string, found []Host) ([]Host, *Failure) {
	null := true
	var hosts []Host
	for _, h := range found {
		null = null && h.Name == ""
		if valid(h.Name) {
			hosts = append(hosts, h)
		}
	}
	switch {
	case null:
		return nil, permanent(556, "5.1.10", "domain %s takes no mail (null MX)", domain)
	case len(hosts) == 0:
		return nil, permanent(550, "5.4.4", "the MX records of %s name no host", domain)
	}
	return hosts, nil
}

func loop(domain string) *Failure {
	return permanent(550, "5.4.6", "mail for %s would come back to us", domain)
}

// before leaves out ourselves and all that are not preferred to us (RFC 5321
// §5.1): they would bring the mail to us, or wait for us to fetch it.
func (f *Finder) before(ctx context.Context, domain string, hosts []Host) ([]Host, *Failure) {
	for i, ours := range f.ours(ctx, hosts) {
		if !ours {
			continue
		}
		kept := hosts[:0:0]
		for _, h := range hosts {
			if h.Pref < hosts[i].Pref {
				kept = append(kept, h)
			}
		}
		if len(kept) == 0 {
			return nil, loop(domain)
		}
		return kept, nil
	}
	return hosts, nil
}

// ours tells which of the hosts are, by name or by address. A host whose
// addresses cannot be had soon counts as somebody else's: whether one is ours
// is asked again before it is dialled.
func (f *Finder) ours(ctx context.Context, hosts []Host) []bool {
	out := make([]bool, len(hosts))
	look := !f.conf.AllowPrivate && len(f.egress.ours()) > 0
	ctx, cancel := context.WithTimeout(ctx, ownAddrsWait)
	defer cancel()
	var wg sync.WaitGroup
	for i, h := range hosts {
		if out[i] = f.own[h.Name]; out[i] || !look || i >= maxRouteHosts {
			continue
		}
		wg.Go(func() {
			addrs, err := f.conf.Resolver.Addrs(ctx, h.Name)
			out[i] = err == nil && slices.ContainsFunc(addrs, f.isOwn)
		})
	}
	wg.Wait()
	return out
}

func (f *Finder) isOwn(a netip.Addr) bool { return errors.Is(f.egress.check(a), ErrOwn) }

// Addrs gives the addresses of a host that may be dialled, in the order to
// try them: IPv6 and IPv4 in turn (RFC 8305 §4), five at most. The error is a
// *[Failure], unless the context ended.
func (f *Finder) Addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	found, err := f.conf.Resolver.Addrs(ctx, host)
	switch {
	case errors.Is(err, ErrNoRecord), errors.Is(err, ErrNoName):
		return nil, permanent(550, "5.4.4", "mail server %q has no address", clip(host))
	case errors.Is(err, ErrTemporary):
		return nil, noAnswer(err)
	case err != nil:
		return nil, err
	}
	var six, four []netip.Addr
	var refused error
	own := false
	for _, a := range found {
		if err := f.Allowed(a); err != nil {
			refused, own = err, own || errors.Is(err, ErrOwn)
			continue
		}
		if a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	switch {
	case len(six)+len(four) > 0:
	case own:
		return nil, permanent(550, "5.4.6", "mail server %q is ourselves", clip(host))
	default:
		return nil, permanent(550, "5.4.4", "mail server %q has no address that we may connect to: %v", clip(host), refused)
	}
	shuffle(six, f.conf.Rand)
	shuffle(four, f.conf.Rand)
	return interleave(six, four), nil
}

func interleave(six, four []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, 0, maxRouteAddrs)
	for len(out) < maxRouteAddrs && len(six)+len(four) > 0 {
		if len(six) > 0 {
			out, six = append(out, six[0]), six[1:]
		}
		if len(four) > 0 && len(out) < maxRouteAddrs {
			out, four = append(out, four[0]), four[1:]
		}
	}
	return out
}

// Allowed is the egress rule about one address: nil, or an error that is
// [ErrPrivate] or [ErrOwn]. It is for the last moment before the connection.
func (f *Finder) Allowed(a netip.Addr) error { return f.egress.check(a) }
