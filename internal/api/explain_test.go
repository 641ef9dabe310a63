package api

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/store"
)

var noon = time.Date(2026, 7, 4, 12, 0, 0, 0, time.UTC)

func TestNext(t *testing.T) {
	attempt := func(code int, enhanced, reply string) *pennypost.Attempt {
		return &pennypost.Attempt{No: 2, Phase: "rcpt", Host: "mx1.shop.test", IP: "192.0.2.7", Code: code, Enhanced: enhanced, Reply: "smtp;" + reply}
	}
	later := noon.Add(7 * time.Minute)
	const at = "2026-07-04T12:07:00Z"
	tests := []struct {
		name    string
		state   pennypost.RecipientState
		job     *pennypost.Job
		last    *pennypost.Attempt
		suspend string // reason
		reason  nextReason
		at      string
		text    string // part of it
	}{
		{"born leased", pennypost.Queued, &pennypost.Job{RunAt: noon, Lease: 5}, nil, "", nextInDelivery, "", "shop.test is free"},
		{"being tried again", pennypost.Deferred, &pennypost.Job{RunAt: noon, Lease: 5}, attempt(451, "4.3.0", "busy"), "", nextInDelivery, "", "shop.test is free"},
		{"due, in the store", pennypost.Queued, &pennypost.Job{RunAt: noon}, nil, "", nextWaiting, "2026-07-04T12:00:00Z", "waits for its turn"},
		{"due, its destination rests", pennypost.Deferred, &pennypost.Job{RunAt: noon}, attempt(451, "4.3.0", "x"), "", nextRests, at, "rests until then"},
		{"by the schedule", pennypost.Deferred, &pennypost.Job{RunAt: later}, attempt(451, "4.3.0", "local error"), "", nextSchedule, at, "Attempt 3 by the retry schedule"},
		{"the server said when", pennypost.Deferred, &pennypost.Job{RunAt: later}, attempt(450, "4.2.0", "greylisted, try again in 300 seconds"), "", nextAsked, at, "after 5m0s"},
		{"greylisted without a time", pennypost.Deferred, &pennypost.Job{RunAt: later}, attempt(451, "4.7.1", "Greylisting in action"), "", nextGreylist, at, "greylisting"},
		{"no reply to the dot", pennypost.Deferred, &pennypost.Job{RunAt: later}, &pennypost.Attempt{No: 1, Phase: "dot", Ambiguous: true, Reply: "x-pennypost;4.4.2 connection reset"}, "", nextNoReply, at, "quarter of an hour"},
		{"no connection", pennypost.Deferred, &pennypost.Job{RunAt: later}, &pennypost.Attempt{No: 1, Phase: "connect", Reply: "x-pennypost;4.4.1 connection refused"}, "", nextSchedule, at, "Attempt 3"},
		{"words of ours ask for nothing", pennypost.Deferred, &pennypost.Job{RunAt: later}, &pennypost.Attempt{No: 1, Phase: "connect", Reply: "x-pennypost;4.4.1 greylist, try again in 300 seconds"}, "", nextSchedule, at, "Attempt 3"},
		{"a fault of ours since then", pennypost.Deferred, &pennypost.Job{RunAt: later}, nil, "", nextSchedule, at, "Attempt 3"},
		{"without its job", pennypost.Deferred, nil, attempt(451, "4.3.0", "x"), "", nextSchedule, at, "Attempt 3"},
		{"planned for later from the start", pennypost.Queued, &pennypost.Job{RunAt: later}, nil, "", nextSchedule, at, "first attempt"},
		{"held", pennypost.Held, nil, nil, "6 % bounced", nextSuspended, "", "suspended (6 % bounced)"},
		{"deferred while suspended", pennypost.Deferred, &pennypost.Job{RunAt: later}, attempt(451, "4.3.0", "x"), "6 % bounced", nextSuspended, "", "suspended (6 % bounced)"},
		{"due while suspended", pennypost.Queued, &pennypost.Job{RunAt: noon}, nil, "6 % bounced", nextSuspended, "", "suspended (6 % bounced)"},
		{"a worker has it while suspended", pennypost.Queued, &pennypost.Job{RunAt: noon, Lease: 5}, nil, "6 % bounced", nextInDelivery, "", "shop.test is free"},
		{"suspension ended", pennypost.Held, nil, nil, "", nextRelease, "", "a tenth of the usual rate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := known{message: &pennypost.Message{ReceivedAt: noon}, now: noon, jobs: map[int]pennypost.Job{}}
			if tt.job != nil {
				k.jobs[3] = *tt.job
			}
			if tt.suspend != "" {
				k.suspension = pennypost.Suspension{Since: noon, Reason: tt.suspend}
			}
			if strings.Contains(tt.name, "rests") {
				k.rests = map[int]time.Time{3: later}
			}
			rcpt := &pennypost.Recipient{N: 3, Address: "bob@shop.test", State: tt.state, NextAt: later}
			if tt.state == pennypost.Deferred {
				rcpt.Attempts = 2
			}
			if tt.last != nil {
				rcpt.Reply = tt.last.Reply
			}
			got := k.next(rcpt, tt.last)
			gotAt := ""
			if got.At != nil {
				gotAt = *got.At
			}
			if got.Reason != tt.reason || gotAt != tt.at || !strings.Contains(got.Text, tt.text) {
				t.Errorf("got %s at %q: %q; want %s at %q with %q", got.Reason, gotAt, got.Text, tt.reason, tt.at, tt.text)
			}
		})
	}
}

