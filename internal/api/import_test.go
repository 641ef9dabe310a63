package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost/internal/web"
)

// importing works through imports until the test ends.
func (r *rig) importing(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.accounts.RunImports(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// imported waits for the end of an import and gives its state.
func (r *rig) imported(t *testing.T, by who, stream, id string) object {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		got := r.call(t, by, get, "/message-streams/"+stream+"/suppressions/import/"+id, "").ok()
		if got["Status"] == "Completed" {
			return got
		}
		if time.Now().After(end) {
			t.Fatalf("not completed: %v", got)
		}
	}
}

func (r *rig) importCSV(t *testing.T, by who, path, body string) answer {
	t.Helper()
	return r.request(t, by, post, path, body, func(req *http.Request) { req.Header.Set("Content-Type", "text/csv; charset=utf-8") })
}

// dumped gives the list as one line for each entry.
func (r *rig) dumped(t *testing.T, by who, stream string) []string {
	t.Helper()
	var lines []string
	for _, e := range r.call(t, by, get, "/message-streams/"+stream+"/suppressions/dump", "").ok().list(t, "Suppressions") {
		lines = append(lines, fmt.Sprint(e["EmailAddress"], " ", e["SuppressionReason"], " ", e["Origin"], " ", e["CreatedAt"]))
	}
	return lines
}

func TestImportForms(t *testing.T) {
	r, c := newShop(t)
	r.importing(t)
	const export = "ann@shop.test HardBounce Recipient 2019-12-17T13:58:33Z"
	want := []string{export, "bob@shop.test ManualSuppression Customer 2026-01-05T05:00:00Z"}
	for name, tt := range map[string]struct{ typ, body string }{
		"a dump": {"application/json", `{"Suppressions": [
			{"EmailAddress": "Ann@shop.test", "SuppressionReason": "HardBounce", "Origin": "Recipient", "CreatedAt": "2019-12-17T08:58:33-05:00"},
			{"EmailAddress": "bob@shop.test", "SuppressionReason": "ManualSuppression", "Origin": "Customer", "CreatedAt": "2026-01-05"}], "More": {"a": [1]}}`},
		"a list": {"application/json", `[{"emailAddress": "ann@shop.test", "reason": "hardbounce", "origin": "RECIPIENT", "createdAt": "2019-12-17T13:58:33Z"},
			{"EmailAddress": "bob@shop.test", "CreatedAt": "2026-1-5"}]`},
		"an export": {"text/csv", "\xEF\xBB\xBF\"EmailAddress\",\"SuppressionReason\",\"Origin\",\"CreatedAt\"\r\n" +
			"\"ann@shop.test\",\"HardBounce\",\"Recipient\",\"2019-12-17T08:58:33-05:00\"\r\nbob@shop.test,,,2026-01-05\r\n"},
		"other titles, other order": {"text/csv", "Created Date,Name,Reason,Email Address,Origin\n2019-12-17 08:58:33,\"x, y\",Hard bounce,ann@shop.test,recipient\n2026-1-5,,Manual suppression,bob@shop.test,customer\n"},
		"semicolons":                {"text/csv; charset=utf-8", "email;reason;origin;date\nann@shop.test;HardBounce;Recipient;2019-12-17T13:58:33Z\n\nbob@shop.test;;;2026-01-05\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := r.newServer(t, c.account, `{"Name": "`+name+`"}`)
			a := r.request(t, s.server, post, "/message-streams/broadcast/suppressions/import", tt.body, func(req *http.Request) { req.Header.Set("Content-Type", tt.typ) })
			got := a.ok()
			if got["Total"] != json.Number("2") || got["MessageStream"] != "broadcast" {
				t.Errorf("begun: %v", got)
			}
			got = r.imported(t, s.server, "broadcast", got.id(t))
			if got["Processed"] != json.Number("2") || got["Added"] != json.Number("2") || got["Failed"] != json.Number("0") || !cmp.Equal(got["Errors"], []any{}) || got["FinishedAt"] == nil {
				t.Errorf("ended: %v", got)
			}
			if diff := cmp.Diff(want, r.dumped(t, s.server, "broadcast")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	t.Run("addresses alone", func(t *testing.T) {
		for n, a := range []answer{
			r.importCSV(t, c.server, list+"/import", "one@shop.test\ntwo@shop.test\nthree@shop.test\n"),
			r.call(t, c.server, post, list+"/import", `["three@shop.test", "four@shop.test", "FOUR@shop.test"]`),
		} {
			got := r.imported(t, c.server, "outbound", a.ok().id(t))
			if added := []string{"3", "1"}[n]; got["Added"] != json.Number(added) || got["Processed"] != json.Number("3") {
				t.Errorf("file %d: %v", n, got)
			}
		}
		if n := len(r.dumped(t, c.server, "outbound")); n != 4 {
			t.Errorf("%d entries, want 4", n)
		}
	})
}

// What is wrong with an entry fails that entry alone; the first hundred are told.
func TestImportErrors(t *testing.T) {
	r, c := newShop(t)
	r.importing(t)
	var b strings.Builder
	b.WriteString("Email,Reason,Origin,Created\ngood@shop.test,,,\nbad,,,\na@shop.test,Nope,,\nb@shop.test,,Nobody,\nc@shop.test,,,tomorrow\n\"two\nlines@shop.test\",,,\n")
	for n := range 200 {
		fmt.Fprintf(&b, "bad%d,,,\n", n)
	}
	got := r.imported(t, c.server, "outbound", r.importCSV(t, c.server, list+"/import", b.String()).ok().id(t))
	if got["Total"] != json.Number("206") || got["Processed"] != json.Number("206") || got["Added"] != json.Number("1") || got["Failed"] != json.Number("205") {
		t.Errorf("%v", got)
	}
	errs := got.list(t, "Errors")
	if len(errs) != 100 {
		t.Fatalf("%d errors, want 100", len(errs))
	}
	for n, want := range []object{
		{"Line": json.Number("3"), "EmailAddress": "bad", "Message": "An invalid email address was provided."},
		{"Line": json.Number("4"), "EmailAddress": "a@shop.test", "Message": "The reason is invalid."},
		{"Line": json.Number("5"), "EmailAddress": "b@shop.test", "Message": "The origin is invalid."},
		{"Line": json.Number("6"), "EmailAddress": "c@shop.test", "Message": "The date is invalid."},
		{"Line": json.Number("7"), "EmailAddress": "two\nlines@shop.test", "Message": "An invalid email address was provided."},
		{"Line": json.Number("9"), "EmailAddress": "bad0", "Message": "An invalid email address was provided."},
	} {
		if diff := cmp.Diff(want, errs[n]); diff != "" {
			t.Errorf("error %d -want +got:\n%s", n, diff)
		}
	}
}

func TestImportRefusals(t *testing.T) {
	r, c := newShop(t)
	const fault = "Something went wrong when processing the request."
	path := list + "/import"
	r.call(t, c.server, post, path, "").refused(422, 1409, "A proper request body must be provided.")
	r.importCSV(t, c.server, path, "Email\n").refused(422, 1409, "A proper request body must be provided.")
	r.call(t, c.server, post, path, `{"Suppressions": []}`).refused(422, 1409, "A proper request body must be provided.")
	r.call(t, c.server, post, path, `["a@shop.test",`).refused(422, 402, "Invalid JSON.")
	r.call(t, c.server, post, path, `["a@shop.test"] x`).refused(422, 402, "Invalid JSON.")
	r.call(t, c.server, post, path, `{"Suppressions": 7}`).refused(422, 403, "Invalid request field(s): 'Suppressions'.")
	r.call(t, c.server, post, path, `[{"EmailAddress": 7}]`).refused(422, 403, "Invalid request field(s): 'EmailAddress'.")
	r.importCSV(t, c.server, path, "a\xFF@shop.test\n").refused(422, 1407, fault+" The file is not UTF-8.")
	r.request(t, c.server, post, path, "a@shop.test", func(req *http.Request) { req.Header.Set("Content-Type", "text/plain") }).refusedWith(415, 409, "Content-Type")
	r.importCSV(t, c.server, "/message-streams/nope/suppressions/import", "a@shop.test\n").refused(422, 1226, "The message stream for the provided 'ID' was not found.")
	r.call(t, c.server, get, path+"/77", "").refused(422, 1407, fault+" This import was not found.")
	r.call(t, c.server, get, path+"/x", "").refused(422, 1407, fault+" This import was not found.")
	for range 5 { // which wait: nobody works through them here
		r.importCSV(t, c.server, path, "a@shop.test\n").ok()
	}
	r.importCSV(t, c.server, path, "a@shop.test\n").refusedWith(422, 1407, "5 imports under way")
	if got := r.call(t, c.server, get, "/message-streams?count=1", "").ok(); got["TotalCount"] != json.Number("3") {
		t.Errorf("streams: %v", got)
	}
}

// The operator imports for a customer.
func TestOperatorImports(t *testing.T) {
	r, c := newShop(t)
	r.importing(t)
	path := "/operator/servers/" + c.id + "/message-streams/outbound/suppressions/import"
	id := r.importCSV(t, operator(), path, "ann@shop.test,\n").ok().id(t)
	r.imported(t, c.server, "outbound", id)
	if got := r.call(t, operator(), get, path+"/"+id, "").ok(); got["Added"] != json.Number("1") {
		t.Errorf("%v", got)
	}
	r.importCSV(t, operator(), strings.Replace(path, c.id, "888888", 1), "ann@shop.test\n").refused(422, 1226, "The message stream for the provided 'ID' was not found.")
	r.call(t, who{}, post, path, "").refusedWith(404, 404, "not found")
}

// A file has an end, and lines of nothing are no entries.
func TestImportEntries(t *testing.T) {
	r, c := newShop(t)
	path := list + "/import"
	r.importCSV(t, c.server, path, strings.Repeat("a\n", 1_000_001)).
		refused(422, 1407, "Something went wrong when processing the request. The file has more than 1,000,000 entries; import it in parts.")
	r.importCSV(t, c.server, path, strings.Repeat(",\n", 1_100_000)).refused(422, 1409, "A proper request body must be provided.")
	got := r.importCSV(t, c.server, path, "Email,Name\n,\n , \nann@shop.test,\n,Bob\n").ok()
	if got["Total"] != json.Number("2") {
		t.Errorf("%v, want two entries", got)
	}
}

// What is made of a file takes room beside the file itself, and gives it back.
func TestImportTakesRoom(t *testing.T) {
	r, c := newShop(t)
	path := list + "/import"
	file := strings.Repeat("a\n", 250_000)
	r.api.bodies = web.NewBodies(web.BodiesConfig{Budget: 6 << 20, Wait: 10 * time.Millisecond})
	r.importCSV(t, c.server, path, file).refused(503, 100, "The service is not available at the moment. Please try again later.")
	r.api.bodies = web.NewBodies(web.BodiesConfig{Budget: 16 << 20, Wait: 10 * time.Millisecond})
	for range 2 {
		r.importCSV(t, c.server, path, file).ok()
	}
}

// Reading a file ends with the time of the call.
func TestImportStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := &API{}
	for name, read := range map[string]func() error{
		"CSV":  func() error { return a.readCSVImport(ctx, []byte(",\n"), nil) },
		"JSON": func() error { return a.readJSONImport(ctx, []byte(`["x@shop.test"]`), nil) },
	} {
		if err := read(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
