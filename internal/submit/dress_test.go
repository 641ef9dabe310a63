package submit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/shed"
	"pennypost/internal/store"
	"pennypost/internal/track"
)

const trackBase = "https://track.penny.example"

// dressing is a fixture whose door tracks.
func dressing(tb testing.TB) *fixture {
	tb.Helper()
	f := setup(tb)
	f.tracks(tb)
	return f
}

func (f *fixture) tracks(tb testing.TB) {
	tb.Helper()
	conf := f.door.conf
	conf.Dress, conf.TrackBase = track.NewSigner([]byte("key of the tests")), trackBase
	door, err := New(conf)
	if err != nil {
		tb.Fatal(err)
	}
	f.door = door
}

// look is what of tracking there is in a stored message, read as a receiver reads
// it.
type look struct {
	Opens             int    // pixels
	HTMLLinks         int    // tracked ones
	TextLinks         int    //
	HTMLOut, TextOut  bool   // unsubscribe links
	Header            string // List-Unsubscribe, "" for none, "ours", or what it is
	OneClick          bool   // List-Unsubscribe-Post
	Base              string // of all of it
	Personal          bool   // as the message says
	TrackOpens, Other bool   // as the message says; something else in our URLs
	Links             pennypost.TrackLinks
}

// look reads a message, and wants all of its tokens to be the copy's.
func (f *fixture) look(t *testing.T, m *stored) look {
	t.Helper()
	p, err := eml.Parse([]byte(m.content), eml.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got := look{Personal: m.Personal, TrackOpens: m.TrackOpens, Links: m.TrackLinks}
	see := func(text string, html bool) {
		for _, u := range ourURLs(text) {
			base, path := u[:strings.Index(u[8:], "/")+8], u[strings.Index(u[8:], "/")+8:]
			if got.Base != "" && got.Base != base {
				t.Errorf("URLs begin with %s and %s", got.Base, base)
			}
			got.Base = base
			f.seePath(t, m, path, html, &got)
		}
	}
	see(bodyText(p.Root.HTMLBody()), true)
	see(bodyText(p.Root.TextBody()), false)
	if list := p.Values("List-Unsubscribe"); len(list) > 1 {
		t.Errorf("%d fields List-Unsubscribe", len(list))
	} else if len(list) == 1 {
		got.Header = list[0]
		if us := ourURLs(list[0]); len(us) == 1 && list[0] == "<"+us[0]+">" {
			id, n, ok := f.door.conf.Dress.ReadUnsubscribe(us[0][strings.Index(us[0], "/u/"):])
			if !ok || id != m.ID || n != track.Copy {
				t.Errorf("List-Unsubscribe: %s", list[0])
			}
			got.Header, got.Base = "ours", us[0][:strings.Index(us[0], "/u/")]
		}
	}
	switch list := p.Values("List-Unsubscribe-Post"); {
	case len(list) == 1 && list[0] == "List-Unsubscribe=One-Click":
		got.OneClick = true
	case len(list) > 0:
		t.Errorf("List-Unsubscribe-Post is %q", list)
	}
	return got
}

func (f *fixture) seePath(t *testing.T, m *stored, path string, html bool, got *look) {
	t.Helper()
	s := f.door.conf.Dress
	id, n, ok := s.ReadOpen(path)
	switch {
	case ok && html:
		got.Opens++
	case ok:
		t.Error("a pixel in text")
	default:
		id, n, ok = s.ReadUnsubscribe(path)
		if !ok {
			var l track.Link
			l, ok = s.ReadLink(path)
			id, n = l.ID, l.Recipient
			if html {
				got.HTMLLinks++
			} else {
				got.TextLinks++
			}
			break
		}
		if html {
			got.HTMLOut = true
		} else {
			got.TextOut = true
		}
	}
	if !ok || id != m.ID || n != track.Copy {
		t.Errorf("path %s is of message %v, recipient %d (%v)", path, id, n, ok)
	}
}

// ourURLs finds what begins as our URLs do.
func ourURLs(text string) []string {
	var list []string
	for _, base := range []string{trackBase, "https://click.acme.example"} {
		for i := range text {
			if rest := text[i:]; strings.HasPrefix(rest, base+"/") {
				list = append(list, rest[:strings.IndexAny(rest+" ", "\"<> \r\n")])
			}
		}
	}
	return list
}

func bodyText(p *eml.Part) string {
	if p == nil {
		return ""
	}
	return p.Text()
}

const (
	linkedHTML = `<html><body><p>See <a href="https://acme.example/1">one</a></p></body></html>`
	linkedText = "See https://acme.example/1 for it.\r\n"
)

func linked() *Submission {
	s := good()
	s.HTMLBody, s.TextBody = linkedHTML, linkedText
	return s
}

// linkedRaw is the same as SMTP brings it, with some fields more.
func linkedRaw(fields string) *Raw {
	return raw(plain + fields + "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\n" +
		strings.ReplaceAll(linkedText, "\r\n", "\n") + "--b\nContent-Type: text/html\n\n" + linkedHTML + "\n--b--\n")
}

// switches are what a message says of tracking.
type switches struct {
	opens string // "", "true" or "false"
	links pennypost.TrackLinks
}

// wanted is contract/tracking.md §1.
func (s switches) wanted(server *pennypost.Server, pending bool) look {
	want := look{TrackOpens: server.TrackOpens || s.opens == "true", Links: server.TrackLinks}
	if s.links != "" {
		want.Links = s.links
	}
	if pending {
		want.Links = pennypost.TrackNone
	}
	if want.TrackOpens {
		want.Opens = 1
	}
	if want.Links == pennypost.TrackHTMLAndText || want.Links == pennypost.TrackHTMLOnly {
		want.HTMLLinks = 1
	}
	if want.Links == pennypost.TrackHTMLAndText || want.Links == pennypost.TrackTextOnly {
		want.TextLinks = 1
	}
	if want.Personal = want.Opens+want.HTMLLinks+want.TextLinks > 0; want.Personal {
		want.Base = trackBase
	}
	return want
}

// TestTrackingSwitches is all of contract/tracking.md §1: server and message,
// over HTTP and over SMTP, for accounts that are approved or not.
func TestTrackingSwitches(t *testing.T) {
	f := dressing(t)
	links := []pennypost.TrackLinks{pennypost.TrackNone, pennypost.TrackHTMLAndText, pennypost.TrackHTMLOnly, pennypost.TrackTextOnly}
	var all []switches
	for _, opens := range []string{"", "true", "false"} {
		for _, l := range append(links, "") {
			all = append(all, switches{opens, l})
		}
	}
	for _, serverOpens := range []bool{false, true} {
		for _, serverLinks := range links {
			for _, pending := range []bool{false, true} {
				f.set(t, func(a *pennypost.Account, s *pennypost.Server) {
					a.Pending, s.TrackOpens, s.TrackLinks = pending, serverOpens, serverLinks
				})
				f.switched(t, all, pending)
			}
		}
	}
}

// switched sends a message for each of the switches over both edges.
func (f *fixture) switched(t *testing.T, all []switches, pending bool) {
	t.Helper()
	var batch []*Submission
	for _, is := range all {
		s := linked()
		s.To, s.TrackLinks = "jane@acme.example", string(is.links)
		if is.opens != "" {
			on := is.opens == "true"
			s.TrackOpens = &on
		}
		batch = append(batch, s)
	}
	for i, r := range f.door.AcceptBatch(t.Context(), f.api, batch) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if got, want := f.look(t, f.load(t, r.Accepted.ID)), all[i].wanted(&f.server, pending); got != want {
			t.Errorf("server %v %s, pending %v, %+v, HTTP: got %+v\nwant %+v", f.server.TrackOpens, f.server.TrackLinks, pending, all[i], got, want)
		}
	}
	for i, is := range all {
		if pending && i%4 > 0 { // a commit each; the account makes no difference to SMTP
			continue
		}
		r := linkedRaw(fmt.Sprintf("X-PM-TrackOpens: %s\nX-PM-TrackLinks: %s\n", is.opens, is.links))
		r.Recipients[0].Domain = "acme.example"
		if got, want := f.look(t, f.acceptRaw(t, r)), is.wanted(&f.server, pending); got != want {
			t.Errorf("server %v %s, pending %v, %+v, SMTP: got %+v\nwant %+v", f.server.TrackOpens, f.server.TrackLinks, pending, is, got, want)
		}
	}
}

