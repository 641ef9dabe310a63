package api

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
)

// serverFields are those of contract/servers.md §2 and the three of ours.
var serverFields = []string{
	"AllowedIps", "ApiTokens", "BounceHookUrl", "ClickHookUrl", "Color", "DeliveryHookUrl", "DeliveryType", "EnableSmtpApiErrorHooks", "ID",
	"InboundAddress", "InboundDomain", "InboundHash", "InboundHookUrl", "InboundSpamThreshold", "IncludeBounceContentInHook",
	"Name", "OpenHookUrl", "PostFirstOpenOnly", "RawEmailEnabled", "ServerLink", "SmtpApiActivated", "SmtpApiTokenAuth",
	"SmtpRejection", "TrackLinks", "TrackOpens",
}

func TestNewServer(t *testing.T) {
	r := newRig(t)
	by := accountOf(firstToken)
	s := r.call(t, by, post, "/servers", `{"Name": "Acme Live"}`).ok()
	if diff := cmp.Diff(serverFields, slices.Sorted(maps.Keys(s))); diff != "" {
		t.Errorf("fields -want +got:\n%s", diff)
	}
	hash := s.text(t, "InboundHash")
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(hash) {
		t.Errorf("InboundHash = %q, want 32 hex digits", hash)
	}
	want := object{
		"ID": s["ID"], "Name": "Acme Live", "ApiTokens": s["ApiTokens"], "Color": s["Color"], "SmtpApiActivated": true,
		"RawEmailEnabled": false, "DeliveryType": "Live", "ServerLink": publicURL + "/servers/" + s.id(t) + "/streams",
		"InboundAddress": hash + "@" + inboundDomain, "InboundHash": hash, "InboundHookUrl": "", "BounceHookUrl": "",
		"OpenHookUrl": "", "DeliveryHookUrl": "", "ClickHookUrl": "", "InboundDomain": "", "PostFirstOpenOnly": false,
		"InboundSpamThreshold": json.Number("0"), "TrackOpens": false, "TrackLinks": "None",
		"IncludeBounceContentInHook": false, "EnableSmtpApiErrorHooks": false,
		"SmtpApiTokenAuth": false, "SmtpRejection": "Immediate", "AllowedIps": []any{},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if c := s.text(t, "Color"); c == "" || c != strings.ToLower(c) {
		t.Errorf("Color = %q, want lower case", c)
	}
	// The same object by every way to it.
	token := s["ApiTokens"].([]any)[0].(string)
	for _, got := range []object{
		r.call(t, server(token), get, "/server", "").ok(),
		r.call(t, by, get, "/servers/"+s.id(t), "").ok(),
		r.call(t, by, get, "/servers?count=10&offset=0", "").ok().list(t, "Servers")[0],
	} {
		if diff := cmp.Diff(s, got); diff != "" {
			t.Errorf("read back -created +got:\n%s", diff)
		}
	}
}

func TestEditServer(t *testing.T) {
	r := newRig(t)
	c := r.newServer(t, accountOf(firstToken), `{"Name": "Acme"}`)
	r.dns.set(func() { r.dns.mx["in.acme.test"] = append(r.dns.mx["in.acme.test"], mxHost(inboundDomain)) })
	tests := []struct {
		name, body string
		want       object // what differs from before
	}{
		{"a name", `{"Name": "Acme 2"}`, object{"Name": "Acme 2"}},
		{"the same name", `{"Name": "Acme 2"}`, object{}},
		{"a name with a time in it", `{"Name": "test 2026-07-04T11:05:57.09+02:00"}`, object{"Name": "test 2026-07-04T11:05:57.09+02:00"}},
		{"colour in another case", `{"Color": "RED"}`, object{"Color": "red"}},
		{"colour as one client spells it", `{"Color": "Turqoise"}`, object{"Color": "turquoise"}},
		{
			"keys as PHP writes them", `{"name": "php", "color": "green", "smtpApiActivated": false, "inboundSpamThreshold": 9}`,
			object{"Name": "php", "Color": "green", "SmtpApiActivated": false, "InboundSpamThreshold": json.Number("9")},
		},
		{"every unset property null, as .NET writes", `{"Name": null, "Color": null, "InboundDomain": null, "InboundHookUrl": null, "InboundSpamThreshold": null, "TrackOpens": null, "TrackLinks": null}`, object{}},
		{
			"hooks", `{"InboundHookUrl": "https://hooks.acme.test/in", "BounceHookUrl": "http://hooks.acme.test/b", "OpenHookUrl": "https://hooks.acme.test/o", "DeliveryHookUrl": "https://hooks.acme.test/d", "ClickHookUrl": "https://hooks.acme.test/c"}`,
			object{"InboundHookUrl": "https://hooks.acme.test/in", "BounceHookUrl": "http://hooks.acme.test/b", "OpenHookUrl": "https://hooks.acme.test/o", "DeliveryHookUrl": "https://hooks.acme.test/d", "ClickHookUrl": "https://hooks.acme.test/c"},
		},
		{"a hook is taken away", `{"OpenHookUrl": ""}`, object{"OpenHookUrl": ""}},
		{
			"switches", `{"RawEmailEnabled": true, "PostFirstOpenOnly": true, "TrackOpens": true, "IncludeBounceContentInHook": true, "EnableSmtpApiErrorHooks": true}`,
			object{"RawEmailEnabled": true, "PostFirstOpenOnly": true, "TrackOpens": true, "IncludeBounceContentInHook": true, "EnableSmtpApiErrorHooks": true},
		},
		{"TrackLinks", `{"TrackLinks": "HtmlAndText"}`, object{"TrackLinks": "HtmlAndText"}},
		{"blank TrackLinks is not given", `{"TrackLinks": ""}`, object{}},
		{"threshold 30", `{"InboundSpamThreshold": 30}`, object{"InboundSpamThreshold": json.Number("30")}},
		{"inbound domain with its MX", `{"InboundDomain": "in.acme.test"}`, object{"InboundDomain": "in.acme.test"}},
		{"inbound domain is taken away", `{"InboundDomain": ""}`, object{"InboundDomain": ""}},
		{"type of delivery is fixed", `{"DeliveryType": "Sandbox"}`, object{}},
		{"read-only fields are passed over", `{"ID": 1, "ApiTokens": ["x"], "InboundHash": "00", "ServerLink": "x", "AccountID": 9, "CreatedAt": "x", "Suspended": true}`, object{}},
		{"our own settings", `{"SmtpApiTokenAuth": true, "SmtpRejection": "Accept"}`, object{"SmtpApiTokenAuth": true, "SmtpRejection": "Accept"}},
	}
	now := r.call(t, c.server, get, "/server", "").ok()
	for n, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := maps.Clone(now)
			maps.Copy(want, tt.want)
			// The two calls take turns: they do the same.
			path, by := "/server", c.server
			if n%2 == 1 {
				path, by = "/servers/"+c.id, c.account
			}
			got := r.call(t, by, put, path, tt.body).ok()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(got, r.call(t, c.server, get, "/server", "").ok()); diff != "" {
				t.Errorf("read back -answer +got:\n%s", diff)
			}
			now = got
		})
	}
}

