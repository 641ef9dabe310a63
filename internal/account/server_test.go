package account

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pennypost"
	"pennypost/internal/auth"
)

func TestNewServer(t *testing.T) { // contract/servers.md §2, clients.md 12.9
	w := newWorld(t)
	ctx := t.Context()
	s := w.server(t, w.one, "Acme 2026-03-02T14:15:07+01:00")
	want := pennypost.Server{
		AccountID: w.one, Name: "Acme 2026-03-02T14:15:07+01:00", Color: "blue", SMTPActivated: true,
		SMTPRejection: pennypost.RejectImmediate, TrackLinks: pennypost.TrackNone, CreatedAt: w.clock.Now(),
	}
	if d := cmp.Diff(want, s.Server, cmpopts.IgnoreFields(pennypost.Server{}, "ID", "InboundHash")); d != "" {
		t.Error(d)
	}
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(s.InboundHash) {
		t.Errorf("inbound hash %q", s.InboundHash)
	}
	if len(s.Tokens) != 1 || len(s.Tokens[0].Reveal()) != 36 {
		t.Fatalf("tokens: %d", len(s.Tokens))
	}
	// Usable in the next call.
	c := must[pennypost.Caller](t)(w.auth.Server(ctx, s.Tokens[0].Reveal(), ""))
	if c.ServerID != s.ID || c.AccountID != w.one {
		t.Errorf("token opens %+v", c)
	}
	// Shown again, but not to be found in the database.
	got := must[*Server](t)(w.Server(ctx, w.one, s.ID))
	if d := cmp.Diff(s, got, cmpopts.EquateComparable(auth.Secret(""))); d != "" || got.Tokens[0] != s.Tokens[0] {
		t.Errorf("read back differs: %s", d)
	}
	if w.onDisk(t, s.Tokens[0].Reveal()) {
		t.Error("the token is in the database in the clear")
	}
	if !w.onDisk(t, s.InboundHash) {
		t.Error("the search does not find what is there")
	}

	streams := must[[]pennypost.Stream](t)(w.Streams(ctx, s.ID, StreamFilter{Archived: true}))
	types := map[pennypost.StreamID]pennypost.StreamType{}
	for _, st := range streams {
		types[st.ID] = st.Type
		if st.RetryFor.Hours() != 72 || !st.UpdatedAt.IsZero() || !st.ArchivedAt.IsZero() {
			t.Errorf("stream %s: %+v", st.ID, st)
		}
	}
	if d := cmp.Diff(map[pennypost.StreamID]pennypost.StreamType{
		"outbound": pennypost.StreamTransactional, "inbound": pennypost.StreamInboundType, "broadcast": pennypost.StreamBroadcasts,
	}, types); d != "" {
		t.Error(d)
	}
}

