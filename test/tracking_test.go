package test

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"pennypost/internal/eml"
	"pennypost/internal/fakenet"
)

const browser = "Mozilla/5.0 (X11; Linux x86_64; rv:137.0) Gecko/20100101 Firefox/137.0"

// visit asks as a browser does, and follows no redirect.
func visit(t *testing.T, method, url, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", browser)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// details are what the test reads of a message.
type details struct {
	MessageEvents []struct {
		Recipient, Type string
		Details         map[string]string
	}
}

// TestTracking follows mail from the API to what its reader does with it:
// links that he follows, the pixel, the page behind the unsubscribe link. What
// he did a second ago outlives a kill -9.
func TestTracking(t *testing.T) {
	r := booted(t, fakenet.Config{}, nil)
	// Links are to lead here, which only the port tells.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.settings["PENNYPOST_PUBLIC_URL"] = "http://" + r.http
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	var sent struct{ MessageID string }
	err := r.serverCall("POST", "/email", map[string]any{
		"From": "news@shop.test", "To": "alice@one.test, bob@two.test", "Subject": "News", "MessageStream": "broadcast",
		"HtmlBody":   `<html><body><a href="https://shop.test/new?a=1&amp;b=2">New</a></body></html>`,
		"TextBody":   "New: https://shop.test/new?a=1&b=2\n",
		"TrackOpens": true, "TrackLinks": "HtmlAndText", "Tag": "march",
	}, &sent)
	if err != nil {
		t.Fatal(err)
	}
	letter := func(address string) (html string, header string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		list, err := r.net.Box().WaitFor(ctx, address, 1)
		if err != nil {
			t.Fatalf("no mail for %s: %v", address, err)
		}
		m, err := eml.Parse(list[0].Data, eml.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(list[0].Data), "\r\n\r\n")
		return m.Root.HTMLBody().Text(), strings.ReplaceAll(head, "\r\n ", " ")
	}
	find := func(text, pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("no %s in %s", pattern, text)
		}
		return m[1]
	}
	html, header := letter("alice@one.test")
	other, _ := letter("bob@two.test")
	pixel, link := find(html, `<img src="([^"]+/o/[^"]+)"`), find(html, `<a href="([^"]+/c/[^"]+)"`)
	off := find(header, `(?m)^List-Unsubscribe: <([^>]+)>`)
	find(header, `(?m)^(List-Unsubscribe-Post: List-Unsubscribe=One-Click)`)
	if find(other, `<img src="([^"]+/o/[^"]+)"`) == pixel || !strings.Contains(html, off) {
		t.Errorf("both have the same pixel, or the header's link is not that of the body:\n%s\n%s", html, header)
	}

	if resp, _ := visit(t, "GET", pixel, ""); resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "image/gif" {
		t.Errorf("pixel: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, _ := visit(t, "GET", link, ""); resp.StatusCode != http.StatusFound || resp.Header.Get("Location") != "https://shop.test/new?a=1&b=2" {
		t.Errorf("link: %d %v", resp.StatusCode, resp.Header)
	}
	time.Sleep(time.Second) // as much as a crash may lose
	if resp, page := visit(t, "POST", off, "List-Unsubscribe=One-Click"); resp.StatusCode != http.StatusOK || !strings.Contains(page, "alice@one.test is unsubscribed") {
		t.Errorf("unsubscribe: %d %s", resp.StatusCode, page)
	}
	if err := r.kill(); err != nil {
		t.Fatal(err)
	}
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	var d details
	if err := r.serverCall("GET", "/messages/outbound/"+sent.MessageID+"/details", nil, &d); err != nil {
		t.Fatal(err)
	}
	told := map[string]map[string]string{}
	for _, e := range d.MessageEvents {
		if e.Recipient == "alice@one.test" {
			told[e.Type] = e.Details
		}
	}
	for kind, want := range map[string]map[string]string{
		"Opened":              {"Summary": "Email opened with " + browser},
		"LinkClicked":         {"Link": "https://shop.test/new?a=1&b=2", "ClickLocation": "HTML"},
		"SubscriptionChanged": {"Origin": "Recipient", "SuppressSending": "True"},
	} {
		for k, v := range want {
			if told[kind][k] != v {
				t.Errorf("%s: %v, want %s %q", kind, told[kind], k, v)
			}
		}
	}
	err = r.serverCall("POST", "/email", map[string]any{
		"From": "news@shop.test", "To": "alice@one.test", "Subject": "More", "MessageStream": "broadcast", "TextBody": "More",
	}, &sent)
	if err == nil || !strings.Contains(err.Error(), "inactive") {
		t.Errorf("mail to one who unsubscribed: %v", err)
	}
	err = r.serverCall("POST", "/email", map[string]any{
		"From": "news@shop.test", "To": "alice@one.test", "Subject": "Receipt", "TextBody": "Receipt",
	}, &sent)
	if err != nil {
		t.Errorf("mail of another stream: %v", err)
	}
}
