package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"bench/internal/dnsd"
	"bench/internal/load"
	"bench/internal/loopback"
	"bench/internal/mailgen"
	"bench/internal/runctx"
	"bench/internal/service"
	"bench/internal/sink"
	"bench/internal/synth"
)

// scenario is one measurement of a running service.
type scenario struct {
	name  string
	total int64 // messages at -scale 1
	set   func(*load.Config)
	// half runs it at half the rate that the scenario of that name reached, for
	// latency.
	half string
}

func scenarios() []scenario {
	smtp := func(perConn int, more ...func(*load.Config)) func(*load.Config) {
		return func(c *load.Config) {
			c.Proto, c.StartTLS, c.Auth, c.PerConn = "smtp", true, "plain", perConn
			for _, m := range more {
				m(c)
			}
		}
	}
	size := func(n int) func(*load.Config) {
		return func(c *load.Config) { c.Sizes = []mailgen.Size{{Bytes: n, Weight: 1}} }
	}
	web := func(batch int) func(*load.Config) {
		return func(c *load.Config) { c.Proto, c.Batch = "http", batch }
	}
	return []scenario{
		{name: "smtp 4 KiB, 100 per connection", total: 20000, set: smtp(100)},
		{name: "smtp 4 KiB, 1 per connection", total: 4000, set: smtp(1)},
		{name: "smtp 50 KiB", total: 4000, set: smtp(100, size(50<<10))},
		{name: "smtp 1 MiB", total: 300, set: smtp(100, size(1<<20))},
		{name: "http /email", total: 10000, set: web(0)},
		{name: "http /email/batch of 500", total: 20000, set: web(500)},
		{name: "smtp at half load", total: 6000, set: smtp(100), half: "smtp 4 KiB, 100 per connection"},
	}
}

// row is the outcome of a scenario.
type row struct {
	Name       string
	Report     *load.Report
	CPUper1000 float64 // seconds
	WriteKiB   float64 // per message
	PeakMB     float64
	Connects   float64 // deliveries per connection to the sink
}

// measured is the whole run.
type measured struct {
	Start  time.Time
	Engine string
	Rows   []row
	RestMB float64
}

func cmdRun(args []string) error {
	fs := flags("run")
	bin := fs.String("bin", "../bin/pennypost", "the pennypost binary")
	dir := fs.String("dir", "", "directory on the disk to measure; a temporary one when empty")
	db := fs.String("database-url", "", "PostgreSQL instead of SQLite")
	conns := fs.Int("conns", 20, "connections")
	domains := fs.Int("domains", 100, "recipient domains")
	scale := fs.Float64("scale", 1, "multiplies the number of messages")
	only := fs.String("only", "", "only scenarios whose name contains this")
	jsonOut := fs.String("json", "", "write the figures to this file")
	limit := fs.Duration("for", 30*time.Minute, "end after this time whatever happens")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ctx, cancel := runctx.New(*limit)
	defer cancel()
	tmp, err := os.MkdirTemp(*dir, "pennypost-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	w, err := newWorld(ctx)
	if err != nil {
		return err
	}
	in, err := service.Start(ctx, service.Config{
		Bin: *bin, Dir: tmp, DatabaseURL: *db, Resolver: w.dnsAddr, MXPort: w.mxPort, Publish: w.publish,
	})
	if err != nil {
		return err
	}
	m := measured{Start: time.Now().UTC(), Engine: "sqlite"}
	if *db != "" {
		m.Engine = "postgres"
	}
	for _, sc := range scenarios() {
		if !strings.Contains(sc.name, *only) {
			continue
		}
		fmt.Fprintln(os.Stderr, "measuring:", sc.name)
		base := load.Config{
			Addr: in.SMTP, User: in.User, Pass: in.Secret, URL: "http://" + in.HTTP, Token: in.Token,
			Conns: *conns, Domains: *domains, Rcpts: 1, Zone: "test", From: "orders@" + service.Domain,
			Sizes:   []mailgen.Size{{Bytes: 4 << 10, Weight: 1}},
			Total:   max(int64(float64(sc.total)**scale), int64(*conns)),
			SinkURL: w.sinkURL, SinkWait: 3 * time.Minute,
			TLSConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1"},
		}
		sc.set(&base)
		if sc.half != "" {
			for _, r := range m.Rows {
				if r.Name == sc.half {
					base.Rate = r.Report.EndToEnd.RatePerS / 2
				}
			}
			if base.Rate == 0 {
				continue
			}
		}
		r, err := w.measure(ctx, in, base, sc.name)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", sc.name, err), in.Stop())
		}
		m.Rows = append(m.Rows, *r)
	}
	time.Sleep(6 * time.Second) // connections to the sink end
	if c, err := in.Cost(); err == nil {
		m.RestMB = float64(c.RSS) / (1 << 20)
	}
	if err := in.Stop(); err != nil {
		return fmt.Errorf("stop the service: %w", err)
	}
	m.print(os.Stdout)
	if *jsonOut != "" {
		return writeJSONFile(*jsonOut, m)
	}
	return nil
}

