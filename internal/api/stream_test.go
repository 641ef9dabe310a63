package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/store"
)

func unsubscribe(how string) map[string]any { return map[string]any{"UnsubscribeHandlingType": how} }

// A new server has three streams (contract/streams.md §3); one is made with
// three fields, and looks like §2 and §6 say.
func TestCreateStream(t *testing.T) {
	r := newRig(t)
	c := r.newServer(t, accountOf(firstToken), `{"Name": "Acme"}`)
	ids := func() (list []string) {
		for _, s := range r.call(t, c.server, get, "/message-streams", "").ok().list(t, "MessageStreams") {
			list = append(list, s.text(t, "ID"))
		}
		slices.Sort(list)
		return list
	}
	if diff := cmp.Diff([]string{"broadcast", "inbound", "outbound"}, ids()); diff != "" {
		t.Errorf("a new server's streams -want +got:\n%s", diff)
	}
	id := "test-" + strings.Repeat("0a-4f", 5) // 30 characters, as .NET's suite makes them
	got := r.call(t, c.server, post, "/message-streams/", `{"id": "`+id+`", "NAME": "Newsletters", "messageStreamType": "broadcasts"}`).ok()
	wantRecent(t, "CreatedAt", got.text(t, "CreatedAt"))
	want := object{
		"ID": id, "ServerID": json.Number(c.id), "Name": "Newsletters", "Description": nil, "MessageStreamType": "Broadcasts",
		"CreatedAt": got["CreatedAt"], "UpdatedAt": nil, "ArchivedAt": nil, "ExpectedPurgeDate": nil,
		"SubscriptionManagementConfiguration": unsubscribe("Postmark"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(got, r.call(t, c.server, get, "/message-streams/"+id, "").ok()); diff != "" {
		t.Errorf("read again:\n%s", diff)
	}
	if n := len(ids()); n != 4 {
		t.Errorf("%d streams, want 4", n)
	}
	got = r.call(t, c.server, post, "/message-streams", `{"ID": "receipts", "Name": "Receipts", "Description": "a < b, b > c", "MessageStreamType": "Transactional"}`).ok()
	if got["Description"] != "a < b, b > c" || !cmp.Equal(got["SubscriptionManagementConfiguration"], unsubscribe("None")) {
		t.Errorf("transactional stream: %v", got)
	}
	// 72 hours, as the first ones have.
	if err := r.st.View(t.Context(), func(tx *store.Tx) error {
		s, err := tx.Stream(t.Context(), c.number, "receipts")
		if err == nil && s.RetryFor != 72*time.Hour {
			t.Errorf("retries for %v", s.RetryFor)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for filter, want := range map[string]int{"Transactional": 2, "Broadcasts": 2, "Inbound": 1, "All": 5} {
		if n := len(r.call(t, c.server, get, "/message-streams?MessageStreamType="+filter, "").ok().list(t, "MessageStreams")); n != want {
			t.Errorf("%s: %d streams, want %d", filter, n, want)
		}
	}
}

// Codes and texts of contract/streams.md §5.
func TestStreamRefusals(t *testing.T) {
	r, c := newShop(t)
	r.call(t, c.server, post, "/message-streams", `{"ID": "taken", "Name": "x", "MessageStreamType": "Broadcasts"}`).ok()
	stream := func(id, name, typ, more string) string {
		return fmt.Sprintf(`{"ID": %s, "Name": %s, "MessageStreamType": %s%s}`, id, name, typ, more)
	}
	handling := func(how string) string {
		return `, "SubscriptionManagementConfiguration": {"UnsubscribeHandlingType": "` + how + `"}`
	}
	const (
		idFormat = "The 'ID' must be a non-empty string starting with a letter, up to 30 characters."
		typeText = "The 'MessageStreamType' associated with this request was invalid."
		notForIt = "The 'UnsubscribeHandlingType' provided is not supported for this stream type."
	)
	for _, tt := range []struct {
		name, body string
		code       int
		text       string
	}{
		{"no body", "", 1222, "A valid 'ID' must be provided."},
		{"no ID", stream("null", `"x"`, `"Broadcasts"`, ""), 1222, "A valid 'ID' must be provided."},
		{"empty ID", stream(`""`, `"x"`, `"Broadcasts"`, ""), 1222, "A valid 'ID' must be provided."},
		{"no Name", stream(`"a"`, "null", `"Broadcasts"`, ""), 1223, "A valid 'Name' must be provided."},
		{"blank Name", stream(`"a"`, `" "`, `"Broadcasts"`, ""), 1223, "A valid 'Name' must be provided."},
		{"long Name", stream(`"a"`, `"`+strings.Repeat("ü", 101)+`"`, `"Broadcasts"`, ""), 1224, "The 'Name' is too long."},
		{"ID begins with a digit", stream(`"1a"`, `"x"`, `"Broadcasts"`, ""), 1227, idFormat},
		{"ID has a blank", stream(`"a b"`, `"x"`, `"Broadcasts"`, ""), 1227, idFormat},
		{"ID has a capital", stream(`"aB"`, `"x"`, `"Broadcasts"`, ""), 1227, idFormat},
		{"ID outside ASCII", stream(`"aü"`, `"x"`, `"Broadcasts"`, ""), 1227, idFormat},
		{"31 characters", stream(`"`+strings.Repeat("a", 31)+`"`, `"x"`, `"Broadcasts"`, ""), 1227, idFormat},
		{"second inbound", stream(`"a"`, `"x"`, `"Inbound"`, ""), 1228, "A server can only have one inbound stream."},
		{"no type", stream(`"a"`, `"x"`, "null", ""), 1221, typeText},
		{"All is no type", stream(`"a"`, `"x"`, `"All"`, ""), 1221, typeText},
		{"taken", stream(`"taken"`, `"x"`, `"Broadcasts"`, ""), 1230, "The 'ID' provided already exists for this server."},
		{"default's ID", stream(`"outbound"`, `"x"`, `"Transactional"`, ""), 1230, "The 'ID' provided already exists for this server."},
		{"long description", stream(`"a"`, `"x"`, `"Broadcasts"`, `, "Description": "`+strings.Repeat("é", 1001)+`"`), 1231, "The 'Description' is too long."},
		{"prefix", stream(`"pm-a"`, `"x"`, `"Broadcasts"`, ""), 1233, "The 'ID' must not start with the 'pm-' prefix."},
		{"tag", stream(`"a"`, `"x"`, `"Broadcasts"`, `, "Description": "a <b>bold</b> one"`), 1234, "The 'Description' must not contain HTML tags."},
		{"reserved", stream(`"all"`, `"x"`, `"Broadcasts"`, ""), 1237, "The 'ID' is reserved."},
		{"broadcasts without", stream(`"a"`, `"x"`, `"Broadcasts"`, handling("none")), 1239, notForIt},
		{"custom transactional", stream(`"a"`, `"x"`, `"Transactional"`, handling("Custom")), 1239, notForIt},
		{"no handling", stream(`"a"`, `"x"`, `"Broadcasts"`, handling("Nobody")), 1240, "The 'UnsubscribeHandlingType' associated with this request is invalid."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.call(t, c.server, post, "/message-streams", tt.body).refused(422, tt.code, tt.text)
		})
	}
	const missing = "The message stream for the provided 'ID' was not found."
	for _, call := range [][2]string{{ptch, ""}, {post, "/archive"}, {post, "/unarchive"}} {
		r.call(t, c.server, call[0], "/message-streams/nope"+call[1], `{"Name": "x"}`).refused(422, 1226, missing)
	}
	for _, id := range []string{"outbound", "inbound"} {
		r.call(t, c.server, post, "/message-streams/"+id+"/archive", "").
			refused(422, 1229, "You cannot archive the default transactional and inbound streams.")
	}
	r.call(t, c.server, ptch, "/message-streams/inbound", `{"SubscriptionManagementConfiguration": {"UnsubscribeHandlingType": "Postmark"}}`).refused(422, 1239, notForIt)
	r.call(t, c.server, ptch, "/message-streams/taken", `{"Name": ""}`).refused(422, 1223, "A valid 'Name' must be provided.")
	r.call(t, c.server, del, "/message-streams/taken", "").refusedWith(405, 404, "not allowed")
}

// At most ten streams, archived ones not counted (contract/streams.md §3, §4).
func TestStreamLimit(t *testing.T) {
	r, c := newShop(t)
	const text = "You have reached the maximum number of message streams for this server."
	create := func(id string) answer {
		return r.call(t, c.server, post, "/message-streams", `{"ID": "`+id+`", "Name": "x", "MessageStreamType": "Transactional"}`)
	}
	for n := range 7 {
		create(fmt.Sprintf("s%d", n)).ok()
	}
	create("s7").refused(422, 1225, text)
	r.call(t, c.server, post, "/message-streams/s0/archive", "{}").ok()
	create("s7").ok()
	create("s8").refused(422, 1225, text)
	r.call(t, c.server, post, "/message-streams/s0/unarchive", "{}").refused(422, 1225, text)
	create("s0").refused(422, 1230, "The 'ID' provided already exists for this server.") // until it is purged
}

// Archived streams have a limit too, of our own.
func TestArchivedStreamLimit(t *testing.T) {
	r, c := newShop(t)
	create := func(n int) answer {
		return r.call(t, c.server, post, "/message-streams", fmt.Sprintf(`{"ID": "s%d", "Name": "x", "MessageStreamType": "Transactional"}`, n))
	}
	for n := range 97 { // beside the first three
		create(n).ok()
		r.call(t, c.server, post, fmt.Sprintf("/message-streams/s%d/archive", n), "{}").ok()
	}
	create(97).refused(422, 1225, "You have reached the maximum number of message streams for this server.")
	r.call(t, c.server, post, "/message-streams/s0/unarchive", "{}").ok()
}

// PATCH changes three fields and ignores the rest of the object, which Java's
// client sends along (contract/streams.md §1).
func TestEditStream(t *testing.T) {
	r, c := newShop(t)
	before := r.call(t, c.server, post, "/message-streams", `{"ID": "news", "Name": "News", "Description": "Monthly", "MessageStreamType": "Broadcasts"}`).ok()
	got := r.call(t, c.server, ptch, "/message-streams/news", `{"ID": "other", "ServerID": 1, "Name": "Newer", "Description": "Weekly",
		"MessageStreamType": "Transactional", "CreatedAt": "2001-01-01T00:00:00Z", "UpdatedAt": null, "ArchivedAt": 7,
		"ExpectedPurgeDate": [], "SubscriptionManagementConfiguration": {"UnsubscribeHandlingType": "Postmark"}}`).ok()
	wantRecent(t, "UpdatedAt", got.text(t, "UpdatedAt"))
	before["Name"], before["Description"], before["UpdatedAt"] = "Newer", "Weekly", got["UpdatedAt"]
	if diff := cmp.Diff(before, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	got = r.call(t, c.server, ptch, "/message-streams/news", `{"Name": null, "Description": ""}`).ok()
	if got["Name"] != "Newer" || got["Description"] != nil {
		t.Errorf("after null and empty: %v", got)
	}
	r.call(t, c.server, ptch, "/message-streams/outbound", `{"SubscriptionManagementConfiguration": {"UnsubscribeHandlingType": "postmark"}}`).ok()
	got = r.call(t, c.server, ptch, "/message-streams/outbound", "").ok()
	if !cmp.Equal(got["SubscriptionManagementConfiguration"], unsubscribe("Postmark")) || got["Name"] != "Default Transactional Stream" {
		t.Errorf("transactional stream with our unsubscribing: %v", got)
	}
}

// Custom unsubscribing is the operator's to forbid (1238); a stream that has it
// keeps it.
func TestCustomUnsubscribe(t *testing.T) {
	r, c := newShop(t)
	const custom = `{"SubscriptionManagementConfiguration": {"UnsubscribeHandlingType": "Custom"}}`
	got := r.call(t, c.server, ptch, "/message-streams/broadcast", custom).ok()
	if !cmp.Equal(got["SubscriptionManagementConfiguration"], unsubscribe("Custom")) {
		t.Errorf("by default: %v", got)
	}
	acc := r.call(t, operator(), put, "/operator/accounts/1", `{"NoCustomUnsubscribe": true}`).ok()
	if acc["NoCustomUnsubscribe"] != true {
		t.Errorf("account: %v", acc)
	}
	const text = "You do not have permission to use Custom Unsubscribe Handling for this stream."
	r.call(t, c.server, post, "/message-streams", `{"ID": "a", "Name": "a", "MessageStreamType": "Broadcasts", `+custom[1:]).refused(422, 1238, text)
	r.call(t, c.server, ptch, "/message-streams/broadcast", `{"Name": "Sent back", `+custom[1:]).ok()
	r.call(t, c.server, ptch, "/message-streams/broadcast", `{"SubscriptionManagementConfiguration": {"UnsubscribeHandlingType": "Postmark"}}`).ok()
	r.call(t, c.server, ptch, "/message-streams/broadcast", custom).refused(422, 1238, text)
}

// contract/streams.md §4: what archiving does, and what it forbids.
func TestArchiveStream(t *testing.T) {
	r, c := newShop(t)
	r.call(t, c.server, post, "/message-streams", `{"ID": "news", "Name": "News", "MessageStreamType": "Transactional"}`).ok()
	token := r.call(t, c.server, post, "/smtp-tokens", `{"Label": "a", "MessageStream": "news"}`).ok().text(t, "AccessKey")
	got := r.request(t, c.server, post, "/message-streams/news/archive", "", func(req *http.Request) {
		req.Header.Set("Content-Type", "application/json") // PHP and Python: no body, but a type
	}).ok()
	purge, err := time.Parse(time.RFC3339Nano, got.text(t, "ExpectedPurgeDate"))
	if err != nil || time.Until(purge) < 45*24*time.Hour-time.Minute || time.Until(purge) > 45*24*time.Hour {
		t.Errorf("ExpectedPurgeDate = %v", got["ExpectedPurgeDate"])
	}
	if diff := cmp.Diff(object{"ID": "news", "ServerID": json.Number(c.id), "ExpectedPurgeDate": got["ExpectedPurgeDate"]}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if again := r.call(t, c.server, post, "/message-streams/news/archive", "null").ok(); !cmp.Equal(got, again) {
		t.Errorf("archived again: %v, want %v", again, got)
	}
	listed := func(query string) object {
		for _, s := range r.call(t, c.server, get, "/message-streams"+query, "").ok().list(t, "MessageStreams") {
			if s["ID"] == "news" {
				return s
			}
		}
		return nil
	}
	if listed("") != nil || listed("?includeArchivedStreams=false") != nil {
		t.Error("an archived stream is listed")
	}
	for _, s := range []object{listed("?includeArchivedStreams=true"), r.call(t, c.server, get, "/message-streams/news", "").ok()} {
		if s["ArchivedAt"] == nil || s["ExpectedPurgeDate"] != got["ExpectedPurgeDate"] {
			t.Errorf("archived stream: %v", s)
		}
	}
	const archived = "The stream provided: 'news' has been archived on this server."
	r.call(t, c.server, post, "/email", message(`"MessageStream": "news"`)).refused(422, 1235, archived)
	items := r.call(t, c.server, post, "/email/batch", "["+message(`"MessageStream": "news"`)+","+message("")+"]").items()
	if items[0]["ErrorCode"] != 1235.0 || items[1]["ErrorCode"] != 0.0 {
		t.Errorf("batch: %v", items)
	}
	r.call(t, c.server, post, "/smtp-tokens", `{"Label": "b", "MessageStream": "news"}`).refusedWith(422, 1459, "archived")
	who := pennypost.Caller{Kind: pennypost.CallerSMTP, AccountID: 1, ServerID: c.number, Stream: "news"}
	for _, tok := range r.call(t, c.server, get, "/smtp-tokens", "").ok().list(t, "SmtpTokens") {
		if tok["AccessKey"] == token {
			who.TokenID = pennypost.TokenID(parseID(tok.id(t)))
		}
	}
	allowed := func() error { return r.api.conf.Auth.MailAllowed(t.Context(), who) }
	var refusal *pennypost.Error
	if err := allowed(); err == nil {
		t.Error("a token bound to the stream may send")
	} else if refusal, _ = err.(*pennypost.Error); refusal == nil || refusal.Code != 1235 { //nolint:errorlint // it is not wrapped
		t.Errorf("a token bound to the stream: %v", err)
	}

	back := r.call(t, c.server, post, "/message-streams/news/unarchive", "{}").ok()
	if back["ArchivedAt"] != nil || back["ExpectedPurgeDate"] != nil {
		t.Errorf("taken back: %v", back)
	}
	if err := allowed(); err != nil {
		t.Errorf("taken back, a token bound to the stream: %v", err)
	}
	r.call(t, c.server, post, "/email", message(`"MessageStream": "news"`)).ok()
	r.call(t, c.server, post, "/message-streams/broadcast/archive", "").ok() // may be (§3)

	// Too late.
	r.update(t, func(ctx context.Context, tx *store.Tx) error {
		s, err := tx.Stream(ctx, c.number, "broadcast")
		if err != nil {
			return err
		}
		s.ArchivedAt = time.Now().Add(-45 * 24 * time.Hour)
		return tx.SetStream(ctx, s)
	})
	r.call(t, c.server, post, "/message-streams/broadcast/unarchive", "").refused(422, 1232, "You cannot unarchive this message stream anymore.")
}

// A stream into which a file is being imported cannot be archived (1241).
func TestArchiveWhileImporting(t *testing.T) {
	r, c := newShop(t)
	id := r.call(t, c.server, post, "/message-streams/broadcast/suppressions/import", `["ann@shop.test"]`).ok().id(t)
	r.call(t, c.server, post, "/message-streams/broadcast/archive", "").refused(422, 1241, "Stream is unable to be archived at this time.")
	r.importing(t)
	r.imported(t, c.server, "broadcast", id)
	r.call(t, c.server, post, "/message-streams/broadcast/archive", "").ok()
}
