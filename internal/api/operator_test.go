package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/store"
)

func TestOperatorToken(t *testing.T) {
	r, c := newShop(t)
	const text = "The Operator Token you provided in the X-Operator-Token request header was invalid. Please verify that you are using a valid token."
	for name, change := range map[string]func(*http.Request){
		"no header":     func(q *http.Request) { q.Header.Del(operatorHeader) },
		"wrong token":   func(q *http.Request) { q.Header.Set(operatorHeader, firstToken) },
		"server token":  func(q *http.Request) { q.Header.Set(operatorHeader, c.server.token) },
		"empty token":   func(q *http.Request) { q.Header.Set(operatorHeader, "") },
		"account token": func(q *http.Request) { q.Header.Del(operatorHeader); q.Header.Set(accountHeader, firstToken) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, rt := range r.api.operatorRoutes() {
				path := param.ReplaceAllString(rt.path, "1")
				r.request(t, operator(), rt.method, path, "", change).refused(401, 10, text)
			}
		})
	}
	t.Run("the customers' paths are not on this listener", func(t *testing.T) {
		r.call(t, operator(), get, "/server", "").refused(404, 404, "The requested resource was not found.")
		r.call(t, operator(), post, "/email", "{}").refused(404, 404, "The requested resource was not found.")
		r.call(t, operator(), get, "/confirm/x", "").refused(404, 404, "The requested resource was not found.")
	})
}

func TestOperatorAccounts(t *testing.T) {
	r, c := newShop(t)
	r.call(t, c.server, post, "/email", message(`"To": "a@shop.test, b@shop.test"`)).ok()
	first := r.call(t, operator(), get, "/operator/accounts/1", "").ok()
	want := object{
		"ID": json.Number("1"), "Name": first["Name"], "Plan": "Unlimited", "MonthlyLimit": json.Number("0"), "UsedThisMonth": json.Number("2"),
		"Pending": false, "NoBulk": false, "NoDeletes": false, "Suspended": nil, "CreatedAt": first["CreatedAt"],
	}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	second := r.call(t, operator(), post, "/operator/accounts/", `{"name": "Blue Kettle", "Plan": "Free", "MonthlyLimit": 100, "Pending": true}`).ok()
	token := second.text(t, "AccountToken")
	want = object{
		"ID": second["ID"], "Name": "Blue Kettle", "Plan": "Free", "MonthlyLimit": json.Number("100"), "UsedThisMonth": json.Number("0"),
		"Pending": true, "NoBulk": false, "NoDeletes": false, "Suspended": nil, "CreatedAt": second["CreatedAt"], "AccountToken": token,
	}
	if diff := cmp.Diff(want, second); diff != "" || len(token) != 36 {
		t.Errorf("-want +got:\n%s", diff)
	}
	r.call(t, accountOf(token), get, "/servers?count=1&offset=0", "").ok()

	delete(want, "AccountToken")
	edit := func(what, body string, change object) {
		t.Helper()
		for k, v := range change {
			want[k] = v
		}
		if diff := cmp.Diff(want, r.call(t, operator(), put, "/operator/accounts/"+second.id(t), body).ok()); diff != "" {
			t.Errorf("%s -want +got:\n%s", what, diff)
		}
	}
	edit("approve", `{"Pending": false}`, object{"Pending": false})
	edit("plan and limit", `{"Plan": "Pro", "MonthlyLimit": 1000000}`, object{"Plan": "Pro", "MonthlyLimit": json.Number("1000000")})
	edit("name and deletes", `{"Name": "Kettle", "NoDeletes": true}`, object{"Name": "Kettle", "NoDeletes": true})
	edit("nothing", `{}`, nil)
	edit("read-only fields", `{"ID": 7, "UsedThisMonth": 0, "AccountToken": "x", "Suspended": {"Reason": "x"}}`, nil)

	list := r.call(t, operator(), get, "/operator/accounts", "").ok()
	if list["TotalCount"] != json.Number("2") || len(list.list(t, "Accounts")) != 2 || strings.Contains(fmt.Sprint(list), token) {
		t.Errorf("list is %v", list)
	}
	if page := r.call(t, operator(), get, "/operator/accounts?count=1&offset=1", "").ok().list(t, "Accounts"); len(page) != 1 || page[0].id(t) != second.id(t) {
		t.Errorf("second page is %v", page)
	}
	for _, tt := range []struct {
		name, method, path, body string
		status, code             int
	}{
		{"no name", post, "/operator/accounts", `{}`, 422, 300},
		{"no body", post, "/operator/accounts", ``, 422, 300},
		{"negative limit", put, "/operator/accounts/1", `{"MonthlyLimit": -1}`, 422, 300},
		{"wrong type", put, "/operator/accounts/1", `{"MonthlyLimit": "5"}`, 422, 403},
		{"no JSON", put, "/operator/accounts/1", `{`, 422, 402},
		{"unknown", get, "/operator/accounts/999", ``, 404, 422},
		{"unknown to edit", put, "/operator/accounts/999", `{}`, 404, 422},
		{"unknown to suspend", post, "/operator/accounts/999/suspend", `{"Reason": "x"}`, 404, 422},
		{"unknown to reactivate", post, "/operator/accounts/999/reactivate", ``, 404, 422},
		{"no reason", post, "/operator/accounts/1/suspend", `{}`, 422, 300},
		{"count 0", get, "/operator/accounts?count=0", ``, 422, 300},
		{"bad offset", get, "/operator/accounts?offset=x", ``, 422, 300},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.call(t, operator(), tt.method, tt.path, tt.body).refusedWith(tt.status, tt.code, "")
		})
	}
	suspended := r.call(t, operator(), post, "/operator/accounts/1/suspend", `{"Reason": "payment failed"}`).ok()["Suspended"].(map[string]any)
	wantRecent(t, "Since", fmt.Sprint(suspended["Since"]))
	if suspended["Reason"] != "payment failed" {
		t.Errorf("Suspended = %v", suspended)
	}
	if got := r.call(t, operator(), post, "/operator/accounts/1/reactivate", "null").ok(); got["Suspended"] != nil {
		t.Errorf("after reactivation: %v", got)
	}
}

