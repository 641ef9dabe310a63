package account

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/store"
)

var here = netip.MustParseAddr("192.0.2.1")

func (w *world) smtpToken(t *testing.T, s *Server, stream string) *NewSMTPToken {
	t.Helper()
	return must[*NewSMTPToken](t)(w.CreateSMTPToken(t.Context(), s.AccountID, s.ID, &SMTPTokenInput{Label: "app", Stream: stream}))
}

func TestSMTPTokens(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	s := w.server(t, w.one, "A")
	for stream, key := range map[string]string{
		"outbound": `^PM-T-outbound-[A-Za-z0-9]{22}$`, "broadcast": `^PM-B-broadcast-[A-Za-z0-9]{22}$`,
		"": fmt.Sprintf(`^PM-S-%d-[A-Za-z0-9]{22}$`, s.ID),
	} {
		n := w.smtpToken(t, s, stream)
		if !regexp.MustCompile(key).MatchString(n.AccessKey) || !regexp.MustCompile(`^[A-Za-z0-9_-]{36}$`).MatchString(n.Secret.Reveal()) {
			t.Errorf("%q: access key %q", stream, n.AccessKey)
		}
		if n.Username != fmt.Sprint(s.ID) {
			t.Errorf("user name %q", n.Username)
		}
		for _, user := range []string{n.Username, n.AccessKey} {
			c, err := w.auth.SMTP(ctx, user, n.Secret.Reveal(), here)
			if err != nil || c.ServerID != s.ID || c.Stream != pennypost.StreamID(stream) || c.TokenID != n.ID {
				t.Errorf("%s: %+v, %v", user, c, err)
			}
		}
		if w.onDisk(t, n.Secret.Reveal()) {
			t.Error("the secret is in the database")
		}
		if strings.Contains(fmt.Sprintf("%v %+v", n, *n), n.Secret.Reveal()) {
			t.Error("the secret prints")
		}
	}
	list := must[[]pennypost.SMTPToken](t)(w.SMTPTokens(ctx, w.one, s.ID))
	if len(list) != 3 || list[0].Label != "app" || !list[0].RevokedAt.IsZero() {
		t.Errorf("list: %+v", list)
	}
	if strings.Contains(w.log.String(), "secret=") {
		t.Error(w.log.String())
	}
}

func TestSMTPTokenRefusals(t *testing.T) { // contract/common.md §6.6
	w := newWorld(t)
	ctx := t.Context()
	s := w.server(t, w.one, "A")
	err := w.st.Update(ctx, func(tx *store.Tx) error {
		return tx.AddStream(ctx, &pennypost.Stream{ServerID: s.ID, ID: "old", Type: pennypost.StreamTransactional, Name: "Old"})
	})
	if err != nil {
		t.Fatal(err)
	}
	label := strings.Repeat("é", 100)
	cases := []struct {
		name   string
		server pennypost.ServerID
		in     *SMTPTokenInput
		code   pennypost.Code
	}{
		{"no body", s.ID, nil, 1452},
		{"no server", 4711, &SMTPTokenInput{Label: "x"}, 1453},
		{"unknown stream", s.ID, &SMTPTokenInput{Label: "x", Stream: "news"}, 1454},
		{"stream in capitals", s.ID, &SMTPTokenInput{Label: "x", Stream: "Outbound"}, 1454},
		{"no label", s.ID, &SMTPTokenInput{Label: " "}, 1456},
		{"long label", s.ID, &SMTPTokenInput{Label: label + "x"}, 1456},
		{"label of two lines", s.ID, &SMTPTokenInput{Label: "a\nb"}, 1456},
		{"inbound stream", s.ID, &SMTPTokenInput{Label: "x", Stream: "inbound"}, 1457},
	}
	for _, c := range cases {
		_, err := w.CreateSMTPToken(ctx, w.one, c.server, c.in)
		if t.Run(c.name, func(t *testing.T) { wantCode(t, err, c.code, "") }); t.Failed() {
			break
		}
	}
	must[*NewSMTPToken](t)(w.CreateSMTPToken(ctx, w.one, s.ID, &SMTPTokenInput{Label: label}))

	for range 20 {
		w.smtpToken(t, s, "outbound")
	}
	_, err = w.CreateSMTPToken(ctx, w.one, s.ID, &SMTPTokenInput{Label: "x", Stream: "outbound"})
	wantCode(t, err, 1458, "")
	w.smtpToken(t, s, "broadcast")
	list := must[[]pennypost.SMTPToken](t)(w.SMTPTokens(ctx, w.one, s.ID))
	must[*pennypost.SMTPToken](t)(w.RevokeSMTPToken(ctx, w.one, s.ID, list[1].ID))
	w.smtpToken(t, s, "outbound") // revoked ones do not count

	must[*Server](t)(w.EditServer(ctx, w.one, s.ID, &ServerInput{SMTPActivated: ptr(false)}))
	_, err = w.CreateSMTPToken(ctx, w.one, s.ID, &SMTPTokenInput{Label: "x"})
	wantCode(t, err, 1460, "")
}

