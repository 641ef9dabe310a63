package account

import (
	"net/netip"
	"slices"
	"strings"

	"pennypost"
)

// maxAllowedIPs is how many addresses and CIDRs a server's list has.
const maxAllowedIPs = 100

// applyAllowedIPs sets from where a server's mail is taken over HTTP. The list
// says nothing of other calls, so that nobody shuts himself out.
func applyAllowedIPs(s *pennypost.Server, in *ServerInput) error {
	if in.AllowedIPs == nil {
		return nil
	}
	var list []netip.Prefix
	for _, text := range *in.AllowedIPs {
		p, ok := prefixOf(strings.TrimSpace(text))
		if !ok {
			return pennypost.Refuse(codeNotSupported, "The supplied 'AllowedIps' option is not valid: '%s' is neither an IP address nor a CIDR.", shown(text))
		}
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	if len(list) > maxAllowedIPs {
		return pennypost.Refuse(codeNotSupported, "The supplied 'AllowedIps' option is not valid: it is limited to %d entries.", maxAllowedIPs)
	}
	s.AllowedIPs = list
	return nil
}

// prefixOf reads an address or a CIDR. IPv4 inside IPv6 becomes IPv4, as
// callers' addresses do.
func prefixOf(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), a.Zone() == ""
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, false
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

// shown bounds a value that an error text repeats.
func shown(s string) string {
	const most = 64
	r := []rune(strings.ToValidUTF8(s, "\uFFFD"))
	if len(r) > most {
		return string(r[:most]) + "…"
	}
	return string(r)
}

// AddressTexts gives a list in the form that people write: a single address
// without its length.
func AddressTexts(list []netip.Prefix) []string {
	texts := make([]string, len(list))
	for i, p := range list {
		if texts[i] = p.String(); p.IsSingleIP() {
			texts[i] = p.Addr().String()
		}
	}
	return texts
}
