package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"pennypost/internal/store"
)

const (
	noTokens = "No Account or Server API tokens were supplied in the HTTP headers. Please add a header for either X-Postmark-Server-Token or X-Postmark-Account-Token."
	badToken = "The %s Token you provided in the X-Postmark-%[1]s-Token request header was invalid. Please verify that you are using a valid token."
	badTypes = "Content-Type and Accept headers must be set to application/json, text/json, or text/x-json."
)

func TestTokens(t *testing.T) {
	r, c := newShop(t)
	badServer, badAccount := fmt.Sprintf(badToken, "Server"), fmt.Sprintf(badToken, "Account")
	add := func(name string, values ...string) func(*http.Request) {
		return func(q *http.Request) {
			for _, v := range values {
				q.Header.Add(name, v)
			}
		}
	}
	tests := []struct {
		name, path string
		change     func(*http.Request)
		text       string // "": 200
	}{
		{"no header on a server call", "/server", nil, noTokens},
		{"no header on an account call", "/domains?count=1&offset=0", nil, noTokens},
		{"right server token", "/server", add(serverHeader, c.server.token), ""},
		{"server token in capitals", "/server", add(serverHeader, strings.ToUpper(c.server.token)), ""},
		{"header name in another case", "/server", add("x-postmark-server-token", c.server.token), ""},
		{"right account token", "/domains?count=1&offset=0", add(accountHeader, firstToken), ""},
		{"unknown server token", "/server", add(serverHeader, "33333333-3333-4333-8333-333333333333"), badServer},
		{"unknown account token", "/domains?count=1&offset=0", add(accountHeader, "33333333-3333-4333-8333-333333333333"), badAccount},
		{"account token in the server header", "/server", add(serverHeader, firstToken), badServer},
		{"server token in the account header", "/domains?count=1&offset=0", add(accountHeader, c.server.token), badAccount},
		{"account header alone on a server call", "/server", add(accountHeader, firstToken), badServer},
		{"server header alone on an account call", "/domains?count=1&offset=0", add(serverHeader, c.server.token), badAccount},
		{"operator token on a server call", "/server", add(serverHeader, operatorToken), badServer},
		{"operator header on a server call", "/server", add(operatorHeader, operatorToken), noTokens},
		{"empty token", "/server", add(serverHeader, ""), badServer},
		{"blank token", "/server", add(serverHeader, "   "), badServer},
		{"token with something behind", "/server", add(serverHeader, c.server.token+"x"), badServer},
		{"two headers", "/server", add(serverHeader, c.server.token, c.server.token), badServer},
		{"token in the query string", "/server?X-Postmark-Server-Token=" + c.server.token, nil, noTokens},
		{"10 KB of token", "/server", add(serverHeader, strings.Repeat("a", 10_000)), badServer},
		{"the test token where nothing is sent", "/server", add(serverHeader, testToken), badServer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := r.request(t, who{}, get, tt.path, "", tt.change)
			if tt.text == "" {
				got.ok()
				return
			}
			got.refused(http.StatusUnauthorized, 10, tt.text)
		})
	}
	for _, secret := range []string{firstToken, c.server.token, operatorToken} {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("the log has the token %s", secret)
		}
	}
}

// A token that was revoked opens nothing once the call has returned.
func TestRevokedToken(t *testing.T) {
	r := newRig(t)
	c := r.newServer(t, accountOf(firstToken), `{"Name": "Old"}`)
	r.call(t, c.server, get, "/server", "").ok()
	r.call(t, c.account, del, "/servers/"+c.id, "").ok()
	r.call(t, c.server, get, "/server", "").refused(http.StatusUnauthorized, 10, fmt.Sprintf(badToken, "Server"))
}

