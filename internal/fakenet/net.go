package fakenet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Config says what a Net is like. The zero value works.
type Config struct {
	// Memory opens no sockets: all connections are made with Net.Dial.
	Memory bool
	// Zone is the domain below which every name takes mail; "test".
	Zone string
	// Hosts is how many mail servers the synthetic domains share; 4.
	Hosts int
	// Keep is how many mails the Box holds at most; 10,000.
	Keep int
	// Again is what deferring local parts ask a client to wait; 5 s.
	Again time.Duration
	// Arrived is called for each mail that a server took, Refused for each
	// command that one refused. They must not block.
	Arrived func(Mail)
	Refused func(Refusal)
	Now     func() time.Time
	Log     *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Zone == "" {
		c.Zone = "test"
	}
	if c.Hosts <= 0 {
		c.Hosts = 4
	}
	if c.Keep <= 0 {
		c.Keep = 10_000
	}
	if c.Again <= 0 {
		c.Again = 5 * time.Second
	}
	if c.Arrived == nil {
		c.Arrived = func(Mail) {}
	}
	if c.Refused == nil {
		c.Refused = func(Refusal) {}
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Net is a pretend internet. Make it with New, start it with Run.
type Net struct {
	conf Config
	log  *slog.Logger
	box  *Box
	zone *zone
	tls  *tls.Config
	dns  *dnsServer
	seen *history

	ctx  context.Context //nolint:containedctx // ends with Run; sessions that Dial starts have no other owner
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex
	port  int
	hosts map[netip.Addr]*host
	next  netip.Addr
}

// The addresses of the mail servers. 127.0.0.1 is left to the service itself:
// nobody delivers to himself.
const firstAddr = "127.0.0.2"

// memoryPort is the port of mail servers without sockets.
const memoryPort = 25

// New opens the sockets of the DNS server and of the mail servers.
func New(c Config) (*Net, error) {
	c = c.withDefaults()
	conf, err := serverTLS(c.Now())
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	n := &Net{
		conf: c, log: c.Log, tls: conf, box: newBox(c.Keep), seen: newHistory(),
		hosts: make(map[netip.Addr]*host), next: netip.MustParseAddr(firstAddr),
	}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.zone = newZone(c.Zone)
	if err := n.open(); err != nil {
		n.shut()
		return nil, err
	}
	return n, nil
}

func (n *Net) open() error {
	var err error
	if n.dns, err = newDNSServer(n.zone, n.conf.Memory); err != nil {
		return fmt.Errorf("open DNS server: %w", err)
	}
	if n.conf.Memory {
		n.port = memoryPort
	}
	for range n.conf.Hosts {
		h, err := n.addHost(Script{})
		if err != nil {
			return err
		}
		n.zone.shared = append(n.zone.shared, h.addr)
	}
	_, err = n.Host("silent."+n.conf.Zone, Script{Silent: true})
	return err
}

// addHost makes a mail server at the next address. The first one finds the
// port that all share.
func (n *Net) addHost(s Script) (*host, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.ctx.Err(); err != nil {
		return nil, err
	}
	h := &host{net: n, addr: n.next, script: s}
	n.next = n.next.Next()
	if !n.conf.Memory {
		var lc net.ListenConfig
		l, err := lc.Listen(n.ctx, "tcp4", netip.AddrPortFrom(h.addr, uint16(n.port)).String()) //nolint:gosec // G115: a port
		if err != nil {
			return nil, fmt.Errorf("open mail server: %w", err)
		}
		h.listener = l
		if tcp, ok := l.Addr().(*net.TCPAddr); ok {
			n.port = tcp.Port
		}
	}
	n.hosts[h.addr] = h
	if h.listener != nil {
		n.wg.Go(h.accept)
	}
	return h, nil
}

// Host gives a domain a mail server of its own that acts by a script, and
// returns its address.
func (n *Net) Host(domain string, s Script) (netip.Addr, error) {
	h, err := n.addHost(s)
	if err != nil {
		return netip.Addr{}, err
	}
	domain = strings.TrimSuffix(domain, ".")
	for _, line := range []string{
		fmt.Sprintf("%s. 60 IN MX 10 mx.%s.", domain, domain),
		fmt.Sprintf("mx.%s. 60 IN A %s", domain, h.addr),
	} {
		if err := n.zone.record(line); err != nil {
			return netip.Addr{}, err
		}
	}
	return h.addr, nil
}

// Record adds a DNS record in zone file form, such as
// "shop.test. 60 IN MX 10 mx.shop.test.". The first record of a name and type
// replaces the synthetic ones; a second is added to the first.
func (n *Net) Record(line string) error { return n.zone.record(line) }

// Forget removes all records of your own of a name.
func (n *Net) Forget(name string) { n.zone.forget(name) }

// Fail gives a name, or with "*." before it all names below it, a fault; ""
// ends it.
func (n *Net) Fail(name string, f Fault) { n.zone.fail(name, f) }

// Queries is how many questions were asked so far.
func (n *Net) Queries() int { return n.zone.queries() }

// Box holds the mails that arrived.
func (n *Net) Box() *Box { return n.box }

// DNSAddr is host and port of the DNS server, for UDP and TCP.
func (n *Net) DNSAddr() string { return n.dns.addr }

// MXPort is the port of all mail servers.
func (n *Net) MXPort() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.port
}

// Run serves until ctx ends, then closes all and waits for it.
func (n *Net) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, n.stop)
	defer stop()
	err := n.dns.run(n.ctx)
	n.shut()
	if ctx.Err() != nil {
		return nil // the end was asked for
	}
	return err
}

func (n *Net) shut() {
	n.stop()
	n.mu.Lock()
	for _, h := range n.hosts {
		h.close()
	}
	n.mu.Unlock()
	if n.dns != nil {
		n.dns.close()
	}
	n.wg.Wait()
}

// errNoRoute is what a connection to an address of nobody gets.
var errNoRoute = errors.New("connection refused")

// Dial connects to an address of this net: in memory, or over the sockets. It
// fits as the dialer of what asks DNS and delivers mail.
func (n *Net) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !n.conf.Memory {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	if address == n.dns.addr {
		return n.start(network, func(c net.Conn) { n.dns.serve(c, network) })
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	n.mu.Lock()
	h := n.hosts[addr.Unmap()]
	n.mu.Unlock()
	if h == nil || port != strconv.Itoa(memoryPort) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errNoRoute}
	}
	c, err := n.start(network, h.serve)
	if err != nil {
		return nil, err
	}
	return addressed{c, addr}, nil
}

// start serves one end of an in-memory connection, unless all is over.
func (n *Net) start(network string, serve func(net.Conn)) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.ctx.Err(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	ours, theirs := net.Pipe()
	n.wg.Go(func() { serve(theirs) })
	if isPacket(network) {
		return packetPipe{ours}, nil
	}
	return ours, nil
}

// addressed is an in-memory connection that knows whom it goes to.
type addressed struct {
	net.Conn
	to netip.Addr
}

func (a addressed) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.to, memoryPort))
}

func (a addressed) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 1024))
}
