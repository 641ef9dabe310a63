package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/eml"
	"pennypost/internal/inbound"
	"pennypost/internal/submit"
)

// The names of the server under test and its one good login.
const (
	hostname = "mail.pp.example"
	bounces  = "pm.pp.example"
	user     = "77"
	password = "c3cretc3cretc3cretc3cretc3cretc3cret"
	theToken = pennypost.TokenID(5)
)

// world is a running server, its three kinds of listener and what it took.
type world struct {
	t    testing.TB
	srv  *Server
	cfg  Config
	stop context.CancelFunc
	end  chan error // what Serve returned

	submission, secure, mx *pipes
	tls                    *tls.Config // for clients

	mu     sync.Mutex
	taken  []taken        // by Accept
	boxed  []inbound.Mail // by Inbound.Store
	logs   bytes.Buffer
	guests int // addresses given out by visit
}

// taken is one call of Accept.
type taken struct {
	caller pennypost.Caller
	raw    submit.Raw
}

// start runs a server until the test ends, and then demands that it came to its
// end without a panic.
func start(tb testing.TB, edit ...func(*Config)) *world {
	tb.Helper()
	w := &world{t: tb, end: make(chan error, 1), submission: newPipes(), secure: newPipes(), mx: newPipes()}
	w.cfg = Config{
		Hostname: hostname, TLS: newTLS(tb),
		Authenticate: w.authenticate, Accept: w.accept, Inbound: w,
		Log: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	w.tls = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the server's name is of no interest here
	for _, f := range edit {
		f(&w.cfg)
	}
	var err error
	if w.srv, err = New(w.cfg); err != nil {
		tb.Fatal(err)
	}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	go func() {
		w.end <- w.srv.Serve(ctx, Listener{Listener: w.submission}, Listener{Listener: w.secure, ImplicitTLS: true},
			Listener{Listener: w.mx, Inbound: true})
	}()
	tb.Cleanup(w.finish)
	return w
}

func (w *world) finish() {
	w.stop()
	if err := <-w.end; err != nil {
		w.t.Errorf("Serve: %v", err)
	}
	w.end <- nil
	if log := w.log(); strings.Contains(log, "panicked") && !strings.Contains(log, "on purpose") {
		w.t.Errorf("O6: a session panicked: %s", log)
	}
}

// Write takes a log line.
func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.logs.Len() > 1<<20 {
		w.logs.Reset()
	}
	return w.logs.Write(p)
}

func (w *world) log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logs.String()
}

func (w *world) authenticate(_ context.Context, u, p string, _ netip.Addr) (pennypost.Caller, error) {
	switch {
	case u == user && p == password:
		return pennypost.Caller{Kind: pennypost.CallerSMTP, AccountID: 1, ServerID: 77, TokenID: theToken}, nil
	case u == "api" && p == "api":
		return pennypost.Caller{}, &auth.APITokenError{ServerID: 77}
	case u == "throttled":
		return pennypost.Caller{}, auth.ErrThrottled
	case u == "fault":
		return pennypost.Caller{}, io.ErrUnexpectedEOF
	}
	return pennypost.Caller{}, auth.ErrCredentials
}

func (w *world) accept(_ context.Context, c pennypost.Caller, r *submit.Raw) (*submit.Accepted, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := *r
	kept.Data = bytes.Clone(r.Data)
	w.taken = append(w.taken, taken{c, kept})
	return &submit.Accepted{ID: pennypost.MessageID{15: byte(len(w.taken))}}, nil
}

// Check knows what inbound.Box knows.
func (w *world) Check(_ context.Context, to eml.Mailbox) error {
	local := strings.ToLower(to.Local)
	switch {
	case to.Domain != "" && to.Domain != hostname && to.Domain != bounces:
		return inbound.ErrForeign
	case local == "postmaster" || local == "abuse" || to.Domain == bounces && strings.HasPrefix(local, "b-"):
		return nil
	}
	return inbound.ErrUnknown
}

