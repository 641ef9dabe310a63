package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"pennypost"
	"pennypost/internal/account"
	"pennypost/internal/api"
	"pennypost/internal/auth"
	"pennypost/internal/bounce"
	"pennypost/internal/bulk"
	"pennypost/internal/deliver"
	"pennypost/internal/inbound"
	"pennypost/internal/janitor"
	"pennypost/internal/metrics"
	"pennypost/internal/mx"
	"pennypost/internal/queue"
	"pennypost/internal/shed"
	"pennypost/internal/smtpd"
	"pennypost/internal/store"
	"pennypost/internal/submit"
	"pennypost/internal/track"
	"pennypost/internal/web"
)

// service is all parts of a running instance. It is made by newService, which
// opens the store and all sockets; run starts the parts and stops them in
// three stages, so that nothing is given to a part that has ended: first the
// edges, which finish what they have begun, then the work behind them, which
// hands back what it holds, then what watches.
type service struct {
	conf    *config
	log     *slog.Logger
	metrics *metrics.Set
	now     func() time.Time

	memory   memoryShares
	bodies   *shed.Memory // of requests
	work     *shed.Memory
	disk     *shed.Disk // nil: the database is elsewhere
	store    *store.Store
	keys     *auth.Keys
	auth     *auth.Auth
	resolver *mx.Resolver
	cert     *certificate
	deliver  *deliver.Deliverer
	door     *submit.Door
	accounts *account.Accounts
	janitor  *janitor.Janitor
	bulk     *bulk.Requests
	api      *api.API
	signers  []*track.Signer // of tracking: that of the current master key first
	track    *track.Server
	smtpd    *smtpd.Server

	smtp                               []smtpd.Listener
	http, https, operator, observation []net.Listener

	firstRun *account.FirstRun
	stopping atomic.Bool
}