func TestRouting(t *testing.T) {
	r, c := newShop(t)
	tests := []struct {
		name         string
		by           who
		method, path string
		status, code int
		text, allow  string
	}{
		{"unknown path", c.server, get, "/nope", 404, 404, "The requested resource was not found.", ""},
		{"unknown path without a token", who{}, get, "/nope", 404, 404, "The requested resource was not found.", ""},
		{"not built yet", c.server, get, "/data-removals", 404, 404, "The requested resource was not found.", ""},
		{"root", c.server, get, "/", 404, 404, "The requested resource was not found.", ""},
		{"operator's path on the customers' listener", c.server, get, "/operator/accounts", 404, 404, "The requested resource was not found.", ""},
		{"metrics on a public listener", c.server, get, "/metrics", 404, 404, "The requested resource was not found.", ""},
		{"method that the path has not", c.server, get, "/email", 405, 404, "The method is not allowed here. Allowed: POST.", "POST"},
		{"method before token", who{}, del, "/server", 405, 404, "The method is not allowed here. Allowed: GET, PUT.", "GET, PUT"},
		{"OPTIONS", c.server, http.MethodOptions, "/server", 405, 404, "The method is not allowed here. Allowed: GET, PUT.", "GET, PUT"},
		{"TRACE", c.server, http.MethodTrace, "/server", 405, 404, "The method is not allowed here. Allowed: GET, PUT.", "GET, PUT"},
		{"path in capitals", c.server, get, "/SERVER", 200, 0, "", ""},
		{"trailing slash", c.server, get, "/server/", 200, 0, "", ""},
		{"trailing slash before a query", c.account, get, "/domains/?Count=5&OFFSET=0", 200, 0, "", ""},
		{"trailing slash on POST", c.server, post, "/email/", 422, 300, "Invalid 'From' value.", ""},
		{"verifyDKIM as one client writes it", c.account, put, "/domains/" + c.domain + "/verifyDKIM", 200, 0, "", ""},
		{"verifydkim in lower case", c.account, put, "/domains/" + c.domain + "/verifydkim", 200, 0, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := r.call(t, tt.by, tt.method, tt.path, "")
			if tt.status == http.StatusOK {
				got.ok()
				return
			}
			got.refused(tt.status, tt.code, tt.text)
			if allow := got.header.Get("Allow"); allow != tt.allow {
				t.Errorf("Allow = %q, want %q", allow, tt.allow)
			}
		})
	}
}

func TestHeadIsGetWithoutBody(t *testing.T) {
	r := newRig(t)
	c := r.newServer(t, accountOf(firstToken), `{"Name": "A"}`)
	if got := r.call(t, c.server, http.MethodHead, "/server", ""); got.status != 200 || got.body != "" {
		t.Errorf("got %d %q, want 200 without a body", got.status, got.body)
	}
}

func TestAnswerHeaders(t *testing.T) {
	r := newRig(t)
	c := r.newServer(t, accountOf(firstToken), `{"Name": "A"}`)
	for _, got := range []answer{r.call(t, c.server, get, "/server", ""), r.call(t, who{}, get, "/server", ""), r.call(t, who{}, get, "/nope", "")} {
		for name, want := range map[string]string{
			"Content-Type": "application/json; charset=utf-8", "X-Content-Type-Options": "nosniff",
			"Cache-Control": "private, no-store", "Access-Control-Allow-Origin": "", "Set-Cookie": "",
		} {
			if v := got.header.Get(name); v != want {
				t.Errorf("%s: %s = %q, want %q", got.what, name, v, want)
			}
		}
		if id := got.header.Get("X-Request-Id"); len(id) != 24 {
			t.Errorf("%s: X-Request-Id = %q", got.what, id)
		}
	}
}

func TestContentHeaders(t *testing.T) {
	r, c := newShop(t)
	set := func(name, value string) func(*http.Request) {
		return func(q *http.Request) {
			q.Header.Del(name)
			if value != "" {
				q.Header.Set(name, value)
			}
		}
	}
	tests := []struct {
		name, method, path, body string
		change                   func(*http.Request)
		status                   int
	}{
		{"no Accept", post, "/email", "{}", set("Accept", ""), 415},
		{"Accept HTML", get, "/server", "", set("Accept", "text/html"), 415},
		{"no Content-Type", post, "/email", "{}", set("Content-Type", ""), 415},
		{"form", post, "/email", "{}", set("Content-Type", "application/x-www-form-urlencoded"), 415},
		{"multipart", post, "/email", "{}", set("Content-Type", "multipart/form-data; boundary=x"), 415},
		{"plain text", put, "/server", "{}", set("Content-Type", "text/plain"), 415},
		{"compressed body", post, "/email", "{}", set("Content-Encoding", "gzip"), 415},
		{"Content-Type with charset", post, "/email", "{}", set("Content-Type", "application/json; charset=utf-8"), 422},
		{"Content-Type on GET", get, "/server", "", set("Content-Type", "application/json"), 200},
		{"any Accept", get, "/server", "", set("Accept", "*/*"), 200},
		{"no Content-Type and no body", put, "/server", "", nil, 422},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := r.request(t, c.server, tt.method, tt.path, tt.body, tt.change)
			if got.status != tt.status {
				t.Fatalf("got %d %s, want %d", got.status, got.body, tt.status)
			}
			switch {
			case tt.status != 415:
			case strings.HasPrefix(tt.name, "compressed"):
				got.refused(415, 409, "Content-Encoding is not supported for requests.")
			default:
				got.refused(415, 409, badTypes)
			}
		})
	}
	t.Run("token comes before content headers", func(t *testing.T) {
		r.request(t, who{}, post, "/email", "{}", set("Accept", "")).refused(401, 10, noTokens)
	})
}