func TestServerRefusals(t *testing.T) {
	r := newRig(t)
	by := accountOf(firstToken)
	c := r.newServer(t, by, `{"Name": "Acme"}`)
	r.newServer(t, by, `{"Name": "Taken"}`)
	r.dns.set(func() { r.dns.mx["in.acme.test"] = append(r.dns.mx["in.acme.test"], mxHost(inboundDomain)) })
	r.newServer(t, by, `{"Name": "Inbound", "InboundDomain": "in.acme.test"}`)
	tests := []struct {
		name, body string
		code       int
		text       string // "": not given by the contract
	}{
		{"no body", ``, 609, "No server data received."},
		{"null", `null`, 609, "No server data received."},
		{"empty name", `{"Name": ""}`, 608, ""},
		{"blank name", `{"Name": "  "}`, 608, ""},
		{"name with a line end", `{"Name": "a\nb"}`, 608, ""},
		{"name is taken", `{"Name": "taken"}`, 603, "This server name already exists."},
		{"colour", `{"Name": "x", "Color": "pink"}`, 607, "Invalid server color."},
		{"TrackLinks", `{"Name": "x", "TrackLinks": "All"}`, 612, "The supplied 'TrackLinks' option is not valid."},
		{"DeliveryType", `{"Name": "x", "DeliveryType": "Dry"}`, 613, "The supplied 'DeliveryType' option is not valid."},
		{"threshold over 30", `{"Name": "x", "InboundSpamThreshold": 31}`, 611, "InboundSpamThreshold value is invalid. Use a number between 0 and 30."},
		{"negative threshold", `{"Name": "x", "InboundSpamThreshold": -1}`, 611, "InboundSpamThreshold value is invalid. Use a number between 0 and 30."},
		{"hook to an internal address", `{"Name": "x", "BounceHookUrl": "http://127.0.0.1/x"}`, 606, ""},
		{"hook is no URL", `{"Name": "x", "OpenHookUrl": "nope"}`, 606, ""},
		{"inbound domain without MX", `{"Name": "x", "InboundDomain": "none.acme.test"}`, 610, "We could not find an MX record pointing to the expected domain."},
		{"inbound domain of another server", `{"Name": "x", "InboundDomain": "in.acme.test"}`, 602, "The specified inbound domain is already registered or in use on another server."},
		{"inbound domain of the service", `{"Name": "x", "InboundDomain": "a.inbound.mail.test"}`, 608, ""},
		{"SmtpRejection", `{"Name": "x", "SmtpRejection": "Never"}`, 615, ""},
		{"wrong type", `{"Name": 5}`, 403, "Invalid request field(s): 'Name'."},
		{"wrong types", `{"TrackOpens": "yes", "InboundSpamThreshold": 1.5}`, 403, "Invalid request field(s): 'TrackOpens', 'InboundSpamThreshold'."},
		{"no JSON", `{"Name"`, 402, "Invalid JSON."},
	}
	before := r.call(t, c.server, get, "/server", "").ok()
	for _, tt := range tests {
		for _, call := range [][2]string{{post, "/servers"}, {put, "/servers/" + c.id}} {
			t.Run(tt.name+" "+call[0], func(t *testing.T) {
				got := r.call(t, by, call[0], call[1], tt.body)
				if tt.text == "" {
					got.refusedWith(422, tt.code, "")
					return
				}
				got.refused(422, tt.code, tt.text)
			})
		}
	}
	t.Run("create without a name", func(t *testing.T) {
		r.call(t, by, post, "/servers", `{"Color": "red"}`).refusedWith(422, 608, "Name")
	})
	t.Run("unknown server", func(t *testing.T) {
		for _, m := range []string{get, del} {
			r.call(t, by, m, "/servers/999999", "").refusedWith(404, 601, "")
		}
		r.call(t, by, put, "/servers/999999", `{"Name": "x"}`).refusedWith(404, 601, "")
	})
	if diff := cmp.Diff(before, r.call(t, c.server, get, "/server", "").ok()); diff != "" {
		t.Errorf("refused calls changed the server -before +after:\n%s", diff)
	}
	if got := r.call(t, by, get, "/servers?count=10&offset=0", "").ok(); got["TotalCount"] != json.Number("3") {
		t.Errorf("TotalCount = %v, want 3", got["TotalCount"])
	}
}