// TestTrackingNeedsHTML: a text-only message is never open-tracked, whatever is
// said (contract/tracking.md §2), and each recipient gets the same.
func TestTrackingNeedsHTML(t *testing.T) {
	f := dressing(t)
	f.set(t, func(_ *pennypost.Account, s *pennypost.Server) {
		s.TrackOpens, s.TrackLinks = true, pennypost.TrackHTMLOnly
	})
	s := linked()
	s.HTMLBody = ""
	want := look{TrackOpens: true, Links: pennypost.TrackHTMLOnly}
	if got := f.look(t, f.load(t, f.accept(t, s).ID)); got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if len(f.door.seen.all) != 0 {
		t.Errorf("it was rendered again: %+v", f.door.seen.all)
	}
}

// stream adds a stream.
func (f *fixture) stream(t *testing.T, id pennypost.StreamID, typ pennypost.StreamType, who pennypost.Unsubscribe) {
	t.Helper()
	f.update(t, func(tx *store.Tx) error {
		return tx.AddStream(t.Context(), &pennypost.Stream{
			ServerID: f.server.ID, ID: id, Type: typ, RetryFor: 72 * time.Hour, Unsubscribe: who,
		})
	})
}

// TestUnsubscribeHandling: contract/sending.md §14 and contract/streams.md §3.
func TestUnsubscribeHandling(t *testing.T) {
	f := dressing(t)
	f.stream(t, "news", pennypost.StreamBroadcasts, pennypost.UnsubscribePostmark)
	f.stream(t, "own", pennypost.StreamBroadcasts, pennypost.UnsubscribeCustom)
	const own = "<https://acme.example/u>"
	for _, tc := range []struct {
		stream      pennypost.StreamID
		placeholder bool // in the HTML
		want        look
	}{
		{"news", false, look{HTMLOut: true, TextOut: true, Header: "ours", OneClick: true, Personal: true}},
		{"news", true, look{HTMLOut: true, Header: "ours", OneClick: true, Personal: true}},
		{"own", false, look{Header: own, OneClick: true}},
		{"own", true, look{HTMLOut: true, Header: own, OneClick: true, Personal: true}},
		{"outbound", false, look{Header: own, OneClick: true}},
		{"outbound", true, look{HTMLOut: true, Header: own, OneClick: true, Personal: true}},
	} {
		tc.want.Links = pennypost.TrackNone
		if tc.want.Personal {
			tc.want.Base = trackBase
		}
		s := linked()
		if tc.placeholder {
			s.HTMLBody = strings.Replace(s.HTMLBody, "</p>", "{{{ pm:unsubscribe }}}</p>", 1)
		}
		s.Stream = string(tc.stream)
		s.Headers = []eml.Field{{Name: "list-unsubscribe", Value: own}, {Name: "List-Unsubscribe-Post", Value: "List-Unsubscribe=One-Click"}}
		if got := f.look(t, f.load(t, f.accept(t, s).ID)); got != tc.want {
			t.Errorf("%s, placeholder %v, HTTP: got %+v\nwant %+v", tc.stream, tc.placeholder, got, tc.want)
		}
		r := linkedRaw("X-PM-Message-Stream: " + string(tc.stream) + "\nLIST-Unsubscribe: " + own + "\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\n")
		if tc.placeholder {
			r.Data = []byte(strings.Replace(string(r.Data), "</p>", "{{{pm:unsubscribe}}}</p>", 1))
		}
		if got := f.look(t, f.acceptRaw(t, r)); got != tc.want {
			t.Errorf("%s, placeholder %v, SMTP: got %+v\nwant %+v", tc.stream, tc.placeholder, got, tc.want)
		}
	}
	// A sender signature lends its name after the message was rendered; the fields
	// stay.
	s := linked()
	s.From, s.Stream = "solo@sign.example", "news"
	got := f.load(t, f.accept(t, s).ID)
	if l := f.look(t, got); l.Header != "ours" || !l.OneClick || !strings.Contains(got.content, "\r\nFrom: =?utf-8?B?") {
		t.Errorf("lent: %+v\n%s", l, got.content)
	}
}