func TestServerInput(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.dns.mx["in.acme.example"] = []string{"mx.acme.example", "Inbound.Example.Net."}
	w.dns.mx["*.acme.example"] = []string{"inbound.example.net"}
	w.dns.mx["elsewhere.acme.example"] = []string{"mx.acme.example"}
	s := w.server(t, w.one, "A")
	set := func(change func(*pennypost.Server)) pennypost.Server {
		want := s.Server
		change(&want)
		return want
	}
	good := []struct {
		name string
		in   ServerInput
		want pennypost.Server
	}{
		{"nothing", ServerInput{}, s.Server},
		{"own name", ServerInput{Name: ptr("A")}, s.Server},
		{"other name", ServerInput{Name: ptr("a")}, set(func(s *pennypost.Server) { s.Name = "a" })},
		{"colour in capitals", ServerInput{Color: ptr("RED")}, set(func(s *pennypost.Server) { s.Color = "red" })},
		{"colour misspelt by a client", ServerInput{Color: ptr("turqoise")}, set(func(s *pennypost.Server) { s.Color = "turquoise" })},
		{"empty options", ServerInput{Color: ptr(""), TrackLinks: ptr(""), DeliveryType: ptr(""), SMTPRejection: ptr("")}, s.Server},
		{"delivery type is fixed", ServerInput{DeliveryType: ptr("Sandbox")}, s.Server},
		{"threshold", ServerInput{SpamThreshold: ptr(int64(9))}, set(func(s *pennypost.Server) { s.SpamThreshold = 9 })},
		{"threshold 30", ServerInput{SpamThreshold: ptr(int64(30))}, set(func(s *pennypost.Server) { s.SpamThreshold = 30 })},
		{"links", ServerInput{TrackLinks: ptr("htmlandtext")}, set(func(s *pennypost.Server) { s.TrackLinks = pennypost.TrackHTMLAndText })},
		{"rejection", ServerInput{SMTPRejection: ptr("accept")}, set(func(s *pennypost.Server) { s.SMTPRejection = pennypost.RejectAccept })},
		{"API token over SMTP", ServerInput{SMTPAPITokenAuth: ptr(true)}, set(func(s *pennypost.Server) { s.SMTPAPITokenAuth = true })},
		{"inbound domain", ServerInput{InboundDomain: ptr("IN.acme.example")}, set(func(s *pennypost.Server) { s.InboundDomain = "in.acme.example" })},
		{"inbound wildcard", ServerInput{InboundDomain: ptr("*.acme.example")}, set(func(s *pennypost.Server) { s.InboundDomain = "*.acme.example" })},
		{
			"hooks", ServerInput{
				InboundHookURL: ptr("https://u:p@app.example.net:8443/in?x=1"), BounceHookURL: ptr("http://www.example.com/b"),
				OpenHookURL: ptr("https://a.example/o"), DeliveryHookURL: ptr("https://a.example/d"), ClickHookURL: ptr("https://a.example/c"),
			}, set(func(s *pennypost.Server) {
				s.InboundHookURL, s.BounceHookURL = "https://u:p@app.example.net:8443/in?x=1", "http://www.example.com/b"
				s.OpenHookURL, s.DeliveryHookURL, s.ClickHookURL = "https://a.example/o", "https://a.example/d", "https://a.example/c"
			}),
		},
		{
			"flags", ServerInput{
				SMTPActivated: ptr(false), RawEmail: ptr(true), PostFirstOpenOnly: ptr(true), TrackOpens: ptr(true),
				BounceContent: ptr(true), SMTPErrorHooks: ptr(true),
			}, set(func(s *pennypost.Server) {
				s.SMTPActivated, s.RawEmail, s.PostFirstOpenOnly, s.TrackOpens, s.BounceContent, s.SMTPErrorHooks = false, true, true, true, true, true
			}),
		},
	}
	back := ServerInput{
		Name: &s.Name, Color: &s.Color, SMTPActivated: &s.SMTPActivated, SMTPAPITokenAuth: &s.SMTPAPITokenAuth,
		SMTPRejection: ptr(string(s.SMTPRejection)), RawEmail: &s.RawEmail, InboundDomain: ptr(""), InboundHookURL: ptr(""),
		SpamThreshold: ptr(int64(0)), BounceHookURL: ptr(""), OpenHookURL: ptr(""), DeliveryHookURL: ptr(""), ClickHookURL: ptr(""),
		PostFirstOpenOnly: ptr(false), TrackOpens: ptr(false), TrackLinks: ptr("None"), BounceContent: ptr(false), SMTPErrorHooks: ptr(false),
	}
	for _, c := range good {
		t.Run(c.name, func(t *testing.T) {
			got := must[*Server](t)(w.EditServer(ctx, w.one, s.ID, &c.in))
			read := must[*Server](t)(w.Server(ctx, w.one, s.ID))
			for _, g := range []*Server{got, read} {
				if d := cmp.Diff(c.want, g.Server); d != "" {
					t.Error(d)
				}
			}
			cleared := must[*Server](t)(w.EditServer(ctx, w.one, s.ID, &back))
			if d := cmp.Diff(s.Server, cleared.Server); d != "" {
				t.Errorf("not cleared: %s", d)
			}
		})
	}

	w.server(t, w.one, "Taken")
	w.server(t, w.two, "Theirs") // another account's name is free here
	theirs := w.server(t, w.two, "With domain")
	w.dns.mx["taken.acme.example"] = []string{"inbound.example.net"}
	must[*Server](t)(w.EditServer(ctx, w.two, theirs.ID, &ServerInput{InboundDomain: ptr("taken.acme.example")}))

	bad := []struct {
		name string
		in   *ServerInput
		code pennypost.Code
		text string
	}{
		{"no body", nil, 609, "No server data received."},
		{"empty name", &ServerInput{Name: ptr(" ")}, 608, ""},
		{"control character", &ServerInput{Name: ptr("a\r\nb")}, 608, ""},
		{"invalid UTF-8", &ServerInput{Name: ptr("a\xff")}, 608, ""},
		{"long name", &ServerInput{Name: ptr(strings.Repeat("n", 256))}, 608, ""},
		{"name taken", &ServerInput{Name: ptr("tAKEN")}, 603, "This server name already exists."},
		{"colour", &ServerInput{Color: ptr("pink")}, 607, "Invalid server color."},
		{"threshold -1", &ServerInput{SpamThreshold: ptr(int64(-1))}, 611, "InboundSpamThreshold value is invalid. Use a number between 0 and 30."},
		{"threshold 31", &ServerInput{SpamThreshold: ptr(int64(31))}, 611, ""},
		{"links", &ServerInput{TrackLinks: ptr("HtmlAndTextTracking")}, 612, "The supplied 'TrackLinks' option is not valid."},
		{"delivery", &ServerInput{DeliveryType: ptr("Test")}, 613, "The supplied 'DeliveryType' option is not valid."},
		{"rejection", &ServerInput{SMTPRejection: ptr("Never")}, 615, ""},
		{"inbound domain taken", &ServerInput{InboundDomain: ptr("taken.acme.example")}, 602, "The specified inbound domain is already registered or in use on another server."},
		{"inbound domain of ours", &ServerInput{InboundDomain: ptr("x.inbound.example.net")}, 608, ""},
		{"inbound no domain", &ServerInput{InboundDomain: ptr("acme")}, 608, ""},
		{"no MX", &ServerInput{InboundDomain: ptr("nowhere.acme.example")}, 610, "We could not find an MX record pointing to the expected domain."},
		{"MX elsewhere", &ServerInput{InboundDomain: ptr("elsewhere.acme.example")}, 610, ""},
		{"hook", &ServerInput{OpenHookURL: ptr("ftp://a.example/")}, 606, ""},
	}
	for _, c := range bad {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.EditServer(ctx, w.one, s.ID, c.in)
			wantCode(t, err, c.code, c.text)
			if c.in != nil && c.in.Name == nil {
				c.in.Name = ptr("New one")
			}
			_, err = w.CreateServer(ctx, w.one, c.in)
			wantCode(t, err, c.code, c.text)
		})
	}
	_, err := w.CreateServer(ctx, w.one, &ServerInput{Color: ptr("red")})
	wantCode(t, err, 608, "")
	if got := must[*Server](t)(w.Server(ctx, w.one, s.ID)); !cmp.Equal(got.Server, s.Server) {
		t.Errorf("a refused edit changed the server: %s", cmp.Diff(s.Server, got.Server))
	}
	if _, n, err := w.Servers(ctx, w.one, "", 500, 0); n != 2 || err != nil {
		t.Errorf("%d servers, %v: a refused call made one", n, err)
	}
}