func TestListServers(t *testing.T) {
	r := newRig(t)
	by := accountOf(firstToken)
	if got := r.call(t, by, get, "/servers?count=10&offset=0", ""); got.body != `{"TotalCount":0,"Servers":[]}` {
		t.Errorf("empty list is %s", got.body)
	}
	for _, name := range []string{"Alpha 100%", "Beta_1", "beta 2"} {
		r.newServer(t, by, `{"Name": "`+name+`"}`)
	}
	tests := []struct {
		query string
		total string
		names []string
	}{
		{"count=10&offset=0", "3", []string{"Alpha 100%", "Beta_1", "beta 2"}},
		{"count=1&offset=1", "3", []string{"Beta_1"}},
		{"count=10&offset=3", "3", nil},
		{"count=10&offset=0&name=beta", "2", []string{"Beta_1", "beta 2"}},
		{"count=10&offset=0&Name=BETA_", "1", []string{"Beta_1"}},
		{"count=10&offset=0&name=%25", "1", []string{"Alpha 100%"}},
		{"count=10&offset=0&name=none", "0", nil},
	}
	for _, tt := range tests {
		got := r.call(t, by, get, "/servers?"+tt.query, "").ok()
		var names []string
		for _, s := range got.list(t, "Servers") {
			names = append(names, s.text(t, "Name"))
		}
		if diff := cmp.Diff(tt.names, names); diff != "" || got["TotalCount"] != json.Number(tt.total) {
			t.Errorf("%s: TotalCount %v, want %s; -want +got:\n%s", tt.query, got["TotalCount"], tt.total, diff)
		}
	}
}

func TestDeleteServer(t *testing.T) {
	r := newRig(t)
	by := accountOf(firstToken)
	c := r.newServer(t, by, `{"Name": "Acme <Live> & more"}`)
	if got := r.call(t, by, del, "/servers/"+c.id, ""); got.status != 200 || got.body != `{"ErrorCode":0,"Message":"Server Acme <Live> & more removed."}` {
		t.Errorf("got %d %s", got.status, got.body)
	}
	r.call(t, by, get, "/servers/"+c.id, "").refusedWith(404, 601, "")
	r.call(t, by, del, "/servers/"+c.id, "").refusedWith(404, 601, "")
	r.newServer(t, by, `{"Name": "Acme <Live> & more"}`) // the name is free again

	r.call(t, operator(), put, "/operator/accounts/1", `{"NoDeletes": true}`).ok()
	c = r.newServer(t, by, `{"Name": "Kept"}`)
	r.call(t, by, del, "/servers/"+c.id, "").refused(422, 604, "You do not have permission to delete servers using the API.")
	r.call(t, by, get, "/servers/"+c.id, "").ok()
}

