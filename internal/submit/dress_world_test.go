package submit

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gomsgauth "github.com/emersion/go-msgauth/dkim"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/bounce"
	"pennypost/internal/deliver"
	"pennypost/internal/dkim"
	"pennypost/internal/eml"
	"pennypost/internal/fakenet"
	"pennypost/internal/mx"
	"pennypost/internal/store"
	"pennypost/internal/track"
)

// mailing is a fixture whose door delivers to a pretend internet.
type mailing struct {
	*fixture
	net      *fakenet.Net
	resolver *mx.Resolver
}

func newMailing(tb testing.TB) *mailing {
	tb.Helper()
	m := &mailing{fixture: dressing(tb)}
	var err error
	if m.net, err = fakenet.New(fakenet.Config{Memory: true}); err != nil {
		tb.Fatal(err)
	}
	m.run(tb, m.net.Run)
	if m.resolver, err = mx.NewResolver(mx.ResolverConfig{Servers: []string{m.net.DNSAddr()}, Dial: m.net.Dial}); err != nil {
		tb.Fatal(err)
	}
	keys, err := auth.NewKeys(make([]byte, 32))
	if err != nil {
		tb.Fatal(err)
	}
	m.key(tb, keys)
	verp, err := bounce.NewVerp(0, bounce.VerpKey{ID: 1, Secret: bytes.Repeat([]byte{7}, 32)})
	if err != nil {
		tb.Fatal(err)
	}
	d, err := deliver.New(deliver.Config{
		Store: m.store, Finder: mx.New(mx.FinderConfig{Resolver: m.resolver, AllowPrivate: true, Now: time.Now}), Keys: keys, Verp: verp,
		Hostname: "mail.penny.example", BounceDomain: "pm.mail.penny.example", MXPort: m.net.MXPort(), Dialer: m.net.Dial,
		Personal: m.door.conf.Dress.Personal,
	})
	if err != nil {
		tb.Fatal(err)
	}
	conf := m.door.conf
	conf.Queue = d.Queue()
	if m.door, err = New(conf); err != nil {
		tb.Fatal(err)
	}
	m.run(tb, d.Run)
	return m
}

// run runs something until the end of the test.
func (m *mailing) run(tb testing.TB, run func(context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
}

// key gives acme.example a signing key.
func (m *mailing) key(tb testing.TB, keys *auth.Keys) {
	tb.Helper()
	priv, err := dkim.GenerateRSA(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	txt, err := dkim.TXTValue(priv)
	if err != nil {
		tb.Fatal(err)
	}
	der, err := dkim.MarshalPKCS8(priv)
	if err != nil {
		tb.Fatal(err)
	}
	sealed, err := keys.Seal(auth.PurposeDKIM, der)
	if err != nil {
		tb.Fatal(err)
	}
	k := &pennypost.DKIMKey{
		AccountID: m.account.ID, Domain: "acme.example", Selector: "s1", Algorithm: pennypost.AlgorithmRSA,
		State: pennypost.KeyActive, TXT: txt, Sealed: sealed,
	}
	m.update(tb, func(tx *store.Tx) error { return tx.AddDKIMKey(tb.Context(), k) })
	if err := m.net.Record(fmt.Sprintf("%s. 60 IN TXT %q %q", k.Host(), txt[:200], txt[200:])); err != nil {
		tb.Fatal(err)
	}
}

// verified wants one good signature, by two implementations, which covers the
// fields of RFC 8058 §4.
func (m *mailing) verified(t *testing.T, data []byte) {
	t.Helper()
	txt := func(ctx context.Context, name string) ([]string, error) { return m.resolver.TXT(ctx, name) }
	v := &dkim.Verifier{Lookup: txt, Now: func() time.Time { return noon }}
	ours, err := v.Verify(t.Context(), data)
	if err != nil || len(ours) != 1 || ours[0].Status != dkim.Pass || ours[0].Domain != "acme.example" {
		t.Errorf("we find %+v (%v)", ours, err)
	}
	others, err := gomsgauth.VerifyWithOptions(bytes.NewReader(data), &gomsgauth.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) { return txt(t.Context(), name) },
	})
	if err != nil || len(others) != 1 || others[0].Err != nil {
		t.Fatalf("go-msgauth finds %+v (%v)", others, err)
	}
	var signed []string
	for _, name := range others[0].HeaderKeys {
		signed = append(signed, strings.ToLower(name))
	}
	for _, name := range []string{"list-unsubscribe", "list-unsubscribe-post"} {
		if !slices.Contains(signed, name) {
			t.Errorf("%s is not signed", name)
		}
	}
}

