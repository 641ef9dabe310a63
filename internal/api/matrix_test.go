package api

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/store"
)

// things are the ids of one tenant's belongings, by the names that the paths
// of the route table have for them.
type things struct {
	tenant
	ids map[string]string
}

// own gives a tenant one of everything; each text of it has the canary.
func (r *rig) own(t *testing.T, c *tenant, domain, canary string) *things {
	t.Helper()
	o := &things{tenant: *c, ids: map[string]string{"server": c.id, "domain": c.domain, "stream": "stream-" + canary}}
	r.call(t, c.account, put, "/servers/"+c.id, `{"Name": "`+canary+` server"}`).ok()
	r.addStream(t, c.number, pennypost.StreamID("stream-"+canary))
	o.ids["message"] = r.call(t, c.server, post, "/email", `{"From": "ann@`+domain+`", "To": "`+canary+`@shop.test", "TextBody": "`+canary+`", "Subject": "`+canary+`", "Tag": "`+canary+`", "Metadata": {"k": "`+canary+`"}}`).ok().text(t, "MessageID")
	o.ids["token"] = r.call(t, c.server, post, "/smtp-tokens", `{"Label": "`+canary+`"}`).ok().id(t)
	o.ids["apitoken"] = r.call(t, c.account, post, "/servers/"+c.id+"/api-tokens", `{"Label": "`+canary+`"}`).ok().id(t)
	o.ids["accounttoken"] = r.call(t, c.account, post, "/api-tokens", `{"Label": "`+canary+`"}`).ok().id(t)
	r.call(t, c.server, post, "/message-streams/stream-"+canary+"/suppressions", `{"Suppressions": [{"EmailAddress": "`+canary+`@shop.test"}]}`).ok()
	o.ids["import"] = r.call(t, c.server, post, "/message-streams/stream-"+canary+"/suppressions/import", `["`+canary+`"]`).ok().id(t)
	o.ids["sender"] = r.call(t, c.account, post, "/senders", `{"FromEmail": "`+canary+`@`+domain+`", "Name": "`+canary+`"}`).ok().id(t)
	tpl := r.call(t, c.server, post, "/templates", `{"Name": "`+canary+`", "Alias": "`+canary+`", "Subject": "`+canary+`", "TextBody": "`+canary+`"}`).ok()
	o.ids["template"] = fmt.Sprint(tpl["TemplateId"])
	o.ids["bulk"] = r.call(t, c.server, post, "/email/bulk", `{"From": "ann@`+domain+`", "Subject": "`+canary+`", "TextBody": "`+canary+`", "Messages": [{"To": "`+canary+`@shop.test"}]}`).ok().text(t, "ID")
	return o
}

// absent are ids that never were.
var absent = map[string]string{
	"server": "888888", "domain": "888888", "sender": "888888", "token": "888888", "apitoken": "888888", "accounttoken": "888888",
	"import": "888888", "stream": "nowhere", "message": "00000000-0000-4000-8000-000000000000",
	"template": "888888", "bulk": "00000000-0000-4000-8000-000000000000",
}

var param = regexp.MustCompile(`\{(\w+)\}`)

// fill puts ids into the path of a route. The rows of the matrix are the names
// of the params: one without a row fails.
func fill(t *testing.T, r route, ids map[string]string, pick func(name string) map[string]string) string {
	t.Helper()
	return param.ReplaceAllStringFunc(r.path, func(p string) string {
		name := strings.Trim(p, "{}")
		key := name
		switch {
		case name == "token" && strings.HasPrefix(r.path, "/api-tokens"):
			key = "accounttoken"
		case name == "token" && strings.Contains(r.path, "/api-tokens/"):
			key = "apitoken"
		}
		from := ids
		if pick != nil {
			from = pick(name)
		}
		id, ok := from[key]
		if !ok {
			t.Fatalf("%s %s: the matrix has no row for {%s}", r.method, r.path, name)
		}
		return id
	})
}

// bodyFor is a body that changes something wherever the route takes one.
func bodyFor(r route) string {
	switch {
	case r.limit == 0:
		return ""
	case strings.HasPrefix(r.path, "/domains"):
		return `{"Name": "stolen.test", "ReturnPathDomain": null}`
	case strings.HasPrefix(r.path, "/senders"):
		return `{"FromEmail": "stolen@stolen.test", "Name": "stolen"}`
	case strings.Contains(r.path, "/suppressions"):
		return `{"Suppressions": [{"EmailAddress": "canaryforeign@shop.test"}, {"EmailAddress": "canarysibling@shop.test"}]}`
	case strings.HasSuffix(r.path, "/rotate"):
		return `{"OverlapSeconds": 3600}`
	}
	return `{"Name": "stolen", "Label": "stolen"}`
}

// snapshot is all that a tenant can read of its own.
func (r *rig) snapshot(t *testing.T, o *things) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, rt := range r.api.routes() {
		if rt.method != get {
			continue
		}
		by := o.account
		if rt.opener == byServer {
			by = o.server
		}
		path := fill(t, rt, o.ids, nil)
		got := r.call(t, by, get, path+"?count=100&offset=0", "")
		if got.status != 200 {
			t.Fatalf("%s: %d %s", path, got.status, got.body)
		}
		all[path] = got.body
	}
	return all
}

