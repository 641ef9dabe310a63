package measure

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bench/internal/dnsd"
	"bench/internal/hist"
	"bench/internal/loopback"
	"bench/internal/sink"
	"bench/internal/synth"
)

// Zones of recipients: healthy ones, those whose mail server answers 450 to
// each recipient, and those whose mail server cannot be connected to.
const (
	healthy = "test"
	sick    = "sick"
	dead    = "dead"
)

// world is the internet of the measurement.
type world struct {
	sink, sick *sink.Server
	dns        *dnsd.Server
	dnsAddr    string
	port       string // of all mail servers
	control    string // HTTP interface of sink
	watch      atomic.Pointer[journeys]
}

func plan(zone, addr string) synth.Plan {
	return synth.Plan{Zone: zone, Base: netip.MustParseAddr(addr), Addrs: 1}
}

// newWorld runs until ctx ends.
func newWorld(ctx context.Context) (*world, error) {
	w := &world{}
	if err := w.startSinks(ctx); err != nil {
		return nil, err
	}
	var err error
	w.dns, err = dnsd.Start(ctx, dnsd.Config{
		Listen: []string{"127.0.0.1:0"}, TTL: 3600, Plan: plan(healthy, "127.0.0.1"),
		More: []synth.Plan{plan(sick, "127.0.0.2"), plan(dead, "127.0.0.3")},
	})
	if err != nil {
		return nil, err
	}
	w.dnsAddr = w.dns.Addrs()[0]
	ln, err := loopback.Listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: w.sink.Control(), ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(ln)
	context.AfterFunc(ctx, func() { srv.Close() })
	w.control = "http://" + ln.Addr().String()
	return w, nil
}

// startSinks finds a port that is free at both addresses.
func (w *world) startSinks(ctx context.Context) error {
	var err error
	for range 20 {
		var free []string
		if free, err = loopback.Free(1); err != nil {
			return err
		}
		if _, w.port, err = net.SplitHostPort(free[0]); err != nil {
			return err
		}
		try, cancel := context.WithCancel(ctx)
		base := sink.Config{Hostname: "sink.test", MaxSize: 64 << 20, MaxConns: 20000, Idle: 5 * time.Minute, Plan: plan(healthy, "127.0.0.1")}
		good, bad := base, base
		good.Listen, good.Track, good.OnDelivery = free, true, w.arrived
		bad.Listen = []string{"127.0.0.2:" + w.port}
		if w.sink, err = sink.Start(try, good); err == nil {
			if w.sick, err = sink.Start(try, bad); err == nil {
				context.AfterFunc(ctx, cancel)
				return w.makeSick()
			}
		}
		cancel()
	}
	return fmt.Errorf("no port for the mail servers: %w", err)
}

func (w *world) makeSick() error {
	const rules = `{"rules":[{"stage":"rcpt","action":"reply","code":450,"text":"4.2.1 mailbox is busy"}]}`
	p, err := sink.ParseProfile(strings.NewReader(rules), plan(healthy, "127.0.0.1"))
	if err != nil {
		return err
	}
	w.sick.SetProfile(p)
	return nil
}

// publish puts a TXT record into the DNS.
func (w *world) publish(name, value string) error {
	var parts []string
	for len(value) > 200 {
		parts = append(parts, `"`+value[:200]+`"`)
		value = value[200:]
	}
	parts = append(parts, `"`+value+`"`)
	recs, err := dnsd.ParseZone(strings.NewReader(name + " 300 TXT " + strings.Join(parts, " ")))
	if err != nil {
		return err
	}
	w.dns.AddRecords(recs)
	return nil
}

func (w *world) arrived(id, _ string, at time.Time) {
	if j := w.watch.Load(); j != nil {
		j.end(id, at)
	}
}

// journeys measures the time from when messages were due until they arrived.
type journeys struct {
	mu   sync.Mutex
	due  map[string]time.Time
	took hist.Hist
}

func newJourneys() *journeys { return &journeys{due: make(map[string]time.Time)} }

func (j *journeys) begin(id string, due time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.due[id] = due
}

// end counts a message once, and none that another load sent.
func (j *journeys) end(id string, at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if due, ok := j.due[id]; ok {
		delete(j.due, id)
		j.took.Add(at.Sub(due))
	}
}
