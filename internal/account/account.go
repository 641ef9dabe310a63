package account

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/eml"
	"pennypost/internal/metrics"
	"pennypost/internal/mx"
	"pennypost/internal/store"
)

// Resolver answers the questions about customers' DNS, as *mx.Resolver does,
// with its errors.
type Resolver interface {
	TXT(ctx context.Context, name string) ([]string, error)
	CNAME(ctx context.Context, name string) (string, error)
	MX(ctx context.Context, name string) ([]mx.Host, error)
}

// Mail is a message of our own to a person.
type Mail struct {
	To      eml.Mailbox
	Subject string
	Text    string
}

// Config is what Accounts works with. Store, Auth, Keys, Resolver, Send,
// PublicURL and BounceDomain must be set.
type Config struct {
	Store    *store.Store
	Auth     *auth.Auth
	Keys     *auth.Keys
	Resolver Resolver
	// Send hands a message of our own to the queue; when it returns nil the
	// message is on stable storage.
	Send func(ctx context.Context, m Mail) error

	PublicURL     string // "https://mail.example.net": where confirmation links lead
	Hostname      string // who we say we are in our own mail; that of PublicURL
	BounceDomain  string // target of customers' return-path CNAME
	TrackDomain   string // target of customers' tracking CNAME; "": none can be set
	InboundDomain string // target of the MX of customers' inbound domains; "": none can be set

	// AllowPrivateHooks lets hook URLs name loopback and private addresses.
	AllowPrivateHooks bool

	// SuspensionChanged is called once a suspension or its end is stored, as
	// (*deliver.Deliverer).SuspensionChanged. Nil: nobody is told.
	SuspensionChanged func(ctx context.Context) error
	// Release puts the held mail of a server back into the queue at its own
	// pace, and returns how many recipients that were once none is left, as
	// (*deliver.Deliverer).Release. Nil: nothing is released.
	Release func(ctx context.Context, server pennypost.ServerID) (int, error)
	// KeysChanged is called once a change of a domain's DKIM keys is stored, as
	// (*deliver.Deliverer).KeysChanged. Nil: nobody is told.
	KeysChanged func(account pennypost.AccountID, domain string)

	Now     func() time.Time
	Log     *slog.Logger
	Metrics *metrics.Set
	// Random makes DKIM keys; nil is crypto/rand.
	Random io.Reader
}

// Accounts is the customers' and the operator's way to what they set up. It is
// safe for any number of goroutines.
type Accounts struct {
	conf Config
	log  *slog.Logger
	rsa  chan *rsa.PrivateKey // made in advance

	imports chan struct{} // an import was begun
}

// New makes Accounts. An error names what is missing or wrong.
func New(c Config) (*Accounts, error) {
	if c.Store == nil || c.Auth == nil || c.Keys == nil || c.Resolver == nil || c.Send == nil {
		return nil, errors.New("account: Store, Auth, Keys, Resolver and Send must be set")
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("account: public URL %q is none", c.PublicURL)
	}
	c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
	if c.Hostname == "" {
		c.Hostname = u.Hostname()
	}
	for _, name := range []*string{&c.BounceDomain, &c.TrackDomain, &c.InboundDomain} {
		if *name == "" && name != &c.BounceDomain {
			continue
		}
		if *name, err = eml.CanonicalDomain(*name); err != nil {
			return nil, fmt.Errorf("account: bounce, track or inbound domain: %w", err)
		}
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	return &Accounts{conf: c, log: c.Log, rsa: make(chan *rsa.PrivateKey, keysInAdvance), imports: make(chan struct{}, 1)}, nil
}

// Run makes DKIM keys in advance, re-checks customers' DNS, has held mail
// released and works through imports, until ctx ends.
func (a *Accounts) Run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { return a.makeKeys(ctx) })
	g.Go(func() error { return a.checkDomains(ctx) })
	g.Go(func() error { return a.releaseHeld(ctx) })
	g.Go(func() error { return a.RunImports(ctx) })
	return g.Wait()
}

func (a *Accounts) now() time.Time { return a.conf.Now() }

// view and update run a transaction and name what it was for.
func (a *Accounts) view(ctx context.Context, what string, fn func(tx *store.Tx) error) error {
	return named(what, a.conf.Store.View(ctx, fn))
}

func (a *Accounts) update(ctx context.Context, what string, fn func(tx *store.Tx) error) error {
	return named(what, a.conf.Store.Update(ctx, fn))
}

// named leaves refusals as they are.
func named(what string, err error) error {
	var refusal *pennypost.Error
	if err == nil || errors.As(err, &refusal) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// ifMissing turns a thing that is not there into its refusal.
func ifMissing(err error, refusal *pennypost.Error) error {
	if errors.Is(err, store.ErrNotFound) {
		return refusal
	}
	return err
}

// every calls fn now and then at each tick until ctx ends.
func every(ctx context.Context, d time.Duration, fn func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		fn()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
