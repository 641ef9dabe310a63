package mx

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func (s *server) finder(tb testing.TB, change func(c *FinderConfig)) (*Finder, *clock) {
	tb.Helper()
	r, clk := s.resolver(tb, nil)
	c := FinderConfig{
		Resolver: r, Own: []string{"Mail.Us.test", "inbound.us.test."},
		OwnAddrs: func() []netip.Addr {
			return []netip.Addr{netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("2620:fe::9")}
		},
	}
	if change != nil {
		change(&c)
	}
	return New(c), clk
}

func names(hosts []Host) string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.Name)
	}
	return strings.Join(out, " ")
}

func wantFailure(t *testing.T, err error, want string) {
	t.Helper()
	var f *Failure
	if !errors.As(err, &f) || !strings.HasPrefix(f.Error(), want) || f.Permanent != strings.HasPrefix(want, "5") {
		t.Errorf("got %v, want a failure %q", err, want)
	}
}

// D-001 to D-007.
func TestRoute(t *testing.T) {
	s := newServer(t)
	f, _ := s.finder(t, nil)
	for _, h := range []string{"a", "b", "c"} {
		s.set(h+".test", "A", "60 IN A 5.5.5.5")
	}
	s.set("us-by-address.test", "A", "60 IN A 9.9.9.9")
	s.set("us-by-6to4.test", "AAAA", "60 IN AAAA 2002:909:909::1")
	s.set("six-us.test", "AAAA", "60 IN AAAA 2620:fe::9")
	tests := []struct {
		name  string
		mx    []string
		hosts string
		fail  string
	}{
		{"by preference", []string{"20 b.test.", "10 a.test.", "30 c.test."}, "a.test b.test c.test", ""},
		{"null MX", []string{"0 ."}, "", "556 5.1.10 domain x.test takes no mail"},
		{"null MX of another preference", []string{"10 ."}, "", "556 5.1.10"},
		{"null MX beside others", []string{"0 .", "10 a.test."}, "a.test", ""},
		{"an address as host", []string{"10 127.0.0.1."}, "", "550 5.4.4 the MX records of x.test name no host"},
		{"an address beside a host", []string{"10 127.0.0.1.", "20 a.test."}, "a.test", ""},
		{"no host name", []string{`10 a\ b.test.`}, "", "550 5.4.4"},
		{"ourselves", []string{"10 mail.us.test."}, "", "550 5.4.6 mail for x.test would come back to us"},
		{"ourselves first", []string{"10 INBOUND.us.test.", "20 a.test."}, "", "550 5.4.6"},
		{"ourselves as backup", []string{"10 a.test.", "20 mail.us.test.", "20 b.test.", "30 c.test."}, "a.test", ""},
		{"ourselves twice", []string{"10 a.test.", "20 b.test.", "30 mail.us.test.", "15 inbound.us.test."}, "a.test", ""},
		{"ourselves by address", []string{"10 us-by-address.test."}, "", "550 5.4.6"},
		{"ourselves by address, as backup", []string{"10 a.test.", "20 us-by-address.test.", "30 b.test."}, "a.test", ""},
		{"ourselves by 6to4", []string{"10 us-by-6to4.test."}, "", "550 5.4.6"},
		{"ourselves by IPv6", []string{"10 six-us.test."}, "", "550 5.4.6"},
		{"hosts that do not exist", []string{"10 gone.test."}, "gone.test", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, _ := s.finder(t, nil)
			var data []string
			for _, m := range tt.mx {
				data = append(data, "60 IN MX "+m)
			}
			s.set("x.test", "MX", data...)
			r, err := f.Route(t.Context(), "X.test.")
			if tt.fail != "" {
				wantFailure(t, err, tt.fail)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := names(r.Hosts); got != tt.hosts || r.Domain != "x.test" || r.Implicit {
				t.Errorf("got %+v, want hosts %s", r, tt.hosts)
			}
		})
	}
	t.Run("a lab may be ourselves by address", func(t *testing.T) {
		f, _ := s.finder(t, func(c *FinderConfig) { c.AllowPrivate = true })
		s.set("x.test", "MX", "60 IN MX 10 us-by-address.test.")
		if r, err := f.Route(t.Context(), "x.test"); err != nil || names(r.Hosts) != "us-by-address.test" {
			t.Errorf("got %v, %v", r, err)
		}
	})
	t.Run("no domain", func(t *testing.T) {
		for _, domain := range []string{"gone.test", "", "127.0.0.1", "[127.0.0.1]", "a..test"} {
			_, err := f.Route(t.Context(), domain)
			wantFailure(t, err, "550 5.1.2 no such domain")
		}
	})
	t.Run("no answer", func(t *testing.T) {
		for _, script := range []func(dns.ResponseWriter, *dns.Msg){rcode(dns.RcodeServerFailure), rcode(dns.RcodeRefused), silent} {
			r, _ := s.resolver(t, hurry)
			f := New(FinderConfig{Resolver: r})
			s.script("y.test", "MX", script)
			_, err := f.Route(t.Context(), "y.test")
			wantFailure(t, err, "451 4.4.3 MX y.test: no answer: "+s.addr+": ")
		}
	})
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := f.Route(ctx, "z.test")
		var failure *Failure
		if !errors.Is(err, context.Canceled) || errors.As(err, &failure) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}