// newService puts an instance together. When it fails everything that it
// opened is closed.
func newService(ctx context.Context, c *config, log *slog.Logger) (_ *service, err error) {
	s := &service{conf: c, log: log, metrics: metrics.New(), now: time.Now}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for _, step := range []func(context.Context) error{s.openRoom, s.openStore, s.openNames, s.openMail, s.openAccounts, s.openEdges, s.listen} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// sayEvery bounds how often it is logged that requests are refused, which may come
// and go with each of them.
const sayEvery = 30 * time.Second

// openRoom finds out how much memory and disk there is.
func (s *service) openRoom(ctx context.Context) error {
	// The directory holds keys and, with SQLite, all mail.
	if err := os.MkdirAll(s.conf.dataDir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	s.memory = planMemory(s.conf.memoryLimit)
	s.memory.log(ctx, s.log)
	var said time.Time // under the memory's lock
	s.bodies = shed.NewMemory(s.memory.http, func(short bool) {
		if now := s.now(); short && now.Sub(said) >= sayEvery {
			said = now
			s.log.WarnContext(ctx, "requests are refused for now: the memory for their bodies is used up", "octets", s.memory.http)
		}
	})
	s.work = shed.NewMemory(s.memory.work, nil).FavourSmall()
	if s.conf.databaseURL == "" {
		s.disk = shed.NewDisk(shed.DiskConfig{Dir: s.conf.dataDir, Reserve: s.conf.diskReserve, Now: s.now})
	}
	s.roomMetrics()
	return nil
}

func (s *service) roomMetrics() {
	gauge := func(name, help string, read func() int64) {
		s.metrics.Gauge(name, help, func() float64 { return float64(read()) })
	}
	gauge("memory_requests_octets", "Held by requests with bodies.", s.bodies.Held)
	gauge("memory_work_octets", "Held by messages being made ready and stored.", s.work.Held)
	gauge("memory_requests_refused", "Requests refused since there was no memory for their bodies.", s.bodies.Refused)
	if s.disk == nil {
		return
	}
	gauge("disk_free_octets", "Room on the disk of the data directory.", func() int64 { free, _ := s.disk.Room(); return free })
	gauge("disk_reserve_octets", "Room below which new mail is refused.", func() int64 { _, reserve := s.disk.Room(); return reserve })
}

func (s *service) openStore(ctx context.Context) (err error) {
	s.store, err = store.Open(ctx, store.Config{
		Dir: s.conf.dataDir, URL: s.conf.databaseURL, Now: s.now, Log: s.log, Metrics: s.metrics,
	})
	if err != nil {
		return err
	}
	if s.keys, err = auth.LoadKeys(ctx, s.store, s.conf.masterKeyFile); err != nil {
		return fmt.Errorf("master key %s: %w", s.conf.masterKeyFile, err)
	}
	s.auth, err = auth.New(auth.Config{
		Store: s.store, Keys: s.keys, OperatorToken: auth.Secret(s.conf.operatorToken),
		Now: s.now, Log: s.log, Metrics: s.metrics,
	})
	return err
}

func (s *service) openNames(context.Context) (err error) {
	if s.cert, err = openCertificate(s.conf, s.now, s.log); err != nil {
		return err
	}
	s.metrics.Gauge("certificate_expires_in_seconds", "How long the certificate is still good; negative once it expired.",
		func() float64 { return s.cert.left().Seconds() })
	s.resolver, err = mx.NewResolver(mx.ResolverConfig{Servers: s.conf.resolver, Now: s.now})
	return err
}

func (s *service) openMail(context.Context) error {
	verp, err := newVerp(s.keys)
	if err != nil {
		return err
	}
	for _, key := range s.keys.DeriveAll(auth.PurposeTracking) {
		s.signers = append(s.signers, track.NewSigner(key))
	}
	s.deliver, err = deliver.New(deliver.Config{
		Store: s.store, Keys: s.keys, Verp: verp,
		Finder: mx.New(mx.FinderConfig{
			Resolver: s.resolver, Own: []string{s.conf.hostname, s.conf.bounceDomain, s.conf.inboundDomain},
			OwnAddrs: s.ownAddrs, AllowPrivate: s.conf.allowPrivate, Now: s.now,
		}),
		Hostname: s.conf.hostname, BounceDomain: s.conf.bounceDomain, MXPort: s.conf.mxPort,
		// What is under way when we stop has its share of the time for that.
		Queue: queue.Config{Grace: s.conf.stopWithin * 2 / 5, Bytes: s.memory.queue},
		Large: s.memory.large, Personal: s.personal,
		Now: s.now, Log: s.log, Metrics: s.metrics,
	})
	if err != nil {
		return err
	}
	s.door, err = submit.New(submit.Config{
		Store: s.store, Queue: s.deliver.Queue(), Check: s.auth.CheckAccept,
		Hostname: s.conf.hostname, BounceDomain: s.conf.bounceDomain,
		Disk: s.disk, Work: s.work, Dress: s.signers[0], TrackBase: s.conf.trackBase,
		Now: s.now, Log: s.log, Metrics: s.metrics,
	})
	if err != nil {
		return err
	}
	box, err := inbound.New(inbound.Config{
		Store: s.store, Verp: verp, BounceDomain: s.conf.bounceDomain,
		OwnNames: []string{s.conf.hostname, s.conf.inboundDomain}, ReturnDomain: s.returnDomain,
		Log: s.log, Now: s.now,
	})
	if err != nil {
		return err
	}
	s.smtpd, err = smtpd.New(smtpd.Config{
		Hostname: s.conf.hostname, TLS: s.cert.config(), AuthOnLoopback: s.conf.smtpAuthLocal,
		Authenticate: s.auth.SMTP, Open: s.door.Open, MailAllowed: s.auth.MailAllowed, Revoked: s.auth.Revoked,
		Accept: s.door.AcceptRaw, Refused: s.door.RefuseRaw, Expect: s.door.Expect, Inbound: box,
		Limits:  smtpd.Limits{Grace: s.conf.stopWithin / 3, Memory: s.memory.smtp},
		Metrics: s.metrics, Log: s.log, Now: s.now,
	})
	return err
}

// personal makes a recipient's own copy of a content, which may have been made
// before the master key was replaced.
func (s *service) personal(content []byte, id pennypost.MessageID, n int) []byte {
	for _, signer := range s.signers[1:] {
		if signer.Has(content, id) {
			return signer.Personal(content, id, n)
		}
	}
	return s.signers[0].Personal(content, id, n)
}

// newVerp takes the return-path keys of all master keys. The number in an
// address is that of its key: the first octet of what the key derives, so that
// it stays the same when keys are added.
func newVerp(keys *auth.Keys) (*bounce.Verp, error) {
	var ring []bounce.VerpKey
	for _, secret := range keys.DeriveAll(auth.PurposeReturnPath) {
		k := bounce.VerpKey{ID: secret[0], Secret: secret[1:]}
		if !slices.ContainsFunc(ring, func(o bounce.VerpKey) bool { return o.ID == k.ID }) {
			ring = append(ring, k)
		}
	}
	return bounce.NewVerp(0, ring...)
}

func (s *service) returnDomain(ctx context.Context, domain string) (ok bool, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		ok, err = tx.ReturnDomain(ctx, domain)
		return err
	})
	return ok, err
}

