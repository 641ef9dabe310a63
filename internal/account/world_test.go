package account

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/dkim"
	"pennypost/internal/mx"
	"pennypost/internal/store"
)

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// dns is a scripted zone. A name without records does not exist; while down is
// set nothing answers.
type dns struct {
	mu    sync.Mutex
	txt   map[string][]string
	cname map[string]string
	mx    map[string][]string
	down  bool
	asked map[string]int
}

func (d *dns) look(name, typ string, there bool) error {
	d.asked[typ+" "+name]++
	switch {
	case d.down:
		return &mx.Error{Name: name, Type: typ, Kind: mx.Temporary, Err: errors.New("SERVFAIL")}
	case !there:
		return fmt.Errorf("asked: %w", &mx.Error{Name: name, Type: typ, Kind: mx.NoName})
	}
	return nil
}

func (d *dns) TXT(_ context.Context, name string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.txt[name]
	return r, d.look(name, "TXT", ok)
}

func (d *dns) CNAME(_ context.Context, name string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.cname[name]
	return r, d.look(name, "CNAME", ok)
}

func (d *dns) MX(_ context.Context, name string) ([]mx.Host, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var hosts []mx.Host
	for n, h := range d.mx[name] {
		hosts = append(hosts, mx.Host{Name: h, Pref: uint16(n)})
	}
	return hosts, d.look(name, "MX", hosts != nil)
}

func (d *dns) set(change func(*dns)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// world is an instance with its first account and a second one.
type world struct {
	*Accounts
	dir     string
	st      *store.Store
	auth    *auth.Auth
	keys    *auth.Keys
	clock   *clock
	dns     *dns
	log     *bytes.Buffer
	mail    []Mail
	noMail  error // what sending says
	mu      sync.Mutex
	changed []string // keys that changed

	one, two pennypost.AccountID
	token    auth.Secret // of the first account
	operator auth.Secret
}

// rsaKeys are made once: making one takes long.
var rsaKeys = sync.OnceValue(func() []*rsa.PrivateKey {
	var list []*rsa.PrivateKey
	for range 3 {
		k, err := dkim.GenerateRSA(rand.Reader)
		if err != nil {
			panic(err)
		}
		list = append(list, k)
	}
	return list
})

func newWorld(t *testing.T) *world {
	t.Helper()
	w := emptyWorld(t)
	made, err := w.Bootstrap(t.Context(), Settings{})
	if err != nil {
		t.Fatal(err)
	}
	w.token, w.operator, w.one = made.AccountToken, made.OperatorToken, pennypost.FirstAccount
	name := "Second"
	two, _, err := w.CreateAccount(t.Context(), &AccountInput{Name: &name})
	if err != nil {
		t.Fatal(err)
	}
	w.two = two.ID
	return w
}

func emptyWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		dir: t.TempDir(), clock: &clock{now: time.Date(2026, 3, 2, 14, 15, 7, 0, time.UTC)}, log: &bytes.Buffer{},
		dns: &dns{txt: map[string][]string{}, cname: map[string]string{}, mx: map[string][]string{}, asked: map[string]int{}},
	}
	var err error
	if w.st, err = store.Open(t.Context(), store.Config{Dir: w.dir, Now: w.clock.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.st.Close(); err != nil {
			t.Error(err)
		}
	})
	if w.keys, err = auth.NewKeys(bytes.Repeat([]byte{7}, 32)); err != nil {
		t.Fatal(err)
	}
	w.restart(t, nil)
	return w
}

// restart makes auth and accounts anew on the same database.
func (w *world) restart(t *testing.T, change func(*Config)) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(&lockedWriter{w: w.log}, nil))
	var err error
	if w.auth, err = auth.New(auth.Config{Store: w.st, Keys: w.keys, Now: w.clock.Now, Log: log}); err != nil {
		t.Fatal(err)
	}
	c := Config{
		Store: w.st, Auth: w.auth, Keys: w.keys, Resolver: w.dns,
		Send: func(_ context.Context, m Mail) error {
			if w.noMail == nil {
				w.mail = append(w.mail, m)
			}
			return w.noMail
		},
		PublicURL: "https://mail.example.net/", BounceDomain: "pm.example.net", TrackDomain: "track.example.net",
		InboundDomain: "inbound.example.net", Now: w.clock.Now, Log: log,
		KeysChanged: func(a pennypost.AccountID, d string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.changed = append(w.changed, fmt.Sprintf("%d %s", a, d))
		},
	}
	if change != nil {
		change(&c)
	}
	if w.Accounts, err = New(c); err != nil {
		t.Fatal(err)
	}
	// Feed made keys for as long as the test runs.
	stop := make(chan struct{})
	var wg sync.WaitGroup
	stock := w.rsa
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case stock <- rsaKeys()[n%3]:
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() { close(stop); wg.Wait() })
	for len(stock) < cap(stock) {
		time.Sleep(time.Millisecond)
	}
}

type lockedWriter struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func ptr[T any](v T) *T { return &v }

// must is for calls that have to succeed.
func must[T any](t *testing.T) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// wantCode checks a refusal; a text of "" is any.
func wantCode(t *testing.T, err error, code pennypost.Code, text string) {
	t.Helper()
	var e *pennypost.Error
	if !errors.As(err, &e) {
		t.Errorf("error %v, want code %d", err, code)
		return
	}
	if e.Code != code || text != "" && e.Text != text {
		t.Errorf("refusal %d %q, want %d %q", e.Code, e.Text, code, text)
	}
}

func (w *world) server(t *testing.T, account pennypost.AccountID, name string) *Server {
	t.Helper()
	return must[*Server](t)(w.CreateServer(t.Context(), account, &ServerInput{Name: &name}))
}

func (w *world) domain(t *testing.T, account pennypost.AccountID, name string) *pennypost.Domain {
	t.Helper()
	return must[*pennypost.Domain](t)(w.CreateDomain(t.Context(), account, &DomainInput{Name: &name}))
}

// publish puts the records of a domain's waiting keys into DNS, as a DNS panel
// might write them.
func (w *world) publish(d *pennypost.Domain) {
	w.dns.set(func(z *dns) {
		for _, k := range d.Keys {
			if k.State == pennypost.KeyPending {
				z.txt[k.Host()] = []string{"unrelated", `v=DKIM1; ` + strings.ReplaceAll(k.TXT, "p=", `p="`) + `"`}
			}
		}
	})
}

// onDisk tells whether a text is anywhere in the data directory.
func (w *world) onDisk(t *testing.T, text string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("data directory: %v, %v", files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(text)) {
			return true
		}
	}
	return false
}