func TestSummary(t *testing.T) {
	last := &pennypost.Attempt{No: 1, Phase: "rcpt", Host: "mx1.shop.test", IP: "192.0.2.7"}
	next := func(reason nextReason, at string) *explainedNext {
		n := &explainedNext{Reason: reason, Text: "Why."}
		if at != "" {
			n.At = &at
		}
		return n
	}
	tests := []struct {
		name    string
		r       pennypost.Recipient
		sandbox bool
		last    *pennypost.Attempt
		next    *explainedNext
		want    string
	}{
		{"waits for a worker", pennypost.Recipient{State: pennypost.Queued}, false, nil, next(nextInDelivery, ""), "Accepted. Why."},
		{"waits for later", pennypost.Recipient{State: pennypost.Queued}, false, nil, next(nextSchedule, "T"), "Accepted, not tried yet. Attempt 1 at T."},
		{"deferred", pennypost.Recipient{State: pennypost.Deferred, Attempts: 1, Reply: "smtp;451 4.7.1 try\r\nlater."}, false, last, next(nextSchedule, "T"), "Deferred by mx1.shop.test (192.0.2.7): 451 4.7.1 try later. Attempt 2 at T."},
		{"being tried again", pennypost.Recipient{State: pennypost.Deferred, Attempts: 2, Reply: "smtp;421 x"}, false, last, next(nextInDelivery, ""), "Deferred by mx1.shop.test (192.0.2.7): 421 x."},
		{"deferred while suspended", pennypost.Recipient{State: pennypost.Deferred, Attempts: 1, Reply: "smtp;421 x"}, false, last, next(nextSuspended, ""), "Deferred by mx1.shop.test (192.0.2.7): 421 x. Why."},
		{"queued while suspended", pennypost.Recipient{State: pennypost.Queued}, false, nil, next(nextSuspended, ""), "Accepted, not tried yet. Why."},
		{"no host was reached", pennypost.Recipient{State: pennypost.Deferred, Attempts: 1, Reply: "x-pennypost;4.4.1 mx1.shop.test: connection refused"}, false, &pennypost.Attempt{No: 1}, next(nextSchedule, "T"), "Deferred: 4.4.1 mx1.shop.test: connection refused. Attempt 2 at T."},
		{"a fault of ours before the first attempt", pennypost.Recipient{State: pennypost.Deferred, Attempts: 1, Reply: "x-pennypost;4.3.0 disk full"}, false, nil, next(nextSchedule, "T"), "Deferred: 4.3.0 disk full. Attempt 2 at T."},
		{"held", pennypost.Recipient{State: pennypost.Held, ChangedAt: noon}, false, nil, next(nextSuspended, ""), "Held since 2026-07-04T12:00:00Z. Why."},
		{"delivered", pennypost.Recipient{State: pennypost.Delivered, Reply: "smtp;250 2.0.0 OK"}, false, last, nil, "Delivered to mx1.shop.test (192.0.2.7): 250 2.0.0 OK."},
		{"delivered in the sandbox", pennypost.Recipient{State: pennypost.Delivered, Reply: "smtp;250"}, true, last, nil, "Delivered in the sandbox: nothing left this service."},
		{"bounced", pennypost.Recipient{State: pennypost.Bounced, Reply: "smtp;550 5.1.1 no; sorry"}, false, last, nil, "Refused for good by mx1.shop.test (192.0.2.7): 550 5.1.1 no; sorry. It is not tried again."},
		{"no such domain", pennypost.Recipient{State: pennypost.Bounced, Reply: "x-pennypost;5.1.2 dead.test does not exist"}, false, &pennypost.Attempt{No: 1}, nil, "Refused for good: 5.1.2 dead.test does not exist. It is not tried again."},
		{"expired", pennypost.Recipient{State: pennypost.Expired, Attempts: 14, Reply: "smtp;421"}, false, last, nil, "Given up after 14 attempts. The latest was deferred by mx1.shop.test (192.0.2.7): 421."},
		{"expired after one", pennypost.Recipient{State: pennypost.Expired, Attempts: 1, Reply: "x-pennypost;4.4.1 refused"}, false, &pennypost.Attempt{No: 1}, nil, "Given up after one attempt. The latest was deferred: 4.4.1 refused."},
		{"suppressed", pennypost.Recipient{State: pennypost.Suppressed}, false, nil, nil, "Not sent: the address was on the suppression list of the stream when the message was accepted."},
		{"quarantined", pennypost.Recipient{State: pennypost.Quarantined}, false, nil, nil, "Kept back because of a fault of this service: the operator has to look at it. Nothing is tried."},
		{"bounced by a test address", pennypost.Recipient{State: pennypost.Bounced, Rule: "test-address", Reply: "smtp;552 5.2.2 full"}, false, last, nil, "Bounced, simulated by a test address: 552 5.2.2 full. Nothing left this service."},
		{"delivered to a test address", pennypost.Recipient{State: pennypost.Delivered, Rule: "test-address", Reply: "smtp;250 2.0.0 OK"}, true, last, nil, "Delivered, simulated by a test address: 250 2.0.0 OK. Nothing left this service."},
		{"discarded", pennypost.Recipient{State: pennypost.Discarded}, false, nil, nil, "Dropped by the operator while it was held."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := known{message: &pennypost.Message{Sandbox: tt.sandbox}, now: noon}
			tt.r.Address = "bob@shop.test"
			if got := k.summary(&tt.r, tt.last, tt.next); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestGivesUp(t *testing.T) {
	tests := []struct {
		name     string
		state    pennypost.RecipientState
		held     time.Duration
		by       time.Time
		retryFor time.Duration
		want     time.Time
	}{
		{"lifetime of the stream", pennypost.Deferred, 0, time.Time{}, 72 * time.Hour, noon.Add(71 * time.Hour)},
		{"held time does not count", pennypost.Deferred, 5 * time.Hour, time.Time{}, 72 * time.Hour, noon.Add(76 * time.Hour)},
		{"nor does that of now", pennypost.Held, 5 * time.Hour, time.Time{}, 72 * time.Hour, noon.Add(76*time.Hour + 30*time.Minute)},
		{"DeliverBy is earlier", pennypost.Queued, 0, noon.Add(time.Hour), 72 * time.Hour, noon.Add(time.Hour)},
		{"DeliverBy is later", pennypost.Queued, 0, noon.Add(100 * time.Hour), 72 * time.Hour, noon.Add(71 * time.Hour)},
		{"held time counts towards DeliverBy", pennypost.Held, 9 * time.Hour, noon.Add(time.Hour), 72 * time.Hour, noon.Add(time.Hour)},
		{"stream is gone", pennypost.Deferred, 0, time.Time{}, 0, time.Time{}},
	}
	for _, tt := range tests {
		k := known{message: &pennypost.Message{ReceivedAt: noon.Add(-time.Hour), DeliverBy: tt.by}, retryFor: tt.retryFor, now: noon}
		r := &pennypost.Recipient{State: tt.state, HeldFor: tt.held, ChangedAt: noon.Add(-30 * time.Minute)}
		if got := k.givesUp(r); !got.Equal(tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestExplain(t *testing.T) {
	r, c := newShop(t)
	r.suppress(t, c.number, "outbound", "gone@shop.test")
	result := r.call(t, c.server, post, "/email", message(`"From": "Ann <ann@acme.test>", "To": "bob@shop.test, gone@shop.test, eve@dead.test"`)).ok()
	path := "/messages/outbound/" + result.text(t, "MessageID") + "/explain"
	fresh := r.call(t, c.server, get, path, "").ok()
	if first := fresh.list(t, "Recipients")[0]; first["State"] != "Queued" || first["Next"] == nil || len(first["Attempts"].([]any)) != 0 {
		t.Errorf("right after acceptance: %v", first)
	}

	m, _ := r.stored(t, c.number, result)
	began := time.Now().Add(-time.Minute).Truncate(time.Millisecond).UTC()
	r.update(t, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.AddAttempt(ctx, &pennypost.Attempt{
			MessageID: m.ID, N: 0, No: 1, StartedAt: began, Outcome: pennypost.OutcomeDeferred, Phase: "rcpt", Host: "mx1.shop.test", IP: "192.0.2.7",
			Code: 450, Enhanced: "4.2.0", Reply: "smtp;450 4.2.0 greylisted, try again in 300 seconds", Rule: "greylist-text", TLS: "TLS 1.3 TLS_AES_128_GCM_SHA256",
			TLSNote: "certificate verified", Took: 312400 * time.Microsecond,
			Phases:       []pennypost.PhaseTime{{Phase: "connect", Took: 12100 * time.Microsecond}, {Phase: "rcpt", Took: 41 * time.Millisecond}},
			Conversation: "S: 220 mx1.shop.test\nC: EHLO mail.test.example\nS: 450 4.2.0 greylisted\n",
		}); err != nil {
			return err
		}
		rcpt, err := tx.Recipient(ctx, m.ID, 0)
		if err != nil {
			return err
		}
		rcpt.State, rcpt.Attempts, rcpt.Rule, rcpt.Reply = pennypost.Deferred, 1, "greylist-text", "smtp;450 4.2.0 greylisted, try again in 300 seconds"
		rcpt.ChangedAt, rcpt.NextAt = began, began.Add(302*time.Second)
		return tx.SetRecipient(ctx, rcpt)
	})
	got := r.call(t, c.server, get, path, "").ok()
	bob := got.list(t, "Recipients")[0]
	wantAttempt := map[string]any{
		"Number": json.Number("1"), "StartedAt": timeText(began), "DurationMs": json.Number("312.4"), "Outcome": "Deferred", "Phase": "rcpt",
		"Host": "mx1.shop.test", "IP": "192.0.2.7", "TLS": "TLS 1.3 TLS_AES_128_GCM_SHA256", "TLSNote": "certificate verified", "ReusedConnection": false,
		"Code": json.Number("450"), "Enhanced": "4.2.0", "Reply": "smtp;450 4.2.0 greylisted, try again in 300 seconds", "Rule": "greylist-text", "Ambiguous": false,
		"Phases": []any{
			map[string]any{"Phase": "connect", "DurationMs": json.Number("12.1")}, map[string]any{"Phase": "rcpt", "DurationMs": json.Number("41")},
		},
		"Conversation": []any{"S: 220 mx1.shop.test", "C: EHLO mail.test.example", "S: 450 4.2.0 greylisted"},
	}
	if diff := cmp.Diff([]any{wantAttempt}, bob["Attempts"]); diff != "" {
		t.Errorf("attempts -want +got:\n%s", diff)
	}
	delete(bob, "Attempts")
	next, ok := bob["Next"].(map[string]any)
	if !ok {
		t.Fatalf("Next = %v", bob["Next"])
	}
	delete(bob, "Next")
	want := object{
		"Recipient": "bob@shop.test", "State": "Deferred", "Since": timeText(began), "Summary": bob["Summary"], "Rule": "greylist-text",
		"Reply": "smtp;450 4.2.0 greylisted, try again in 300 seconds", "HeldSeconds": json.Number("0"),
		"GivesUpAt": timeText(m.ReceivedAt.Add(72 * time.Hour)),
	}
	if diff := cmp.Diff(want, bob); diff != "" {
		t.Errorf("recipient -want +got:\n%s", diff)
	}
	if !strings.HasPrefix(bob.text(t, "Summary"), "Deferred by mx1.shop.test (192.0.2.7): 450 4.2.0 greylisted") {
		t.Errorf("Summary = %q", bob["Summary"])
	}
	if next["Reason"] == "" || next["Text"] == "" {
		t.Errorf("Next = %v", next)
	}
	gone := got.list(t, "Recipients")[1]
	if gone["State"] != "Suppressed" || gone["Next"] != nil || gone["GivesUpAt"] != nil || gone["Rule"] != nil {
		t.Errorf("suppressed recipient: %v", gone)
	}
	delete(got, "Recipients")
	head := object{
		"MessageID": m.ID.String(), "MessageStream": "outbound", "From": `"Ann" <ann@acme.test>`, "Subject": "Hi", "Source": "HTTP", "Sandboxed": false,
		"AcceptedAt": timeText(m.ReceivedAt), "Size": json.Number(itoa(int(m.Size))), "SendAt": nil, "DeliverBy": nil, "SignedBy": "acme.test",
		"ReturnPathDomain": bounceDomain, "Suspended": nil,
	}
	if diff := cmp.Diff(head, got); diff != "" {
		t.Errorf("message -want +got:\n%s", diff)
	}
	t.Run("suspended", func(t *testing.T) {
		r.call(t, operator(), post, "/operator/servers/"+c.id+"/suspend", `{"Reason": "spam"}`).ok()
		s, ok := r.call(t, c.server, get, path, "").ok()["Suspended"].(map[string]any)
		if !ok || s["Reason"] != "spam" {
			t.Errorf("Suspended = %v", s)
		}
	})
}
