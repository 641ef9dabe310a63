package account

import (
	"net"
	"net/netip"
	"net/url"
	"strings"

	"code.dny.dev/ssrf"

	"pennypost/internal/eml"
)

const maxHookURL = 2000

// validHook tells whether a URL may be called when something happens: http or
// https, with a host that is no internal one (contract/servers.md §3). A name
// that leads inside is found out when it is called: its addresses may change.
func validHook(s string, private bool) bool {
	if len(s) > maxHookURL {
		return false
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "" {
		return false
	}
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil {
		return private || isPublic(ip)
	}
	if private && strings.EqualFold(host, "localhost") {
		return true
	}
	// Not a name: single labels, and other spellings of addresses such as 127.1.
	name, err := eml.CanonicalDomain(strings.TrimSuffix(host, "."))
	if err != nil {
		return false
	}
	return private || !isInternalName(name)
}

func isPublic(ip netip.Addr) bool {
	ip = ip.Unmap()
	network := "tcp4"
	if ip.Is6() {
		network = "tcp6"
	}
	return ip.Zone() == "" && ssrf.New(ssrf.WithAnyPort()).Safe(network, net.JoinHostPort(ip.String(), "443"), nil) == nil
}

// isInternalName knows the names that never are of the public Internet
// (RFC 6761, RFC 6762, RFC 8375; "internal" by ICANN's resolution).
func isInternalName(name string) bool {
	for _, of := range []string{"localhost", "local", "internal", "home.arpa"} {
		if isWithin(name, of) {
			return true
		}
	}
	return false
}