func TestSandboxServer(t *testing.T) {
	w := newWorld(t)
	s := must[*Server](t)(w.CreateServer(t.Context(), w.one, &ServerInput{Name: ptr("Box"), DeliveryType: ptr("sandbox")}))
	if !s.Sandbox {
		t.Error("not a sandbox")
	}
	if s = must[*Server](t)(w.EditServer(t.Context(), w.one, s.ID, &ServerInput{DeliveryType: ptr("Live")})); !s.Sandbox {
		t.Error("switched to Live")
	}
}

func TestHookURLs(t *testing.T) {
	cases := []struct {
		url             string
		public, private bool
	}{
		{"https://app.example.net/hook", true, true},
		{"http://8.8.8.8:8080/x", true, true},
		{"https://[2606:4700::1111]/", true, true},
		{"https://bücher.example/", true, true},
		{"http://127.0.0.1/", false, true},
		{"http://10.1.2.3/", false, true},
		{"http://172.16.0.1/", false, true},
		{"http://192.168.1.1/", false, true},
		{"http://169.254.169.254/latest/meta-data", false, true},
		{"http://100.64.0.1/", false, true},
		{"http://0.0.0.0/", false, true},
		{"http://[::1]/", false, true},
		{"http://[fe80::1]/", false, true},
		{"http://[fc00::1]/", false, true},
		{"http://[::ffff:127.0.0.1]/", false, true},
		{"http://[64:ff9b::7f00:1]/", false, true},
		{"http://localhost:9999/", false, true},
		{"http://db.localhost/", false, true},
		{"http://printer.local/", false, true},
		{"http://metadata.google.internal/", false, true},
		{"http://intranet/", false, false},
		{"http://127.1/", false, false},
		{"http://2130706433/", false, false},
		{"http://0x7f.0.0.1/", false, false},
		{"ftp://app.example.net/", false, false},
		{"javascript:alert(1)", false, false},
		{"//app.example.net/", false, false},
		{"https:///x", false, false},
		{"https:app.example.net", false, false},
		{"app.example.net", false, false},
		{"https://a.example/\n", false, false},
		{"https://a.example/" + strings.Repeat("x", maxHookURL), false, false},
	}
	for _, c := range cases {
		if got := validHook(c.url, false); got != c.public {
			t.Errorf("%.60s: %v, want %v", c.url, got, c.public)
		}
		if got := validHook(c.url, true); got != c.private {
			t.Errorf("%.60s with private ones allowed: %v, want %v", c.url, got, c.private)
		}
	}
}