// TestTrackingDomain: a verified domain of the sender takes the place of ours
// (contract/tracking.md §5), from the next message on.
func TestTrackingDomain(t *testing.T) {
	f := dressing(t)
	f.set(t, func(_ *pennypost.Account, s *pennypost.Server) { s.TrackOpens = true })
	for _, verified := range []bool{false, true, false} {
		f.update(t, func(tx *store.Tx) error {
			d, err := tx.DomainByName(t.Context(), f.account.ID, "acme.example")
			if err != nil {
				return err
			}
			d.Tracking, d.TrackingVerified = "click.acme.example", verified
			return tx.SetDomain(t.Context(), d, noon)
		})
		want := trackBase
		if verified {
			want = "https://click.acme.example"
		}
		if got := f.look(t, f.load(t, f.accept(t, linked()).ID)); got.Base != want || got.Opens != 1 {
			t.Errorf("verified %v: got %+v, want base %s", verified, got, want)
		}
	}
}

// TestStale: a message whose settings changed since the last one is rendered
// again, and the next at once as it is to be.
func TestStale(t *testing.T) {
	f := dressing(t)
	w := wearer{f.server.ID, pennypost.StreamOutbound, "acme.example"}
	for i, on := range []bool{true, true, false, false, true} {
		f.set(t, func(_ *pennypost.Account, s *pennypost.Server) { s.TrackOpens = on })
		if got := f.look(t, f.load(t, f.accept(t, linked()).ID)); got.TrackOpens != on || got.Opens > 0 != on || got.Personal != on {
			t.Errorf("%d: got %+v, want opens %v", i, got, on)
		}
		if got := f.door.seen.get(w); got.opens != on {
			t.Errorf("%d: remembered %+v", i, got)
		}
	}
	if n := f.used(t); n != 5 {
		t.Errorf("%d recipients counted, want 5", n)
	}
}

