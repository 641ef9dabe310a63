package track_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"pennypost"
	"pennypost/internal/store"
)

// suppression gives what is known of an address in the stream of messages.
func (w *world) suppression(address pennypost.Address) (s *pennypost.Suppression) {
	w.t.Helper()
	w.view(func(ctx context.Context, tx *store.Tx) (err error) {
		s, err = tx.Suppression(ctx, 7, "news", address)
		if errors.Is(err, store.ErrNotFound) {
			s, err = nil, nil
		}
		return err
	})
	return s
}

// A GET changes nothing, since link scanners follow every link
// (contract/sending.md §14). The page escapes, loads nothing and is not framed.
func TestUnsubscribePage(t *testing.T) {
	w := newWorld(t)
	m := w.message("o'hara&co@a.test")
	for range 2 {
		a := w.get(w.off(m, 0), firefox)
		if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Fatalf("got %d %v", a.status, a.header)
		}
		for _, want := range []string{
			"Unsubscribe o&#39;hara&amp;co@a.test?", "<strong>Acme &lt;b&gt;</strong>", `<form method="post">`, `name="subscription" value="end"`,
		} {
			if !strings.Contains(a.body, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
		if strings.Contains(a.body, "<script") || strings.Contains(a.body, "src=") {
			t.Error("the page loads something")
		}
		_, style, _ := strings.Cut(a.body, "<style>")
		style, _, _ = strings.Cut(style, "</style>")
		sum := sha256.Sum256([]byte(style))
		policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
		for name, want := range map[string]string{
			"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Frame-Options": "DENY",
			"X-Content-Type-Options": "nosniff",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if a.header.Get("Set-Cookie") != "" {
			t.Error("it sets a cookie")
		}
	}
	if a := w.do(http.MethodHead, w.off(m, 0), firefox, ""); a.status != http.StatusOK || a.body != "" {
		t.Errorf("HEAD: %d %q", a.status, a.body)
	}
	if s := w.suppression("o'hara&co@a.test"); s != nil || len(w.events(m)) != 0 {
		t.Errorf("reading the page changed something: %+v", s)
	}
}

// A POST takes the address off the stream, once, however a mail program or the
// button sends it (RFC 8058 §3.1): 200, no redirect, no cookie.
func TestUnsubscribe(t *testing.T) {
	const multipart = "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n"
	for name, post := range map[string]struct{ kind, body string }{
		"one click":                     {"application/x-www-form-urlencoded", "List-Unsubscribe=One-Click"},
		"one click with a charset":      {"application/x-www-form-urlencoded; charset=UTF-8", "List-Unsubscribe=One-Click"},
		"one click as multipart":        {"multipart/form-data; boundary=x", multipart},
		"one click without a type":      {"", "List-Unsubscribe=One-Click"},
		"one click with another type":   {"text/plain", "List-Unsubscribe=One-Click\r\n"},
		"one click that lost its body":  {"", ""},
		"the button":                    {"application/x-www-form-urlencoded", "subscription=end"},
		"much more than anybody needs":  {"application/x-www-form-urlencoded", "List-Unsubscribe=One-Click&x=" + strings.Repeat("y", 1<<20)},
		"one click that wants two ways": {"application/x-www-form-urlencoded", "List-Unsubscribe=One-Click&subscription=again"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.message("Ann@a.test", "bob@b.test")
			for range 2 {
				var header []string
				if post.kind != "" {
					header = []string{"Content-Type", post.kind}
				}
				a := w.do(http.MethodPost, w.off(m, 0), "", post.body, header...)
				if a.status != http.StatusOK || a.header.Get("Location") != "" || a.header.Get("Set-Cookie") != "" {
					t.Fatalf("got %d %v", a.status, a.header)
				}
				if !strings.Contains(a.body, "Ann@a.test is unsubscribed") || !strings.Contains(a.body, "Subscribe again") {
					t.Errorf("the page says %s", a.body)
				}
			}
			s := w.suppression("ann@a.test")
			if s == nil || s.Reason != "ManualSuppression" || s.Origin != "Recipient" {
				t.Errorf("suppression: %+v", s)
			}
			if s := w.suppression("bob@b.test"); s != nil {
				t.Errorf("another recipient is suppressed: %+v", s)
			}
			events := w.events(m)
			if len(events) != 1 {
				t.Fatalf("%d events, want 1", len(events))
			}
			e := events[0]
			if e.Type != "SubscriptionChanged" || e.Recipient != "Ann@a.test" || e.MessageID != m.ID || e.Stream != "news" || e.Tag != "march" ||
				e.Details["Origin"] != "Recipient" || e.Details["SuppressSending"] != "True" || len(e.Details) != 2 {
				t.Errorf("event: %+v", e)
			}
		})
	}
}

// Who unsubscribed may come back, as often as he likes.
func TestSubscribeAgain(t *testing.T) {
	w := newWorld(t)
	m := w.message("ann@a.test")
	const form = "application/x-www-form-urlencoded"
	post := func(body string) answer {
		return w.do(http.MethodPost, w.off(m, 0), firefox, body, "Content-Type", form)
	}
	post("subscription=end")
	if a := w.get(w.off(m, 0), firefox); !strings.Contains(a.body, "is unsubscribed") || !strings.Contains(a.body, `value="again"`) {
		t.Errorf("the page says %s", a.body)
	}
	for range 2 {
		if a := post("subscription=again"); a.status != http.StatusOK || !strings.Contains(a.body, "is subscribed again") {
			t.Errorf("got %d %s", a.status, a.body)
		}
	}
	if s := w.suppression("ann@a.test"); s != nil {
		t.Errorf("still off: %+v", s)
	}
	if a := w.get(w.off(m, 0), firefox); !strings.Contains(a.body, "Unsubscribe ann@a.test?") {
		t.Errorf("the page says %s", a.body)
	}
	post("subscription=end")
	var told []string
	for _, e := range w.events(m) {
		told = append(told, string(e.Type)+" "+e.Details["SuppressSending"]+" "+e.Details["Origin"])
	}
	want := "SubscriptionChanged True Recipient, SubscriptionChanged False Recipient, SubscriptionChanged True Recipient"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("events: %s", got)
	}
}