// D-003: the domain itself, where it has addresses.
func TestImplicit(t *testing.T) {
	s := newServer(t)
	f, _ := s.finder(t, nil)
	s.set("four.test", "A", "60 IN A 5.5.5.5")
	s.set("six.test", "AAAA", "60 IN AAAA 2a00::1")
	s.set("text.test", "TXT", `60 IN TXT "x"`)
	s.set("slow.test", "TXT", `60 IN TXT "x"`)
	s.script("slow.test", "A", rcode(dns.RcodeServerFailure))
	s.set("mail.us.test", "A", "60 IN A 9.9.9.9")
	for _, domain := range []string{"four.test", "six.test"} {
		r, err := f.Route(t.Context(), domain)
		if err != nil || !r.Implicit || names(r.Hosts) != domain || r.Site != domain {
			t.Errorf("%s: got %+v, %v", domain, r, err)
		}
	}
	for domain, want := range map[string]string{
		"text.test": "550 5.4.4 domain text.test has neither MX nor address records", "slow.test": "451 4.4.3", "mail.us.test": "550 5.4.6",
	} {
		_, err := f.Route(t.Context(), domain)
		wantFailure(t, err, want)
	}
	// The A record may be all that answers.
	s.script("half.test", "AAAA", rcode(dns.RcodeServerFailure))
	s.set("half.test", "A", "60 IN A 5.5.5.5")
	if r, err := f.Route(t.Context(), "half.test"); err != nil || !r.Implicit {
		t.Errorf("got %v, %v", r, err)
	}
}

// A route is found once, and again when it is too old.
func TestRouteIsKept(t *testing.T) {
	s := newServer(t)
	f, clk := s.finder(t, nil)
	s.set("x.test", "MX", "100 IN MX 10 a.test.")
	first, err := f.Route(t.Context(), "x.test")
	if err != nil {
		t.Fatal(err)
	}
	if want := clk.now().Add(100 * time.Second); !first.Expires.Equal(want) {
		t.Errorf("got Expires %v, want %v", first.Expires, want)
	}
	clk.forward(99 * time.Second)
	if again, err := f.Route(t.Context(), "x.test"); err != nil || again != first {
		t.Errorf("got %v, %v, want the same route", again, err)
	}
	s.set("x.test", "MX", "100 IN MX 10 b.test.")
	clk.forward(time.Second)
	if again, err := f.Route(t.Context(), "x.test"); err != nil || names(again.Hosts) != "b.test" {
		t.Errorf("got %v, %v, want the new one", again, err)
	}
	// D-017: an outage leaves the route, for half a minute at a time.
	s.script("x.test", "MX", rcode(dns.RcodeServerFailure))
	clk.forward(100 * time.Second)
	r, err := f.Route(t.Context(), "x.test")
	if err != nil || names(r.Hosts) != "b.test" || r.Expires.Sub(clk.now()) != staleTTL {
		t.Errorf("got %v, %v, want the old one for %v", r, err, staleTTL)
	}
}

// D-015: equal preferences in any order, others never.
func TestShuffle(t *testing.T) {
	s := newServer(t)
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // G404: the same each time
	f, _ := s.finder(t, func(c *FinderConfig) { c.Rand = rng.IntN })
	s.set("x.test", "MX", "60 IN MX 10 a.test.", "60 IN MX 10 b.test.", "60 IN MX 10 c.test.", "60 IN MX 20 d.test.", "60 IN MX 5 e.test.")
	seen := map[string]int{}
	for range 600 {
		r, err := f.Route(t.Context(), "x.test")
		if err != nil {
			t.Fatal(err)
		}
		seen[names(r.Hosts)]++
		seen[names(f.Plan(r))]++
	}
	if len(seen) != 6 {
		t.Errorf("got orders %v, want six", seen)
	}
	for order, n := range seen {
		if !strings.HasPrefix(order, "e.test ") || !strings.HasSuffix(order, " d.test") || n < 130 || n > 270 {
			t.Errorf("got %q %d times of 1200, want e first, d last, about 200", order, n)
		}
	}
	if got := s.count("x.test", "MX", "udp"); got != 1 {
		t.Errorf("got %d questions, want 1", got)
	}
}