// TestStaleBatch: what is rendered again is stored after the rest of its step;
// results stay in order, and a refusal is one.
func TestStaleBatch(t *testing.T) {
	f := dressing(t)
	f.stream(t, "news", pennypost.StreamBroadcasts, pennypost.UnsubscribePostmark)
	f.suppress(t, "gone@example.com")
	var list []*Submission
	for i := range 60 {
		s := linked()
		s.Subject = fmt.Sprint(i)
		if i%2 == 1 {
			s.Stream = "news"
		}
		list = append(list, s)
	}
	list[2].To = "gone@example.com"
	list[3].From = "ann@example.net"
	for i, r := range f.door.AcceptBatch(t.Context(), f.api, list) {
		if code := map[int]pennypost.Code{2: 406, 3: 400}[i]; code != 0 {
			if e := refusal(t, r.Err); e.Code != code {
				t.Errorf("%d: got %d %q", i, e.Code, e.Text)
			}
			continue
		}
		if r.Err != nil {
			t.Fatalf("%d: %v", i, r.Err)
		}
		m := f.load(t, r.Accepted.ID)
		if got := f.look(t, m); m.Subject != fmt.Sprint(i) || len(m.jobs) != 1 || got.HTMLOut != (i%2 == 1) || got.Header == "ours" != (i%2 == 1) {
			t.Errorf("%d: subject %q, %d jobs, %+v", i, m.Subject, len(m.jobs), got)
		}
	}
	if n := f.messages(t); n != 58 || f.used(t) != 58 {
		t.Errorf("%d messages, %d counted, want 58", n, f.used(t))
	}
}

