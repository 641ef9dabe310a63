package track_test

import (
	"image/gif"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/track"
)

// The pixel is a transparent image of one dot that nobody keeps
// (contract/tracking.md §2).
func TestPixelIsServed(t *testing.T) {
	w := newWorld(t)
	m := w.message("ann@a.test", "Bob@b.test")
	a := w.get(w.pixel(m, 1), firefox)
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "image/gif" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %v", a.status, a.header)
	}
	img, err := gif.Decode(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); b.Dx() != 1 || b.Dy() != 1 {
		t.Errorf("it is %v", b)
	}
	if _, _, _, alpha := img.At(0, 0).RGBA(); alpha != 0 {
		t.Error("it is not transparent")
	}
	w.stop()
	list := w.opens(m)
	if len(list) != 1 {
		t.Fatalf("%d opens, want 1", len(list))
	}
	o := list[0]
	want := pennypost.Reading{
		ID: o.ID, At: o.At, AccountID: 1, ServerID: 7, Stream: "news", MessageID: m.ID, N: 1, Recipient: "Bob@b.test", Tag: "march",
		UserAgent: firefox, Client: pennypost.Software{Name: "Firefox 137.0", Company: "Mozilla Foundation", Family: "Firefox"},
		OS: pennypost.Software{Name: "Linux", Family: "Linux"}, Platform: pennypost.PlatformDesktop,
		Place: pennypost.Place{IP: "192.0.2.7"},
	}
	if o.Reading != want {
		t.Errorf("got  %+v\nwant %+v", o.Reading, want)
	}
	events := w.events(m)
	if len(events) != 1 || events[0].Type != "Opened" || events[0].Details["Summary"] != "Email opened with "+firefox ||
		events[0].Recipient != "Bob@b.test" || events[0].Tag != "march" {
		t.Errorf("events: %+v", events)
	}
}