// An entry that is not the recipient's own wish is not his to undo, and stays
// as it is when he unsubscribes.
func TestSubscribeAgainIsNotForOthers(t *testing.T) {
	for _, entry := range [][2]string{
		{"HardBounce", "Recipient"}, {"SpamComplaint", "Recipient"}, {"ManualSuppression", "Customer"}, {"ManualSuppression", "Admin"},
	} {
		w := newWorld(t)
		m := w.message("ann@a.test")
		w.update(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Suppress(ctx, pennypost.Suppression{ServerID: 7, Stream: "news", Address: "ann@a.test", Reason: entry[0], Origin: entry[1]})
			return err
		})
		a := w.do(http.MethodPost, w.off(m, 0), firefox, "subscription=again", "Content-Type", "application/x-www-form-urlencoded")
		if a.status != http.StatusOK || !strings.Contains(a.body, "is unsubscribed") || strings.Contains(a.body, "again") {
			t.Errorf("%v: %d %s", entry, a.status, a.body)
		}
		w.do(http.MethodPost, w.off(m, 0), "", "List-Unsubscribe=One-Click")
		if s := w.suppression("ann@a.test"); s == nil || s.Reason != entry[0] || s.Origin != entry[1] || len(w.events(m)) != 0 {
			t.Errorf("%v became %+v, %d events", entry, s, len(w.events(m)))
		}
	}
}

// The copy's link unsubscribes nobody, whoever follows it.
func TestUnsubscribeOfACopy(t *testing.T) {
	w := newWorld(t)
	m := w.message("ann@a.test")
	url := w.signer.UnsubscribeURL(w.web.URL, m.ID)
	for _, a := range []answer{w.get(url, firefox), w.do(http.MethodPost, url, "", "List-Unsubscribe=One-Click")} {
		if a.status != http.StatusOK || !strings.Contains(a.body, "This is the link of a copy") || strings.Contains(a.body, "<form") {
			t.Errorf("got %d %s", a.status, a.body)
		}
	}
	if w.suppression("ann@a.test") != nil || len(w.events(m)) != 0 {
		t.Error("somebody was unsubscribed")
	}
}

// A message that is not kept any more says so.
func TestUnsubscribeFromWhatIsGone(t *testing.T) {
	w := newWorld(t)
	gone := &pennypost.Message{ID: pennypost.MessageID{1, 2, 3}}
	m := w.message("ann@a.test")
	for _, url := range []string{w.off(gone, 0), w.off(m, 4)} {
		for _, a := range []answer{w.get(url, firefox), w.do(http.MethodPost, url, "", "List-Unsubscribe=One-Click")} {
			if a.status != http.StatusNotFound || !strings.Contains(a.body, "This link does not work") {
				t.Errorf("got %d %s", a.status, a.body)
			}
		}
	}
}