// world is the internet of the measurement: one sink and one DNS.
type world struct {
	sink            *sink.Server
	dns             *dnsd.Server
	dnsAddr, mxPort string
	sinkURL         string
}

func newWorld(ctx context.Context) (*world, error) {
	plan := synth.Plan{Zone: "test", Base: netip.MustParseAddr("127.0.0.1"), Addrs: 1}
	l, err := loopback.Listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	w := &world{}
	if w.sink, err = sink.Start(ctx, sink.Config{Listen: []string{addr}, Hostname: "sink.test", MaxSize: 64 << 20, MaxConns: 20000, Track: true, Idle: 5 * time.Minute, Plan: plan}); err != nil {
		return nil, err
	}
	if w.dns, err = dnsd.Start(ctx, dnsd.Config{Listen: []string{"127.0.0.1:0"}, TTL: 300, Plan: plan}); err != nil {
		return nil, err
	}
	w.dnsAddr = w.dns.Addrs()[0]
	if _, w.mxPort, err = net.SplitHostPort(w.sink.Addrs()[0]); err != nil {
		return nil, err
	}
	w.sinkURL, err = serveControl(ctx, "127.0.0.1:0", w.sink.Control())
	return w, err
}

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

func (w *world) measure(ctx context.Context, in *service.Instance, c load.Config, name string) (*row, error) {
	resp, err := http.Post(w.sinkURL+"/reset", "", nil)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	before, err := in.Cost()
	if err != nil {
		return nil, err
	}
	conns := w.sink.Stats().Connections
	rep, err := load.Run(ctx, c)
	if err != nil {
		return nil, err
	}
	if rep.Accepted == 0 || rep.EndToEnd == nil || !rep.EndToEnd.Complete {
		return nil, fmt.Errorf("not everything arrived: accepted %d, errors %v %v, end to end %+v", rep.Accepted, rep.Errors, rep.ErrorExamples, rep.EndToEnd)
	}
	time.Sleep(200 * time.Millisecond) // the last results are recorded
	after, err := in.Cost()
	if err != nil {
		return nil, err
	}
	cost := after.Sub(before)
	n := float64(rep.Accepted)
	r := &row{
		Name: name, Report: rep, CPUper1000: cost.CPU.Seconds() / n * 1000,
		WriteKiB: float64(cost.WriteBytes) / n / 1024, PeakMB: float64(cost.PeakRSS) / (1 << 20),
	}
	if d := w.sink.Stats().Connections - conns; d > 0 {
		r.Connects = n / float64(d)
	}
	return r, nil
}

func (m *measured) print(out io.Writer) {
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "scenario\taccepted/s\tend to end/s\tp50 ms\tp99 ms\tCPU-s per 1,000\tKiB written each\tper connection out\tDKIM-signed\tpeak MB\t")
	for _, r := range m.Rows {
		fmt.Fprintf(tw, "%s\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%.1f\t%.0f\t%d of %d\t%.0f\t\n", r.Name, r.Report.RatePerS, r.Report.EndToEnd.RatePerS,
			r.Report.Latency.P50, r.Report.Latency.P99, r.CPUper1000, r.WriteKiB, r.Connects, r.Report.EndToEnd.DKIM, r.Report.Accepted, r.PeakMB)
	}
	tw.Flush()
	fmt.Fprintf(out, "engine %s, memory at rest afterwards %.0f MB; load generator, sink and DNS share the machine\n", m.Engine, m.RestMB)
}