func TestRevokeSMTPToken(t *testing.T) { // S-069
	w := newWorld(t)
	ctx := t.Context()
	s := w.server(t, w.one, "A")
	a, b := w.smtpToken(t, s, ""), w.smtpToken(t, s, "")
	caller := must[pennypost.Caller](t)(w.auth.SMTP(ctx, a.Username, a.Secret.Reveal(), here))
	ended := w.auth.Revoked(caller.TokenID)

	// Messages are accepted all the while.
	var revoked atomic.Bool
	var accepted, late atomic.Int64
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				already := revoked.Load()
				err := w.st.Update(ctx, func(tx *store.Tx) error {
					if _, err := w.auth.CheckAccept(ctx, tx, caller); err != nil {
						return err
					}
					return tx.AddUsage(ctx, w.one, s.ID, 1, pennypost.Limits{})
				})
				if err != nil {
					wantCode(t, err, 10, "")
					return
				}
				accepted.Add(1)
				if already {
					late.Add(1)
					return
				}
			}
		})
	}
	for accepted.Load() < 20 {
		time.Sleep(time.Millisecond)
	}
	t1 := must[*pennypost.SMTPToken](t)(w.RevokeSMTPToken(ctx, w.one, s.ID, a.ID))
	revoked.Store(true)
	wg.Wait()
	if late.Load() != 0 {
		t.Errorf("%d accepted after the revocation returned", late.Load())
	}
	if u := must[Usage](t)(w.Usage(ctx, w.one, s.ID)); u.Server != accepted.Load() || u.Account != u.Server {
		t.Errorf("usage %+v, accepted %d", u, accepted.Load())
	}
	if t1.RevokedAt.IsZero() || t1.Label != "app" {
		t.Errorf("revoked: %+v", t1)
	}
	select {
	case <-ended:
	default:
		t.Error("sessions go on")
	}
	if _, err := w.auth.SMTP(ctx, a.Username, a.Secret.Reveal(), here); !errors.Is(err, auth.ErrCredentials) {
		t.Errorf("revoked one: %v", err)
	}
	if _, err := w.auth.SMTP(ctx, b.Username, b.Secret.Reveal(), here); err != nil {
		t.Errorf("the other: %v", err)
	}
	_, err := w.RevokeSMTPToken(ctx, w.one, s.ID, a.ID)
	wantCode(t, err, 1451, "")
	_, err = w.RotateSMTPToken(ctx, w.one, s.ID, a.ID, 0)
	wantCode(t, err, 1451, "")
}

func TestRotateSMTPToken(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	s := w.server(t, w.one, "A")
	first := w.smtpToken(t, s, "outbound")
	try := func(n *NewSMTPToken) error {
		_, err := w.auth.SMTP(ctx, n.AccessKey, n.Secret.Reveal(), here)
		return err
	}
	for _, overlap := range []time.Duration{-1, time.Second, time.Hour - 1, 7*24*time.Hour + 1} {
		_, err := w.RotateSMTPToken(ctx, w.one, s.ID, first.ID, overlap)
		wantCode(t, err, 1456, "")
	}
	second := must[*NewSMTPToken](t)(w.RotateSMTPToken(ctx, w.one, s.ID, first.ID, 0))
	if second.AccessKey != first.AccessKey || second.ID != first.ID || second.Secret == first.Secret || second.Stream != "outbound" {
		t.Errorf("rotated: %+v", second)
	}
	for _, n := range []*NewSMTPToken{first, second} {
		if err := try(n); err != nil {
			t.Errorf("within the overlap: %v", err)
		}
	}
	_, err := w.RotateSMTPToken(ctx, w.one, s.ID, first.ID, time.Hour)
	wantCode(t, err, 1458, "The SMTP token was rotated already and has 2 secrets until 2026-03-03T14:15:07Z. Revoke it if it must end at once.")

	w.clock.add(24*time.Hour + time.Minute)
	if err := try(first); !errors.Is(err, auth.ErrCredentials) {
		t.Errorf("former secret after the overlap: %v", err)
	}
	if err := try(second); err != nil {
		t.Errorf("new secret after the overlap: %v", err)
	}
	third := must[*NewSMTPToken](t)(w.RotateSMTPToken(ctx, w.one, s.ID, first.ID, 7*24*time.Hour))
	must[*pennypost.SMTPToken](t)(w.RevokeSMTPToken(ctx, w.one, s.ID, first.ID))
	for _, n := range []*NewSMTPToken{second, third} {
		if err := try(n); !errors.Is(err, auth.ErrCredentials) {
			t.Errorf("after the revocation: %v", err)
		}
	}
}

// TestSwitchSMTPOff ends sessions and what they accept.
func TestSwitchSMTPOff(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	s := w.server(t, w.one, "A")
	n := w.smtpToken(t, s, "")
	c := must[pennypost.Caller](t)(w.auth.SMTP(ctx, n.Username, n.Secret.Reveal(), here))
	ended := w.auth.Revoked(c.TokenID)
	must[*Server](t)(w.EditServer(ctx, w.one, s.ID, &ServerInput{SMTPActivated: ptr(false)}))
	wantCode(t, w.accept(ctx, c), 1460, "")
	select {
	case <-ended:
	default:
		t.Error("sessions go on")
	}
}

func (w *world) accept(ctx context.Context, c pennypost.Caller) error {
	return w.st.Update(ctx, func(tx *store.Tx) error {
		_, err := w.auth.CheckAccept(ctx, tx, c)
		return err
	})
}
