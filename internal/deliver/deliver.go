package deliver

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/bounce"
	"pennypost/internal/dkim"
	"pennypost/internal/metrics"
	"pennypost/internal/mx"
	"pennypost/internal/queue"
	"pennypost/internal/smtpc"
	"pennypost/internal/store"
)

// Config is what a Deliverer needs. Store, Finder, Keys, Verp, Hostname and
// BounceDomain must be set; zero values of the others work.
type Config struct {
	Store        *store.Store
	Finder       *mx.Finder
	Keys         *auth.Keys
	Verp         *bounce.Verp
	Hostname     string
	BounceDomain string // of Return-Path addresses, and of the instance's own keys
	MXPort       int    // 0: 25
	// Personal makes a recipient's own copy of the content of a message that is
	// Personal; it leaves the content as it is. Nil: all get the stored one.
	Personal func(content []byte, id pennypost.MessageID, n int) []byte
	// Dialer replaces the system's, in tests.
	Dialer   func(ctx context.Context, network, addr string) (net.Conn, error)
	TLS      *tls.Config // what opportunistic TLS starts from
	Timeouts smtpc.Timeouts

	Signers     int           // signatures made at once; 0: one per core
	ReleasePace int           // held mails released in a second; 0: 50
	KeepFor     time.Duration // age of a kept connection; 0: 5 min
	IdleFor     time.Duration // without a message; 0: 5 s
	Messages    int           // on one connection; 0: 100
	Large       int64         // octets of large contents that are loaded at once; 0: 256 MiB
	RefreshKeys time.Duration // how long signing keys are remembered; 0: 30 s
	RefreshHold time.Duration // how often suspensions are read; 0: 1 s

	// Queue holds the limits of the queue; New sets what it does.
	Queue queue.Config

	Now     func() time.Time
	Rand    func() float64 // in [0, 1)
	Log     *slog.Logger
	Metrics *metrics.Set
}

func (c *Config) fill() error {
	switch {
	case c.Store == nil, c.Finder == nil, c.Keys == nil, c.Verp == nil:
		return errors.New("deliver: store, finder, keys or verp is missing")
	case c.Hostname == "" || c.BounceDomain == "":
		return errors.New("deliver: host name or bounce domain is missing")
	}
	set(&c.MXPort, 25)
	set(&c.Signers, runtime.GOMAXPROCS(0))
	set(&c.ReleasePace, 50)
	set(&c.KeepFor, 5*time.Minute)
	set(&c.IdleFor, 5*time.Second)
	set(&c.Messages, 100)
	set(&c.Large, maxLarge)
	set(&c.RefreshKeys, 30*time.Second)
	set(&c.RefreshHold, time.Second)
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Deliverer makes attempts.
type Deliverer struct {
	c       Config
	q       *queue.Queue
	met     counters
	ring    *keyring
	signer  *dkim.Signer
	signing *gate
	notes   chan struct{} // one token per result on its way to the disk
	streams lifetimes
	names   TestNames
	large   *room // for large contents
	starved starvation

	suspended atomic.Pointer[suspensions]
	refresh   sync.Mutex    // of suspended
	changed   chan struct{} // suspended was read anew; watchSuspensions looks

	mu      sync.Mutex
	sharing map[pennypost.MessageID]*shareRef
}

// maxLarge bounds the contents over largeFrom octets that are loaded at once.
const (
	maxLarge  = 256 << 20
	largeFrom = 256 << 10
)

// New makes a Deliverer and its queue.
func New(c Config) (*Deliverer, error) {
	if err := c.fill(); err != nil {
		return nil, err
	}
	d := &Deliverer{
		c:       c,
		met:     newCounters(c.Metrics),
		signer:  dkim.NewSigner(dkim.Options{Now: c.Now}),
		signing: newGate(c.Signers),
		notes:   make(chan struct{}, maxAllNotes),
		streams: newLifetimes(c.Store, c.Now),
		names:   NewTestNames(c.Hostname),
		large:   newRoom(c.Large),
		changed: make(chan struct{}, 1),
		sharing: make(map[pennypost.MessageID]*shareRef),
	}
	d.ring = newKeyring(&d.c)
	d.suspended.Store(&suspensions{})
	qc := c.Queue
	qc.Store, qc.Kind, qc.Lane, qc.Work = c.Store, pennypost.JobDeliver, d.lane, d.work
	qc.Now, qc.Rand, qc.Log, qc.Metrics = c.Now, c.Rand, c.Log, c.Metrics
	if qc.Quiet == nil {
		qc.Quiet = newRunnable(0).quiet
	}
	d.q = queue.New(qc)
	return d, nil
}

// Queue gives the queue of deliveries.
func (d *Deliverer) Queue() *queue.Queue { return d.q }

// Run delivers until the context ends, and then for as long as the queue's
// grace. It is called once.
func (d *Deliverer) Run(ctx context.Context) error {
	d.knowSuspensions(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { d.watchSuspensions(ctx) })
	wg.Go(func() { d.sweepSuspended(ctx) })
	return d.q.Run(ctx)
}

// Lanes of dests without a route, and how long that is believed.
const (
	dnsLane = "dns "
	laneFor = 30 * time.Second
)

// lane gives the lane of a dest: its site. Domains with the same mail servers
// fail together; a site may have other servers for other domains. What has no
// route is a lane of its own.
func (d *Deliverer) lane(ctx context.Context, dest string) queue.Way {
	if goesNowhere(dest) || d.names.has(dest) {
		return queue.Way{Lane: sandboxDest, Until: d.c.Now().Add(time.Hour)}
	}
	route, err := d.c.Finder.Route(ctx, dest)
	if mx.Starved(err) {
		return queue.Way{Lane: dnsLane + dest, Until: d.c.Now().Add(starveFirst)}
	}
	if err != nil {
		return queue.Way{Lane: dnsLane + dest, Until: d.c.Now().Add(laneFor)}
	}
	hosts := make([]string, len(route.Hosts))
	for i, h := range route.Hosts {
		hosts[i] = h.Name
	}
	slices.Sort(hosts)
	return queue.Way{Lane: route.Site, Group: strings.Join(hosts, " "), Until: route.Expires}
}

// work is one worker of a lane.
func (d *Deliverer) work(ctx context.Context, w *queue.Worker) {
	l := &line{d: d, notes: make(chan struct{}, maxNotes)}
	defer l.hangUp(ctx)
	for t := w.Next(d.c.IdleFor); t != nil; t = w.Next(d.c.IdleFor) {
		d.handle(ctx, l, w, t)
	}
}
