package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Every call of a server says in the one table what its token must be for.
func TestEveryRouteHasANeed(t *testing.T) {
	table := needs()
	a := &API{}
	for _, rt := range a.routes() {
		if rt.opener != byServer {
			continue
		}
		n, ok := table[rt.method+" "+shape(rt.path)]
		switch {
		case !ok:
			t.Errorf("%s %s is not in the table of needs", rt.method, rt.path)
		case rt.mail && n != needSend:
			t.Errorf("%s %s lets mail in and needs %d", rt.method, rt.path, n)
		case !rt.mail && rt.method != get && n != needChange && shape(rt.path) != "/templates/validate":
			t.Errorf("%s %s changes something and needs %d", rt.method, rt.path, n)
		}
	}
	for key := range table {
		if shape(key) != strings.Replace(key, strings.Fields(key)[0], strings.ToLower(strings.Fields(key)[0]), 1) {
			t.Errorf("%s is not in the form of the table", key)
		}
	}
}

// newToken makes a token of a server.
func (r *rig) newToken(t *testing.T, c *tenant, body string) who {
	t.Helper()
	return server(r.call(t, c.account, post, "/servers/"+c.id+"/api-tokens", body).ok().text(t, "Token"))
}

func TestScopes(t *testing.T) {
	r, c := newShop(t)
	sent := r.call(t, c.server, post, "/email", message("")).ok().text(t, "MessageID")
	tokens := map[string]who{
		"full": r.newToken(t, c, `{"Label": "a", "Scope": "Full"}`), "send-only": r.newToken(t, c, `{"Scope": "send-only"}`),
		"read-only": r.newToken(t, c, `{"Scope": "read-only"}`), "bound": r.newToken(t, c, `{"MessageStream": "broadcast"}`),
		"bound sender": r.newToken(t, c, `{"Scope": "send-only", "MessageStream": "broadcast"}`),
	}
	all := []string{"bound", "bound sender", "full", "read-only", "send-only"}
	tests := []struct {
		method, path, body string
		allowed            []string
	}{
		{post, "/email", message(""), []string{"bound", "bound sender", "full", "send-only"}},
		{post, "/email/batch", "[" + message("") + "]", []string{"bound", "bound sender", "full", "send-only"}},
		{get, "/server", "", all},
		{get, "/message-streams", "", all},
		{put, "/server", `{"Color": "red"}`, []string{"full"}},
		{get, "/messages/outbound?count=1&offset=0", "", []string{"bound", "full", "read-only"}},
		{get, "/messages/outbound/" + sent + "/details", "", []string{"bound", "full", "read-only"}},
		{get, "/messages/outbound/" + sent + "/dump", "", []string{"bound", "full", "read-only"}},
		{get, "/messages/outbound/" + sent + "/explain", "", []string{"bound", "full", "read-only"}},
		{get, "/smtp-tokens", "", []string{"bound", "full", "read-only"}},
		{post, "/smtp-tokens", `{"Label": "x"}`, []string{"full"}},
	}
	for _, tt := range tests {
		var got []string
		for name, by := range tokens {
			a := r.call(t, by, tt.method, tt.path, tt.body)
			switch a.status {
			case http.StatusOK:
				got = append(got, name)
			case http.StatusUnauthorized:
				a.refusedWith(401, 10, "does not allow this request: its scope is ")
			default:
				t.Errorf("%s: %s %s: %d %s", name, tt.method, tt.path, a.status, a.body)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(tt.allowed, got); diff != "" {
			t.Errorf("%s %s -want +got:\n%s", tt.method, tt.path, diff)
		}
	}
	r.call(t, tokens["bound"], put, "/server", `{}`).refused(401, 10, "The Server Token you provided in the X-Postmark-Server-Token request header does not allow this request: its scope is full, bound to the stream 'broadcast'.")
}

// A limited token does not learn of others (GET /server shows tokens), and the
// server object shows none that is limited: clients take the first.
func TestLimitedTokensSeeNoOthers(t *testing.T) {
	r, c := newShop(t)
	r.call(t, c.server, put, "/server", `{"BounceHookUrl": "https://u:secret@shop.example/b", "OpenHookUrl": "https://shop.example/o"}`).ok()
	for _, body := range []string{`{"Scope": "read-only"}`, `{"Scope": "send-only"}`, `{"MessageStream": "outbound"}`} {
		by := r.newToken(t, c, body)
		by.token = strings.ToUpper(by.token)
		got := r.call(t, by, get, "/server", "").ok()
		if diff := cmp.Diff([]any{strings.ToLower(by.token)}, got["ApiTokens"]); diff != "" {
			t.Errorf("%s: ApiTokens -want +got:\n%s", body, diff)
		}
		if got["BounceHookUrl"] != "https://shop.example/b" || got["OpenHookUrl"] != "https://shop.example/o" {
			t.Errorf("%s: hooks are %v, %v", body, got["BounceHookUrl"], got["OpenHookUrl"])
		}
	}
	for _, got := range []object{
		r.call(t, c.server, get, "/server", "").ok(), r.call(t, c.account, get, "/servers/"+c.id, "").ok(),
		r.call(t, c.server, put, "/server", `{"Color": "red"}`).ok(),
	} {
		if diff := cmp.Diff([]any{c.server.token}, got["ApiTokens"]); diff != "" || got["BounceHookUrl"] != "https://u:secret@shop.example/b" {
			t.Errorf("%v, -want +got:\n%s", got["BounceHookUrl"], diff)
		}
	}
	list := r.call(t, c.account, get, "/servers/"+c.id+"/api-tokens", "").ok().list(t, "ApiTokens")
	var shown []string
	for _, one := range list {
		shown = append(shown, fmt.Sprint(one["Scope"], " ", one["MessageStream"]))
	}
	if diff := cmp.Diff([]string{"full <nil>", "read-only <nil>", "send-only <nil>", "full outbound"}, shown); diff != "" {
		t.Errorf("list -want +got:\n%s", diff)
	}
}

func TestBoundTokenSendsByItsStream(t *testing.T) {
	r, c := newShop(t)
	by := r.newToken(t, c, `{"Scope": "send-only", "MessageStream": "broadcast"}`)
	for _, fields := range []string{``, `"MessageStream": "broadcast"`, `"MessageStream": ""`} {
		m, _ := r.stored(t, c.number, r.call(t, by, post, "/email", message(fields)).ok())
		if m.Stream != "broadcast" {
			t.Errorf("%s went by %s", fields, m.Stream)
		}
	}
	const text = "The stream provided: 'outbound' cannot be used with this token, which is bound to the stream 'broadcast'."
	r.call(t, by, post, "/email", message(`"MessageStream": "outbound"`)).refused(422, 1235, text)
	got := r.call(t, by, post, "/email/batch", "["+message(`"MessageStream": "outbound"`)+","+message("")+"]").items()
	if got[0]["ErrorCode"] != 1235.0 || got[1]["ErrorCode"] != 0.0 {
		t.Errorf("batch: %v", got)
	}
}

func TestNewTokenIsChecked(t *testing.T) {
	r, c := newShop(t)
	path := "/servers/" + c.id + "/api-tokens"
	for _, tt := range []struct {
		body string
		code int
		text string
	}{
		{`{"Scope": "admin"}`, 300, "The 'Scope' must be full, send-only or read-only."},
		{`{"Scope": "read-only", "MessageStream": "outbound"}`, 300, "A token with the 'Scope' read-only sends nothing and cannot be bound to a 'MessageStream'."},
		{`{"MessageStream": "nothing"}`, 1235, "The stream provided: 'nothing' does not exist on this server."},
		{`{"MessageStream": "inbound"}`, 1236, "Sending is not supported for this stream type."},
	} {
		r.call(t, c.account, post, path, tt.body).refused(422, tt.code, tt.text)
	}
	r.call(t, c.account, post, path, `{"Scope": 1}`).refusedWith(422, 403, "Scope")
	r.call(t, c.account, post, path, `{"MessageStream": "a\u0000b"}`).refusedWith(422, 1235, "")
	r.call(t, c.account, post, "/api-tokens", `{"Scope": "full"}`).refused(422, 300, "Only tokens of a server have a 'Scope' or a 'MessageStream'.")
	if got := r.call(t, c.account, get, path, "").ok()["TotalCount"]; got != json.Number("1") {
		t.Errorf("%v tokens, want the first alone", got)
	}
}

// common.md §6.2, account.md §2: a server takes mail over HTTP from the
// addresses on its list; an empty list has all.
func TestAllowedIPs(t *testing.T) {
	r, c := newShop(t)
	r.trust(t, "127.0.0.0/8")
	from := func(addr string, method, path, body string) answer {
		return r.request(t, c.server, method, path, body, func(req *http.Request) { req.Header.Set("X-Forwarded-For", addr) })
	}
	allow := func(list string) object {
		t.Helper()
		return from("192.0.2.99", put, "/server", `{"AllowedIps": `+list+`}`).ok()
	}
	set := allow(`["203.0.113.7", "198.51.100.9/24", "2001:db8:1::/48", "::ffff:192.0.2.1", "203.0.113.7/32", " 2001:db8::5 "]`)
	want := []any{"203.0.113.7", "198.51.100.0/24", "2001:db8:1::/48", "192.0.2.1", "2001:db8::5"}
	for _, got := range []object{set, r.call(t, c.account, get, "/servers/"+c.id, "").ok(), r.call(t, c.server, put, "/server", `{"AllowedIps": null, "Color": "red"}`).ok()} {
		if diff := cmp.Diff(want, got["AllowedIps"]); diff != "" {
			t.Errorf("AllowedIps -want +got:\n%s", diff)
		}
	}
	for addr, ok := range map[string]bool{
		"203.0.113.7": true, "203.0.113.8": false, "198.51.100.255": true, "198.51.101.1": false, "192.0.2.1": true, "192.0.2.2": false,
		"2001:db8:1:ffff::1": true, "2001:db8:2::1": false, "2001:db8::5": true, "::ffff:203.0.113.7": true,
	} {
		for path, body := range map[string]string{"/email": message(""), "/email/batch": "[" + message("") + "]"} {
			got := from(addr, post, path, body)
			if ok && got.status != http.StatusOK {
				t.Errorf("%s from %s: got %d %s", path, addr, got.status, got.body)
			}
			if !ok {
				got.refused(422, 1480, "You are not authorized to send emails from your current IP address: '"+addr+"'.")
			}
		}
	}
	from("192.0.2.99", post, "/email", "{").refusedWith(422, 1480, "'192.0.2.99'") // before the body is looked at
	// Other calls are not concerned, so that nobody shuts himself out.
	from("192.0.2.99", get, "/messages/outbound?count=1&offset=0", "").ok()
	if got := allow(`[]`)["AllowedIps"]; len(got.([]any)) != 0 {
		t.Errorf("emptied list is %v", got)
	}
	from("192.0.2.99", post, "/email", message("")).ok()

	made := r.call(t, c.account, post, "/servers", `{"Name": "Narrow", "AllowedIps": ["203.0.113.0/24"]}`).ok()
	if diff := cmp.Diff([]any{"203.0.113.0/24"}, made["AllowedIps"]); diff != "" {
		t.Errorf("at the start -want +got:\n%s", diff)
	}
}

func TestAllowedIPsAreChecked(t *testing.T) {
	r, c := newShop(t)
	for _, bad := range []string{"", "shop.example", "1.2.3", "1.2.3.4/33", "1.2.3.4-1.2.3.9", "fe80::1%eth0", "::/129", "*"} {
		list, err := json.Marshal([]string{bad})
		if err != nil {
			t.Fatal(err)
		}
		r.call(t, c.server, put, "/server", `{"AllowedIps": `+string(list)+`}`).
			refused(422, 615, "The supplied 'AllowedIps' option is not valid: '"+bad+"' is neither an IP address nor a CIDR.")
	}
	r.call(t, c.server, put, "/server", `{"AllowedIps": "1.2.3.4"}`).refused(422, 403, "Invalid request field(s): 'AllowedIps'.")
	r.call(t, c.server, put, "/server", `{"AllowedIps": [1]}`).refused(422, 403, "Invalid request field(s): 'AllowedIps'.")
	var many []string
	for n := range 101 {
		many = append(many, fmt.Sprintf(`"192.0.2.%d"`, n))
	}
	r.call(t, c.server, put, "/server", `{"AllowedIps": [`+strings.Join(many, ",")+`]}`).
		refused(422, 615, "The supplied 'AllowedIps' option is not valid: it is limited to 100 entries.")
	r.lenient = true // "" is absence, which no schema says
	got := r.call(t, c.server, put, "/server", `{"TrackOpens": "", "AllowedIps": [`+strings.Join(many[:100], ",")+`]}`).ok()["AllowedIps"]
	if len(got.([]any)) != 100 {
		t.Errorf("%v, want 100 entries", got)
	}
	if got := r.call(t, c.server, put, "/server", `{"TrackOpens": "", "AllowedIps": []}`).ok()["AllowedIps"]; len(got.([]any)) != 0 {
		t.Errorf("%v, want none", got)
	}
}

// again serves the API with other settings.
func (r *rig) again(t *testing.T, change func(*Config)) {
	t.Helper()
	conf := r.api.conf
	change(&conf)
	a, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	r.api = a
	r.url, r.opURL = listen(t, a.Handler()), listen(t, a.OperatorHandler())
}

// trust believes X-Forwarded-For of proxies.
func (r *rig) trust(t *testing.T, proxy string) {
	t.Helper()
	r.again(t, func(c *Config) { c.Trusted = []netip.Prefix{netip.MustParsePrefix(proxy)} })
}

// Each token has its rate; one call too many is a 429 before anything else is
// looked at (contract/clients.md 1.13).
func TestRateLimit(t *testing.T) {
	r, c := newShop(t)
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	r.again(t, func(c *Config) {
		c.Rate, c.Now = 1, func() time.Time { return time.Unix(0, now.Load()) }
	})
	limits := func(a answer) string { return a.header.Get("RateLimit-Policy") + " " + a.header.Get("RateLimit") }
	for n := range 10 {
		got := r.call(t, c.server, post, "/email", message(""))
		got.ok()
		if want := fmt.Sprintf(`"token";q=10;w=10 "token";r=%d;t=%d`, 9-n, n+1); limits(got) != want {
			t.Errorf("call %d: %s, want %s", n, limits(got), want)
		}
		if got.header.Get("Retry-After") != "" {
			t.Errorf("call %d: Retry-After", n)
		}
	}
	over := r.call(t, c.server, post, "/email", "{")
	over.refusedWith(429, 429, "Too many requests")
	if over.header.Get("Retry-After") != "1" || limits(over) != `"token";q=10;w=10 "token";r=0;t=10` {
		t.Errorf("over: Retry-After %q, %s", over.header.Get("Retry-After"), limits(over))
	}
	// Others are not concerned.
	other := r.newToken(t, c, `{}`)
	if got := r.call(t, other, get, "/server", ""); got.status != 200 || !strings.Contains(limits(got), "r=9;") {
		t.Errorf("another token: %d %s", got.status, limits(got))
	}
	r.call(t, server(testToken), post, "/email", message("")).ok()
	if got := r.call(t, server("6f5a3a1c-7d10-4a2c-9a0e-5b0c9f623a6f"), get, "/server", ""); got.status != 401 || strings.TrimSpace(limits(got)) != "" {
		t.Errorf("an unknown token: %d %s", got.status, limits(got))
	}
	for range 20 {
		r.call(t, operator(), get, "/operator/accounts", "").ok()
	}
	now.Add(int64(2 * time.Second))
	for n, want := range []int{200, 200, 429} {
		if got := r.call(t, c.server, get, "/server", ""); got.status != want {
			t.Errorf("two seconds later, call %d: %d %s, want %d", n, got.status, limits(got), want)
		}
	}
	r.again(t, func(c *Config) { c.Rate = 0 })
	for range 30 {
		if got := r.call(t, c.server, get, "/server", ""); got.status != 200 || strings.TrimSpace(limits(got)) != "" {
			t.Fatalf("without a limit: %d %s", got.status, limits(got))
		}
	}
}

// A request that was refused for its rate frees its key.
func TestRateLimitAndKeys(t *testing.T) {
	r, c := newShop(t)
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	r.again(t, func(c *Config) {
		c.Rate, c.Now = 1, func() time.Time { return time.Unix(0, now.Load()) }
	})
	for n := range 11 {
		got := r.keyed(t, c.server, "/email", "k"+strconv.Itoa(n), message(""))
		if want := map[bool]int{true: 200, false: 429}[n < 10]; got.status != want {
			t.Fatalf("call %d: %d %s, want %d", n, got.status, got.body, want)
		}
	}
	now.Add(int64(5 * time.Second))
	if got := r.keyed(t, c.server, "/email", "k10", message("")); got.status != 200 || got.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("later: %d %s", got.status, got.body)
	}
}