// Bodies that say nothing are as good as none on calls that take none
// (contract/clients.md 1.8).
func TestNullBodies(t *testing.T) {
	r, c := newShop(t)
	for _, body := range []string{"", "null", "{}"} {
		r.call(t, c.server, get, "/server", body).ok()
		r.call(t, c.account, put, "/domains/"+c.domain+"/verifyDkim", body).ok()
		r.call(t, c.account, post, "/domains/"+c.domain+"/verifyspf", body).ok()
	}
	id := r.newServer(t, c.account, `{"Name": "Gone"}`).id
	r.call(t, c.account, del, "/servers/"+id, "null").ok()
}

func TestBodySizes(t *testing.T) {
	r, c := newShop(t)
	pad := func(open, end string, n int) string {
		return open + strings.Repeat(" ", n-len(open)-len(end)) + end
	}
	limit, batch := int(r.api.conf.BodyLimit), int(r.api.conf.BatchLimit)
	tests := []struct {
		name, path, body string
		status           int
		text             string
	}{
		{"message at the limit", "/email", pad("{", "}", limit), 422, ""},
		{"message over the limit", "/email", pad("{", "}", limit+1), 413, "The request is too large: the limit is 204800 bytes."},
		{"batch at the limit", "/email/batch", pad("[", "]", batch), 200, ""},
		{"batch over the limit", "/email/batch", pad("[", "]", batch+1), 413, "The request is too large: the limit is 409600 bytes."},
		{"settings over their limit", "/smtp-tokens", pad("{", "}", settingsLimit+1), 413, "The request is too large: the limit is 1048576 bytes."},
	}
	for _, tt := range tests {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, chunked %v", tt.name, chunked), func(t *testing.T) {
				got := r.request(t, c.server, post, tt.path, tt.body, func(q *http.Request) {
					if chunked {
						q.ContentLength = -1
						q.Body = io.NopCloser(strings.NewReader(tt.body))
					}
				})
				if tt.status == 413 {
					got.refused(413, 300, tt.text)
				} else if got.status != tt.status {
					t.Errorf("got %d %.200s, want %d", got.status, got.body, tt.status)
				}
			})
		}
	}
	t.Run("the contract's limits are the defaults", func(t *testing.T) {
		conf := r.api.conf
		conf.BodyLimit, conf.BatchLimit = 0, 0
		a, err := New(conf)
		if err != nil {
			t.Fatal(err)
		}
		if a.conf.BodyLimit != 10485760 || a.conf.BatchLimit != 52428800 {
			t.Errorf("limits are %d and %d", a.conf.BodyLimit, a.conf.BatchLimit)
		}
	})
}

// A closed store is a 503 that says nothing about it.
func TestStoreAway(t *testing.T) {
	r, c := newShop(t)
	if err := r.st.Close(); err != nil {
		t.Fatal(err)
	}
	got := r.call(t, c.server, post, "/email", `{"From": "a@acme.test", "To": "b@shop.test", "TextBody": "x"}`)
	got.refused(503, 100, "The service is not available at the moment. Please try again later.")
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// Clients repeat after a 503. Where the message may be stored it is never one,
// whatever else the error says.
func TestUnknownOutcomeIsNoReasonToRepeat(t *testing.T) {
	r, c := newShop(t)
	for name, tt := range map[string]struct {
		err    error
		status int
	}{
		"nothing was stored":                 {fmt.Errorf("store: %w", store.ErrUnavailable), 503},
		"the time was up before":             {fmt.Errorf("store: %w", context.DeadlineExceeded), 503},
		"outcome of the commit unknown":      {fmt.Errorf("store: %w", store.ErrUnknown), 500},
		"unknown, as the time was up":        {fmt.Errorf("%w: %w", store.ErrUnknown, context.DeadlineExceeded), 500},
		"unknown, as the database went away": {fmt.Errorf("%w: %w", store.ErrUnknown, store.ErrUnavailable), 500},
	} {
		t.Run(name, func(t *testing.T) {
			tree := newTree([]route{{
				method: get, path: "/x", opener: byServer,
				handle: func(context.Context, *call) (any, error) { return nil, tt.err },
			}})
			url := listen(t, r.api.frame(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.api.serve(tree, w, q) })))
			before := r.url
			r.url = url
			got := r.call(t, c.server, get, "/x", "")
			r.url = before
			if got.status != tt.status || strings.Contains(got.body, "commit") {
				t.Errorf("got %d %s, want %d", got.status, got.body, tt.status)
			}
		})
	}
}

