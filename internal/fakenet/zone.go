package fakenet

import (
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// Fault is what goes wrong with the questions for a name.
type Fault string

// The faults.
const (
	ServFail Fault = "servfail"
	NXDomain Fault = "nxdomain"
	Refuse   Fault = "refused"
	Timeout  Fault = "timeout"  // no answer at all
	Truncate Fault = "truncate" // over UDP; whole over TCP
)

// maxChain bounds how many CNAME records are followed.
const maxChain = 8

// zone answers questions. Names are kept as lower-case FQDN.
type zone struct {
	suffix string       // ".test."
	shared []netip.Addr // of the mail servers of synthetic domains

	mu      sync.RWMutex
	records map[string][]dns.RR
	faults  map[string]Fault
	asked   int
}

func newZone(name string) *zone {
	z := &zone{
		suffix:  "." + dns.CanonicalName(name),
		records: make(map[string][]dns.RR), faults: make(map[string]Fault),
	}
	z.faults["gone"+z.suffix] = NXDomain
	z.faults["servfail"+z.suffix] = ServFail
	null := "nullmx" + z.suffix
	// RFC 7505 §3: one MX, preference 0, the root as its host.
	z.records[null] = []dns.RR{&dns.MX{Hdr: header(null, dns.TypeMX), Mx: "."}}
	return z
}

func header(name string, t uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: t, Class: dns.ClassINET, Ttl: 60}
}

func (z *zone) record(line string) error {
	rr, err := dns.NewRR(line)
	if err != nil {
		return fmt.Errorf("record %q: %w", line, err)
	}
	if rr == nil {
		return fmt.Errorf("record %q: empty", line)
	}
	name := dns.CanonicalName(rr.Header().Name)
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records[name] = append(z.records[name], rr)
	return nil
}

func (z *zone) forget(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.records, dns.CanonicalName(name))
}

func (z *zone) fail(name string, f Fault) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if name = dns.CanonicalName(name); f == "" {
		delete(z.faults, name)
		return
	}
	z.faults[name] = f
}

func (z *zone) queries() int {
	z.mu.RLock()
	defer z.mu.RUnlock()
	return z.asked
}

// fault finds that of the name itself or of "*." some suffix.
func (z *zone) fault(name string) Fault {
	if f, ok := z.faults[name]; ok {
		return f
	}
	for rest := name; rest != "" && rest != "."; {
		_, rest, _ = strings.Cut(rest, ".")
		if f, ok := z.faults["*."+rest]; ok {
			return f
		}
	}
	return ""
}

// answer gives the reply to a question, or nil for none. Over UDP it is cut to
// what the client takes.
func (z *zone) answer(q *dns.Msg, udp bool) *dns.Msg {
	a := new(dns.Msg)
	a.SetReply(q)
	a.RecursionAvailable = true
	if opt := q.IsEdns0(); opt != nil {
		a.SetEdns0(1232, opt.Do())
	}
	if len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery {
		a.Rcode = dns.RcodeFormatError
		return a
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked++
	name := dns.CanonicalName(q.Question[0].Name)
	switch z.fault(name) {
	case ServFail:
		a.Rcode = dns.RcodeServerFailure
		return a
	case NXDomain:
		a.Rcode = dns.RcodeNameError
		return a
	case Refuse:
		a.Rcode = dns.RcodeRefused
		return a
	case Timeout:
		return nil
	case Truncate:
		if udp {
			a.Truncated = true
			return a
		}
	}
	z.fill(a, name, q.Question[0].Qtype)
	if udp {
		size := dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
		a.Truncate(size)
	}
	return a
}

// fill writes the records, following CNAMEs (RFC 1034 §4.3.2).
func (z *zone) fill(a *dns.Msg, name string, t uint16) {
	for range maxChain {
		found, exists := z.find(name, t)
		a.Answer = append(a.Answer, found...)
		if len(found) > 0 {
			return
		}
		alias, _ := z.find(name, dns.TypeCNAME)
		if len(alias) == 0 {
			if !exists {
				a.Rcode = dns.RcodeNameError
			}
			a.Ns = append(a.Ns, z.soa())
			return
		}
		a.Answer = append(a.Answer, alias[0])
		cname, ok := alias[0].(*dns.CNAME)
		if !ok {
			return
		}
		name = dns.CanonicalName(cname.Target)
	}
}

// find gives the records of a name and type, and whether the name exists.
func (z *zone) find(name string, t uint16) (found []dns.RR, exists bool) {
	own := z.records[name]
	for _, rr := range own {
		if rr.Header().Rrtype == t {
			found = append(found, dns.Copy(rr))
		}
	}
	alias := len(own) == 1 && own[0].Header().Rrtype == dns.TypeCNAME
	made := z.synthetic(name)
	if len(found) == 0 && !alias {
		for _, rr := range made {
			if rr.Header().Rrtype == t {
				found = append(found, rr)
			}
		}
	}
	return found, len(own)+len(made) > 0 || z.below(name)
}

// below tells whether a name is an empty one between others (RFC 8020).
func (z *zone) below(name string) bool {
	for n := range z.records {
		if strings.HasSuffix(n, "."+name) {
			return true
		}
	}
	return false
}

// synthetic gives the records that a name has without anyone's doing.
func (z *zone) synthetic(name string) []dns.RR {
	rest, ok := strings.CutSuffix(name, z.suffix)
	if !ok {
		return nil
	}
	mx, isHost := strings.CutPrefix(rest, "mx.")
	switch {
	case isHost && mx != "" && !strings.Contains(mx, ".") && len(z.shared) > 0:
		h := fnv.New32a()
		_, _ = h.Write([]byte(mx))                        // never fails
		addr := z.shared[h.Sum32()%uint32(len(z.shared))] //nolint:gosec // G115: a few
		return []dns.RR{&dns.A{Hdr: header(name, dns.TypeA), A: net.IP(addr.AsSlice())}}
	case rest != "" && rest != "mx" && !strings.Contains(rest, "."):
		return []dns.RR{&dns.MX{Hdr: header(name, dns.TypeMX), Preference: 10, Mx: "mx." + name}}
	}
	return nil
}

func (z *zone) soa() dns.RR {
	name := strings.TrimPrefix(z.suffix, ".")
	return &dns.SOA{
		Hdr: header(name, dns.TypeSOA), Ns: "ns." + name, Mbox: "hostmaster." + name,
		Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 5,
	}
}
