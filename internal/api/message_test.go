package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/store"
	"pennypost/internal/web"
)

// listed gives the subjects that a search finds, in order.
func (r *rig) listed(t *testing.T, by who, query string) []string {
	t.Helper()
	got := r.call(t, by, get, "/messages/outbound?count=50&offset=0&"+query, "").ok()
	list := []string{}
	for _, m := range got.list(t, "Messages") {
		list = append(list, m.text(t, "Subject"))
	}
	if got["TotalCount"] != json.Number(itoa(len(list))) {
		t.Errorf("%s: TotalCount = %v, %d listed", query, got["TotalCount"], len(list))
	}
	return list
}

func TestOutboundItem(t *testing.T) {
	r, c := newShop(t)
	r.suppress(t, c.number, "outbound", "gone@shop.test")
	full := r.call(t, c.server, post, "/email", message(`
		"From": "Acme \"&\" Co <ann@acme.test>", "To": "Bob <bob@shop.test>, gone@shop.test", "Cc": "cy@shop.test", "Bcc": "di@shop.test", "Subject": "Receipt",
		"Tag": "receipt", "TrackOpens": true, "TrackLinks": "HtmlAndText", "Metadata": {"order": "778"},
		"Attachments": [{"Name": "receipt.pdf", "Content": "aGk=", "ContentType": "application/pdf"}]`)).ok()
	time.Sleep(2 * time.Millisecond) // ids sort by the millisecond
	plain := r.call(t, c.server, post, "/email", message(`"From": "ann@acme.test", "Subject": null`)).ok()

	got := r.call(t, c.server, get, "/messages/outbound?count=10&offset=0", "").ok()
	list := got.list(t, "Messages")
	if len(list) != 2 || got["TotalCount"] != json.Number("2") {
		t.Fatalf("list is %v", got)
	}
	wantRecent(t, "ReceivedAt", list[0].text(t, "ReceivedAt"))
	box := func(addr, name string) any { return map[string]any{"Email": addr, "Name": name} }
	want := []object{
		{
			"MessageID": plain["MessageID"], "MessageStream": "outbound", "To": []any{box("bob@shop.test", "")}, "Cc": []any{}, "Bcc": []any{},
			"Recipients": []any{"bob@shop.test"}, "ReceivedAt": list[0]["ReceivedAt"], "From": "ann@acme.test", "Subject": "", "Attachments": []any{},
			"Status": "Queued", "TrackOpens": false, "TrackLinks": "None", "Metadata": map[string]any{}, "Sandboxed": false,
		},
		{
			"Tag": "receipt", "MessageID": full["MessageID"], "MessageStream": "outbound",
			"To": []any{box("bob@shop.test", "Bob"), box("gone@shop.test", "")}, "Cc": []any{box("cy@shop.test", "")}, "Bcc": []any{box("di@shop.test", "")},
			"Recipients": []any{"bob@shop.test", "gone@shop.test", "cy@shop.test", "di@shop.test"}, "ReceivedAt": list[1]["ReceivedAt"],
			"From": `"Acme \"&\" Co" <ann@acme.test>`, "Subject": "Receipt", "Attachments": []any{"receipt.pdf"}, "Status": "Queued",
			"TrackOpens": true, "TrackLinks": "HtmlAndText", "Metadata": map[string]any{"order": "778"}, "Sandboxed": false,
		},
	}
	want[1]["From"] = list[1]["From"] // compared below: the API's syntax has quotes of its own
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if from := list[1].text(t, "From"); !strings.HasSuffix(from, `" <ann@acme.test>`) || !strings.HasPrefix(from, `"Acme`) {
		t.Errorf("From = %q", from)
	}
}