func TestListServers(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for _, name := range []string{"Shop live", "Shop test", "100%_x", "Blog"} {
		w.server(t, w.one, name)
	}
	w.server(t, w.two, "Shop of others")
	for _, c := range []struct {
		name          string
		count, offset int
		want          []string
		total         int
	}{
		{"", 500, 0, []string{"Shop live", "Shop test", "100%_x", "Blog"}, 4},
		{"SHOP", 500, 0, []string{"Shop live", "Shop test"}, 2},
		{"%_", 500, 0, []string{"100%_x"}, 1},
		{"", 2, 1, []string{"Shop test", "100%_x"}, 4},
		{"nothing", 500, 0, nil, 0},
	} {
		list, total, err := w.Servers(ctx, w.one, c.name, c.count, c.offset)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range list {
			names = append(names, s.Name)
			if len(s.Tokens) != 1 {
				t.Errorf("%s has %d tokens", s.Name, len(s.Tokens))
			}
		}
		if !slices.Equal(names, c.want) || total != c.total {
			t.Errorf("%q %d %d: %q of %d, want %q of %d", c.name, c.count, c.offset, names, total, c.want, c.total)
		}
	}
}

func TestDeleteServer(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	s := w.server(t, w.one, "Acme Live")
	smtp := must[*NewSMTPToken](t)(w.CreateSMTPToken(ctx, w.one, s.ID, &SMTPTokenInput{Label: "app"}))
	must[pennypost.Caller](t)(w.auth.Server(ctx, s.Tokens[0].Reveal(), ""))

	must[*pennypost.Account](t)(w.EditAccount(ctx, w.one, &AccountInput{NoDeletes: ptr(true)}))
	_, err := w.DeleteServer(ctx, w.one, s.ID)
	wantCode(t, err, 604, "You do not have permission to delete servers using the API.")
	must[*pennypost.Account](t)(w.EditAccount(ctx, w.one, &AccountInput{NoDeletes: ptr(false)}))

	if gone := must[*pennypost.Server](t)(w.DeleteServer(ctx, w.one, s.ID)); gone.Name != "Acme Live" {
		t.Errorf("deleted %q", gone.Name)
	}
	_, err = w.auth.Server(ctx, s.Tokens[0].Reveal(), "")
	wantCode(t, err, 10, "")
	if _, err := w.auth.SMTP(ctx, smtp.Username, smtp.Secret.Reveal(), here); !errors.Is(err, auth.ErrCredentials) {
		t.Errorf("SMTP token of a deleted server: %v", err)
	}
	for _, f := range []func() error{
		func() error { _, err := w.Server(ctx, w.one, s.ID); return err },
		func() error { _, err := w.DeleteServer(ctx, w.one, s.ID); return err },
		func() error { _, err := w.EditServer(ctx, w.one, s.ID, &ServerInput{}); return err },
	} {
		err := f()
		wantCode(t, err, 601, "This server was not found.")
		var e *pennypost.Error
		if errors.As(err, &e); e.Status != http.StatusNotFound {
			t.Errorf("status %d", e.Status)
		}
	}
	w.server(t, w.one, "Acme Live") // the name is free again
}

