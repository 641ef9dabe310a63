package pennypost

import "net/netip"

// AllowList are the addresses from which a server sends over HTTP
// (contract/account.md §2). Nil has all.
type AllowList struct{ Prefixes []netip.Prefix }

// NewAllowList gives nil for no prefixes.
func NewAllowList(list []netip.Prefix) *AllowList {
	if len(list) == 0 {
		return nil
	}
	return &AllowList{list}
}

// Has tells whether an address is on the list. What is no address is on none.
func (l *AllowList) Has(ip string) bool {
	if l == nil {
		return true
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	for _, p := range l.Prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
