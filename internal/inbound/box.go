package inbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/eml"
	"pennypost/internal/store"
)

// Why a recipient is refused.
var (
	// ErrUnknown: the domain is ours, the mailbox does not exist.
	ErrUnknown = errors.New("no such mailbox")
	// ErrForeign: the domain is not ours.
	ErrForeign = errors.New("domain is not ours")
)

// Config is what a Box needs. Store and Verp must be set.
type Config struct {
	Store *store.Store
	// Verp reads the return paths that deliver made.
	Verp *bounce.Verp
	// BounceDomain is the domain of our return paths.
	BounceDomain string
	// OwnNames are the domains whose postmaster and abuse we are: the host name,
	// the bounce domain (which need not be named again), and others.
	OwnNames []string
	// ReturnDomain says whether a domain is a customer's verified return-path
	// domain, which is a CNAME to ours. Nil: none is.
	ReturnDomain func(ctx context.Context, domain string) (bool, error)
	Log          *slog.Logger
	Now          func() time.Time
}

// Box takes the mail.
type Box struct {
	cfg    Config
	bounce string
	own    map[string]bool
	log    *slog.Logger
	now    func() time.Time
}

// New makes a Box. Names are compared as lower-case A-labels; one that is no
// domain name of two labels is an error, except a host name without dot, which
// can receive nothing.
func New(cfg Config) (*Box, error) {
	if cfg.Store == nil || cfg.Verp == nil {
		return nil, errors.New("inbound: Store and Verp must be set")
	}
	b := &Box{cfg: cfg, own: make(map[string]bool), log: cfg.Log, now: cfg.Now}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.now == nil {
		b.now = time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	d, err := eml.CanonicalDomain(cfg.BounceDomain)
	if err != nil {
		return nil, fmt.Errorf("inbound: bounce domain: %w", err)
	}
	b.bounce = d
	b.own[d] = true
	for _, n := range cfg.OwnNames {
		var single *eml.AddressError
		d, err := eml.CanonicalDomain(n)
		switch {
		case errors.As(err, &single) && single.Kind == eml.AddressSingleLabel:
			continue
		case err != nil:
			return nil, fmt.Errorf("inbound: own name: %w", err)
		}
		b.own[d] = true
	}
	return b, nil
}

// Mail is a message as SMTP hands it over.
type Mail struct {
	From       string        // envelope sender, "" for the null path
	Recipients []eml.Mailbox // each passed Check
	Data       []byte        // as received, dots unstuffed; Store keeps no reference
	Helo       string
	IP         string
	TLS        bool
}

// returnPrefix begins every local part that bounce.Verp makes.
const returnPrefix = "b-"

// Check says whether a recipient is ours: nil, ErrUnknown or ErrForeign;
// anything else is our fault. A postmaster without domain is ours (RFC 5321
// §4.5.1).
func (b *Box) Check(ctx context.Context, rcpt eml.Mailbox) error {
	domain := rcpt.Domain
	if domain == "" {
		domain = b.bounce
	}
	returns, err := b.takesReturns(ctx, domain)
	switch {
	case err != nil:
		return err
	case !returns && !b.own[domain]:
		return ErrForeign
	case isLetter(rcpt.Local):
		return nil
	case returns && isReturn(rcpt.Local):
		return nil
	}
	return ErrUnknown
}

// isLetter: whoever is named as the exchanger of a domain must take these, for a
// customer's return-path domain too.
func isLetter(local string) bool {
	return strings.EqualFold(local, "postmaster") || strings.EqualFold(local, "abuse")
}

func isReturn(local string) bool {
	return len(local) >= len(returnPrefix) && strings.EqualFold(local[:len(returnPrefix)], returnPrefix)
}

func (b *Box) takesReturns(ctx context.Context, domain string) (bool, error) {
	if domain == b.bounce {
		return true, nil
	}
	if b.cfg.ReturnDomain == nil || b.own[domain] {
		return false, nil
	}
	ok, err := b.cfg.ReturnDomain(ctx, domain)
	if err != nil {
		return false, fmt.Errorf("look up return-path domain: %w", err)
	}
	return ok, nil
}

// Store puts the mail on stable storage, once for all its recipients. The id
// names it in our logs.
func (b *Box) Store(ctx context.Context, m *Mail) (pennypost.MessageID, error) {
	u, err := uuid.NewV7()
	if err != nil {
		return pennypost.MessageID{}, fmt.Errorf("make id: %w", err)
	}
	id := pennypost.MessageID(u)
	row := store.InboundMail{ID: id, From: m.From, Helo: m.Helo, IP: m.IP, TLS: m.TLS, Content: m.Data}
	for _, to := range m.Recipients {
		row.Recipients = append(row.Recipients, b.recipient(ctx, to))
	}
	err = b.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.InsertInbound(ctx, &row) })
	if err != nil {
		return pennypost.MessageID{}, fmt.Errorf("store inbound mail: %w", err)
	}
	return id, nil
}

// recipient says what a recipient that passed Check is. Its domain does not
// matter any more: what a return path says is proved by its signature alone,
// and nothing else of it is kept.
func (b *Box) recipient(ctx context.Context, to eml.Mailbox) store.InboundRecipient {
	if to.Domain == "" {
		to.Domain = b.bounce
	}
	r := store.InboundRecipient{Address: pennypost.Address(to.Addr()), Kind: store.InboundLetter}
	if isLetter(to.Local) {
		return r
	}
	id, n, err := b.cfg.Verp.Decode(to.Local, b.now())
	if err != nil {
		b.log.InfoContext(ctx, "return path not verified", "reason", err.Error())
		r.Kind = store.InboundUnverified
		return r
	}
	r.Kind, r.MessageID, r.N = store.InboundReturn, id, n
	return r
}