// D-008: many hosts, many addresses.
func TestManyHosts(t *testing.T) {
	s := newServer(t)
	f, _ := s.finder(t, nil)
	s.script("x.test", "MX", func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if m.Truncated = w.LocalAddr().Network() == "udp"; !m.Truncated {
			for i := range 1000 {
				m.Answer = append(m.Answer, record(t, fmt.Sprintf("x.test. 60 IN MX 10 mx%d.x.test.", i)))
			}
			m.Compress = true
		}
		send(w, m)
	})
	var four, six []string
	for i := range 25 {
		four = append(four, fmt.Sprintf("60 IN A 5.5.5.%d", i))
		six = append(six, fmt.Sprintf("60 IN AAAA 2a00::%x", i+1))
	}
	r, err := f.Route(t.Context(), "x.test")
	if err != nil || len(r.Hosts) != maxRouteHosts {
		t.Fatalf("got %v, %v, want %d hosts", r, err, maxRouteHosts)
	}
	host := r.Hosts[0].Name + "x" // one that was not asked for yet
	s.set(host, "A", four...)
	s.set(host, "AAAA", six...)
	addrs, err := f.Addrs(t.Context(), host)
	if err != nil || len(addrs) != maxRouteAddrs {
		t.Fatalf("got %v, %v, want %d addresses", addrs, err, maxRouteAddrs)
	}
	for i, a := range addrs {
		if a.Is6() != (i%2 == 0) {
			t.Errorf("got %v, want IPv6 and IPv4 in turn", addrs)
		}
	}
}

// D-006: whom we do not connect to.
func TestAddrs(t *testing.T) {
	s := newServer(t)
	tests := []struct {
		name      string
		four, six []string
		want      string
		fail      string
	}{
		{"both", []string{"5.5.5.5"}, []string{"2a00::1"}, "2a00::1 5.5.5.5", ""},
		{"more of one", []string{"5.5.5.5"}, []string{"2a00::1", "2a00::2"}, "2a00::1 5.5.5.5 2a00::2", ""},
		{"IPv4", []string{"5.5.5.5"}, nil, "5.5.5.5", ""},
		{"private ones left out", []string{"5.5.5.5", "10.0.0.1"}, []string{"fc00::1", "::1", "fe80::1"}, "5.5.5.5", ""},
		{"loopback", []string{"127.0.0.1"}, nil, "", `550 5.4.4 mail server "h.test" has no address that we may connect to: 127.0.0.1: address is not on the public internet`},
		{"mapped", nil, []string{"::ffff:127.0.0.1"}, "", "550 5.4.4"},
		{"unspecified", []string{"0.0.0.0"}, []string{"::"}, "", "550 5.4.4"},
		{"our own", []string{"9.9.9.9"}, []string{"2620:fe::9"}, "", `550 5.4.6 mail server "h.test" is ourselves`},
		{"our own by NAT64", nil, []string{"64:ff9b::9.9.9.9"}, "", "550 5.4.6"},
		{"our own left out", []string{"9.9.9.9", "5.5.5.5"}, nil, "5.5.5.5", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, _ := s.finder(t, func(c *FinderConfig) { c.Rand = func(n int) int { return n - 1 } })
			var four, six []string
			for _, a := range tt.four {
				four = append(four, "60 IN A "+a)
			}
			for _, a := range tt.six {
				six = append(six, "60 IN AAAA "+a)
			}
			s.set("h.test", "A", four...)
			s.set("h.test", "AAAA", six...)
			addrs, err := f.Addrs(t.Context(), "h.test")
			if tt.fail != "" {
				wantFailure(t, err, tt.fail)
			} else if got := show(addrs); err != nil || got != tt.want {
				t.Errorf("got %s, %v, want %s", got, err, tt.want)
			}
			lab, _ := s.finder(t, func(c *FinderConfig) { c.AllowPrivate = true })
			if addrs, err := lab.Addrs(t.Context(), "h.test"); err != nil || len(addrs) != len(tt.four)+len(tt.six) {
				t.Errorf("got %v, %v in a lab, want all", addrs, err)
			}
		})
	}
	f, _ := s.finder(t, nil)
	_, err := f.Addrs(t.Context(), "gone.test")
	wantFailure(t, err, `550 5.4.4 mail server "gone.test" has no address`)
	_, err = f.Addrs(t.Context(), "127.0.0.1")
	wantFailure(t, err, "550 5.4.4")
	s.set("empty.test", "TXT", `60 IN TXT "x"`)
	_, err = f.Addrs(t.Context(), "empty.test")
	wantFailure(t, err, "550 5.4.4")
	s.script("slow.test", "A", rcode(dns.RcodeServerFailure))
	s.set("slow.test", "AAAA")
	_, err = f.Addrs(t.Context(), "slow.test")
	wantFailure(t, err, "451 4.4.3")
}

