package mx

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Bounds of one answer. More is cut off: the rest of a set of a thousand
// mail servers is not needed to reach one.
const (
	maxChain = 8 // CNAMEs followed
	maxHosts = 64
	maxAddrs = 32 // of a family
	maxTexts = 50
	maxText  = 64 << 10
)

// question is what is asked; its name is normal.
type question struct {
	name  string
	qtype uint16
}

func (q question) fail(k Kind, why error) *Error {
	return &Error{Name: q.name, Type: dns.TypeToString[q.qtype], Kind: k, Err: why}
}

// answer is what came of a question: records of its type, or why there are
// none.
type answer struct {
	hosts  []Host
	addrs  []netip.Addr
	texts  []string
	target string
	absent *Error // NoName or NoRecord
	ttl    uint32
	size   int // about how much memory it takes
}

var (
	errChain = errors.New("too many CNAMEs, or a loop of them")
	errLame  = errors.New("the server refers to others")
)

// take finds the answer to a question in a reply. Records that belong to other
// names are not looked at (catalogue D-011). When the reply leads to another
// name and says nothing of it, next is that name.
func (a *answer) take(q question, m *dns.Msg, hops *int) (next string, err error) {
	name := q.name
	for {
		if a.collect(name, q.qtype, m.Answer) {
			return "", nil
		}
		target, ok := a.alias(name, m.Answer)
		if !ok || q.qtype == dns.TypeCNAME {
			break
		}
		if *hops++; *hops > maxChain {
			return "", errChain
		}
		name = target
	}
	ttl, soa, ns := authority(m.Ns)
	kind := NoRecord
	switch {
	case m.Rcode == dns.RcodeNameError:
		kind = NoName
	case soa:
	case ns:
		// No answer but other servers: not what a resolver says.
		return "", errLame
	case name != q.name:
		return name, nil
	}
	a.absent = q.fail(kind, nil)
	a.lower(ttl)
	return "", nil
}

// alias gives the target of a name's CNAME.
func (a *answer) alias(name string, records []dns.RR) (string, bool) {
	for _, rr := range records {
		if c, ok := rr.(*dns.CNAME); ok && owns(name, rr) {
			a.lower(rr.Header().Ttl)
			return normal(c.Target), true
		}
	}
	return "", false
}

func owns(name string, rr dns.RR) bool {
	h := rr.Header()
	return h.Class == dns.ClassINET && len(h.Name) == len(name)+1 && strings.EqualFold(h.Name[:len(name)], name)
}

// collect takes the records of a name and type, and tells whether there are
// any.
func (a *answer) collect(name string, qtype uint16, records []dns.RR) bool {
	found := false
	for _, rr := range records {
		if rr.Header().Rrtype != qtype || !owns(name, rr) || !a.add(rr) {
			continue
		}
		a.lower(rr.Header().Ttl)
		found = true
	}
	if !found {
		return false
	}
	slices.SortFunc(a.hosts, func(x, y Host) int { return cmp.Or(cmp.Compare(x.Pref, y.Pref), cmp.Compare(x.Name, y.Name)) })
	a.hosts = slices.Clip(slices.Compact(a.hosts))
	if len(a.hosts) > maxHosts {
		a.hosts = slices.Clone(a.hosts[:maxHosts])
	}
	for _, h := range a.hosts {
		a.size += 24 + len(h.Name)
	}
	a.size += 24 * len(a.addrs)
	return true
}

// add takes one record, unless it is of no use or there are enough.
func (a *answer) add(rr dns.RR) bool {
	switch rr := rr.(type) {
	case *dns.MX:
		a.hosts = append(a.hosts, Host{Name: normal(rr.Mx), Pref: rr.Preference})
	case *dns.A:
		return a.addAddr(rr.A)
	case *dns.AAAA:
		return a.addAddr(rr.AAAA)
	case *dns.CNAME:
		a.target = normal(rr.Target)
		a.size += len(a.target)
	case *dns.TXT:
		text := unescape(rr.Txt)
		if len(a.texts) == maxTexts || a.size+len(text) > maxText {
			return false
		}
		a.texts = append(a.texts, text)
		a.size += len(text)
	default:
		return false
	}
	return true
}

func (a *answer) addAddr(ip []byte) bool {
	addr, ok := netip.AddrFromSlice(ip)
	if !ok || len(a.addrs) == maxAddrs || slices.Contains(a.addrs, addr) {
		return false
	}
	a.addrs = append(a.addrs, addr)
	return true
}

// lower bounds the TTL by that of one more record. RFC 2181 §8: one with the
// highest bit set counts as 0.
func (a *answer) lower(ttl uint32) {
	if ttl >= 1<<31 {
		ttl = 0
	}
	a.ttl = min(a.ttl, ttl)
}

// authority reads the TTL of an answer that there is nothing (RFC 2308 §5), and
// tells which records the authority section has. Without SOA the answer is
// not to be kept.
func authority(records []dns.RR) (ttl uint32, soa, ns bool) {
	for _, rr := range records {
		switch rr := rr.(type) {
		case *dns.SOA:
			ttl, soa = min(rr.Hdr.Ttl, rr.Minttl), true
		case *dns.NS:
			ns = true
		}
	}
	return ttl, soa, ns
}

// unescape joins the strings of a TXT record, which the library gives in the
// form of zone files: \DDD and \X.
func unescape(parts []string) string {
	joined := strings.Join(parts, "")
	if !strings.Contains(joined, `\`) {
		return joined
	}
	out := make([]byte, 0, len(joined))
	for i := 0; i < len(joined); i++ {
		c := joined[i]
		if c == '\\' && i+1 < len(joined) {
			i++
			if c = joined[i]; c >= '0' && c <= '9' && i+2 < len(joined) {
				c = (joined[i]-'0')*100 + (joined[i+1]-'0')*10 + (joined[i+2] - '0')
				i += 2
			}
		}
		out = append(out, c)
	}
	return string(out)
}
