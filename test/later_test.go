package test

import (
	"bytes"
	"fmt"
	"net/mail"
	"testing"
	"time"

	"pennypost/internal/fakenet"
)

// TestKilledBeforeItIsDue kills the program while a bulk request is worked off and
// scheduled mail waits: each message of the request arrives, none is made twice;
// scheduled mail goes at its time; what was cancelled never goes.
func TestKilledBeforeItIsDue(t *testing.T) {
	r := booted(t, fakenet.Config{Keep: 200_000, Hosts: 8}, map[string]string{"PENNYPOST_LOG_LEVEL": "warn"})
	const n = 3000
	messages := make([]map[string]any, n)
	for i := range messages {
		messages[i] = map[string]any{"To": fmt.Sprintf("b%d@d%d.test", i, i%20), "TemplateModel": map[string]int{"n": i}}
	}
	var bulk struct {
		Status                     string
		Id                         string //nolint:revive // as the contract has it
		ReleasedCount, FailedCount int
	}
	request := map[string]any{"From": "orders@shop.test", "Subject": "Number {{n}}", "TextBody": "{{n}}", "Messages": messages}
	if err := r.serverCall("POST", "/email/bulk", request, &bulk); err != nil {
		t.Fatal(err)
	}
	due := time.Now().Add(8 * time.Second)
	later := func(to string) string {
		var answer struct{ MessageID string }
		m := map[string]any{"From": "orders@shop.test", "To": to, "Subject": "later", "TextBody": "x", "SendAt": due.Format(time.RFC3339Nano)}
		if err := r.serverCall("POST", "/email", m, &answer); err != nil {
			t.Fatal(err)
		}
		return answer.MessageID
	}
	later("due@d1.test")
	gone := later("gone@d1.test")
	if err := r.serverCall("POST", "/messages/outbound/"+gone+"/cancel", nil, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	status := func() int {
		if err := r.serverCall("GET", "/email/bulk/"+bulk.Id, nil, &bulk); err != nil {
			t.Fatal(err)
		}
		return bulk.ReleasedCount + bulk.FailedCount
	}
	for range 3 {
		before := status()
		waitUntil(t, 20*time.Second, "the bulk request to get on", func() bool { return status() > before || bulk.Status == "Completed" })
		if err := r.kill(); err != nil {
			t.Fatal(err)
		}
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
	}
	waitUntil(t, time.Minute, "the bulk request to complete", func() bool { status(); return bulk.Status == "Completed" })
	if bulk.ReleasedCount != n || bulk.FailedCount != 0 {
		t.Errorf("%d released and %d failed, want %d and none", bulk.ReleasedCount, bulk.FailedCount, n)
	}
	arrived := func() int {
		got := make(map[string]bool)
		for _, m := range r.net.Box().All() {
			got[m.To[0]] = true
		}
		return len(got)
	}
	waitUntil(t, time.Minute, "all to arrive", func() bool { return arrived() >= n })
	waitUntil(t, time.Minute, "the scheduled message to arrive", func() bool { return len(r.net.Box().ByRecipient("due@d1.test")) > 0 })
	if got := r.net.Box().ByRecipient("due@d1.test"); len(got) != 1 || got[0].At.Before(due.Truncate(time.Second)) {
		t.Errorf("%d scheduled messages arrived, the first at %v; want one at %v", len(got), got[0].At, due)
	}
	if got := r.net.Box().ByRecipient("gone@d1.test"); len(got) != 0 {
		t.Errorf("%d cancelled messages arrived", len(got))
	}
	// Twice may arrive what was under way at a kill, but nothing was made twice.
	made := make(map[string]string)
	for _, m := range r.net.Box().All() {
		msg, err := mail.ReadMessage(bytes.NewReader(m.Data))
		if err != nil {
			t.Fatal(err)
		}
		id := msg.Header.Get("X-PM-Message-Id")
		if was := made[m.To[0]]; id == "" || was != "" && was != id {
			t.Errorf("for %s two messages were made: %q and %q", m.To[0], was, id)
		}
		made[m.To[0]] = id
	}
	if len(made) != n+1 {
		t.Errorf("%d recipients got mail, want %d", len(made), n+1)
	}
}