// The egress rule.
func TestAllowed(t *testing.T) {
	own := netip.MustParseAddr("9.9.9.9")
	r, err := NewResolver(ResolverConfig{})
	if err != nil {
		t.Fatal(err)
	}
	clk, asked := &clock{}, 0
	clk.forward(time.Hour)
	ours := func() []netip.Addr { asked++; return []netip.Addr{own} }
	f := New(FinderConfig{Resolver: r, OwnAddrs: ours, Now: clk.now})
	lab := New(FinderConfig{Resolver: r, OwnAddrs: ours, AllowPrivate: true})
	tests := []struct {
		want  error
		addrs string
	}{
		{nil, "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 198.17.255.255 198.20.0.0 223.255.255.255 " +
			"192.0.1.0 169.253.255.255 11.0.0.0 126.255.255.255 128.0.0.0 2a00::1 2001:200::1 2606:4700::1111 2620:fe::fe " +
			"::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1 3ffe::1"},
		{ErrPrivate, "0.0.0.0 0.1.2.3 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255 169.254.169.254 " +
			"172.16.0.0 172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 " +
			"198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255"},
		{ErrPrivate, ":: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:0:1.1.1.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 " +
			"64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b:1::8.8.8.8 100::1 2001::1 2001:0:808:808::1 2001:1ff:ffff::1 2001:db8::1 " +
			"2002:7f00:1::1 2002:a00:1::1 2002:c0a8:101::1 2620:4f:8000::1 3fff::1 3fff:fff::1 4000::1 5f00::1 fc00::1 fdff::1 " +
			"fe80::1 fe80::1%eth0 2a00::1%eth0 fec0::1 ff02::1 1fff::1"},
		{ErrOwn, "9.9.9.9 ::ffff:9.9.9.9 64:ff9b::9.9.9.9 2002:909:909::1"},
	}
	for _, tt := range tests {
		for s := range strings.FieldsSeq(tt.addrs) {
			a := netip.MustParseAddr(s)
			if err := f.Allowed(a); !errors.Is(err, tt.want) || (tt.want == nil && err != nil) {
				t.Errorf("%v: got %v, want %v", a, err, tt.want)
			}
			if err := lab.Allowed(a); err != nil {
				t.Errorf("%v: got %v in a lab", a, err)
			}
		}
	}
	if asked != 1 {
		t.Errorf("got asked %d times for our addresses, want 1", asked)
	}
	clk.forward(ownFor)
	own = netip.MustParseAddr("8.8.4.4") // they change
	if err := f.Allowed(own); !errors.Is(err, ErrOwn) {
		t.Errorf("got %v after a change, want ErrOwn", err)
	}
	if err := f.Allowed(netip.Addr{}); !errors.Is(err, ErrPrivate) {
		t.Errorf("no address: got %v, want ErrPrivate", err)
	}
}