func (s *service) openAccounts(ctx context.Context) (err error) {
	s.accounts, err = account.New(account.Config{
		Store: s.store, Auth: s.auth, Keys: s.keys, Resolver: names{s.resolver}, Send: s.sendOwn,
		PublicURL: s.conf.publicURL, Hostname: s.conf.hostname, BounceDomain: s.conf.bounceDomain,
		TrackDomain: s.conf.trackDomain, InboundDomain: s.conf.inboundDomain,
		SuspensionChanged: s.deliver.SuspensionChanged, Release: s.deliver.Release, KeysChanged: s.deliver.KeysChanged,
		Now: s.now, Log: s.log, Metrics: s.metrics,
	})
	if err != nil {
		return err
	}
	if s.janitor, err = janitor.New(janitor.Config{Store: s.store, Now: s.now, Log: s.log}); err != nil {
		return err
	}
	s.firstRun, err = s.accounts.Bootstrap(ctx, account.Settings{
		AccountToken: auth.Secret(s.conf.accountToken), OperatorToken: auth.Secret(s.conf.operatorToken),
		Save: s.saveFirstRun,
	})
	if err != nil {
		return fmt.Errorf("first start: %w", err)
	}
	key, err := s.accounts.InstanceDKIM(ctx)
	if err != nil {
		return fmt.Errorf("own DKIM key: %w", err)
	}
	return s.saveOwnKey(key)
}

// sendOwn hands mail of our own to the queue.
func (s *service) sendOwn(ctx context.Context, m account.Mail) error {
	_, err := s.door.AcceptSystem(ctx, &submit.System{To: m.To, Subject: m.Subject, Text: m.Text})
	return err
}

func (s *service) openEdges(context.Context) (err error) {
	s.track, err = track.NewServer(track.ServerConfig{
		Store: s.store, Signers: s.signers, Private: s.conf.trackingPrivacy, GeoFile: s.conf.geoFile, Trusted: s.conf.trusted,
		Unavailable: func(err error) bool { return errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed) },
		Now:         s.now, Log: s.log, Metrics: s.metrics,
	})
	if err != nil {
		return err
	}
	s.bulk, err = bulk.New(bulk.Config{
		Store: s.store, Door: s.door, Auth: s.auth, Keys: s.keys, Now: s.now, Log: s.log, Metrics: s.metrics,
	})
	if err != nil {
		return err
	}
	s.api, err = api.New(api.Config{
		Store: s.store, Auth: s.auth, Door: s.door, Accounts: s.accounts, Bulk: s.bulk, Discard: s.deliver.Discard,
		ConsoleURL: s.conf.publicURL, InboundDomain: s.conf.inboundDomain, BounceDomain: s.conf.bounceDomain,
		TrackDomain: s.conf.trackDomain, SPFDomain: s.conf.spfDomain, SMTPHost: s.conf.hostname, SMTPPorts: s.smtpPorts(),
		Trusted: s.conf.trusted, Memory: s.bodies, BatchLimit: s.memory.batch, Rate: s.conf.apiRate, Now: s.now, Log: s.log,
	})
	return err
}

// smtpPorts are those shown with SMTP tokens.
func (s *service) smtpPorts() []int {
	var ports []int
	for _, a := range slices.Concat(s.conf.smtpListen, s.conf.smtpsListen) {
		_, port, err := net.SplitHostPort(a)
		n, errPort := strconv.Atoi(port)
		if err == nil && errPort == nil && n > 0 && !slices.Contains(ports, n) {
			ports = append(ports, n)
		}
	}
	return ports
}

// listen opens all sockets, so that a port in use ends the start.
func (s *service) listen(ctx context.Context) error {
	open := func(name string, addresses []string, add func(l net.Listener)) error {
		for _, a := range addresses {
			var lc net.ListenConfig
			l, err := lc.Listen(ctx, "tcp", a)
			if err != nil {
				return fmt.Errorf("%s: %w", declared{name: name}.env(), err)
			}
			add(l)
			s.log.InfoContext(ctx, "listening", "what", name, "addr", l.Addr().String())
		}
		return nil
	}
	onto := func(list *[]net.Listener) func(net.Listener) {
		return func(l net.Listener) { *list = append(*list, l) }
	}
	return errors.Join(
		open("smtp-listen", s.conf.smtpListen, func(l net.Listener) {
			s.smtp = append(s.smtp, smtpd.Listener{Listener: l, Inbound: slices.Contains(s.conf.inboundPorts, portOf(l))})
		}),
		open("smtps-listen", s.conf.smtpsListen, func(l net.Listener) {
			s.smtp = append(s.smtp, smtpd.Listener{Listener: l, ImplicitTLS: true})
		}),
		open("http-listen", s.conf.httpListen, onto(&s.http)),
		open("https-listen", s.conf.httpsListen, onto(&s.https)),
		open("operator-listen", s.conf.operatorListen, onto(&s.operator)),
		open("metrics-listen", s.conf.metricsListen, onto(&s.observation)),
	)
}

