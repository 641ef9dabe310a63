package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
)

func TestFindRoute(t *testing.T) {
	a := &API{}
	tree := newTree(a.routes())
	tests := []struct {
		method, path string
		route        string // path of the table; "": 404; "405 …": methods allowed
		ids          []string
	}{
		{get, "/server", "/server", nil},
		{get, "/SERVER", "/server", nil},
		{get, "/server/", "/server", nil},
		{http.MethodHead, "/server", "/server", nil},
		{put, "/domains/5/verifyDKIM", "/domains/{domain}/verifyDkim", []string{"5"}},
		{put, "/domains/5/verifydkim/", "/domains/{domain}/verifyDkim", []string{"5"}},
		{post, "/Senders/5/verifySpf", "/senders/{sender}/verifyspf", []string{"5"}},
		{get, "/message-streams/News-1", "/message-streams/{stream}", []string{"News-1"}},
		{get, "/message-streams/a%2Fb", "/message-streams/{stream}", []string{"a/b"}},
		{post, "/servers/7/smtp-tokens/9/rotate", "/servers/{server}/smtp-tokens/{token}/rotate", []string{"7", "9"}},
		{post, "/email/withTemplate/", "/email/withTemplate", nil},
		{post, "/email/batchwithtemplates", "/email/batchWithTemplates", nil},
		{put, "/templates/push", "/templates/push", nil},
		{post, "/templates/Validate", "/templates/validate", nil},
		{put, "/templates/Push-1", "/templates/{template}", []string{"Push-1"}},
		{get, "/messages/outbound/abc/details", "/messages/outbound/{message}/details", []string{"abc"}},

		{get, "/", "", nil},
		{get, "", "", nil},
		{get, "/server//", "", nil},
		{get, "//server", "", nil},
		{get, "/nope", "", nil},
		{get, "/server/5", "", nil},
		{get, "/messages", "", nil},
		{get, "/messages/outbound/opens", "", nil},
		{get, "/messages/outbound/" + strings.Repeat("a", 10_000) + "/details", "", nil},
		{get, "/../server", "", nil},
		{get, "/operator/accounts", "", nil},
		{post, "/email/withTemplat", "", nil},

		{del, "/email", "405 POST", nil},
		{get, "/email", "405 POST", nil},
		{http.MethodOptions, "/server", "405 GET, PUT", nil},
		{http.MethodTrace, "/server", "405 GET, PUT", nil},
		{http.MethodPatch, "/message-streams/outbound", "405 GET", nil},
		{"get", "/server", "405 GET, PUT", nil},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path[:min(len(tt.path), 60)], func(t *testing.T) {
			u := &url.URL{Path: tt.path}
			if p, err := url.PathUnescape(tt.path); err == nil && p != tt.path {
				u = &url.URL{Path: p, RawPath: tt.path}
			}
			rt, ids, err := tree.find(u, tt.method)
			var refused *pennypost.Error
			var method *methodError
			got := ""
			switch {
			case errors.As(err, &method):
				got = "405 " + method.allow
			case errors.As(err, &refused):
				if refused.Status != http.StatusNotFound || refused.Code != 404 {
					t.Errorf("refused with %d/%d", refused.Status, refused.Code)
				}
			default:
				got = rt.path
			}
			if got != tt.route {
				t.Errorf("got %q, want %q", got, tt.route)
			}
			if diff := cmp.Diff(tt.ids, ids); diff != "" {
				t.Errorf("ids -want +got:\n%s", diff)
			}
		})
	}
}

// Every route has an opener of its own listener, and the two tables share no
// path.
func TestRouteTables(t *testing.T) {
	a := &API{}
	for _, r := range a.routes() {
		if r.opener != byServer && r.opener != byAccount || strings.HasPrefix(r.path, "/operator") {
			t.Errorf("%s %s is opened by %d", r.method, r.path, r.opener)
		}
	}
	for _, r := range a.operatorRoutes() {
		if r.opener != byOperator || !strings.HasPrefix(r.path, "/operator/") {
			t.Errorf("%s %s is opened by %d", r.method, r.path, r.opener)
		}
	}
	if !slices.ContainsFunc(a.routes(), func(r route) bool { return r.test }) {
		t.Error("no route is open to POSTMARK_API_TEST")
	}
}

func TestQuery(t *testing.T) {
	tests := []struct {
		raw  string
		want query
	}{
		{"", query{}},
		{"Count=5&OFFSET=2", query{"count": "5", "offset": "2"}},
		{"count=1&Count=2", query{"count": "1"}},
		{"tag=a+b%20c", query{"tag": "a b c"}},
		{"tag=%zz&count=1", query{"count": "1"}},
		{"%zz=1", query{}},
		{"tag=a;b", query{"tag": "a;b"}},
		{"tag=%ff", query{"tag": "\ufffd"}},
		{"tag", query{"tag": ""}},
		{"=x&&", query{}},
		{"metadata_Order=7", query{"metadata_order": "7"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, parseQuery(tt.raw)); diff != "" {
			t.Errorf("%q -want +got:\n%s", tt.raw, diff)
		}
	}
	for value, want := range map[string]bool{"true": true, "True": true, "1": true, "false": false, "False": false, "0": false, "": false, "yes": false} {
		if got := (query{"x": value}).flag("x"); got != want {
			t.Errorf("flag %q = %v, want %v", value, got, want)
		}
	}
}

func TestParseID(t *testing.T) {
	for in, want := range map[string]int64{
		"1": 1, "2147483647": 2147483647, "2147483648": -1, "9223372036854775808": -1, "0": -1, "-1": -1, "+1": -1, "1.0": -1,
		"0x10": -1, "１": -1, "": -1, " 1": -1, "1_0": -1, "..": -1, "\x00": -1,
	} {
		if got := parseID(in); got != want {
			t.Errorf("parseID(%q) = %d, want %d", in, got, want)
		}
	}
}

// A refusal that comes before the body reaches a client that sends all of it
// before reading.
func TestRefusalReachesWhoStillSends(t *testing.T) {
	r := newRig(t)
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	const size = 24 << 20 // more than the buffers of a connection
	head := fmt.Sprintf("POST /email HTTP/1.1\r\nHost: x\r\nX-Postmark-Server-Token: x\r\nContent-Length: %d\r\n\r\n", size)
	if _, err := io.WriteString(c, head+strings.Repeat(" ", size)); err != nil {
		t.Fatalf("not taken: %v", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %s, want 401", res.Status)
	}
}