// TestSeenIsBounded: however many senders there are.
func TestSeenIsBounded(t *testing.T) {
	var k seen
	for i := range maxSeen + 10 {
		k.put(wearer{server: pennypost.ServerID(i)}, settings{opens: true})
	}
	last := wearer{server: maxSeen + 9}
	if len(k.all) != maxSeen || !k.get(last).opens {
		t.Errorf("%d are kept, the last is %+v", len(k.all), k.get(last))
	}
	if k.put(last, settings{}); len(k.all) != maxSeen-1 {
		t.Error("settings that are none are kept")
	}
}

// TestUndressed: our own mail, that of the test token, and what is signed or
// encrypted stay as they are.
func TestUndressed(t *testing.T) {
	f := dressing(t)
	f.set(t, func(_ *pennypost.Account, s *pennypost.Server) {
		s.TrackOpens, s.TrackLinks = true, pennypost.TrackHTMLAndText
	})
	f.accept(t, linked()) // from now on it is known
	to, err := eml.ParseMailbox("jane@example.com")
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.door.AcceptSystem(t.Context(), &System{To: to, Subject: "Hi", Text: linkedText + "{{{ pm:unsubscribe }}}", HTML: linkedHTML})
	if err != nil {
		t.Fatal(err)
	}
	m := f.load(t, a.ID)
	if got := f.look(t, m); got != (look{Links: pennypost.TrackNone}) || !strings.Contains(m.content, "pm:unsubscribe") {
		t.Errorf("our own mail: %+v", got)
	}

	f.stream(t, "letters", pennypost.StreamTransactional, pennypost.UnsubscribePostmark)
	signed := "--b\nContent-Type: text/html\n\n" + linkedHTML + "{{{ pm:unsubscribe }}}\n--b\nContent-Type: application/pgp-signature\n\nx\n--b--\n"
	m = f.acceptRaw(t, raw(plain+"X-PM-Message-Stream: letters\nMIME-Version: 1.0\nContent-Type: multipart/signed; boundary=b\n\n"+signed))
	want := look{Header: "ours", OneClick: true, Base: trackBase, Personal: true, TrackOpens: true, Links: pennypost.TrackHTMLAndText}
	if got := f.look(t, m); got != want || !strings.Contains(m.content, strings.ReplaceAll(signed, "\n", "\r\n")) {
		t.Errorf("signed: %+v\n%s", got, m.content)
	}

	test := pennypost.Caller{Kind: pennypost.CallerTest}
	if a, err := f.door.AcceptRaw(t.Context(), test, linkedRaw("")); err != nil || !a.Test {
		t.Errorf("test token over SMTP: %+v, %v", a, err)
	}
	if a, err := f.door.Accept(t.Context(), test, linked()); err != nil || !a.Test {
		t.Errorf("test token over HTTP: %+v, %v", a, err)
	}
}

// TestWithoutSigner: where nothing is set up nothing is touched.
func TestWithoutSigner(t *testing.T) {
	f := setup(t)
	f.set(t, func(_ *pennypost.Account, s *pennypost.Server) {
		s.TrackOpens, s.TrackLinks = true, pennypost.TrackHTMLAndText
	})
	f.stream(t, "news", pennypost.StreamBroadcasts, pennypost.UnsubscribePostmark)
	s := linked()
	s.Stream = "news"
	m := f.load(t, f.accept(t, s).ID)
	if m.Personal || strings.Contains(m.content, "List-Unsubscribe") || !strings.Contains(m.content, "https://acme.example/1") {
		t.Errorf("%+v\n%s", m.Message, m.content)
	}
	conf := f.door.conf
	conf.TrackBase = trackBase
	if _, err := New(conf); err == nil {
		t.Error("a base without a signer is taken")
	}
}