// Store keeps a letter.
func (w *world) Store(_ context.Context, m *inbound.Mail) (pennypost.MessageID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := *m
	kept.Data = bytes.Clone(m.Data)
	w.boxed = append(w.boxed, kept)
	return pennypost.MessageID{14: 1, 15: byte(len(w.boxed))}, nil
}

// messages gives what was taken since the last call.
func (w *world) messages() ([]taken, []inbound.Mail) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.taken, w.boxed = nil, nil }()
	return w.taken, w.boxed
}

// pipes is a listener of in-memory connections. A write to one is one read of
// the other side, so that tests cut the stream where they like without waiting.
type pipes struct {
	ch   chan net.Conn
	gone chan struct{}
	once sync.Once
}

func newPipes() *pipes { return &pipes{ch: make(chan net.Conn), gone: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.ch:
		return c, nil
	case <-p.gone:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.gone) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }

// from connects from an address. near is what the server gets, when the test
// wants something else than the plain pipe.
func (p *pipes) from(addr string, near ...func(net.Conn) net.Conn) net.Conn {
	client, server := net.Pipe()
	nc := net.Conn(addressed{server, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 40000))})
	for _, f := range near {
		nc = f(nc)
	}
	select {
	case p.ch <- nc:
	case <-p.gone:
		_ = client.Close() //nolint:errcheck // in memory
	}
	return client
}

type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

// peer is a client. It writes from a goroutine of its own, so that it can send
// without reading; it reads replies one by one.
type peer struct {
	t    testing.TB
	nc   net.Conn
	raw  net.Conn // what is below TLS
	in   *bufio.Reader
	out  chan []byte
	idle sync.WaitGroup // writes that are not over
}

// dial connects to a listener from a loopback address of its own.
func (w *world) dial(l *pipes) *peer {
	w.t.Helper()
	w.mu.Lock()
	w.guests++
	n := w.guests
	w.mu.Unlock()
	return w.talk(l.from(netip.AddrFrom4([4]byte{127, 1, byte(n >> 8), byte(n)}).String()))
}

func (w *world) talk(nc net.Conn) *peer {
	p := &peer{t: w.t, nc: nc, raw: nc, in: bufio.NewReader(nc), out: make(chan []byte, 4096)}
	w.t.Cleanup(p.close)
	go func(out <-chan []byte) {
		for b := range out {
			_, _ = p.nc.Write(b) //nolint:errcheck // the server may have closed
			p.idle.Done()
		}
	}(p.out)
	return p
}

func (p *peer) close() {
	_ = p.raw.Close() //nolint:errcheck // perhaps for the second time
	if p.out != nil {
		close(p.out)
		p.out = nil
	}
}

// send writes octets without waiting for anything.
func (p *peer) send(s string) {
	p.idle.Add(1)
	p.out <- []byte(s)
}

// reply reads one reply, its lines joined with LF; "" is the end.
func (p *peer) reply() string {
	var lines []string
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			return strings.Join(append(lines, line), "\n")
		}
		text, ok := strings.CutSuffix(line, "\r\n")
		if !ok || len(text) < 4 {
			p.t.Errorf("reply line is %q", line)
		}
		lines = append(lines, text)
		if len(text) < 4 || text[3] != '-' {
			return strings.Join(lines, "\n")
		}
	}
}

// want reads replies, which must begin so.
func (p *peer) want(replies ...reply) {
	p.t.Helper()
	for _, want := range replies {
		if got := p.reply(); !strings.HasPrefix(got, string(want)) || want == "" && got != "" {
			p.t.Fatalf("got reply %q, want %q", got, want)
		}
	}
}

// say sends a line and wants replies.
func (p *peer) say(line string, replies ...reply) {
	p.t.Helper()
	p.send(line + "\r\n")
	p.want(replies...)
}

// closed wants the end of the connection.
func (p *peer) closed() {
	p.t.Helper()
	if got := p.reply(); got != "" {
		p.t.Fatalf("got reply %q, want the end", got)
	}
}

// hello reads the banner and says EHLO.
func (p *peer) hello() *peer {
	p.t.Helper()
	p.want("220 " + hostname + " ESMTP")
	p.say("EHLO client.example", "250-"+hostname)
	return p
}

