package auth

import (
	"net/netip"
	"sync"
	"time"
)

// How failed logins slow a source down. A device with one wrong password meets
// none of it; S-068 of the catalogue is the case it is for.
const (
	freePerUser    = 5  // failures of an address with one user name before it waits
	freePerAddress = 20 // failures of an address in all
	firstWait      = time.Second
	longestWait    = 15 * time.Minute
	forgetAfter    = time.Hour // without a failure
	maxSources     = 100_000   // remembered; then the longest silent are forgotten
	guessesKept    = 16        // of a source, so that a repeated one is known
)

// source is who guesses: an address (IPv4 /32, IPv6 /64) with one user name, or
// with any ("").
type source struct {
	addr netip.Prefix
	user string
}

// guesses is what a source did.
type guesses struct {
	failures int
	last     time.Time
	until    time.Time // when it may try again
	known    [guessesKept]uint64
}

// throttle counts failed logins. Nothing is counted by user name alone, so that
// nobody can shut a user out from elsewhere.
type throttle struct {
	now func() time.Time

	mu      sync.Mutex
	sources *bounded[source, *guesses]
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, sources: newBounded[source, *guesses](maxSources)}
}

// sourcesOf gives the two counts that a login belongs to.
func sourcesOf(ip netip.Addr, user string) (pair, address source) {
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil { // no valid address: all of those are one source
		p = netip.Prefix{}
	}
	// A name is remembered up to a bound; those that differ after it share a count.
	const most = 64
	return source{addr: p, user: "u" + user[:min(len(user), most)]}, source{addr: p}
}

// waits tells whether a login from there has to wait.
func (t *throttle) waits(ip netip.Addr, user string) bool {
	pair, address := sourcesOf(ip, user)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for _, s := range [2]source{pair, address} {
		if g, ok := t.sources.get(s); ok && now.Before(g.until) {
			return true
		}
	}
	return false
}

// failed counts a wrong guess, unless the source made it before. began says
// that the source has to wait from now on and did not before.
func (t *throttle) failed(ip netip.Addr, user string, guess uint64) (began bool) {
	pair, address := sourcesOf(ip, user)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	a := t.count(pair, guess, freePerUser, now)
	b := t.count(address, guess, freePerAddress, now)
	return a || b
}

func (t *throttle) count(s source, guess uint64, free int, now time.Time) (began bool) {
	g, ok := t.sources.get(s)
	if !ok || now.Sub(g.last) > forgetAfter {
		g = &guesses{}
	}
	for _, known := range g.known[:min(g.failures, guessesKept)] {
		if known == guess {
			return false
		}
	}
	g.known[g.failures%guessesKept] = guess
	g.failures++
	g.last = now
	t.sources.put(s, g)
	if g.failures < free {
		return false
	}
	wait := longestWait
	if doubled := g.failures - free; doubled < 10 {
		wait = min(firstWait<<doubled, longestWait)
	}
	g.until = now.Add(wait)
	return g.failures == free
}

// succeeded forgets the failures of an address with a user name. Those of the
// address stay: a guesser may have a credential of its own.
func (t *throttle) succeeded(ip netip.Addr, user string) {
	pair, _ := sourcesOf(ip, user)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sources.remove(pair)
}