// TestMailing is the whole way of tracked mail, from the edge to the receiver:
// each recipient has tokens of his own, all of them, that say who he is; his copy
// is signed; and what is stored names nobody.
func TestMailing(t *testing.T) {
	m := newMailing(t)
	m.set(t, func(_ *pennypost.Account, s *pennypost.Server) {
		s.TrackOpens, s.TrackLinks = true, pennypost.TrackHTMLAndText
	})
	m.stream(t, "news", pennypost.StreamBroadcasts, pennypost.UnsubscribePostmark)
	to := []string{"ann@one.test", "bob@one.test", "gone@two.test", "cleo@two.test", "dan@three.test"}
	m.update(t, func(tx *store.Tx) error {
		_, err := tx.Suppress(t.Context(), pennypost.Suppression{ServerID: m.server.ID, Stream: "news", Address: "gone@two.test", Reason: "HardBounce", Origin: "Recipient"})
		return err
	})
	for _, edge := range []string{"HTTP", "SMTP"} {
		var id pennypost.MessageID
		if edge == "HTTP" {
			s := linked()
			s.To, s.Stream = strings.Join(to, ", "), "news"
			s.HTMLBody = strings.Replace(s.HTMLBody, "<p>", "<p>"+strings.Repeat("訂單已出貨", 20), 1)
			s.Headers = []eml.Field{{Name: "List-Unsubscribe", Value: "<https://acme.example/u>"}}
			id = m.accept(t, s).ID
		} else {
			r := linkedRaw("X-PM-Message-Stream: news\n")
			r.Recipients = raw("", to...).Recipients
			id = m.acceptRaw(t, r).ID
		}
		stored := m.load(t, id)
		m.look(t, stored) // wants the copy's tokens
		seen := make(map[string]bool)
		for n, a := range to {
			if n == 2 {
				continue
			}
			data := m.arrived(t, a, id)
			m.verified(t, data)
			_, content, _ := bytes.Cut(data, []byte("X-PM-RCPT: "))
			_, content, _ = bytes.Cut(content, []byte("\r\n"))
			token := m.door.conf.Dress.Token(id, n)
			if seen[token] = true; m.door.conf.Dress.Has(data, id) {
				t.Errorf("%s: %s has a token of the copy", edge, a)
			}
			if got := strings.ReplaceAll(string(content), token, m.door.conf.Dress.Token(id, track.Copy)); got != stored.content {
				t.Errorf("%s: beside its tokens, the mail of %s is not what is stored", edge, a)
			}
			// Pixel, link in HTML and in text, two footers, List-Unsubscribe.
			if got := bytes.Count(data, []byte(token)); got != 6 {
				t.Errorf("%s: %d tokens of %s, want 6:\n%s", edge, got, a, data)
			}
		}
		if len(seen) != 4 {
			t.Errorf("%s: tokens %v, want 4", edge, slices.Collect(maps.Keys(seen)))
		}
	}
	if got := m.net.Box().ByRecipient("gone@two.test"); len(got) != 0 {
		t.Errorf("%d mails for who is suppressed", len(got))
	}
}

// arrived waits for the mail of a recipient.
func (m *mailing) arrived(t *testing.T, to string, id pennypost.MessageID) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for n := 1; ; n++ {
		mails, err := m.net.Box().WaitFor(ctx, to, n)
		if err != nil {
			t.Fatalf("mail for %s: %v", to, err)
		}
		for _, k := range mails {
			if bytes.Contains(k.Data, []byte("\r\nX-PM-Message-Id: "+id.String()+"\r\n")) {
				return k.Data
			}
		}
	}
}