// upgrade does the handshake.
func (p *peer) upgrade(cfg *tls.Config) *peer {
	p.t.Helper()
	p.idle.Wait()
	t := tls.Client(p.nc, cfg)
	if err := t.Handshake(); err != nil {
		p.t.Fatalf("TLS handshake: %v", err)
	}
	p.nc, p.in = t, bufio.NewReader(t)
	return p
}

func (p *peer) startTLS(cfg *tls.Config) *peer {
	p.t.Helper()
	p.say("STARTTLS", replyStartTLS)
	p.upgrade(cfg)
	p.say("EHLO client.example", "250-"+hostname)
	return p
}

func (p *peer) login() *peer {
	p.t.Helper()
	p.say("AUTH PLAIN "+plain("", user, password), replyAuth)
	return p
}

func plain(authz, u, pw string) string { return b64(authz + "\x00" + u + "\x00" + pw) }

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// client gives a session that is logged in, through TLS.
func (w *world) client() *peer {
	w.t.Helper()
	return w.dial(w.submission).hello().startTLS(w.tls).login()
}

// clear gives one without TLS, which Config.AuthOnLoopback must allow.
func (w *world) clear() *peer {
	w.t.Helper()
	return w.dial(w.submission).hello().login()
}

func loopback(c *Config) { c.AuthOnLoopback = true }

func limits(f func(*Limits)) func(*Config) { return func(c *Config) { f(&c.Limits) } }

// begin opens a transaction up to the 354.
func (p *peer) begin(to ...string) {
	p.t.Helper()
	p.say("MAIL FROM:<sender@client.example>", replySender)
	for _, a := range to {
		p.say("RCPT TO:<"+a+">", replyRcpt)
	}
	p.say("DATA", replyData)
}

const letter = "From: a@client.example\r\nSubject: hello\r\n\r\nHow do you do?\r\n"

// delivers sends one good message.
func (p *peer) delivers(to string) {
	p.t.Helper()
	p.begin(to)
	p.say(letter+".", "250 2.0.0 Ok: queued as ")
}

// eventually waits for what another goroutine does.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for range 5000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	w.t.Errorf("not within 5 s: %s", what)
}

// addresses gives local@domain of each.
func addresses(list []eml.Mailbox) []string {
	var s []string
	for _, m := range list {
		s = append(s, m.Addr())
	}
	return s
}

func wantAddresses(tb testing.TB, got []eml.Mailbox, want ...string) {
	tb.Helper()
	if !slices.Equal(addresses(got), want) {
		tb.Errorf("got recipients %q, want %q", addresses(got), want)
	}
}

func newTLS(tb testing.TB) *tls.Config {
	tb.Helper()
	return &tls.Config{Certificates: []tls.Certificate{certificate(tb)}, MinVersion: tls.VersionTLS12}
}

func certificate(tb testing.TB) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{hostname},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
	}, &x509.Certificate{}, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// tcp serves the same server on real sockets, until the test ends.
func (w *world) tcp(near func(net.Conn) net.Conn, kinds ...Listener) []string {
	w.t.Helper()
	var list []Listener
	var addrs []string
	for _, k := range kinds {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			w.t.Fatal(err)
		}
		addrs = append(addrs, l.Addr().String())
		k.Listener = l
		if near != nil {
			k.Listener = wrapping{l, near}
		}
		list = append(list, k)
	}
	ctx, stop := context.WithCancel(context.Background())
	end := make(chan error, 1)
	go func() { end <- w.srv.Serve(ctx, list...) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-end; err != nil {
			w.t.Errorf("Serve: %v", err)
		}
	})
	return addrs
}

type wrapping struct {
	net.Listener
	f func(net.Conn) net.Conn
}

func (w wrapping) Accept() (net.Conn, error) {
	nc, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return w.f(nc), nil
}

// call connects over TCP.
func (w *world) call(addr string) *peer {
	w.t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		w.t.Fatal(err)
	}
	return w.talk(nc)
}