func TestOperatorServers(t *testing.T) {
	r, c := newShop(t)
	r.call(t, c.server, post, "/email", message("")).ok()
	path := "/operator/servers/" + c.id
	want := r.call(t, operator(), get, path, "").ok()
	full := object{
		"ID": json.Number(c.id), "AccountID": json.Number("1"), "Name": "Shop of acme.test", "DeliveryType": "Live",
		"MonthlyLimit": json.Number("0"), "UsedThisMonth": json.Number("1"), "Suspended": nil, "CreatedAt": want["CreatedAt"],
	}
	if diff := cmp.Diff(full, want); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	list := r.call(t, operator(), get, "/operator/servers?account=1", "").ok()
	if diff := cmp.Diff(object{"TotalCount": json.Number("1"), "Servers": []any{map[string]any(full)}}, list); diff != "" {
		t.Errorf("list -want +got:\n%s", diff)
	}
	if body := fmt.Sprint(list); strings.Contains(body, c.server.token) {
		t.Error("the operator sees a customer's token")
	}
	for _, way := range []string{path, path + "/limit"} {
		if got := r.call(t, operator(), put, way, `{"MonthlyLimit": 500}`).ok(); got["MonthlyLimit"] != json.Number("500") {
			t.Errorf("%s: %v", way, got)
		}
	}
	suspended := r.call(t, operator(), post, path+"/suspend", `{"Reason": "spam"}`).ok()["Suspended"].(map[string]any)
	wantRecent(t, "Since", fmt.Sprint(suspended["Since"]))
	if suspended["Reason"] != "spam" {
		t.Errorf("Suspended = %v", suspended)
	}
	r.call(t, c.server, post, "/email", message("")).refusedWith(422, 413, "spam")
	r.call(t, c.server, get, "/server", "").ok() // all but sending goes on
	if got := r.call(t, operator(), post, path+"/reactivate", "").ok(); got["Suspended"] != nil {
		t.Errorf("after reactivation: %v", got)
	}
	r.call(t, c.server, post, "/email", message("")).ok()
	for _, tt := range []struct {
		name, method, path, body string
		status, code             int
	}{
		{"list without an account", get, "/operator/servers", ``, 422, 300},
		{"list of an unknown account", get, "/operator/servers?account=99", ``, 404, 422},
		{"unknown", get, "/operator/servers/999", ``, 404, 601},
		{"unknown to limit", put, "/operator/servers/999", `{"MonthlyLimit": 1}`, 404, 601},
		{"unknown to suspend", post, "/operator/servers/999/suspend", `{"Reason": "x"}`, 404, 601},
		{"unknown to reactivate", post, "/operator/servers/999/reactivate", ``, 404, 601},
		{"unknown to discard", post, "/operator/servers/999/discard", ``, 404, 601},
		{"no limit given", put, path, `{}`, 422, 300},
		{"null limit", put, path, `{"MonthlyLimit": null}`, 422, 300},
		{"negative limit", put, path, `{"MonthlyLimit": -5}`, 422, 300},
		{"no reason", post, path + "/suspend", ``, 422, 300},
		{"blank reason", post, path + "/suspend", `{"Reason": " "}`, 422, 300},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.call(t, operator(), tt.method, tt.path, tt.body).refusedWith(tt.status, tt.code, "")
		})
	}
}

