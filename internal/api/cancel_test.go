package api

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

// TestScheduled: a message with SendAt is Scheduled until then
// (contract/clients.md 2.16), shows in explain, and can be called back.
func TestScheduled(t *testing.T) {
	r, c := newShop(t)
	at := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	sent := r.call(t, c.server, post, "/email", message(`"Subject": "later", "SendAt": "`+at.Format(time.RFC3339)+`"`)).ok()
	id := sent.text(t, "MessageID")
	r.call(t, c.server, post, "/email", message(`"Subject": "now", "SendAt": -5`)).ok()
	r.call(t, c.server, post, "/email", message(`"Subject": "seconds", "SendAt": 60, "DeliverBy": 60`)).ok()
	batch := r.call(t, c.server, post, "/email/batch", "["+message(`"Subject": "batch", "SendAt": 3600`)+"]").items()
	if batch[0]["ErrorCode"] != float64(0) {
		t.Fatalf("batch: %v", batch)
	}

	status := func(id string) string {
		t.Helper()
		return r.call(t, c.server, get, "/messages/outbound/"+id+"/details", "").ok().text(t, "Status")
	}
	if got := status(id); got != "Scheduled" {
		t.Errorf("Status = %s, want Scheduled", got)
	}
	for query, want := range map[string]string{"scheduled": "batch,seconds,later", "queued": "now", "sent": "", "failed": ""} {
		if got := strings.Join(r.listed(t, c.server, "status="+query), ","); got != want {
			t.Errorf("status=%s finds %s, want %s", query, got, want)
		}
	}
	e := r.call(t, c.server, get, "/messages/outbound/"+id+"/explain", "").ok()
	to := e.list(t, "Recipients")[0]
	next, _ := to["Next"].(map[string]any)
	if e["SendAt"] != timeText(at) || next["Reason"] != "Scheduled" || next["At"] != timeText(at) ||
		to["GivesUpAt"] != timeText(at.Add(72*time.Hour)) || to["Summary"] != "Scheduled: it is sent at "+timeText(at)+"." {
		t.Errorf("explain: %v", e)
	}

	for range 2 { // a client that missed the answer asks again
		r.call(t, c.server, post, "/messages/outbound/"+id+"/cancel", "").ok()
	}
	if got := status(id); got != "Failed" {
		t.Errorf("Status = %s, want Failed", got)
	}
	for query, want := range map[string]string{"scheduled": "batch,seconds", "sent": "", "failed": "later"} {
		if got := strings.Join(r.listed(t, c.server, "status="+query), ","); got != want {
			t.Errorf("after the cancellation status=%s finds %s, want %s", query, got, want)
		}
	}
	d := r.call(t, c.server, get, "/messages/outbound/"+id+"/details", "").ok()
	if list := d.list(t, "MessageEvents"); len(list) != 0 {
		t.Errorf("events that clients do not know: %v", list)
	}
	to = r.call(t, c.server, get, "/messages/outbound/"+id+"/explain", "").ok().list(t, "Recipients")[0]
	if to["State"] != "Cancelled" || to["Next"] != nil || to["Summary"] != "Cancelled by its sender before it was due." {
		t.Errorf("explain: %v", to)
	}
	r.call(t, c.server, post, "/templates", `{"Name": "T", "Alias": "t", "Subject": "templated", "TextBody": "x"}`).ok()
	templated := r.call(t, c.server, post, "/email/withTemplate", `{"From": "ann@acme.test", "To": "bob@shop.test", "TemplateAlias": "t", "TemplateModel": {}, "SendAt": 3600}`).ok()
	if got := status(templated.text(t, "MessageID")); got != "Scheduled" {
		t.Errorf("with a template: Status = %s, want Scheduled", got)
	}
	r.call(t, c.server, del, "/messages/outbound/"+batch[0].text(t, "MessageID")+"/cancel", "").ok()
}

func TestCancelRefusals(t *testing.T) {
	r, c := newShop(t)
	other := r.newServer(t, c.account, `{"Name": "Other"}`)
	now := r.call(t, c.server, post, "/email", message("")).ok().text(t, "MessageID")
	later := r.call(t, c.server, post, "/email", message(`"To": "bob@shop.test, eve@far.test", "SendAt": 1`)).ok().text(t, "MessageID")
	path := func(id string) string { return "/messages/outbound/" + id + "/cancel" }
	const unknown = "This message was not found."
	r.call(t, c.server, post, path("00000000-0000-4000-8000-000000000000"), "").refused(422, 701, unknown)
	r.call(t, c.server, post, path("x"), "").refused(422, 701, unknown)
	r.call(t, other.server, post, path(later), "").refused(422, 701, unknown)
	r.call(t, c.server, post, path(now), "").refusedWith(422, 790, "was not scheduled")
	time.Sleep(1100 * time.Millisecond)
	r.update(t, func(ctx context.Context, tx *store.Tx) error {
		jobs, _, err := tx.ClaimJobs(ctx, pennypost.JobDeliver, "far.test", 1)
		if err == nil && len(jobs) != 1 {
			t.Errorf("claimed %d jobs, want 1", len(jobs))
		}
		return err
	})
	r.call(t, c.server, post, path(later), "").refusedWith(422, 791, "its delivery has begun")
	e := r.call(t, c.server, get, "/messages/outbound/"+later+"/explain", "").ok()
	for _, to := range e.list(t, "Recipients") {
		if to["State"] != "Queued" {
			t.Errorf("%v is %v, want Queued", to["Recipient"], to["State"])
		}
	}
}

func TestSendAtRefusals(t *testing.T) {
	r, c := newShop(t)
	for value, code := range map[string]int{
		`2592060`: 300, `99999999999999`: 300, `"2999-01-01T00:00:00Z"`: 300,
		`"tomorrow"`: 403, `"2026-07-04T12:00:00"`: 403, `1.5`: 403, `true`: 403,
	} {
		text := "Invalid 'SendAt' value."
		if code == 403 {
			text = "Invalid request field(s): 'SendAt'."
		}
		r.call(t, c.server, post, "/email", message(`"SendAt": `+value)).refusedWith(422, code, text)
	}
	if got := r.call(t, c.server, get, "/messages/outbound?count=1&offset=0", "").ok()["TotalCount"]; got != json.Number("0") {
		t.Errorf("%v messages are stored, want none", got)
	}
}