func portOf(l net.Listener) int {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

// ownAddrs are the addresses at which we are the mail server that the port of
// recipients' mail servers would reach: mail must not be handed to ourselves.
func (s *service) ownAddrs() []netip.Addr {
	var own []netip.Addr
	for _, l := range s.smtp {
		a, ok := l.Addr().(*net.TCPAddr)
		if !ok || a.Port != s.conf.mxPort {
			continue
		}
		ip, ok := netip.AddrFromSlice(a.IP)
		if ok && !ip.IsUnspecified() {
			own = append(own, ip.Unmap())
			continue
		}
		own = append(own, machineAddrs()...)
	}
	return own
}

func machineAddrs() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var own []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr().Unmap())
		}
	}
	return own
}

// close gives everything back that newService opened.
func (s *service) close() error {
	for _, l := range s.listeners() {
		_ = l.Close() // it may be closed already
	}
	if s.store == nil {
		return nil
	}
	return s.store.Close()
}

func (s *service) listeners() []net.Listener {
	list := slices.Concat(s.http, s.https, s.operator, s.observation)
	for _, l := range s.smtp {
		list = append(list, l)
	}
	return list
}

// Why a service ended that nobody told to.
var (
	errStore = errors.New("the database failed for good; nothing more is accepted or sent until the next start")
	errStuck = errors.New("not everything ended in time; what was under way is repeated after the next start")
)

// run runs all parts until ctx ends or one of them does. The store is closed
// when it returns.
func (s *service) run(ctx context.Context, reload <-chan os.Signal) error {
	base := context.WithoutCancel(ctx)
	watch, work, edges := newStage(base), newStage(base), newStage(base)
	s.startWatch(watch)
	s.startWork(work, reload)
	s.startEdges(edges)
	s.log.InfoContext(ctx, "ready", "hostname", s.conf.hostname, "store", s.store.Engine(), "version", version())

	select {
	case <-ctx.Done():
		s.log.InfoContext(ctx, "stopping")
	case <-s.store.Failed():
		return errStore // at once: nothing can be handed back
	case <-watch.ctx.Done():
	case <-work.ctx.Done():
	case <-edges.ctx.Done():
	}
	s.stopping.Store(true)
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(edges.end(), work.end(), watch.end(), s.close()) }()
	late := time.NewTimer(s.conf.stopWithin)
	defer late.Stop()
	select {
	case err := <-ended:
		if err == nil {
			s.log.InfoContext(ctx, "stopped")
		}
		return err
	case <-s.store.Failed():
		return errStore
	case <-late.C:
		return errStuck
	}
}

func (s *service) startWatch(st *stage) {
	h := &health{store: s.store, door: s.door, bodies: s.bodies, cert: s.cert, stopping: s.stopping.Load, metrics: s.metrics}
	srv := web.NewServer(web.ServerConfig{Handler: h.handler(), Log: s.log, DrainWithin: time.Second})
	// The session ends last: what is handed back must still be ours.
	st.start("session", s.store.KeepSession)
	for _, l := range s.observation {
		st.start("metrics", func(ctx context.Context) error { return srv.Serve(ctx, l, nil) })
	}
}

func (s *service) startWork(st *stage, reload <-chan os.Signal) {
	st.start("auth", s.auth.Run)
	st.start("accounts", s.accounts.Run)
	st.start("requests", s.api.Run)
	st.start("deliver", s.deliver.Run)
	st.start("janitor", s.janitor.Run)
	st.start("track", s.track.Run)
	st.start("bulk", s.bulk.Run)
	st.start("certificate", func(ctx context.Context) error { return s.cert.run(ctx, reload) })
}

func (s *service) startEdges(st *stage) {
	st.start("smtp", func(ctx context.Context) error {
		if len(s.smtp) == 0 {
			<-ctx.Done()
			return nil
		}
		return s.smtpd.Serve(ctx, s.smtp...)
	})
	drain := s.conf.stopWithin / 3
	public := web.NewServer(web.ServerConfig{Handler: s.publicHandler(), Log: s.log, DrainWithin: drain})
	for _, l := range s.http {
		st.start("http", func(ctx context.Context) error { return public.Serve(ctx, l, nil) })
	}
	for _, l := range s.https {
		st.start("https", func(ctx context.Context) error { return public.Serve(ctx, l, s.cert.config()) })
	}
	s.startOperator(st, s.api.OperatorHandler(), drain)
}

// publicHandler answers the API, and on whichever host the URLs of tracking.
func (s *service) publicHandler() http.Handler {
	api, tracking := s.api.Handler(), s.track.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if track.Owns(r.URL.Path) {
			tracking.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

func (s *service) startOperator(st *stage, h http.Handler, drain time.Duration) {
	srv := web.NewServer(web.ServerConfig{Handler: h, Log: s.log, DrainWithin: drain})
	for _, l := range s.operator {
		st.start("operator", func(ctx context.Context) error { return srv.Serve(ctx, l, nil) })
	}
}
