package inbound

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/eml"
	"pennypost/internal/store"
)

var noon = time.Date(2026, 7, 4, 12, 0, 0, 0, time.UTC)

// fixture is a box on a store of its own; returns.acme.example is a customer's
// return-path domain.
type fixture struct {
	*Box
	st   *store.Store
	verp *bounce.Verp
	log  bytes.Buffer
}

func setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{}
	var err error
	if f.st, err = store.Open(t.Context(), store.Config{Dir: t.TempDir(), Now: func() time.Time { return noon }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.st.Close(); err != nil {
			t.Error(err)
		}
	})
	if f.verp, err = bounce.NewVerp(0, bounce.VerpKey{ID: 1, Secret: bytes.Repeat([]byte{1}, 32)}); err != nil {
		t.Fatal(err)
	}
	err = f.st.Update(t.Context(), func(tx *store.Tx) error {
		a := pennypost.Account{Name: "Acme", Plan: pennypost.PlanUnlimited}
		if err := tx.AddAccount(t.Context(), &a); err != nil {
			return err
		}
		for _, d := range []pennypost.Domain{
			{Name: "acme.example", Listed: true, ReturnPath: "returns.acme.example", ReturnPathVerified: true},
			{Name: "else.example", Listed: true, ReturnPath: "returns.else.example"},
		} {
			d.AccountID = a.ID
			if err := tx.AddDomain(t.Context(), &d, noon); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Box, err = New(Config{
		Store: f.st, Verp: f.verp, BounceDomain: "PM.mail.example", OwnNames: []string{"Mail.Example", "localhost", "m\u00fcnchen.example"},
		ReturnDomain: func(ctx context.Context, domain string) (ok bool, err error) {
			err = f.st.View(ctx, func(tx *store.Tx) error {
				ok, err = tx.ReturnDomain(ctx, domain)
				return err
			})
			return ok, err
		},
		Log: slog.New(slog.NewTextHandler(&f.log, nil)), Now: func() time.Time { return noon },
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func box(local, domain string) eml.Mailbox { return eml.Mailbox{Local: local, Domain: domain} }

// I-001, I-012: what exists is taken, what does not is refused at once.
func TestCheck(t *testing.T) {
	f := setup(t)
	signed := f.verp.Encode(pennypost.MessageID{1}, 0, noon)
	for _, c := range []struct {
		to   eml.Mailbox
		want error
	}{
		{box("postmaster", "mail.example"), nil},
		{box("Abuse", "mail.example"), nil},
		{box("ABUSE", "pm.mail.example"), nil},
		{box("postmaster", "xn--mnchen-3ya.example"), nil},
		{box("postmaster", ""), nil}, // RFC 5321 §4.5.1
		{box(signed, "pm.mail.example"), nil},
		{box(strings.ToUpper(signed), "pm.mail.example"), nil},
		{box("b-forged", "pm.mail.example"), nil},
		{box(signed, "returns.acme.example"), nil},
		{box("postmaster", "returns.acme.example"), nil},
		{box("root", "mail.example"), ErrUnknown},
		{box("b", "pm.mail.example"), ErrUnknown},
		{box("bob", "pm.mail.example"), ErrUnknown},
		{box("", "pm.mail.example"), ErrUnknown},
		{box("bob", "returns.acme.example"), ErrUnknown},
		{box(signed, "mail.example"), ErrUnknown}, // no return path has this domain
		{box("postmaster", "localhost"), ErrForeign},
		{box("postmaster", "acme.example"), ErrForeign},
		{box(signed, "returns.else.example"), ErrForeign}, // not verified
		{box(signed, "elsewhere.example"), ErrForeign},
		{box("postmaster", "sub.mail.example"), ErrForeign},
	} {
		if err := f.Check(t.Context(), c.to); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%q at %q: %v, want %v", c.to.Local, c.to.Domain, err, c.want)
		}
	}
}

// What came is stored once, as it came, with all its recipients and what their
// signatures prove (I-006, I-007).
func TestStore(t *testing.T) {
	f := setup(t)
	about := pennypost.MessageID{0xab, 15: 0xcd}
	good := f.verp.Encode(about, 49, noon.Add(-bounce.DefaultVerpAge))
	old := f.verp.Encode(about, 1, noon.Add(-bounce.DefaultVerpAge-48*time.Hour))
	other, err := bounce.NewVerp(0, bounce.VerpKey{ID: 1, Secret: bytes.Repeat([]byte{2}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	forged := other.Encode(about, 1, noon)
	m := &Mail{
		From: "", Helo: "mx.x.example", IP: "192.0.2.1", TLS: true,
		Data: []byte("Subject: \xff\x00 failure\r\n\r\n.\r\n"),
		Recipients: []eml.Mailbox{
			box(good, "pm.mail.example"), box(strings.ToUpper(good), "returns.acme.example"), box(old, "pm.mail.example"),
			box(forged, "pm.mail.example"), box(good[:len(good)-1], "pm.mail.example"), box("b-", "pm.mail.example"),
			box("Postmaster", "mail.example"), box("postmaster", ""), box("abuse", "returns.acme.example"),
		},
	}
	id, err := f.Store(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	clear(m.Data) // nothing of it is kept
	zero := pennypost.MessageID{}
	at := func(local, domain string) pennypost.Address { return pennypost.Address(local + "@" + domain) }
	want := []store.InboundMail{{
		ID: id, ReceivedAt: noon, Helo: "mx.x.example", IP: "192.0.2.1", TLS: true,
		Content: []byte("Subject: \xff\x00 failure\r\n\r\n.\r\n"),
		Recipients: []store.InboundRecipient{
			{Address: at(good, "pm.mail.example"), Kind: store.InboundReturn, MessageID: about, N: 49},
			{Address: at(strings.ToUpper(good), "returns.acme.example"), Kind: store.InboundReturn, MessageID: about, N: 49},
			{Address: at(old, "pm.mail.example"), Kind: store.InboundUnverified, MessageID: zero},
			{Address: at(forged, "pm.mail.example"), Kind: store.InboundUnverified, MessageID: zero},
			{Address: at(good[:len(good)-1], "pm.mail.example"), Kind: store.InboundUnverified, MessageID: zero},
			{Address: at("b-", "pm.mail.example"), Kind: store.InboundUnverified, MessageID: zero},
			{Address: "Postmaster@mail.example", Kind: store.InboundLetter},
			{Address: "postmaster@pm.mail.example", Kind: store.InboundLetter},
			{Address: "abuse@returns.acme.example", Kind: store.InboundLetter},
		},
	}}
	var got []store.InboundMail
	err = f.st.View(t.Context(), func(tx *store.Tx) (err error) {
		got, err = tx.InboundMails(t.Context(), 10, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		got[i].ReceivedAt = got[i].ReceivedAt.UTC()
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n := strings.Count(f.log.String(), "return path not verified"); n != 4 {
		t.Errorf("%d of 4 are in the log: %s", n, f.log.String())
	}
}

// A store that fails is our fault, told as such: the peer comes again (S-090).
func TestStoreFails(t *testing.T) {
	f := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Store(ctx, &Mail{Recipients: []eml.Mailbox{box("abuse", "mail.example")}}); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("Store: %v", err)
	}
	err := f.Check(ctx, box("x", "elsewhere.example"))
	if err == nil || errors.Is(err, ErrForeign) || errors.Is(err, ErrUnknown) {
		t.Errorf("Check: %v", err)
	}
}

func TestNew(t *testing.T) {
	f := setup(t)
	for what, cfg := range map[string]Config{
		"Store and Verp must be set": {BounceDomain: "pm.mail.example"},
		"bounce domain":              {Store: f.st, Verp: f.verp, BounceDomain: "pm"},
		"own name":                   {Store: f.st, Verp: f.verp, BounceDomain: "pm.mail.example", OwnNames: []string{"a..b"}},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	b, err := New(Config{Store: f.st, Verp: f.verp, BounceDomain: "pm.mail.example"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Check(t.Context(), box("x", "returns.acme.example")); !errors.Is(err, ErrForeign) {
		t.Errorf("without ReturnDomain: %v", err)
	}
}