func TestMailboxText(t *testing.T) {
	for want, m := range map[string]pennypost.Mailbox{
		`ann@acme.test`:                   {Address: "ann@acme.test"},
		`"Ann" <ann@acme.test>`:           {Name: "Ann", Address: "ann@acme.test"},
		`"a \"b\" \\ c" <ann@acme.test>`:  {Name: `a "b" \ c`, Address: "ann@acme.test"},
		`"Jürgen, Größe" <ann@acme.test>`: {Name: "Jürgen, Größe", Address: "ann@acme.test"},
		`"x" <"odd..local"@acme.test>`:    {Name: "x", Address: `"odd..local"@acme.test`},
	} {
		if got := mailboxText(m); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestOutboundSearch(t *testing.T) {
	r, c := newShop(t)
	other := r.newServer(t, c.account, `{"Name": "Other"}`)
	r.addStream(t, c.number, "news")
	send := func(by who, fields string) pennypost.MessageID {
		t.Helper()
		time.Sleep(2 * time.Millisecond) // ids sort by the millisecond
		id, err := pennypost.ParseMessageID(r.call(t, by, post, "/email", message(fields)).ok().text(t, "MessageID"))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	send(c.server, `"Subject": "Order 1", "To": "bob@shop.test", "Cc": "cy@shop.test", "Tag": "order", "Metadata": {"Order": "1", "kind": "a"}`)
	tried := send(c.server, `"Subject": "order 2", "To": "Bob <BOB@shop.test>", "From": "Zed <zed@acme.test>", "Metadata": {"order": "2"}`)
	send(c.server, `"Subject": "100% off_now", "To": "di@shop.test", "Tag": "Order"`)
	send(c.server, `"Subject": "Letter", "MessageStream": "news", "To": "bob@shop.test"`)
	send(other.server, `"Subject": "Not yours", "To": "bob@shop.test", "Tag": "order"`)
	r.update(t, func(ctx context.Context, tx *store.Tx) error {
		rcpt, err := tx.Recipient(ctx, tried, 0)
		if err != nil {
			return err
		}
		rcpt.State, rcpt.Attempts = pennypost.Deferred, 1
		return tx.SetRecipient(ctx, rcpt)
	})
	all := []string{"100% off_now", "order 2", "Order 1"} // newest first
	eastern := func(d time.Duration) string { return time.Now().Add(d).In(r.api.eastern).Format("2006-01-02T15:04:05") }
	day := func(d int) string { return time.Now().In(r.api.eastern).AddDate(0, 0, d).Format("2006-1-2") }
	tests := []struct {
		name, query string
		want        []string
	}{
		{"all", "", all},
		{"empty filters are not given", "recipient=&fromemail=&tag=&status=&subject=&messagestream=&fromdate=&todate=", all},
		{"recipient", "recipient=bob@shop.test", []string{"order 2", "Order 1"}},
		{"recipient in Cc", "recipient=CY@shop.test", []string{"Order 1"}},
		{"recipient is matched whole", "recipient=b@shop.test", []string{}},
		{"recipient that is no address", "recipient=%25", []string{}},
		{"sender", "fromEmail=zed@acme.test", []string{"order 2"}},
		{"sender in another case", "FROMEMAIL=Ann@Acme.test", []string{"100% off_now", "Order 1"}},
		{"tag is exact", "tag=order", []string{"Order 1"}},
		{"subject in any case", "subject=ORDER", []string{"order 2", "Order 1"}},
		{"subject is literal", "subject=" + url.QueryEscape("%"), []string{"100% off_now"}},
		{"subject is literal too", "subject=f_n", []string{"100% off_now"}},
		{"subject with a quote", "subject=" + url.QueryEscape(`' OR '1'='1`), []string{}},
		{"status queued", "status=queued", []string{"100% off_now", "Order 1"}},
		{"status sent", "status=sent", []string{"order 2"}},
		{"status processed is sent", "status=Processed", []string{"order 2"}},
		{"metadata", "metadata_order=2", []string{"order 2"}},
		{"metadata name in any case", "metadata_ORDER=1", []string{"Order 1"}},
		{"metadata value is exact", "metadata_order=", []string{}},
		{"stream", "messagestream=news", []string{"Letter"}},
		{"stream in another key case", "messageStream=outbound", all},
		{"inbound stream has none", "messagestream=inbound", []string{}},
		{"filters combine", "recipient=bob@shop.test&subject=order&tag=order", []string{"Order 1"}},
		{"from today on", "fromdate=" + day(0), all},
		{"until today, inclusive", "todate=" + day(0), all},
		{"from tomorrow on", "fromdate=" + day(1), []string{}},
		{"until yesterday", "todate=" + day(-1), []string{}},
		{"from an hour ago", "fromDate=" + eastern(-time.Hour), all},
		{"until an hour ago", "toDate=" + eastern(-time.Hour), []string{}},
		{"from after to", "fromdate=" + day(1) + "&todate=" + day(-1), []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, r.listed(t, c.server, tt.query)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	t.Run("pages", func(t *testing.T) {
		for offset, want := range all {
			got := r.call(t, c.server, get, "/messages/outbound?count=1&offset="+itoa(offset), "").ok()
			if list := got.list(t, "Messages"); len(list) != 1 || list[0]["Subject"] != want || got["TotalCount"] != json.Number("3") {
				t.Errorf("offset %d: %v", offset, got)
			}
		}
		if got := r.call(t, c.server, get, "/messages/outbound?count=5&offset=3", ""); got.body != `{"TotalCount":3,"Messages":[]}` {
			t.Errorf("behind the end: %s", got.body)
		}
	})
	for _, tt := range []struct {
		name, query string
		code        int
		text        string
	}{
		{"bad status", "status=delivered", 700, ""},
		{"bad fromdate", "fromdate=yesterday", 700, ""},
		{"bad todate", "todate=2026-02-30", 700, ""},
		{"two metadata fields", "metadata_a=1&metadata_b=2", 700, ""},
		{"unknown stream", "messagestream=nope", 1226, "The message stream for the provided 'ID' was not found."},
		{"stream of another server", "messagestream=theirs", 1226, "The message stream for the provided 'ID' was not found."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := r.call(t, c.server, get, "/messages/outbound?count=1&offset=0&"+tt.query, "")
			if tt.text == "" {
				got.refusedWith(422, tt.code, "")
				return
			}
			got.refused(422, tt.code, tt.text)
		})
	}
}

func TestStatus(t *testing.T) {
	rcpt := func(s pennypost.RecipientState, attempts int) pennypost.Recipient {
		return pennypost.Recipient{State: s, Attempts: attempts}
	}
	tests := []struct {
		name string
		list []pennypost.Recipient
		want string
	}{
		{"waiting for the first attempt", []pennypost.Recipient{rcpt(pennypost.Queued, 0)}, "Queued"},
		{"being tried", []pennypost.Recipient{rcpt(pennypost.Queued, 1)}, "Sent"},
		{"one of two waits", []pennypost.Recipient{rcpt(pennypost.Delivered, 1), rcpt(pennypost.Queued, 0)}, "Queued"},
		{"delivered", []pennypost.Recipient{rcpt(pennypost.Delivered, 1)}, "Sent"},
		{"bounced", []pennypost.Recipient{rcpt(pennypost.Bounced, 1)}, "Sent"},
		{"deferred", []pennypost.Recipient{rcpt(pennypost.Deferred, 1)}, "Sent"},
		{"others suppressed", []pennypost.Recipient{rcpt(pennypost.Suppressed, 0), rcpt(pennypost.Delivered, 1)}, "Sent"},
	}
	for _, tt := range tests {
		if got := messageStatus(&pennypost.Message{}, tt.list, time.Now()); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestOutboundDetails(t *testing.T) {
	r, c := newShop(t)
	result := r.call(t, c.server, post, "/email", message(`"To": "bob@shop.test, eve@dead.test", "HtmlBody": "<p>hé &amp;\nx</p>", "TextBody": "line\r\n.\nlast\n", "Tag": "t"`)).ok()
	path := "/messages/outbound/" + result.text(t, "MessageID")
	m, _ := r.stored(t, c.number, result)
	at := time.Date(2026, 3, 11, 16, 31, 9, 0, time.UTC)
	var bounce int64
	r.update(t, func(ctx context.Context, tx *store.Tx) error {
		e := func(n int, to pennypost.Address, typ pennypost.EventType, details map[string]string) *pennypost.Event {
			at = at.Add(time.Second)
			return &pennypost.Event{
				At: at, AccountID: m.AccountID, ServerID: m.ServerID, Stream: m.Stream, MessageID: m.ID, N: n, Recipient: to, Type: typ, Tag: m.Tag, Details: details,
			}
		}
		bounced := e(1, "eve@dead.test", pennypost.EventBounced, nil)
		bounced.Bounce = &pennypost.Bounce{
			Type: "HardBounce", TypeCode: 1, AccountID: m.AccountID, ServerID: m.ServerID, Stream: m.Stream, MessageID: m.ID, N: 1,
			Recipient: "eve@dead.test", From: "ann@acme.test", Details: "smtp;550 5.1.1 user unknown", Inactive: true, At: bounced.At,
		}
		for _, ev := range []*pennypost.Event{
			e(0, "bob@shop.test", pennypost.EventHeld, map[string]string{"Reason": "x"}),
			e(0, "bob@shop.test", pennypost.EventReleased, nil),
			e(0, "bob@shop.test", pennypost.EventTransient, map[string]string{"DeliveryMessage": "smtp;421 4.7.0 later", "DestinationServer": "mx.shop.test (192.0.2.7)", "DestinationIP": "192.0.2.7"}),
			e(0, "bob@shop.test", pennypost.EventDelivered, map[string]string{"DeliveryMessage": "smtp;250 2.0.0 OK", "DestinationServer": "mx.shop.test (192.0.2.7)", "DestinationIP": "192.0.2.7"}),
			bounced,
			e(0, "bob@shop.test", pennypost.EventSubscriptionChanged, map[string]string{"Origin": "Recipient", "SuppressSending": "True"}),
		} {
			if err := tx.AddEvent(ctx, ev); err != nil {
				return err
			}
		}
		bounce = bounced.Bounce.ID
		return nil
	})

	d := r.call(t, c.server, get, path+"/details?includeMessageContent=Full", "").ok()
	list := r.call(t, c.server, get, "/messages/outbound?count=1&offset=0", "").ok().list(t, "Messages")[0]
	rest := maps.Clone(d)
	for _, name := range []string{"TextBody", "HtmlBody", "Body", "MessageEvents"} {
		delete(rest, name)
	}
	if diff := cmp.Diff(list, rest); diff != "" {
		t.Errorf("details without their own fields -list +details:\n%s", diff)
	}
	if d["TextBody"] != "line\n.\nlast\n" || d["HtmlBody"] != "<p>hé &amp;\nx</p>" {
		t.Errorf("bodies %q, %q", d["TextBody"], d["HtmlBody"])
	}
	if body := d.text(t, "Body"); !strings.Contains(body, "Subject: Hi\r\n") || !strings.Contains(body, "X-PM-Message-Id: "+m.ID.String()) {
		t.Errorf("Body = %q", body)
	}
	event := func(to, typ, at string, details map[string]any) any {
		return map[string]any{"Recipient": to, "Type": typ, "ReceivedAt": at, "Details": details}
	}
	want := []any{
		event("bob@shop.test", "Transient", "2026-03-11T16:31:13Z", map[string]any{"DeliveryMessage": "smtp;421 4.7.0 later", "DestinationServer": "mx.shop.test (192.0.2.7)", "DestinationIP": "192.0.2.7"}),
		event("bob@shop.test", "Delivered", "2026-03-11T16:31:14Z", map[string]any{"DeliveryMessage": "smtp;250 2.0.0 OK", "DestinationServer": "mx.shop.test (192.0.2.7)", "DestinationIP": "192.0.2.7"}),
		event("eve@dead.test", "Bounced", "2026-03-11T16:31:10Z", map[string]any{"Summary": "smtp;550 5.1.1 user unknown", "BounceID": fmt.Sprint(bounce)}),
		event("bob@shop.test", "SubscriptionChanged", "2026-03-11T16:31:15Z", map[string]any{"Origin": "Recipient", "SuppressSending": "True"}),
	}
	got, ok := d["MessageEvents"].([]any)
	if !ok {
		t.Fatalf("MessageEvents = %v", d["MessageEvents"])
	}
	slices.SortFunc(want, byReceivedAt)
	slices.SortFunc(got, byReceivedAt)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events -want +got:\n%s", diff)
	}
	if bounce <= 0 || bounce >= 1<<53 {
		t.Errorf("BounceID = %d", bounce)
	}

	dump := r.call(t, c.server, get, path+"/dump", "").ok()
	if diff := cmp.Diff(object{"Body": d["Body"]}, dump); diff != "" {
		t.Errorf("dump -details +dump:\n%s", diff)
	}
	for _, call := range []string{"/details", "/dump", "/explain"} {
		if upper := r.call(t, c.server, get, "/messages/outbound/"+strings.ToUpper(m.ID.String())+call, ""); upper.status != 200 {
			t.Errorf("%s with the id in capitals: %d %s", call, upper.status, upper.body)
		}
		r.call(t, c.server, get, "/messages/outbound/123"+call, "").refused(422, 701, "This message was not found.")
		r.call(t, c.server, get, "/messages/outbound/00000000-0000-4000-8000-000000000000"+call, "").refused(422, 701, "This message was not found.")
	}
}

func byReceivedAt(a, b any) int {
	return strings.Compare(fmt.Sprint(a.(map[string]any)["ReceivedAt"]), fmt.Sprint(b.(map[string]any)["ReceivedAt"]))
}

// A body comes back as it was sent, and has no key when it was not.
func TestBodiesComeBack(t *testing.T) {
	r, c := newShop(t)
	for _, tt := range []struct{ name, fields, text, html string }{
		{"text", `"TextBody": "hello"`, "hello", ""},
		{"HTML", `"TextBody": null, "HtmlBody": "<p>hello</p>"`, "", "<p>hello</p>"},
		{"both", `"HtmlBody": "<p>a</p>"`, "hello", "<p>a</p>"},
		{"dots and blanks at ends", `"TextBody": ".\n..\n. \nFrom me\n=3D="`, ".\n..\n. \nFrom me\n=3D=", ""},
		{"a line of 5,000", `"TextBody": "` + strings.Repeat("x", 5000) + `"`, strings.Repeat("x", 5000), ""},
		{"many scripts", `"TextBody": "Größe 漢字 📧 \u202e"`, "Größe 漢字 📧 \u202e", ""},
		{"HTML characters", `"TextBody": "<b> & \" '"`, `<b> & " '`, ""},
		{"text file attached", `"Attachments": [{"Name": "a.txt", "Content": "aGk=", "ContentType": "text/plain"}, {"Name": "b.html", "Content": "aGk=", "ContentType": "text/html"}]`, "hello", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := r.call(t, c.server, post, "/email", message(tt.fields)).ok().text(t, "MessageID")
			d := r.call(t, c.server, get, "/messages/outbound/"+id+"/details", "").ok()
			for name, want := range map[string]string{"TextBody": tt.text, "HtmlBody": tt.html} {
				got, ok := d[name]
				if want == "" && ok || want != "" && got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestBodyText(t *testing.T) {
	const mark = "[Message Truncated]"
	tests := []struct {
		name, in string
		whole    bool
		want     string
	}{
		{"at the limit", strings.Repeat("a", 1<<20), false, strings.Repeat("a", 1<<20)},
		{"one over", strings.Repeat("a", 1<<20+1), false, strings.Repeat("a", 1<<20) + mark},
		{"cut between characters", strings.Repeat("a", 1<<20-1) + "é", false, strings.Repeat("a", 1<<20-1) + mark},
		{"the end of the last line is ours", "a\r\n", true, "a"},
		{"inside a multipart it is not", "a\r\n", false, "a\n"},
	}
	for _, tt := range tests {
		if got := *bodyText(&eml.Part{Type: "text/plain", Content: []byte(tt.in)}, tt.whole); got != tt.want {
			t.Errorf("%s: got %d octets ending in %q, want %d", tt.name, len(got), got[max(0, len(got)-30):], len(tt.want))
		}
	}
}

// Answers that are built in memory share the room of request bodies.
func TestSourcesWaitForRoom(t *testing.T) {
	r, c := newShop(t)
	r.api.bodies = web.NewBodies(web.BodiesConfig{Wait: 10 * time.Millisecond})
	id := r.call(t, c.server, post, "/email", message("")).ok().text(t, "MessageID")
	release, err := r.api.bodies.Reserve(t.Context(), 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	r.call(t, c.server, get, "/messages/outbound/"+id+"/dump", "").refused(503, 100, "The service is not available at the moment. Please try again later.")
	release()
	for range 3 {
		r.call(t, c.server, get, "/messages/outbound/"+id+"/dump", "").ok()
		r.call(t, c.server, get, "/messages/outbound/"+id+"/details", "").ok()
	}
	release, err = r.api.bodies.Reserve(t.Context(), 1<<40) // all of it was given back
	if err != nil {
		t.Fatal(err)
	}
	release()
}