func TestDiscard(t *testing.T) {
	r, c := newShop(t)
	path := "/operator/servers/" + c.id + "/discard"
	r.discard = func(_ context.Context, id pennypost.ServerID) (int, error) {
		if id != c.number {
			return 0, fmt.Errorf("server %d", id)
		}
		return 7, nil
	}
	if got := r.call(t, operator(), post, path, ""); got.status != 200 || got.body != `{"Discarded":7,"Complete":true}` {
		t.Errorf("got %d %s", got.status, got.body)
	}
	// More than fits into the time of a call: what was done counts.
	r.discard = func(ctx context.Context, _ pennypost.ServerID) (int, error) {
		<-ctx.Done()
		return 5000, fmt.Errorf("drop held mail: %w", ctx.Err())
	}
	conf := r.api.conf
	conf.LongWork = discardSpare + 20*time.Millisecond
	a, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	r.opURL = listen(t, a.OperatorHandler())
	if got := r.call(t, operator(), post, path, ""); got.status != 200 || got.body != `{"Discarded":5000,"Complete":false}` {
		t.Errorf("got %d %s", got.status, got.body)
	}
	r.discard = func(context.Context, pennypost.ServerID) (int, error) { return 3, store.ErrUnavailable }
	r.call(t, operator(), post, path, "").refused(503, 100, "The service is not available at the moment. Please try again later.")

	conf.Discard = nil
	if a, err = New(conf); err != nil {
		t.Fatal(err)
	}
	r.opURL = listen(t, a.OperatorHandler())
	r.call(t, operator(), post, path, "").refused(422, 615, "Action is not supported.")
}

func TestQueueDepths(t *testing.T) {
	r, c := newShop(t)
	sister := r.newServer(t, c.account, `{"Name": "Sister"}`)
	empty := r.call(t, operator(), get, "/operator/queue", "")
	if want := `{"InDelivery":0,"Waiting":0,"Held":0,"TotalCount":0,"Servers":[]}`; empty.body != want {
		t.Errorf("empty queue: got %d %s, want %s", empty.status, empty.body, want)
	}
	r.call(t, sister.server, post, "/email", message("")).ok()
	r.call(t, c.server, post, "/email", message(`"To": "a@shop.test, b@shop.test, c@other.test"`)).ok()
	row := func(id, name string, waiting int) any {
		return map[string]any{
			"ServerID": json.Number(id), "AccountID": json.Number("1"), "Name": name,
			"InDelivery": json.Number("0"), "Waiting": json.Number(itoa(waiting)), "Held": json.Number("0"),
		}
	}
	want := object{
		"InDelivery": json.Number("0"), "Waiting": json.Number("4"), "Held": json.Number("0"), "TotalCount": json.Number("2"),
		"Servers": []any{row(c.id, "Shop of acme.test", 3), row(sister.id, "Sister", 1)},
	}
	if diff := cmp.Diff(want, r.call(t, operator(), get, "/operator/queue", "").ok()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	want["Servers"] = want["Servers"].([]any)[1:]
	if diff := cmp.Diff(want, r.call(t, operator(), get, "/operator/queue?count=1&offset=1", "").ok()); diff != "" {
		t.Errorf("second page -want +got:\n%s", diff)
	}
}