func TestSite(t *testing.T) {
	tests := []struct{ domain, hosts, want string }{
		{"a.test", "aspmx.l.google.com alt1.aspmx.l.google.com alt4.aspmx.l.google.com", "google.com"},
		{"gmail.com", "gmail-smtp-in.l.google.com alt1.gmail-smtp-in.l.google.com", "google.com"},
		{"google.com", "smtp.google.com", "google.com"},
		{"old.example", "aspmx.l.google.com aspmx2.googlemail.com", "google.com"},
		{"shop.example", "shop-example.mail.protection.outlook.com", "outlook.com"},
		{"other.example", "other-example.b-v1.mx.microsoft", "outlook.com"},
		{"hotmail.com", "hotmail-com.olc.protection.outlook.com", "outlook.com"},
		{"yahoo.com", "mta5.am0.yahoodns.net mta6.am0.yahoodns.net mta7.am0.yahoodns.net", "yahoodns.net"},
		{"aol.com", "mx-aol.mail.gm0.yahoodns.net", "yahoodns.net"},
		{"me.com", "mx01.mail.icloud.com mx02.mail.icloud.com", "icloud.com"},
		{"a.example", "eu-smtp-inbound-1.mimecast.com eu-smtp-inbound-2.mimecast.com", "mimecast.com"},
		{"a.example", "mxa-001.pphosted.com mxb-001.pphosted.com", "pphosted.com"},
		{"a.example", "in1-smtp.messagingengine.com in2-smtp.messagingengine.com", "messagingengine.com"},
		{"a.example", "mx.zoho.eu mx2.zoho.eu mx3.zoho.eu", "zoho.com"},
		{"a.example", "mx.zoho.com mx2.zoho.com", "zoho.com"},
		{"a.example", "mx1.pub.mailpod8-cph3.one.com", "one.com"},
		{"mail.ru", "mxs.mail.ru", "mail.ru"},
		// The name must end in the provider's, not merely look like it.
		{"a.example", "aspmx.l.google.com.evil.example", "evil.example"},
		{"a.example", "notone.com", "notone.com"},
		// A mixture is no provider's.
		{"a.example", "aspmx.l.google.com mx.backup.example", "aspmx.l.google.com,mx.backup.example"},
		// One registrable domain, not the recipient's.
		{"a.example", "mx1.host.co.uk mx2.dc.host.co.uk", "host.co.uk"},
		{"b.example", "mx2.dc.host.co.uk", "host.co.uk"},
		// The recipient's own: as it is.
		{"host.co.uk", "mx2.host.co.uk mx1.host.co.uk", "mx1.host.co.uk,mx2.host.co.uk"},
		{"dept.host.co.uk", "mx.host.co.uk", "mx.host.co.uk"},
		{"a.example", "mx.one.example mx.two.example", "mx.one.example,mx.two.example"},
		// Neighbours below a public suffix are not one site.
		{"a.example", "mx.alice.github.io mx.bob.github.io", "mx.alice.github.io,mx.bob.github.io"},
		{"a.example", "com", "com"},
	}
	for _, tt := range tests {
		var hosts []Host
		for h := range strings.FieldsSeq(tt.hosts) {
			hosts = append(hosts, Host{Name: h})
		}
		if got := site(tt.domain, hosts); got != tt.want {
			t.Errorf("%s, %s: got %q, want %q", tt.domain, tt.hosts, got, tt.want)
		}
		slices.Reverse(hosts)
		if got := site(tt.domain, hosts); got != tt.want {
			t.Errorf("%s, %s the other way round: got %q, want %q", tt.domain, tt.hosts, got, tt.want)
		}
	}
	var many []Host
	for i := range 10 {
		many = append(many, Host{Name: fmt.Sprintf("mx.%s%d.example", strings.Repeat("x", 50), i)})
	}
	long := site("a.example", many)
	if len(long) > maxSite || !strings.HasPrefix(long, many[0].Name+",+") {
		t.Errorf("got %q, want a name of at most %d octets", long, maxSite)
	}
	if other := site("a.example", many[:9]); other == long {
		t.Error("got one name for two sets of hosts")
	}
}

// Each row of the table finds itself, and none shadows another.
func TestProviders(t *testing.T) {
	for _, p := range providers() {
		for suffix := range strings.FieldsSeq(p.suffixes) {
			for _, host := range []string{suffix, "mx1." + suffix} {
				if got := provider(host); got != p.site {
					t.Errorf("%s: got %q, want %q", host, got, p.site)
				}
			}
			if got := provider("x" + suffix); got == p.site {
				t.Errorf("x%s: got %q", suffix, got)
			}
			if !valid(suffix) {
				t.Errorf("%q is no name", suffix)
			}
		}
	}
}

// With everything known, a message costs no question and little else.
func BenchmarkRouteAndAddrs(b *testing.B) {
	s := newServer(b)
	f, _ := s.finder(b, nil)
	s.set("x.test", "MX", "60 IN MX 10 a.test.", "60 IN MX 20 b.test.")
	s.set("a.test", "A", "60 IN A 5.5.5.5")
	s.set("a.test", "AAAA", "60 IN AAAA 2a00::1")
	b.ReportAllocs()
	for b.Loop() {
		r, err := f.Route(b.Context(), "x.test")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.Addrs(b.Context(), r.Hosts[0].Name); err != nil {
			b.Fatal(err)
		}
	}
}