// What belongs to another is answered exactly as what does not exist, by every
// route, and nothing of it changes or shows.
func TestTenantMatrix(t *testing.T) {
	const mine, sibling, foreign = "canarymine", "canarysibling", "canaryforeign"
	r, first := newShop(t)
	own := r.own(t, first, "acme.test", mine)
	sister := *first // another server of the same account
	s := r.newServer(t, first.account, `{"Name": "Sister"}`)
	sister.server, sister.id, sister.number = s.server, s.id, s.number
	beside := r.own(t, &sister, "acme.test", sibling)
	other := r.own(t, r.tenant(t, r.second(t), "other.test"), "other.test", foreign)
	r.call(t, other.account, post, "/domains/"+other.domain+"/rotatedkim", "").ok()

	before := r.snapshot(t, other)
	beforeBeside := r.snapshot(t, beside)
	for _, rt := range r.api.routes() {
		if !strings.Contains(rt.path, "{") {
			continue
		}
		by := own.account
		if rt.opener == byServer {
			by = own.server
		}
		gone := r.call(t, by, rt.method, fill(t, rt, absent, nil), bodyFor(rt))
		if gone.status < 400 {
			t.Errorf("%s %s: an absent id got %d %s", rt.method, rt.path, gone.status, gone.body)
		}
		compare := func(what, path string, want answer) {
			t.Helper()
			if got := r.call(t, by, rt.method, path, bodyFor(rt)); got.status != want.status || got.body != want.body {
				t.Errorf("%s %s, %s: got %d %s; as absent would be %d %s", rt.method, rt.path, what, got.status, got.body, want.status, want.body)
			}
		}
		compare("of another account", fill(t, rt, other.ids, nil), gone)
		if rt.opener == byServer {
			compare("of another server", fill(t, rt, beside.ids, nil), gone)
		}
		if names := param.FindAllString(rt.path, -1); len(names) == 2 {
			outer := strings.Trim(names[0], "{}") // a server, or a stream
			mixed := func(server, rest map[string]string) string {
				return fill(t, rt, nil, func(name string) map[string]string {
					if name == outer {
						return server
					}
					return rest
				})
			}
			want := r.call(t, by, rt.method, mixed(own.ids, absent), bodyFor(rt))
			compare("own server, thing of another account", mixed(own.ids, other.ids), want)
			compare("own server, thing of its sister", mixed(own.ids, beside.ids), want)
			compare("server of another account, own thing", mixed(other.ids, own.ids), gone)
		}
	}
	if diff := cmp.Diff(before, r.snapshot(t, other)); diff != "" {
		t.Errorf("the other account's things changed -before +after:\n%s", diff)
	}
	if diff := cmp.Diff(beforeBeside, r.snapshot(t, beside)); diff != "" {
		t.Errorf("the sister server's things changed -before +after:\n%s", diff)
	}
	for path, body := range r.snapshot(t, own) {
		if strings.Contains(body, foreign) || strings.Contains(body, "other.test") {
			t.Errorf("%s shows what is the other account's: %s", path, body)
		}
		if strings.Contains(body, sibling) && !strings.HasPrefix(path, "/servers") && !strings.HasPrefix(path, "/senders") && !strings.HasPrefix(path, "/api-tokens") {
			t.Errorf("%s shows what is the sister server's: %s", path, body)
		}
	}
}

// Ids inside bodies and queries are the caller's own too.
func TestForeignIDsInside(t *testing.T) {
	r, c := newShop(t)
	other := r.tenant(t, r.second(t), "other.test")
	r.addStream(t, other.number, "theirs")
	for _, tt := range []struct{ name, method, path, theirs, nobodys string }{
		{"stream of a message", post, "/email", message(`"MessageStream": "theirs"`), message(`"MessageStream": "nobody"`)},
		{"stream of an SMTP token", post, "/smtp-tokens", `{"Label": "a", "MessageStream": "theirs"}`, `{"Label": "a", "MessageStream": "nobody"}`},
	} {
		want := r.call(t, c.server, tt.method, tt.path, tt.nobodys)
		got := r.call(t, c.server, tt.method, tt.path, tt.theirs)
		if got.status != want.status || strings.ReplaceAll(got.body, "theirs", "nobody") != want.body {
			t.Errorf("%s: got %d %s, as absent would be %d %s", tt.name, got.status, got.body, want.status, want.body)
		}
	}
	got, want := r.call(t, c.server, get, "/messages/outbound?count=1&offset=0&messagestream=theirs", ""), r.call(t, c.server, get, "/messages/outbound?count=1&offset=0&messagestream=nobody", "")
	if got.status != want.status || got.body != want.body {
		t.Errorf("stream of a search: got %d %s, as absent would be %d %s", got.status, got.body, want.status, want.body)
	}
}

// A server's suppressions and streams are its own also within one account.
func TestSisterServersAreApart(t *testing.T) {
	r, c := newShop(t)
	sister := r.newServer(t, c.account, `{"Name": "Sister"}`)
	r.suppress(t, sister.number, "outbound", "bob@shop.test")
	if got := r.call(t, c.server, post, "/email", message("")).ok(); got["Message"] != "OK" {
		t.Errorf("suppressed by its sister's list: %v", got)
	}
	r.call(t, sister.server, post, "/email", message("")).refused(422, 406, fmt.Sprintf(inactiveOne, "bob@shop.test"))
	err := r.st.View(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Suppression(t.Context(), c.number, "outbound", "bob@shop.test")
		if err == nil {
			t.Error("the list is shared")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
