package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSenderLife(t *testing.T) {
	r := newRig(t)
	by := accountOf(firstToken)
	s := r.call(t, by, post, "/senders/", `{"FromEmail": "ann+x@acme.test", "Name": "Ann from Acme", "ReplyToEmail": "help@acme.test",
		"ConfirmationPersonalNote": "Please confirm."}`).ok()
	want := object{
		"Domain": "acme.test", "EmailAddress": "ann+x@acme.test", "ReplyToEmailAddress": "help@acme.test", "Name": "Ann from Acme", "Confirmed": false,
		"SPFVerified": false, "SPFHost": "acme.test", "SPFTextValue": "v=spf1 a mx include:spf.mail.test ~all", "DKIMVerified": false,
		"WeakDKIM": false, "DKIMHost": "", "DKIMTextValue": "", "DKIMPendingHost": s["DKIMPendingHost"], "DKIMPendingTextValue": s["DKIMPendingTextValue"],
		"DKIMRevokedHost": "", "DKIMRevokedTextValue": "", "SafeToRemoveRevokedKeyFromDNS": false, "DKIMUpdateStatus": "Pending",
		"ReturnPathDomain": "", "ReturnPathDomainVerified": false, "ReturnPathDomainCNAMEValue": "pm.mail.test",
		"CustomTrackingDomain": "", "CustomTrackingDomainCNAMEValue": "", "CustomTrackingVerified": false,
		"ID": s["ID"], "ConfirmationPersonalNote": "Please confirm.",
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if !selectorHost.MatchString(s.text(t, "DKIMPendingHost")) || !keyText.MatchString(s.text(t, "DKIMPendingTextValue")) {
		t.Errorf("pending key %v %v", s["DKIMPendingHost"], s["DKIMPendingTextValue"])
	}
	path := "/senders/" + s.id(t)
	if diff := cmp.Diff(s, r.call(t, by, get, path, "").ok()); diff != "" {
		t.Errorf("read back -created +got:\n%s", diff)
	}
	item := map[string]any{
		"Domain": "acme.test", "EmailAddress": "ann+x@acme.test", "ReplyToEmailAddress": "help@acme.test",
		"Name": "Ann from Acme", "Confirmed": false, "ID": s["ID"],
	}
	if diff := cmp.Diff(object{"TotalCount": json.Number("1"), "SenderSignatures": []any{item}}, r.call(t, by, get, "/senders?count=5&offset=0", "").ok()); diff != "" {
		t.Errorf("list -want +got:\n%s", diff)
	}
	if got := r.call(t, by, get, "/domains?count=5&offset=0", "").ok(); got["TotalCount"] != json.Number("0") {
		t.Errorf("the signature's domain is listed: %v", got)
	}

	edit := func(what, body string, change object) {
		t.Helper()
		maps.Copy(s, change)
		if diff := cmp.Diff(s, r.call(t, by, put, path, body).ok()); diff != "" {
			t.Errorf("%s -want +got:\n%s", what, diff)
		}
	}
	edit("return path alone, as .NET writes", `{"Name": null, "ReplyToEmail": null, "ReturnPathDomain": "pm.acme.test", "ConfirmationPersonalNote": null}`,
		object{"ReturnPathDomain": "pm.acme.test"})
	edit("name, as PHP writes", `{"name": "Ann"}`, object{"Name": "Ann"})
	edit("reply address is taken away", `{"Name": "Ann", "ReplyToEmail": ""}`, object{"ReplyToEmailAddress": ""})
	edit("the address stays", `{"FromEmail": "bob@acme.test", "Name": "Ann 2", "Confirmed": true, "EmailAddress": "x@acme.test"}`, object{"Name": "Ann 2"})

	const resent = `{"ErrorCode":0,"Message":"Confirmation email for Sender Signature ann+x@acme.test was re-sent."}`
	if got := r.call(t, by, post, path+"/resend", "null"); got.status != 200 || got.body != resent {
		t.Errorf("resend: got %d %s", got.status, got.body)
	}
	if len(r.mails) != 2 {
		t.Errorf("%d mails were sent, want 2", len(r.mails))
	}
	r.call(t, by, post, path+"/requestNewDkim", "").refused(422, 505, "This DKIM is already being renewed.")
	if got := r.call(t, by, post, path+"/verifySpf", "").ok(); got["SPFVerified"] != true || got["EmailAddress"] != "ann+x@acme.test" {
		t.Errorf("verifyspf: %v", got)
	}
	const removed = `{"ErrorCode":0,"Message":"Signature ann+x@acme.test removed."}`
	if got := r.call(t, by, del, path, ""); got.status != 200 || got.body != removed {
		t.Errorf("delete: got %d %s", got.status, got.body)
	}
	r.call(t, by, get, path, "").refusedWith(404, 501, "")
}

func TestRequestNewDKIM(t *testing.T) {
	r, c := newShop(t)
	by := accountOf(firstToken)
	s := r.call(t, by, post, "/senders", `{"FromEmail": "ann@acme.test", "Name": "Ann"}`).ok()
	if s["DKIMVerified"] != true {
		t.Errorf("a signature in a verified domain has DKIMVerified %v", s["DKIMVerified"])
	}
	if got := r.call(t, by, post, "/senders/"+s.id(t)+"/requestnewdkim", ""); got.body != `{"ErrorCode":0,"Message":"New DKIM has been requested."}` {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if d := r.call(t, by, get, "/domains/"+c.domain, "").ok(); d["DKIMPendingHost"] == "" || d["DKIMVerified"] != true {
		t.Errorf("after it the domain is %v", d)
	}
}

func TestSenderRefusals(t *testing.T) {
	r := newRig(t)
	by := accountOf(firstToken)
	s := r.call(t, by, post, "/senders", `{"FromEmail": "ann@acme.test", "Name": "Ann"}`).ok()
	path := "/senders/" + s.id(t)
	tests := []struct {
		name, method, path, body string
		status, code             int
		text                     string
	}{
		{"no body", post, "/senders", "", 422, 502, "No update data or signature data received."},
		{"no address", post, "/senders", `{"Name": "Ann"}`, 422, 520, "FromEmail is a required field to create a Sender Signature."},
		{"no name", post, "/senders", `{"FromEmail": "bob@acme.test"}`, 422, 520, "Name is a required field to create a Sender Signature."},
		{"no address form", post, "/senders", `{"FromEmail": "bob", "Name": "Bob"}`, 422, 522, ""},
		{"example.com", post, "/senders", `{"FromEmail": "bob@example.com", "Name": "Bob"}`, 422, 522, ""},
		{"public mailbox provider", post, "/senders", `{"FromEmail": "bob@gmail.com", "Name": "Bob"}`, 422, 503, "You can't use public domain emails or public domains."},
		{"exists in another case", post, "/senders", `{"FromEmail": "ANN@acme.test", "Name": "Ann"}`, 422, 504, ""},
		{"bad reply address", post, "/senders", `{"FromEmail": "bob@acme.test", "Name": "Bob", "ReplyToEmail": "x"}`, 422, 522, ""},
		{"note over 400", post, "/senders", `{"FromEmail": "bob@acme.test", "Name": "Bob", "ConfirmationPersonalNote": "` + strings.Repeat("a", 401) + `"}`, 422, 521, ""},
		{"name too long", put, path, `{"Name": "` + strings.Repeat("a", 256) + `"}`, 422, 521, ""},
		{"return path elsewhere", put, path, `{"Name": "Ann", "ReturnPathDomain": "x.other.test"}`, 422, 522, ""},
		{"edit without a body", put, path, "null", 422, 502, "No update data or signature data received."},
		{"edit that says nothing", put, path, "{}", 422, 502, "No update data or signature data received."},
		{"wrong type", put, path, `{"Name": {}}`, 422, 403, "Invalid request field(s): 'Name'."},
		{"unknown", get, "/senders/999999", "", 404, 501, ""},
		{"unknown to edit", put, "/senders/999999", `{"Name": "x"}`, 404, 501, ""},
		{"unknown to delete", del, "/senders/999999", "", 404, 501, ""},
		{"unknown to resend", post, "/senders/999999/resend", "", 404, 501, ""},
		{"unknown to verify SPF", post, "/senders/999999/verifyspf", "", 404, 501, ""},
		{"unknown to rotate", post, "/senders/999999/requestnewdkim", "", 404, 501, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := r.call(t, by, tt.method, tt.path, tt.body)
			if tt.text == "" {
				got.refusedWith(tt.status, tt.code, "")
				return
			}
			got.refused(tt.status, tt.code, tt.text)
		})
	}
	if got := r.call(t, by, get, "/senders?count=5&offset=0", "").ok(); got["TotalCount"] != json.Number("1") {
		t.Errorf("refused calls made signatures: %v", got)
	}
	t.Run("resend too often", func(t *testing.T) {
		r.call(t, by, post, path+"/resend", "").ok()
		r.call(t, by, post, path+"/resend", "").ok()
		r.call(t, by, post, path+"/resend", "").refusedWith(429, 429, "")
	})
}

var styleOf = regexp.MustCompile(`(?s)<style>(.*)</style>`)

// The page behind the link: a GET, however often, changes nothing; the POST of
// its button confirms, once.
func TestConfirmPage(t *testing.T) {
	r := newRig(t)
	by := accountOf(firstToken)
	c := r.newServer(t, by, `{"Name": "Shop"}`)
	r.call(t, operator(), put, "/operator/accounts/1", `{"Name": "<script>alert(1)</script> & Sons"}`).ok()
	s := r.call(t, by, post, "/senders", `{"FromEmail": "ann@acme.test", "Name": "Ann", "ReplyToEmail": "help@acme.test"}`).ok()
	path := "/confirm/" + r.lastLink(t)
	browser := func(method, path string) answer {
		t.Helper()
		return r.request(t, who{}, method, path, "", func(q *http.Request) {
			q.Header.Set("Accept", "text/html")
			if method == post {
				q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
		})
	}
	const mail = `{"From": "ann@acme.test", "To": "bob@shop.test", "TextBody": "hi"}`
	r.call(t, c.server, post, "/email", mail).refusedWith(422, 401, "not confirmed")

	for range 3 {
		got := browser(get, path)
		if got.status != 200 || !strings.Contains(got.body, "ann@acme.test") || !strings.Contains(got.body, "&lt;script&gt;alert(1)&lt;/script&gt; &amp; Sons") {
			t.Fatalf("got %d %s", got.status, got.body)
		}
		if strings.Contains(got.body, "<script") || strings.Contains(got.body, "src=") || strings.Contains(got.body, "href=") || !strings.Contains(got.body, `<form method="post">`) {
			t.Errorf("page is %s", got.body)
		}
	}
	browser(http.MethodHead, path)
	browser(get, path+"/")
	if got := r.call(t, by, get, "/senders/"+s.id(t), "").ok(); got["Confirmed"] != false {
		t.Fatal("a GET confirmed the signature")
	}
	r.call(t, c.server, post, "/email", mail).refusedWith(422, 401, "not confirmed")

	t.Run("headers", func(t *testing.T) {
		got := browser(get, path)
		sum := sha256Base64(styleOf.FindStringSubmatch(got.body)[1])
		for name, want := range map[string]string{
			"Content-Type":            "text/html; charset=utf-8",
			"Content-Security-Policy": "default-src 'none'; style-src 'sha256-" + sum + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"Cache-Control":           "no-store", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			"X-Content-Type-Options": "nosniff", "X-Robots-Tag": "noindex", "Set-Cookie": "",
		} {
			if v := got.header.Get(name); v != want {
				t.Errorf("%s = %q, want %q", name, v, want)
			}
		}
	})
	t.Run("other methods", func(t *testing.T) {
		for _, m := range []string{put, del, http.MethodPatch} {
			if got := browser(m, path); got.status != 405 || got.header.Get("Allow") != "GET, HEAD, POST" {
				t.Errorf("%s: got %d, Allow %q", m, got.status, got.header.Get("Allow"))
			}
		}
	})
	t.Run("unknown links", func(t *testing.T) {
		for _, p := range []string{"/confirm/x", "/confirm/" + strings.Repeat("A", 43), "/confirm/%3Cb%3E", "/confirm/" + strings.Repeat("a", 600)} {
			for _, m := range []string{get, post} {
				got := browser(m, p)
				if got.status != 404 || strings.Contains(got.body, "<b>") || strings.Contains(got.body, "ann@") {
					t.Errorf("%s %.40s: got %d %s", m, p, got.status, got.body)
				}
			}
		}
	})
	if got := browser(post, path); got.status != 200 || !strings.Contains(got.body, "ann@acme.test is confirmed") {
		t.Fatalf("POST: got %d %s", got.status, got.body)
	}
	if got := r.call(t, by, get, "/senders/"+s.id(t), "").ok(); got["Confirmed"] != true {
		t.Error("the POST did not confirm")
	}
	for _, m := range []string{get, post} {
		if got := browser(m, path); got.status != 404 || !strings.Contains(got.body, "This link does not work") {
			t.Errorf("%s of a used link: got %d %s", m, got.status, got.body)
		}
	}
	r.call(t, c.server, post, "/email", mail).ok()
	r.call(t, by, post, "/senders/"+s.id(t)+"/resend", "").refusedWith(422, 506, "confirmed")
	if got := browser(get, "/confirm/"); got.status != 404 {
		t.Errorf("without a token: got %d", got.status)
	}

	t.Run("store away", func(t *testing.T) {
		if err := r.st.Close(); err != nil {
			t.Fatal(err)
		}
		got := browser(get, path)
		if got.status != 503 || !strings.Contains(got.body, got.header.Get("X-Request-Id")) {
			t.Errorf("got %d %s", got.status, got.body)
		}
	})
}

func TestSMTPTokens(t *testing.T) {
	r := newRig(t)
	c := r.newServer(t, accountOf(firstToken), `{"Name": "Shop"}`)
	for _, way := range []struct {
		name string
		by   who
		path string
	}{{"server token", c.server, "/smtp-tokens"}, {"account token", c.account, "/servers/" + c.id + "/smtp-tokens"}} {
		t.Run(way.name, func(t *testing.T) {
			made := r.call(t, way.by, post, way.path, `{"label": "wordpress", "MessageStream": null}`).ok()
			secret := made.text(t, "Secret")
			if !regexp.MustCompile(`^[A-Za-z0-9_-]{36}$`).MatchString(secret) {
				t.Errorf("Secret = %q", secret)
			}
			if key := made.text(t, "AccessKey"); !regexp.MustCompile(`^PM-S-` + c.id + `-[A-Za-z0-9]{22}$`).MatchString(key) {
				t.Errorf("AccessKey = %q", key)
			}
			wantRecent(t, "CreatedAt", made.text(t, "CreatedAt"))
			want := object{
				"ID": made["ID"], "Label": "wordpress", "MessageStream": nil, "Username": c.id, "AccessKey": made["AccessKey"], "Secret": secret,
				"Host": "smtp.mail.test", "Ports": []any{json.Number("587"), json.Number("2525")}, "CreatedAt": made["CreatedAt"],
			}
			if diff := cmp.Diff(want, made); diff != "" {
				t.Errorf("create -want +got:\n%s", diff)
			}
			bound := r.call(t, way.by, post, way.path, `{"Label": "shop", "MessageStream": "outbound"}`).ok()
			if bound["MessageStream"] != "outbound" || !strings.HasPrefix(bound.text(t, "AccessKey"), "PM-T-outbound-") {
				t.Errorf("bound to a stream: %v", bound)
			}
			find := func(id string) object {
				t.Helper()
				got := r.call(t, way.by, get, way.path, "")
				if strings.Contains(got.body, secret) {
					t.Error("the list has a secret")
				}
				list := got.ok().list(t, "SmtpTokens")
				n := slices.IndexFunc(list, func(o object) bool { return o.id(t) == id })
				if n < 0 {
					t.Fatalf("token %s is not listed", id)
				}
				return list[n]
			}
			row := object{
				"ID": made["ID"], "Label": "wordpress", "MessageStream": nil, "AccessKey": made["AccessKey"],
				"CreatedAt": made["CreatedAt"], "LastUsedAt": nil, "LastUsedIp": nil, "RevokedAt": nil,
			}
			if diff := cmp.Diff(row, find(made.id(t))); diff != "" {
				t.Errorf("row -want +got:\n%s", diff)
			}
			one := way.path + "/" + made.id(t)
			rotated := r.call(t, way.by, post, one+"/rotate", "").ok()
			want["Secret"] = rotated["Secret"]
			if diff := cmp.Diff(want, rotated); diff != "" || rotated["Secret"] == secret {
				t.Errorf("rotate -want +got:\n%s", diff)
			}
			r.call(t, way.by, post, one+"/rotate", `{"OverlapSeconds": 3600}`).refusedWith(422, 1458, "2 secrets")
			r.call(t, way.by, post, one+"/rotate", `{"OverlapSeconds": 3599}`).refusedWith(422, 1456, "overlap")
			r.call(t, way.by, post, one+"/rotate", `{"OverlapSeconds": -9223372036854775808}`).refusedWith(422, 1456, "overlap")
			r.call(t, way.by, post, one+"/rotate", `{"OverlapSeconds": 9223372036854775807}`).refusedWith(422, 1456, "overlap")

			if got := r.call(t, way.by, del, one, ""); got.body != `{"ErrorCode":0,"Message":"SMTP token wordpress revoked."}` {
				t.Errorf("revoke: got %d %s", got.status, got.body)
			}
			wantRecent(t, "RevokedAt", find(made.id(t)).text(t, "RevokedAt"))
			if find(bound.id(t))["RevokedAt"] != nil {
				t.Error("the other token was revoked too")
			}
			r.call(t, way.by, del, one, "").refusedWith(422, 1451, "not found")
			r.call(t, way.by, post, one+"/rotate", "").refusedWith(422, 1451, "not found")
		})
	}
	for _, tt := range []struct {
		name, body string
		code       int
	}{
		{"no body", "", 1452},
		{"no label", "{}", 1456},
		{"label over 100", `{"Label": "` + strings.Repeat("a", 101) + `"}`, 1456},
		{"unknown stream", `{"Label": "a", "MessageStream": "nope"}`, 1454},
		{"inbound stream", `{"Label": "a", "MessageStream": "inbound"}`, 1457},
		{"wrong type", `{"Label": 1}`, 403},
	} {
		t.Run(tt.name, func(t *testing.T) { r.call(t, c.server, post, "/smtp-tokens", tt.body).refusedWith(422, tt.code, "") })
	}
	r.call(t, c.account, get, "/servers/999999/smtp-tokens", "").refused(422, 1453, "This server was not found.")
	r.call(t, c.server, put, "/server", `{"SmtpApiActivated": false}`).ok()
	r.call(t, c.server, post, "/smtp-tokens", `{"Label": "a"}`).refusedWith(422, 1460, "disabled")
}

func TestAPITokens(t *testing.T) {
	r := newRig(t)
	c := r.newServer(t, accountOf(firstToken), `{"Name": "Shop"}`)
	for _, way := range []struct{ path, probe, header string }{
		{"/servers/" + c.id + "/api-tokens", "/server", serverHeader},
		{"/api-tokens", "/domains?count=1&offset=0", accountHeader},
	} {
		t.Run(way.path, func(t *testing.T) {
			made := r.call(t, c.account, post, way.path, `{"Label": "CI"}`).ok()
			token := made.text(t, "Token")
			want := object{"ID": made["ID"], "Label": "CI", "Token": token, "CreatedAt": made["CreatedAt"], "LastUsedAt": nil, "LastUsedIp": nil, "Scope": "full", "MessageStream": nil}
			if diff := cmp.Diff(want, made); diff != "" || len(token) != 36 {
				t.Errorf("create -want +got:\n%s", diff)
			}
			list := r.call(t, c.account, get, way.path, "").ok()
			if list["TotalCount"] != json.Number("2") || list.list(t, "ApiTokens")[1]["Token"] != token {
				t.Errorf("list is %v", list)
			}
			r.call(t, who{way.header, token}, get, way.probe, "").ok()
			if got := r.call(t, c.account, del, way.path+"/"+made.id(t), ""); got.body != `{"ErrorCode":0,"Message":"API token `+made.id(t)+` revoked."}` {
				t.Errorf("revoke: got %d %s", got.status, got.body)
			}
			if got := r.call(t, who{way.header, token}, get, way.probe, ""); got.status != 401 {
				t.Errorf("revoked token: got %d %s", got.status, got.body)
			}
			r.call(t, c.account, del, way.path+"/"+made.id(t), "").refusedWith(404, 10, "not found")
			r.call(t, c.account, post, way.path, `{"Label": "a\nb"}`).refusedWith(422, 300, "Label")
		})
	}
	t.Run("both tokens of a server are shown", func(t *testing.T) {
		r.call(t, c.account, post, "/servers/"+c.id+"/api-tokens", "").ok()
		if got := r.call(t, c.server, get, "/server", "").ok()["ApiTokens"]; len(got.([]any)) != 2 {
			t.Errorf("ApiTokens = %v", got)
		}
	})
	t.Run("the token of the call is kept", func(t *testing.T) {
		id := r.call(t, c.account, get, "/api-tokens", "").ok().list(t, "ApiTokens")[0].id(t)
		r.call(t, c.account, del, "/api-tokens/"+id, "").refusedWith(422, 300, "token of this call")
		r.call(t, c.account, get, "/api-tokens", "").ok()
	})
	t.Run("a server that is none is not the account", func(t *testing.T) {
		for _, id := range []string{"0", "abc", "-1", "999999"} {
			r.call(t, c.account, get, "/servers/"+id+"/api-tokens", "").refused(404, 601, "This server was not found.")
			r.call(t, c.account, post, "/servers/"+id+"/api-tokens", "{}").refused(404, 601, "This server was not found.")
		}
	})
}
