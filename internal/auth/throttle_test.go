package auth

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func newTestThrottle() (*throttle, *clock) {
	c := &clock{now: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}
	return newThrottle(c.Now), c
}

func TestThrottleGrowsAndEnds(t *testing.T) {
	th, c := newTestThrottle()
	var guess uint64
	fail := func() bool { guess++; return th.failed(here, "7", guess) }
	for n := range freePerUser - 1 {
		if fail() {
			t.Fatalf("slowed down at failure %d", n+1)
		}
		if th.waits(here, "7") {
			t.Fatalf("waits after failure %d", n+1)
		}
	}
	if !fail() {
		t.Fatal("the start of waiting is not told")
	}
	want := time.Second
	for range 14 {
		if !th.waits(here, "7") {
			t.Fatalf("does not wait (%v expected)", want)
		}
		c.add(want - time.Millisecond)
		if !th.waits(here, "7") {
			t.Fatalf("wait shorter than %v", want)
		}
		c.add(time.Millisecond)
		if th.waits(here, "7") {
			t.Fatalf("wait longer than %v", want)
		}
		fail()
		want = min(want*2, 15*time.Minute)
	}
	c.add(2 * time.Hour)
	if fail() || th.waits(here, "7") {
		t.Error("waits at the first failure after two quiet hours")
	}
}

func TestThrottleSources(t *testing.T) { // S-068
	cases := []struct {
		name         string
		from, at     string // who failed and who tries
		fromU, atU   string
		failures     int
		wantThrottle bool
	}{
		{"same address and user", "192.0.2.1", "192.0.2.1", "7", "7", freePerUser, true},
		{"another user of the address", "192.0.2.1", "192.0.2.1", "7", "8", freePerUser, false},
		{"same user from elsewhere", "192.0.2.1", "192.0.2.2", "7", "7", 10 * freePerAddress, false},
		{"the address in all", "192.0.2.1", "192.0.2.1", "7", "8", freePerAddress, true},
		{"IPv4 in IPv6", "::ffff:192.0.2.1", "192.0.2.1", "7", "7", freePerUser, true},
		{"same /64", "2001:db8::1", "2001:db8::ffff:2", "7", "7", freePerUser, true},
		{"another /64", "2001:db8::1", "2001:db8:0:1::1", "7", "7", freePerUser, false},
		{"a zone does not hide", "fe80::1%eth0", "fe80::2%eth1", "7", "7", freePerUser, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			th, _ := newTestThrottle()
			for n := range c.failures {
				th.failed(addr(c.from), c.fromU, uint64(n+1))
			}
			if got := th.waits(addr(c.at), c.atU); got != c.wantThrottle {
				t.Errorf("waits: %v, want %v", got, c.wantThrottle)
			}
		})
	}
}

func TestThrottleSameGuessCountsOnce(t *testing.T) {
	th, _ := newTestThrottle()
	for n := range 10_000 {
		// Two forgotten devices behind one address, each with its own wrong password.
		th.failed(here, "7", 1)
		th.failed(here, "8", 2)
		if th.waits(here, "7") || th.waits(here, "9") {
			t.Fatalf("waits after %d repetitions", n+1)
		}
	}
	for n := range freePerUser {
		th.failed(here, "7", uint64(100+n))
	}
	if !th.waits(here, "7") {
		t.Error("different guesses do not count")
	}
}

func TestThrottleSuccess(t *testing.T) {
	th, _ := newTestThrottle()
	for n := range freePerUser - 1 {
		th.failed(here, "7", uint64(n+1))
	}
	th.succeeded(here, "7")
	th.failed(here, "7", 50)
	if th.waits(here, "7") {
		t.Error("failures before a success count")
	}
	// A guesser with a credential of its own does not get free guesses by it.
	for n := range 2 * freePerAddress {
		th.failed(here, fmt.Sprint(n), uint64(1000+n))
		th.succeeded(here, "7")
	}
	if !th.waits(here, "anybody") {
		t.Error("successes reset the count of the address")
	}
}

func TestThrottleMemoryIsBounded(t *testing.T) {
	th, _ := newTestThrottle()
	th.sources = newBounded[source, *guesses](1000)
	for n := range 20_000 {
		ip := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
		th.failed(ip, "7", uint64(n))
	}
	if n := th.sources.len(); n > 1000 {
		t.Errorf("%d sources remembered", n)
	}
}