// Only the first open is kept, later ones are counted; each recipient has his
// own (contract/tracking.md §2).
func TestRepeatedOpens(t *testing.T) {
	w := newWorld(t)
	m := w.message("ann@a.test", "bob@b.test")
	for range 3 {
		w.get(w.pixel(m, 0), firefox)
	}
	w.get(w.pixel(m, 1), gmail)
	w.stop()
	list := w.opens(m)
	if len(list) != 2 || len(w.events(m)) != 2 {
		t.Fatalf("%d opens and %d events, want 2 and 2", len(list), len(w.events(m)))
	}
	if list[0].Recipient != "ann@a.test" || list[0].Count != 3 || !list[0].LastAt.After(list[0].At) {
		t.Errorf("first recipient: %+v", list[0])
	}
	if list[1].Recipient != "bob@b.test" || list[1].Count != 1 || list[1].Client.Name != "Gmail" ||
		list[1].Platform != pennypost.PlatformWebMail || list[1].OS != (pennypost.Software{}) || list[1].Place != (pennypost.Place{}) {
		t.Errorf("reader of Gmail: %+v", list[1])
	}
	if got, want := w.counted(), (store.StatCount{Opens: 4, UniqueOpens: 2}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// A link leads to where it led in the message (contract/tracking.md §3).
func TestLink(t *testing.T) {
	w := newWorld(t)
	m := w.message("ann@a.test")
	for _, target := range []string{
		"https://acme.example/orders/778", "http://acme.example", "HTTPS://acme.example/a?b=c&d=%2F#e", "https://acme.example/ä ö/日",
		"https://[2001:db8::1]:8443/x", "https://acme.example//double//slashes/?u=http://other.example/", "https://user@acme.example/",
	} {
		a := w.get(w.link(m, 0, track.InHTML, 1, target), firefox)
		want := strings.NewReplacer("ä", "%C3%A4", " ", "%20", "ö", "%C3%B6", "日", "%E6%97%A5").Replace(target)
		if a.status != http.StatusFound || a.header.Get("Location") != want {
			t.Errorf("%s: %d to %q", target, a.status, a.header.Get("Location"))
		}
		if a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be kept: %v", target, a.header)
		}
	}
}

// One click per recipient and link is kept; the same link in HTML and text is
// one (contract/tracking.md §3).
func TestRepeatedClicks(t *testing.T) {
	w := newWorld(t)
	m := w.message("ann@a.test", "bob@b.test")
	const order, home = "https://acme.example/orders/778", "https://acme.example/"
	for _, url := range []string{
		w.link(m, 0, track.InText, 1, order), w.link(m, 0, track.InHTML, 1, order), w.link(m, 0, track.InHTML, 1, order),
		w.link(m, 0, track.InHTML, 2, home), w.link(m, 1, track.InHTML, 1, order),
	} {
		if a := w.get(url, firefox); a.status != http.StatusFound {
			t.Errorf("%s: %d", url, a.status)
		}
	}
	w.stop()
	list := w.clicks(m)
	if len(list) != 3 {
		t.Fatalf("%d clicks, want 3: %+v", len(list), list)
	}
	first := list[0]
	if first.Target != order || first.Location != "Text" || first.Link != 1 || first.Count != 3 || first.Recipient != "ann@a.test" ||
		first.Machine != "" || first.Client.Name != "Firefox 137.0" {
		t.Errorf("first link: %+v", first)
	}
	if list[1].Target != home || list[1].Location != "HTML" || list[1].Count != 1 || list[2].Recipient != "bob@b.test" {
		t.Errorf("others: %+v", list[1:])
	}
	events := w.events(m)
	if len(events) != 3 {
		t.Fatalf("%d events, want 3", len(events))
	}
	d := events[0].Details
	if events[0].Type != "LinkClicked" || d["Link"] != order || d["ClickLocation"] != "Text" || d["Summary"] != "Link clicked from Text body" || len(d) != 3 {
		t.Errorf("event: %+v", events[0])
	}
	if got, want := w.counted(), (store.StatCount{Clicks: 5, UniqueClicks: 3}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// A HEAD is answered alike, without a body, and tells of no reader.
func TestHead(t *testing.T) {
	w := newWorld(t)
	m := w.message("ann@a.test")
	p := w.do(http.MethodHead, w.pixel(m, 0), firefox, "")
	l := w.do(http.MethodHead, w.link(m, 0, track.InHTML, 1, "https://acme.example/"), firefox, "")
	if p.status != http.StatusOK || p.header.Get("Content-Length") != "43" || p.body != "" {
		t.Errorf("pixel: %d %v", p.status, p.header)
	}
	if l.status != http.StatusFound || l.header.Get("Location") != "https://acme.example/" {
		t.Errorf("link: %d %v", l.status, l.header)
	}
	w.stop()
	if got := w.counted(); got != (store.StatCount{}) || len(w.events(m)) != 0 {
		t.Errorf("counted %+v", got)
	}
}

// The copy in the archive leads on, and nobody has read it.
func TestCopy(t *testing.T) {
	w := newWorld(t)
	m := w.message("ann@a.test")
	if a := w.get(w.signer.OpenURL(w.web.URL, m.ID), firefox); a.status != http.StatusOK {
		t.Errorf("pixel: %d", a.status)
	}
	a := w.get(w.signer.LinkURL(w.web.URL, m.ID, track.InHTML, 1, "https://acme.example/"), firefox)
	if a.status != http.StatusFound || a.header.Get("Location") != "https://acme.example/" {
		t.Errorf("link: %d %v", a.status, a.header)
	}
	w.stop()
	if got := w.counted(); got != (store.StatCount{}) || len(w.opens(m)) != 0 || len(w.clicks(m)) != 0 {
		t.Errorf("counted %+v", got)
	}
	if n := w.figure(`track_lost_total{why="gone"}`); n != 0 {
		t.Errorf("%d taken for recipients that are gone", n)
	}
}

// Whatever is changed in a URL, it is not ours any more: no redirect, nothing
// recorded.
func TestForged(t *testing.T) {
	w := newWorld(t)
	m, other := w.message("ann@a.test", "bob@b.test"), w.message("eve@c.test")
	const target = "https://acme.example/orders/778"
	urls := map[string]string{
		"pixel": w.pixel(m, 0), "link": w.link(m, 0, track.InHTML, 1, target), "page": w.off(m, 0),
	}
	for name, whole := range urls {
		path := strings.TrimPrefix(whole, w.web.URL)
		for i := len("/x/"); i < len(path); i++ {
			changed := []byte(path)
			if changed[i]++; changed[i] == '/' || changed[i] == '?' || changed[i] == '#' || path[i] == '/' {
				continue
			}
			if _, err := url.PathUnescape(string(changed)); err != nil {
				continue // no client sends it
			}
			a := w.get(w.web.URL+string(changed), firefox)
			if a.status != http.StatusNotFound && a.status != http.StatusBadRequest || a.header.Get("Location") != "" {
				t.Errorf("%s with octet %d changed (%s): %d %q", name, i, changed, a.status, a.header.Get("Location"))
			}
		}
	}
	evil := strings.Replace(urls["link"], "acme", "evil", 1)
	parts := strings.Split(urls["link"], "/")
	foreign := strings.Split(w.link(other, 0, track.InHTML, 1, target), "/")
	swap := func(list ...int) string {
		mixed := append([]string(nil), parts...)
		for _, i := range list {
			mixed[i] = foreign[i]
		}
		return strings.Join(mixed, "/")
	}
	for name, url := range map[string]string{
		"another target":            evil,
		"another message's token":   swap(len(parts) - 2),
		"another message's number":  swap(len(parts) - 4),
		"another message's seal":    swap(len(parts) - 3),
		"the other body":            strings.Replace(urls["link"], "/c/h1/", "/c/t1/", 1),
		"another link's number":     strings.Replace(urls["link"], "/c/h1/", "/c/h2/", 1),
		"no target":                 urls["link"][:strings.LastIndexByte(urls["link"], '/')],
		"a longer target":           urls["link"] + "9",
		"another host in front":     strings.Replace(urls["link"], "https", "https%3A%2F%2Fevil.example%2Fhttps", 1),
		"the target as a parameter": w.web.URL + "/c/?url=" + target,
		"a pixel without an end":    strings.TrimSuffix(urls["pixel"], ".gif"),
		"a pixel as a page":         strings.Replace(urls["pixel"], "/o/", "/u/", 1),
		"nothing":                   w.web.URL + "/c/",
		"something else":            w.web.URL + "/email",
	} {
		a := w.get(url, firefox)
		if a.status != http.StatusNotFound || a.header.Get("Location") != "" || !strings.Contains(a.body, "This link does not work") {
			t.Errorf("%s (%s): %d %q", name, url, a.status, a.header.Get("Location"))
		}
	}
	w.stop()
	if got := w.counted(); got != (store.StatCount{}) {
		t.Errorf("counted %+v", got)
	}
}

// Even what carries our signature is no redirect unless it is on the web: the
// one who writes URLs does not have to be trusted in this.
func TestTargetsThatAreNotOnTheWeb(t *testing.T) {
	w := newWorld(t)
	m := w.message("ann@a.test")
	for _, target := range []string{
		"javascript:alert(1)", "data:text/html,x", "//evil.example/", "/local", "mailto:a@b.example", "https:evil.example",
		"https://", "https:///x", "ftp://evil.example/", "https://a.example/\r\nSet-Cookie: a=b", "https://a.example/\x00", "", "https://?x",
	} {
		a := w.get(w.link(m, 0, track.InHTML, 1, target), firefox)
		if a.status != http.StatusNotFound || a.header.Get("Location") != "" || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%q: %d %v", target, a.status, a.header)
		}
	}
	w.stop()
	if got := w.counted(); got != (store.StatCount{}) {
		t.Errorf("counted %+v", got)
	}
}

// A link never expires, and survives its message (contract/tracking.md §3).
func TestMessageIsGone(t *testing.T) {
	w := newWorld(t)
	m := w.message("ann@a.test")
	gone := &pennypost.Message{ID: pennypost.MessageID{1, 2, 3}}
	a := w.get(w.link(gone, 0, track.InHTML, 1, "https://acme.example/"), firefox)
	if a.status != http.StatusFound || a.header.Get("Location") != "https://acme.example/" {
		t.Errorf("message that is gone: %d %v", a.status, a.header)
	}
	a = w.get(w.pixel(m, 9), firefox) // a number that the message has not
	if a.status != http.StatusOK {
		t.Errorf("recipient that is not: %d", a.status)
	}
	w.get(w.pixel(m, 0), firefox) // it is recorded in the same batch
	w.stop()
	if got, want := w.counted(), (store.StatCount{Opens: 1, UniqueOpens: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	if n := w.figure(`track_lost_total{why="gone"}`); n != 2 {
		t.Errorf("%d told of as gone, want 2", n)
	}
}

// URLs of before the master key was replaced still work.
func TestReplacedKey(t *testing.T) {
	before := track.NewSigner([]byte("the key before"))
	w := newWorld(t, func(c *track.ServerConfig) { c.Signers = append(c.Signers, before) })
	m := w.message("ann@a.test")
	url := string(before.Personal([]byte(before.LinkURL(w.web.URL, m.ID, track.InHTML, 1, "https://acme.example/")), m.ID, 0))
	if a := w.get(url, firefox); a.status != http.StatusFound {
		t.Errorf("link: %d", a.status)
	}
	if a := w.get(string(before.Personal([]byte(before.OpenURL(w.web.URL, m.ID)), m.ID, 0)), firefox); a.status != http.StatusOK {
		t.Errorf("pixel: %d", a.status)
	}
	if a := w.get(string(before.Personal([]byte(before.UnsubscribeURL(w.web.URL, m.ID)), m.ID, 0)), firefox); a.status != http.StatusOK {
		t.Errorf("page: %d", a.status)
	}
	w.stop()
	if got, want := w.counted(), (store.StatCount{Opens: 1, UniqueOpens: 1, Clicks: 1, UniqueClicks: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestMethods(t *testing.T) {
	w := newWorld(t)
	m := w.message("ann@a.test")
	for url, allow := range map[string]string{
		w.pixel(m, 0): "GET, HEAD", w.link(m, 0, track.InHTML, 1, "https://acme.example/"): "GET, HEAD", w.off(m, 0): "GET, HEAD, POST",
	} {
		a := w.do(http.MethodPut, url, firefox, "x")
		if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != allow || a.header.Get("Location") != "" {
			t.Errorf("%s: %d %v", url, a.status, a.header)
		}
	}
}

func TestOwns(t *testing.T) {
	for path, want := range map[string]bool{
		"/o/x": true, "/c/x": true, "/u/x": true, "/": false, "/o": false, "/email": false, "/O/x": false, "/messages/o/": false,
	} {
		if track.Owns(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}