// Ids that are no ids name nothing, whatever they look like.
func TestOddIDs(t *testing.T) {
	r, c := newShop(t)
	absent := map[string]answer{
		"/servers/":  r.call(t, c.account, get, "/servers/999999", ""),
		"/domains/":  r.call(t, c.account, get, "/domains/999999", ""),
		"/senders/":  r.call(t, c.account, get, "/senders/999999", ""),
		"/servers//": r.call(t, c.account, get, "/servers/999999/smtp-tokens", ""),
	}
	for _, id := range []string{
		"0", "-1", "1e3", "0x1", "2147483648", "9223372036854775808", "99999999999999999999", "abc", "%27%20OR%201=1--", "%25", "%00", "%ff", "+1", "1%2F2", "%2e%2e",
		strings.Repeat("9", 500),
	} {
		for prefix, want := range absent {
			path := prefix + id
			if prefix == "/servers//" {
				path = "/servers/" + id + "/smtp-tokens"
			}
			if got := r.call(t, c.account, get, path, ""); got.status != want.status || got.body != want.body {
				t.Errorf("%s: got %d %s, want %d %s", path, got.status, got.body, want.status, want.body)
			}
		}
		for _, call := range []string{"details", "dump", "explain"} {
			r.call(t, c.server, get, "/messages/outbound/"+id+"/"+call, "").refused(422, 701, "This message was not found.")
		}
		r.call(t, c.server, get, "/message-streams/"+id, "").refused(422, 1226, "The message stream for the provided 'ID' was not found.")
	}
}

func TestPaging(t *testing.T) {
	r, c := newShop(t)
	const (
		badCount  = "Parameter 'count' is required and must be an integer from 1 to 500."
		badOffset = "Parameter 'offset' is required and must be an integer of 0 or more."
	)
	tests := []struct {
		name, query, text string
	}{
		{"whole first page", "count=500&offset=0", ""},
		{"names in another case", "COUNT=1&Offset=0", ""},
		{"far behind the end", "count=1&offset=9999", ""},
		{"no count", "offset=0", badCount},
		{"no offset", "count=1", badOffset},
		{"neither", "", badCount},
		{"count 0", "count=0&offset=0", badCount},
		{"count −1", "count=-1&offset=0", badCount},
		{"count 501", "count=501&offset=0", badCount},
		{"huge count", "count=1000000000000000000000&offset=0", badCount},
		{"count is no number", "count=a&offset=0", badCount},
		{"count with a fraction", "count=1.5&offset=0", badCount},
		{"offset −1", "count=1&offset=-1", badOffset},
		{"huge offset", "count=1&offset=99999999999", badOffset},
		{"offset is no number", "count=1&offset=x", badOffset},
	}
	for _, list := range []struct {
		path string
		by   who
		code int
	}{{"/servers", c.account, 600}, {"/domains", c.account, 500}, {"/senders", c.account, 500}, {"/messages/outbound", c.server, 700}} {
		for _, tt := range tests {
			t.Run(list.path+" "+tt.name, func(t *testing.T) {
				got := r.call(t, list.by, get, list.path+"?"+tt.query, "")
				if tt.text == "" {
					got.ok()
					return
				}
				got.refused(422, list.code, tt.text)
			})
		}
	}
	t.Run("a message search ends at 10,000", func(t *testing.T) {
		r.call(t, c.server, get, "/messages/outbound?count=1&offset=9999", "").ok()
		r.call(t, c.server, get, "/messages/outbound?count=2&offset=9999", "").
			refused(422, 700, "Parameters 'count' and 'offset' must not exceed 10000 together.")
	})
}