func TestSandboxServer(t *testing.T) {
	r := newRig(t)
	c := r.newServer(t, accountOf(firstToken), `{"Name": "Box", "DeliveryType": "Sandbox"}`)
	if got := r.call(t, c.server, get, "/server", "").ok(); got["DeliveryType"] != "Sandbox" {
		t.Errorf("DeliveryType = %v", got["DeliveryType"])
	}
}

func TestStreams(t *testing.T) {
	r := newRig(t)
	c := r.newServer(t, accountOf(firstToken), `{"Name": "Acme"}`)
	r.addStream(t, c.number, "news")
	ids := func(query string) []string {
		t.Helper()
		got := r.call(t, c.server, get, "/message-streams"+query, "").ok()
		list := []string{}
		for _, s := range got.list(t, "MessageStreams") {
			list = append(list, s.text(t, "ID"))
		}
		if got["TotalCount"] != json.Number(itoa(len(list))) {
			t.Errorf("%s: TotalCount = %v, %d listed", query, got["TotalCount"], len(list))
		}
		slices.Sort(list)
		return list
	}
	for query, want := range map[string][]string{
		"":                                 {"broadcast", "inbound", "news", "outbound"},
		"?MessageStreamType=All":           {"broadcast", "inbound", "news", "outbound"},
		"?messageStreamType=all":           {"broadcast", "inbound", "news", "outbound"},
		"?messagestreamtype=TRANSACTIONAL": {"outbound"},
		"?MessageStreamType=Broadcasts":    {"broadcast", "news"},
		"?MessageStreamType=Inbound":       {"inbound"},
		"?IncludeArchivedStreams=True":     {"broadcast", "inbound", "news", "outbound"},
	} {
		if diff := cmp.Diff(want, ids(query)); diff != "" {
			t.Errorf("%q -want +got:\n%s", query, diff)
		}
	}
	r.call(t, c.server, get, "/message-streams?MessageStreamType=Nope", "").
		refused(422, 1221, "The 'MessageStreamType' associated with this request was invalid.")
	r.call(t, c.server, get, "/message-streams/nope", "").
		refused(422, 1226, "The message stream for the provided 'ID' was not found.")

	got := r.call(t, c.server, get, "/message-streams/outbound", "").ok()
	wantRecent(t, "CreatedAt", got.text(t, "CreatedAt"))
	want := object{
		"ID": "outbound", "ServerID": json.Number(c.id), "Name": "Default Transactional Stream", "Description": nil,
		"MessageStreamType": "Transactional", "CreatedAt": got["CreatedAt"], "UpdatedAt": nil, "ArchivedAt": nil, "ExpectedPurgeDate": nil,
		"SubscriptionManagementConfiguration": map[string]any{"UnsubscribeHandlingType": "None"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outbound -want +got:\n%s", diff)
	}
	if got := r.call(t, c.server, get, "/message-streams/broadcast", "").ok()["SubscriptionManagementConfiguration"]; !cmp.Equal(got, map[string]any{"UnsubscribeHandlingType": "Postmark"}) {
		t.Errorf("broadcast has %v", got)
	}
}

func TestWireStream(t *testing.T) {
	at := time.Date(2026, 3, 2, 14, 15, 0, 0, time.UTC)
	got, err := json.Marshal(newWireStream(&pennypost.Stream{
		ServerID: 41077, ID: "newsletters", Type: pennypost.StreamBroadcasts, Name: "Newsletters", Description: "Monthly",
		Unsubscribe: pennypost.UnsubscribeCustom, CreatedAt: at, UpdatedAt: at.Add(time.Hour), ArchivedAt: at.AddDate(0, 0, 1),
	}))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"ID":"newsletters","ServerID":41077,"Name":"Newsletters","Description":"Monthly","MessageStreamType":"Broadcasts",` +
		`"CreatedAt":"2026-03-02T14:15:00Z","UpdatedAt":"2026-03-02T15:15:00Z","ArchivedAt":"2026-03-03T14:15:00Z",` +
		`"ExpectedPurgeDate":"2026-04-17T14:15:00Z","SubscriptionManagementConfiguration":{"UnsubscribeHandlingType":"Custom"}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
