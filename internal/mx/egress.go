package mx

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Why an address is not dialled.
var (
	ErrPrivate = errors.New("address is not on the public internet")
	ErrOwn     = errors.New("address is our own")
)

// egress is the rule about whom we connect to.
type egress struct {
	denied []netip.Prefix
	global netip.Prefix
	all    bool // private ones too

	own func() []netip.Addr
	now func() time.Time
	mu  sync.Mutex
	// What own said at last: to ask the system takes longer than all else.
	list  []netip.Addr
	asked time.Time
}

// ownFor is how long our addresses are taken to be the same.
const ownFor = time.Second

// newEgress makes the table from IANA's registries of special-purpose
// addresses (RFC 6890), as of November 2026, and the multicast ranges. Of IPv6
// only 2000::/3 is given out for global unicast.
func newEgress(own func() []netip.Addr, all bool, now func() time.Time) *egress {
	e := &egress{own: own, all: all, now: now, global: netip.MustParsePrefix("2000::/3")}
	for _, p := range []string{
		"0.0.0.0/8",       // this network
		"10.0.0.0/8",      // private
		"100.64.0.0/10",   // shared by carriers
		"127.0.0.0/8",     // loopback
		"169.254.0.0/16",  // link local
		"172.16.0.0/12",   // private
		"192.0.0.0/24",    // protocol assignments
		"192.0.2.0/24",    // documentation
		"192.31.196.0/24", // AS112
		"192.52.193.0/24", // AMT
		"192.88.99.0/24",  // 6to4 relays, deprecated
		"192.168.0.0/16",  // private
		"192.175.48.0/24", // AS112
		"198.18.0.0/15",   // benchmarks
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"224.0.0.0/4",     // multicast
		"240.0.0.0/4",     // reserved, broadcast
		"2001::/23",       // protocol assignments: Teredo, ORCHID and others
		"2001:db8::/32",   // documentation
		"2620:4f:8000::/48",
		"3fff::/20", // documentation
	} {
		e.denied = append(e.denied, netip.MustParsePrefix(p))
	}
	return e
}

// check gives nil when an address may be dialled.
func (e *egress) check(a netip.Addr) error {
	if e.all {
		return nil
	}
	if !e.public(a) {
		return fmt.Errorf("%v: %w", a, ErrPrivate)
	}
	if slices.Contains(e.ours(), inner(a)) {
		return fmt.Errorf("%v: %w", a, ErrOwn)
	}
	return nil
}

// ours gives our own addresses.
func (e *egress) ours() []netip.Addr {
	if e.own == nil {
		return nil
	}
	now := e.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.asked.IsZero() || now.Sub(e.asked) >= ownFor {
		e.list, e.asked = e.own(), now
	}
	return e.list
}

func (e *egress) public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	a = inner(a)
	if a.Is6() && !e.global.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(e.denied, func(p netip.Prefix) bool { return p.Contains(a) })
}

// inner gives the IPv4 address that packets to an IPv6 address end up at:
// mapped (RFC 4291 §2.5.5.2), NAT64 (RFC 6052 §2.1), 6to4 (RFC 3056). Others
// stay as they are.
func inner(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if !a.Is6() {
		return a
	}
	b := a.As16()
	nat64 := [12]byte{0x00, 0x64, 0xff, 0x9b}
	switch {
	case [12]byte(b[:12]) == nat64:
		return netip.AddrFrom4([4]byte(b[12:]))
	case b[0] == 0x20 && b[1] == 0x02:
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return a
}