func TestAPITokens(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	s := w.server(t, w.one, "A")
	second := must[*APIToken](t)(w.AddAPIToken(ctx, w.one, s.ID, " second "))
	if second.Label != "second" || second.Secret == s.Tokens[0] {
		t.Errorf("second token: %+v", second)
	}
	if got := must[*Server](t)(w.Server(ctx, w.one, s.ID)); !slices.Equal(got.Tokens, []auth.Secret{s.Tokens[0], second.Secret}) {
		t.Errorf("%d tokens shown", len(got.Tokens))
	}
	c := must[pennypost.Caller](t)(w.auth.Server(ctx, second.Secret.Reveal(), ""))
	if err := w.RevokeAPIToken(ctx, w.one, s.ID, second.ID); err != nil {
		t.Fatal(err)
	}
	_, err := w.auth.Server(ctx, second.Secret.Reveal(), "")
	wantCode(t, err, 10, "")
	if _, err := w.auth.Server(ctx, s.Tokens[0].Reveal(), ""); err != nil {
		t.Errorf("the other token: %v", err)
	}
	wantCode(t, w.RevokeAPIToken(ctx, w.one, s.ID, c.TokenID), 10, "This API token was not found.")

	account := must[*APIToken](t)(w.AddAPIToken(ctx, w.one, 0, ""))
	if c, err := w.auth.Account(ctx, account.Secret.Reveal(), ""); err != nil || c.AccountID != w.one {
		t.Errorf("second account token: %+v, %v", c, err)
	}
	if list := must[[]APIToken](t)(w.APITokens(ctx, w.one, 0)); len(list) != 2 || list[0].Secret != w.token {
		t.Errorf("%d account tokens", len(list))
	}
	_, err = w.AddAPIToken(ctx, w.one, s.ID, "a\nb")
	wantCode(t, err, 300, "")
	for range maxAPITokens - 1 {
		must[*APIToken](t)(w.AddAPIToken(ctx, w.one, s.ID, ""))
	}
	_, err = w.AddAPIToken(ctx, w.one, s.ID, "")
	wantCode(t, err, 614, "")
}

func TestStreams(t *testing.T) { // contract/streams.md §1
	w := newWorld(t)
	ctx := t.Context()
	s := w.server(t, w.one, "A")
	for typ, want := range map[string]int{"": 3, "All": 3, "all": 3, "Transactional": 1, "broadcasts": 1, "INBOUND": 1} {
		if got := must[[]pennypost.Stream](t)(w.Streams(ctx, s.ID, StreamFilter{Type: typ})); len(got) != want {
			t.Errorf("%q: %d streams, want %d", typ, len(got), want)
		}
	}
	_, err := w.Streams(ctx, s.ID, StreamFilter{Type: "Marketing"})
	wantCode(t, err, 1221, "The 'MessageStreamType' associated with this request was invalid.")
	if got := must[*pennypost.Stream](t)(w.Stream(ctx, s.ID, "broadcast")); got.Unsubscribe != pennypost.UnsubscribePostmark {
		t.Errorf("broadcast: %+v", got)
	}
	_, err = w.Stream(ctx, s.ID, "news")
	wantCode(t, err, 1226, "The message stream for the provided 'ID' was not found.")
}
