package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pennypost"
)

// record is a DNS record that the instance needs.
type record struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// String is the form of a zone file.
func (r record) String() string {
	if r.Type == "TXT" {
		return strings.Replace(txtRecord(r.Name, r.Value), ". 60 IN TXT", ". TXT", 1)
	}
	return fmt.Sprintf("%s. %s %s", r.Name, r.Type, r.Value)
}

// ownKeyFile has the record of the key that signs the instance's own mail. The
// service writes it, since nobody else can open its database while it runs.
const ownKeyFile = "dkim-record.txt"

// saveOwnKey leaves the record of the instance's key for the doctor.
func (s *service) saveOwnKey(key *pennypost.DKIMKey) error {
	return writeFile(filepath.Join(s.conf.dataDir, ownKeyFile), []byte(key.Host()+"\n"+key.TXT+"\n"), 0o644)
}

// records are what the operator publishes. What is his to choose is in angle
// brackets.
func (p *patient) records() []record {
	c := p.conf
	list := []record{
		{c.hostname, "A", "<address of this machine>"},
		{"<its reverse name>", "PTR", c.hostname + "."},
		{c.hostname, "TXT", "v=spf1 a -all"},
		{c.bounceDomain, "MX", "10 " + c.hostname + "."},
		{c.bounceDomain, "TXT", "v=spf1 a:" + c.hostname + " -all"},
		{c.spfDomain, "TXT", "v=spf1 a:" + c.hostname + " ~all"},
		{c.trackDomain, "CNAME", c.hostname + "."},
	}
	if b, err := os.ReadFile(filepath.Join(c.dataDir, ownKeyFile)); err == nil {
		if name, text, ok := strings.Cut(strings.TrimSpace(string(b)), "\n"); ok {
			list = append(list, record{name, "TXT", text})
		}
	}
	return list
}

// dns asks for every record.
func (p *patient) dns(ctx context.Context, records []record) {
	addrs, err := p.resolver.Addrs(ctx, p.conf.hostname)
	if err != nil {
		p.note("dns", healthFail, fmt.Sprintf("%s has no address: %v", p.conf.hostname, err), "publish A or AAAA")
	} else {
		p.note("dns", healthOK, fmt.Sprintf("%s has %d addresses", p.conf.hostname, len(addrs)), "")
	}
	for _, a := range addrs {
		p.reverse(ctx, a)
	}
	if p.conf.ownTrackHost {
		p.tracking(ctx)
	}
	key := false
	for _, r := range records {
		switch r.Type {
		case "MX":
			p.hasMX(ctx, r)
		case "TXT":
			p.hasTXT(ctx, r)
			key = key || strings.Contains(r.Name, "._domainkey.")
		}
	}
	if !key {
		p.note("dns", healthWarn, "the record of our own DKIM key is not known yet", "start the service once")
	}
}

// tracking checks that the host of tracked links is reached. Where public-url
// is that host, the record is for customers' CNAMEs alone.
func (p *patient) tracking(ctx context.Context) {
	name := p.conf.trackDomain
	if addrs, err := p.resolver.Addrs(ctx, name); err != nil || len(addrs) == 0 {
		p.note("dns", healthFail, fmt.Sprintf("%s, where tracked links lead, has no address: %v", name, err),
			"publish "+record{name, "CNAME", p.conf.hostname + "."}.String())
		return
	}
	p.note("dns", healthOK, name+", where tracked links lead, has an address", "")
}

func (p *patient) hasMX(ctx context.Context, r record) {
	hosts, err := names{p.resolver}.MXHosts(ctx, r.Name)
	_, want, _ := strings.Cut(strings.TrimSuffix(r.Value, "."), " ")
	switch {
	case err != nil:
		p.note("dns", healthFail, fmt.Sprintf("MX of %s: %v", r.Name, err), "publish "+r.String())
	case !slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, want) }):
		p.note("dns", healthWarn, fmt.Sprintf("MX of %s is %s", r.Name, strings.Join(hosts, ", ")), "publish "+r.String())
	default:
		p.note("dns", healthOK, "MX of "+r.Name, "")
	}
}

func (p *patient) hasTXT(ctx context.Context, r record) {
	list, err := p.resolver.TXT(ctx, r.Name)
	signs := strings.Contains(r.Name, "._domainkey.")
	found := slices.ContainsFunc(list, func(t string) bool {
		if signs {
			return sameKey(t, r.Value)
		}
		return strings.HasPrefix(strings.ToLower(t), "v=spf1")
	})
	what := "SPF"
	if signs {
		what = "DKIM"
	}
	switch {
	case found:
		p.note("dns", healthOK, what+" of "+r.Name, "")
	case err != nil && !isAbsent(err):
		p.note("dns", healthFail, fmt.Sprintf("%s of %s: %v", what, r.Name, err), "")
	default:
		p.note("dns", healthFail, fmt.Sprintf("%s of %s is not there", what, r.Name), "publish "+r.String())
	}
}

// sameKey compares two key records by the key alone, since panels change the
// rest.
func sameKey(a, b string) bool {
	key := func(s string) string {
		_, p, _ := strings.Cut(s, "p=")
		p, _, _ = strings.Cut(p, ";")
		return strings.Join(strings.Fields(strings.ReplaceAll(p, `"`, "")), "")
	}
	return key(a) != "" && key(a) == key(b)
}

// reverse checks that an address leads back to the host name (RFC 1912 §2.1):
// many mail servers refuse others.
func (p *patient) reverse(ctx context.Context, a netip.Addr) {
	r := &net.Resolver{PreferGo: true}
	if len(p.conf.resolver) > 0 {
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, p.conf.resolver[0])
		}
	}
	list, err := r.LookupAddr(ctx, a.String())
	ok := slices.ContainsFunc(list, func(n string) bool { return strings.EqualFold(strings.TrimSuffix(n, "."), p.conf.hostname) })
	switch {
	case ok:
		p.note("dns", healthOK, "reverse name of "+a.String(), "")
	case err != nil:
		p.note("dns", healthFail, fmt.Sprintf("%s has no reverse name: %v", a, err), "have its owner set PTR "+p.conf.hostname+".")
	default:
		p.note("dns", healthFail, fmt.Sprintf("reverse name of %s is %s", a, strings.Join(list, ", ")), "have its owner set PTR "+p.conf.hostname+".")
	}
}
