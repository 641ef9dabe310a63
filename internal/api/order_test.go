package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// TestOrderOfChecks: of several mistakes the earliest of contract/sending.md §8
// is told of. A message has all of them first, and loses one after the other.
func TestOrderOfChecks(t *testing.T) {
	r, c := newShop(t)
	r.suppress(t, c.number, "outbound", "bob@shop.test")
	eleven := object{}
	for i := range 11 {
		eleven[fmt.Sprint("k", i)] = "v"
	}
	fields := object{"Subject": "Hi"}
	type mistake struct {
		name         string
		wrong, right object // nil for a field that is not there
		code         int
		text         string
	}
	list := []mistake{
		{"type of a field", object{"Tag": 5}, object{"Tag": "t"}, 403, "'Tag'"},
		{"stream", object{"MessageStream": "nope"}, object{"MessageStream": "outbound"}, 1235, "'nope'"},
		{"syntax of From", object{"From": "x"}, object{"From": "x@elsewhere.test"}, 300, "'From'"},
		{"syntax of recipients", object{"To": "y"}, object{"To": strings.Repeat("bob@shop.test,", 51)}, 300, "'To'"},
		{"number of recipients", nil, object{"To": "bob@shop.test"}, 300, "50 recipients"},
		{"body", nil, object{"TextBody": "x"}, 300, "Provide either"},
		{"metadata", object{"Metadata": eleven}, object{"Metadata": nil}, 300, "metadata"},
		{"headers", object{"Headers": []object{{"Name": "X-A", "Value": "a\nb"}}}, object{"Headers": nil}, 300, "header"},
		{"attachments", object{"Attachments": []object{{"Name": "a.exe", "Content": "aGk="}}}, object{"Attachments": nil}, 411, "not allowed"},
		{"sender", nil, object{"From": "ann@acme.test"}, 400, "x@elsewhere.test"},
	}
	for _, m := range list {
		maps.Copy(fields, m.wrong)
	}
	body := func() string {
		t.Helper()
		b, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, m := range list {
		r.call(t, c.server, post, "/email", body()).refusedWith(422, m.code, m.text)
		if m.name == "sender" {
			// The test token ends before the account is asked.
			r.call(t, server(testToken), post, "/email", body()).ok()
		}
		maps.Copy(fields, m.right)
	}
	r.call(t, operator(), put, "/operator/accounts/1", `{"Pending": true}`).ok()
	r.call(t, c.server, post, "/email", body()).refusedWith(422, 412, "")
	r.call(t, operator(), put, "/operator/accounts/1", `{"Pending": false}`).ok()
	r.call(t, operator(), post, "/operator/servers/"+c.id+"/suspend", `{"Reason": "x"}`).ok()
	r.call(t, c.server, post, "/email", body()).refusedWith(422, 413, "")
	r.call(t, operator(), post, "/operator/servers/"+c.id+"/reactivate", "").ok()
	r.call(t, c.server, post, "/email", body()).refused(422, 406, fmt.Sprintf(inactiveOne, "bob@shop.test"))
}
