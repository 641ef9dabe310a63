package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/event"
	"pennypost/internal/store"
)

const list = "/message-streams/outbound/suppressions"

func addresses(addrs ...string) string {
	items := make([]map[string]string, len(addrs))
	for n, a := range addrs {
		items[n] = map[string]string{"EmailAddress": a}
	}
	b, err := json.Marshal(map[string]any{"Suppressions": items})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func result(addr, status string, text any) map[string]any {
	return map[string]any{"EmailAddress": addr, "Status": status, "Message": text}
}

func (a answer) results() []any {
	a.t.Helper()
	l, ok := a.ok()["Suppressions"].([]any)
	if !ok {
		a.t.Fatalf("%s: %s has no list", a.what, a.body)
	}
	return l
}

// onList stores an entry as it may have come by other ways than the API.
func (r *rig) onList(t *testing.T, server pennypost.ServerID, addr pennypost.Address, reason, origin string, at time.Time) {
	t.Helper()
	r.update(t, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SuppressAll(ctx, []pennypost.Suppression{{ServerID: server, Stream: "outbound", Address: addr, Reason: reason, Origin: origin, At: at}})
		return err
	})
}

// contract/bounces.md §12: results of creating, and what is on the list right
// after it (contract/clients.md 11.5, 11.6).
func TestCreateSuppressions(t *testing.T) {
	r, c := newShop(t)
	got := r.call(t, c.server, post, list, addresses("Ann@Shop.test", "not-an-address", "ann@shop.test", "bob@shop.test", "B <b@shop.test>")).results()
	want := []any{
		result("Ann@Shop.test", "Suppressed", nil), result("not-an-address", "Failed", "An invalid email address was provided."),
		result("ann@shop.test", "Suppressed", nil), result("bob@shop.test", "Suppressed", nil),
		result("B <b@shop.test>", "Failed", "An invalid email address was provided."),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	entries := r.call(t, c.server, get, list+"/dump", "").ok().list(t, "Suppressions")
	if len(entries) != 2 {
		t.Fatalf("%d entries: %v", len(entries), entries)
	}
	for n, addr := range []string{"ann@shop.test", "bob@shop.test"} {
		e := entries[n]
		wantRecent(t, "CreatedAt", e.text(t, "CreatedAt"))
		if strings.Contains(e.text(t, "CreatedAt"), ".") {
			t.Errorf("CreatedAt %v has a fraction", e["CreatedAt"])
		}
		if diff := cmp.Diff(object{"EmailAddress": addr, "SuppressionReason": "ManualSuppression", "Origin": "Customer", "CreatedAt": e["CreatedAt"]}, e); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	r.call(t, c.server, post, "/email", message(`"To": "bob@shop.test"`)).refused(422, 406, fmt.Sprintf(inactiveOne, "bob@shop.test"))
	if o := r.call(t, c.server, post, "/email", message(`"To": "bob@shop.test", "MessageStream": "broadcast"`)).ok(); o["Message"] != "OK" {
		t.Errorf("on another stream: %v", o)
	}
	// Each change is on record for webhooks, once; it concerns no message.
	err := r.st.View(t.Context(), func(tx *store.Tx) error {
		events, err := tx.StreamEvents(t.Context(), c.number, "outbound", 0, 10)
		if err != nil || len(events) != 2 {
			t.Fatalf("events %v, %v; want two", events, err)
		}
		e := events[0]
		if e.Type != pennypost.EventSubscriptionChanged || !e.MessageID.IsZero() || e.Recipient != "Ann@shop.test" || e.AccountID != 1 ||
			!cmp.Equal(e.Details, map[string]string{"Origin": "Customer", "SuppressSending": "True", "SuppressionReason": "ManualSuppression"}) {
			t.Errorf("event %+v", e)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// contract/bounces.md §11: who may take what off the list.
func TestDeleteSuppressions(t *testing.T) {
	r, c := newShop(t)
	const no = "You do not have the required authority to change this suppression."
	var addrs []string
	var want []any
	for _, tt := range []struct {
		reason, origin string
		ok             bool
	}{
		{"ManualSuppression", "Customer", true},
		{"ManualSuppression", "Recipient", false},
		{"ManualSuppression", "Admin", false},
		{"HardBounce", "Recipient", true},
		{"HardBounce", "Customer", true},
		{"HardBounce", "Admin", false},
		{"SpamComplaint", "Recipient", false},
		{"SpamComplaint", "Customer", false},
		{"SpamComplaint", "Admin", false},
	} {
		addr := strings.ToLower(tt.reason + "." + tt.origin + "@shop.test")
		r.onList(t, c.number, pennypost.Address(addr), tt.reason, tt.origin, time.Time{})
		addrs = append(addrs, addr)
		if tt.ok {
			want = append(want, result(addr, "Deleted", nil))
		} else {
			want = append(want, result(addr, "Failed", no))
		}
	}
	addrs = append(addrs, "never@shop.test", "nonsense")
	want = append(want, result("never@shop.test", "Deleted", nil), result("nonsense", "Failed", "An invalid email address was provided."))
	if diff := cmp.Diff(want, r.call(t, c.server, post, list+"/delete", addresses(addrs...)).results()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if n := len(r.call(t, c.server, get, list+"/dump", "").ok().list(t, "Suppressions")); n != 6 {
		t.Errorf("%d entries are left, want 6", n)
	}
	r.call(t, c.server, post, "/email", message(`"To": "hardbounce.recipient@shop.test"`)).ok()
}

// Deleting a HardBounce suppression is activating the bounce (contract/bounces.md
// §9, §15), whatever the case of the address.
func TestDeleteActivatesBounce(t *testing.T) {
	r, c := newShop(t)
	sent := r.call(t, c.server, post, "/email", message(`"To": "Ann@Dead.test", "Tag": "receipt"`)).ok()
	id, err := pennypost.ParseMessageID(sent.text(t, "MessageID"))
	if err != nil {
		t.Fatal(err)
	}
	var ids [2]int64
	r.update(t, func(ctx context.Context, tx *store.Tx) error {
		for n := range ids {
			b := &pennypost.Bounce{
				Type: "HardBounce", TypeCode: bounce.HardBounce.Code(), AccountID: 1, ServerID: c.number, Stream: "outbound",
				MessageID: id, Recipient: "Ann@dead.test", Inactive: true, Tag: "receipt",
			}
			err := event.Record(ctx, tx, &pennypost.Event{
				AccountID: 1, ServerID: c.number, Stream: "outbound", MessageID: id, Recipient: "Ann@dead.test", Type: pennypost.EventBounced, Bounce: b,
			})
			if err != nil {
				return err
			}
			ids[n] = b.ID
		}
		return nil
	})
	r.call(t, c.server, post, "/email", message(`"To": "ann@dead.test"`)).refused(422, 406, fmt.Sprintf(inactiveOne, "ann@dead.test"))
	got := r.call(t, c.server, post, list+"/delete", addresses("ANN@dead.test")).results()
	if diff := cmp.Diff([]any{result("ANN@dead.test", "Deleted", nil)}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	err = r.st.View(t.Context(), func(tx *store.Tx) error {
		for _, id := range ids {
			b, err := tx.Bounce(t.Context(), c.number, id)
			if err != nil {
				return err
			}
			if b.Inactive {
				t.Errorf("bounce %d is inactive still", id)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	events := r.call(t, c.server, get, "/messages/outbound/"+id.String()+"/details", "").ok().list(t, "MessageEvents")
	last := events[len(events)-1]
	if last["Type"] != "SubscriptionChanged" || !cmp.Equal(last["Details"], map[string]any{"Origin": "Customer", "SuppressSending": "False"}) {
		t.Errorf("last event of the message: %v", last)
	}
	r.call(t, c.server, post, "/email", message(`"To": "ann@dead.test"`)).ok()
}

// contract/bounces.md §10: each filter, names in any case, dates inclusive in US
// Eastern days (contract/common.md §7).
func TestDumpFilters(t *testing.T) {
	r, c := newShop(t)
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	r.onList(t, c.number, "A@shop.test", "HardBounce", "Recipient", at("2026-03-11T04:00:00.123456Z")) // midnight in New York, summer time
	r.onList(t, c.number, "b@shop.test", "SpamComplaint", "Recipient", at("2026-03-12T03:59:59Z"))     // the last second of the 11th there
	r.onList(t, c.number, "c@shop.test", "ManualSuppression", "Customer", at("2026-03-12T04:00:00Z"))
	r.onList(t, c.number, "d@shop.test", "ManualSuppression", "Admin", at("2026-03-14T12:00:00Z"))
	for query, want := range map[string]string{
		"":                                     "a b c d",
		"?SuppressionReason=HardBounce":        "a",
		"?suppressionReason=spamcomplaint":     "b",
		"?SuppressionReason=ManualSuppression": "c d",
		"?Origin=Recipient":                    "a b",
		"?origin=customer":                     "c",
		"?Origin=Admin":                        "d",
		"?FromDate=2026-03-12":                 "c d",
		"?toDate=2026-03-11":                   "a b",
		"?todate=2026-3-12&fromdate=2026-3-12": "c",
		"?fromDate=2026-03-11&toDate=2026-03-11&origin=Recipient&suppressionReason=HardBounce": "a",
		"?fromDate=2026-03-14T12:00:00Z":                              "d",
		"?emailAddress=B@shop.test":                                   "b",
		"?EmailAddress=shop.test":                                     "",
		"?EmailAddress=invalid":                                       "",
		"?EmailAddress=z@shop.test":                                   "",
		"?count=1&offset=1":                                           "a b c d", // ignored
		"?SuppressionReason=&Origin=&FromDate=&ToDate=&EmailAddress=": "a b c d",
	} {
		a := r.call(t, c.server, get, list+"/dump"+query, "")
		var got []string
		for _, e := range a.ok().list(t, "Suppressions") {
			got = append(got, strings.TrimSuffix(e.text(t, "EmailAddress"), "@shop.test"))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %q, want %q", query, s, want)
		}
		if want == "" && a.body != `{"Suppressions":[]}` {
			t.Errorf("%s: empty answer is %s", query, a.body)
		}
	}
	first := r.call(t, c.server, get, list+"/dump?EmailAddress=a@shop.test", "")
	if want := `{"Suppressions":[{"EmailAddress":"a@shop.test","SuppressionReason":"HardBounce","Origin":"Recipient","CreatedAt":"2026-03-11T04:00:00Z"}]}`; first.body != want {
		t.Errorf("got %s, want %s", first.body, want)
	}
	if got := first.header.Get("Content-Type"); got != "application/json; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
}

// Codes and texts of contract/bounces.md §14.
func TestSuppressionRefusals(t *testing.T) {
	r, c := newShop(t)
	const (
		missing = "The message stream for the provided 'ID' was not found."
		noBody  = "A proper request body must be provided."
		count   = "Parameter 'count' should be an integer within the allowed range."
		offset  = "Parameter 'offset' should be an integer greater than or equal to zero."
		noAddr  = "Parameter 'emailAddress' is required but was left out."
	)
	for query, want := range map[string]struct {
		code int
		text string
	}{
		"SuppressionReason=Nope": {1404, "Parameter 'SuppressionReason' is invalid."},
		"Origin=Nobody":          {1405, "Parameter 'Origin' is invalid."},
		"count=x":                {1400, count},
		"count=-1":               {1400, count},
		"count=501":              {1400, count},
		"count=":                 {1401, "Parameter 'count' is required but was left out."},
		"offset=-1":              {1402, offset},
		"offset=1.5":             {1402, offset},
		"offset=":                {1403, "Parameter 'offset' is required but was left out."},
		"FromDate=yesterday":     {1407, "Something went wrong when processing the request. Parameter 'FromDate' is not a valid date."},
		"todate=2026-13-01":      {1407, "Something went wrong when processing the request. Parameter 'ToDate' is not a valid date."},
	} {
		r.call(t, c.server, get, list+"/dump?"+query, "").refused(422, want.code, want.text)
	}
	many := make([]string, 51)
	for n := range many {
		many[n] = fmt.Sprintf("a%d@shop.test", n)
	}
	for _, path := range []string{list, list + "/delete"} {
		r.call(t, c.server, post, path, "").refused(422, 1409, noBody)
		r.call(t, c.server, post, path, "{}").refused(422, 1409, noBody)
		r.call(t, c.server, post, path, `{"Suppressions": []}`).refused(422, 1409, noBody)
		r.call(t, c.server, post, path, addresses(many...)).refused(422, 1410, "You cannot provide more than the maximum number of suppressions for this request.")
		r.call(t, c.server, post, path, `{"Suppressions": [{"EmailAddress": "a@shop.test"}, {}]}`).refused(422, 1411, noAddr)
		r.call(t, c.server, post, path, `{"Suppressions": [{"EmailAddress": null}]}`).refused(422, 1411, noAddr)
		r.call(t, c.server, post, path, `{"Suppressions": 7}`).refused(422, 403, "Invalid request field(s): 'Suppressions'.")
		r.call(t, c.server, post, strings.Replace(path, "outbound", "nope", 1), addresses("a@shop.test")).refused(422, 1226, missing)
		if n := len(r.call(t, c.server, post, path, addresses(many[:50]...)).results()); n != 50 {
			t.Errorf("%s: %d results, want 50", path, n)
		}
	}
	r.call(t, c.server, get, "/message-streams/nope/suppressions/dump", "").refused(422, 1226, missing)
}

// A list of more entries than are read at a time comes whole, with gzip too.
func TestDumpLong(t *testing.T) {
	r, c := newShop(t)
	const n = 2*suppressionsAtOnce + 7
	all := make([]pennypost.Suppression, n)
	for i := range all {
		all[i] = pennypost.Suppression{
			ServerID: c.number, Stream: "outbound", Address: pennypost.Address(fmt.Sprintf("ann%05d@shop.test", i)),
			Reason: "HardBounce", Origin: "Recipient",
		}
	}
	r.update(t, func(ctx context.Context, tx *store.Tx) error {
		added, err := tx.SuppressAll(ctx, all)
		if added != n {
			t.Errorf("%d added, want %d", added, n)
		}
		return err
	})
	check := func(what string, body []byte) {
		t.Helper()
		var got struct {
			Suppressions []struct{ EmailAddress string }
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if len(got.Suppressions) != n {
			t.Fatalf("%s: %d entries, want %d", what, len(got.Suppressions), n)
		}
		for i, e := range got.Suppressions {
			if e.EmailAddress != string(all[i].Address) {
				t.Fatalf("%s: entry %d is %s", what, i, e.EmailAddress)
			}
		}
	}
	check("plain", []byte(r.call(t, c.server, get, list+"/dump", "").body))
	a := r.request(t, c.server, get, list+"/dump", "", func(req *http.Request) { req.Header.Set("Accept-Encoding", "gzip") })
	zr, err := gzip.NewReader(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	check("gzip", b)
	if len(a.body) >= len(b) || a.header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%d octets for %d", len(a.body), len(b))
	}
	if !bytes.HasSuffix(b, []byte("]}")) {
		t.Errorf("the end is %q", b[len(b)-20:])
	}
}