// TestTokensStayWhole: in bodies that quoted-printable breaks at every place,
// each URL is one that delivery finds in the octets of the content.
func TestTokensStayWhole(t *testing.T) {
	f := dressing(t)
	f.set(t, func(_ *pennypost.Account, s *pennypost.Server) {
		s.TrackOpens, s.TrackLinks = true, pennypost.TrackHTMLAndText
	})
	var html, text strings.Builder
	for i := range 100 {
		pad := strings.Repeat("訂單", i%30) + strings.Repeat("=", i%7)
		fmt.Fprintf(&html, `%s<a href="https://acme.example/%d?a=b&amp;c=訂">已出貨</a>`, pad, i)
		fmt.Fprintf(&text, "%s https://acme.example/%d?a=b ", pad, i)
	}
	s := good()
	s.HTMLBody, s.TextBody = html.String(), text.String()
	r := raw(plain + "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n\n" +
		text.String() + "\n--b\nContent-Type: text/html; charset=utf-8\n\n" + html.String() + "\n--b--\n")
	for name, m := range map[string]*stored{"HTTP": f.load(t, f.accept(t, s).ID), "SMTP": f.acceptRaw(t, r)} {
		wellFormed(t, m.content)
		sign := f.door.conf.Dress
		if got := f.look(t, m); got.HTMLLinks != 100 || got.TextLinks != 100 || got.Opens != 1 {
			t.Errorf("%s: read: %+v", name, got)
		}
		if n := strings.Count(m.content, sign.Token(m.ID, track.Copy)); n != 201 {
			t.Errorf("%s: %d tokens are whole, want 201", name, n)
		}
		own := sign.Personal([]byte(m.content), m.ID, 3)
		if sign.Has(own, m.ID) || len(own) != len(m.content) {
			t.Errorf("%s: a token of the copy is left", name)
		}
	}
}

// TestGrowth: tracked links make a small message large, and it has its share of
// the memory then; all of it is given back.
func TestGrowth(t *testing.T) {
	f := setup(t)
	work := shed.NewMemory(64<<20, nil)
	f.door.conf.Work = work
	f.tracks(t)
	f.set(t, func(_ *pennypost.Account, s *pennypost.Server) { s.TrackLinks = pennypost.TrackHTMLOnly })
	s := good()
	s.HTMLBody = strings.Repeat(`<a href="http://a.example/">x</a>`, 3000)
	most := int64(0)
	check := f.door.conf.Check
	f.door.conf.Check = func(ctx context.Context, tx *store.Tx, c pennypost.Caller) (*pennypost.ServerState, error) {
		most = max(most, work.Held())
		return check(ctx, tx, c)
	}
	size := f.load(t, f.accept(t, s).ID).Size
	if size < 4*int64(len(s.HTMLBody)) || most < 3*size {
		t.Errorf("%d octets became %d, for which %d were held", len(s.HTMLBody), size, most)
	}
	if n := work.Held(); n != 0 {
		t.Errorf("%d octets were not given back", n)
	}
}

// TestStaleForEver: settings that change with every look end in a fault of ours,
// which stores nothing, and keep nobody busy; the next message is not worse off.
func TestStaleForEver(t *testing.T) {
	f := dressing(t)
	check, looks, steady := f.door.conf.Check, 0, false
	f.door.conf.Check = func(ctx context.Context, tx *store.Tx, c pennypost.Caller) (*pennypost.ServerState, error) {
		state, err := check(ctx, tx, c)
		if looks++; state != nil {
			state.TrackOpens = !steady && looks%2 == 1
		}
		return state, err
	}
	isRefusal := func(err error) bool { var e *pennypost.Error; return errors.As(err, &e) }
	if _, err := f.door.Accept(t.Context(), f.api, linked()); !errors.Is(err, errStale) || isRefusal(err) || looks != maxStale {
		t.Errorf("HTTP: %v after %d looks", err, looks)
	}
	looks = 1 - looks%2 // the next look finds what is not expected
	if _, err := f.door.AcceptRaw(t.Context(), f.smtp, linkedRaw("")); !errors.Is(err, errStale) || isRefusal(err) {
		t.Errorf("SMTP: %v", err)
	}
	looks = 1 - looks%2
	for _, r := range f.door.AcceptBatch(t.Context(), f.api, []*Submission{linked(), linked()}) {
		if !errors.Is(r.Err, errStale) || r.Accepted != nil {
			t.Errorf("batch: %+v", r)
		}
	}
	if n := f.messages(t); n != 0 || f.used(t) != 0 {
		t.Errorf("%d messages stored, %d counted", n, f.used(t))
	}
	steady = true
	f.accept(t, linked())
}
