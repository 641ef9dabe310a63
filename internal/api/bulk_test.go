package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/bulk"
	"pennypost/internal/store"
)

// work runs the working-off of bulk requests until the test or stop ends it.
func (r *rig) work(t *testing.T) (stop func()) {
	t.Helper()
	return running(t, r.bulk)
}

func running(t *testing.T, requests *bulk.Requests) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := requests.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// bulkUntil asks for a request until a condition holds, for a while.
func (r *rig) bulkUntil(t *testing.T, by who, id string, is func(object) bool) object {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got := r.call(t, by, get, "/email/bulk/"+id, "").ok()
		if is(got) {
			return got
		}
		if time.Now().After(end) {
			t.Fatalf("request is still %v", got)
		}
	}
}

func isCompleted(o object) bool { return o["Status"] == "Completed" }

// sentTo gives the messages of a server's stream by their one recipient.
func (r *rig) sentTo(t *testing.T, server pennypost.ServerID, stream pennypost.StreamID) map[string][]pennypost.MessageID {
	t.Helper()
	got := map[string][]pennypost.MessageID{}
	err := r.st.View(t.Context(), func(tx *store.Tx) error {
		list, _, err := tx.SearchMessages(t.Context(), store.MessageFilter{Server: server, Stream: stream}, 10_000, 0)
		for _, m := range list {
			got[string(m.To[0].Address)] = append(got[string(m.To[0].Address)], m.ID)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestBulk: contract/sending.md §13.
func TestBulk(t *testing.T) {
	r, c := newShop(t)
	r.suppress(t, c.number, "broadcast", "gone@shop.test")
	r.suppress(t, c.number, "outbound", "ann@shop.test") // another stream's list
	taken := r.call(t, c.server, post, "/email/bulk", `{"From": "Acme <news@acme.test>", "Subject": "Hi {{name}}",
		"HtmlBody": "<p>{{name}} &amp; {{#each list}}{{.}}{{/each}}</p>", "TextBody": "{{name}}", "Tag": "spring", "ReplyTo": "help@acme.test",
		"Metadata": {"campaign": "a", "kind": "news"}, "Headers": [{"Name": "X-One", "Value": "shared"}, {"Name": "X-Two", "Value": "shared"}],
		"Attachments": [{"Name": "a.txt", "Content": "aGk=", "ContentType": "text/plain"}],
		"Messages": [
			{"To": "ann@shop.test", "TemplateModel": {"name": "A<b>"}, "Metadata": {"Campaign": "b"}, "Headers": [{"Name": "x-two", "Value": "own"}]},
			{"To": "bob@shop.test", "Cc": "cy@shop.test"},
			{"To": "gone@shop.test", "TemplateModel": {"name": "G"}},
			{"To": "eve@shop.test", "TemplateModel": {"name": "E", "list": {"not": "a list"}}}
		]}`).ok()
	id := taken.text(t, "Id")
	wantRecent(t, "SubmittedAt", taken.text(t, "SubmittedAt"))
	want := object{
		"ID": id, "Id": id, "SubmittedAt": taken["SubmittedAt"], "Status": "Accepted", "TotalMessages": json.Number("4"),
		"PercentageCompleted": json.Number("0"), "ReleasedCount": json.Number("0"), "FailedCount": json.Number("0"), "Subject": "Hi {{name}}",
	}
	if diff := cmp.Diff(want, taken); diff != "" {
		t.Errorf("answer -want +got:\n%s", diff)
	}
	if got := r.sentTo(t, c.number, "broadcast"); len(got) != 0 {
		t.Errorf("messages before the work began: %v", got)
	}
	r.work(t)
	got := r.bulkUntil(t, c.server, id, isCompleted)
	delete(want, "ID")
	want["Status"], want["PercentageCompleted"] = "Completed", json.Number("100")
	want["ReleasedCount"], want["FailedCount"] = json.Number("2"), json.Number("2")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status -want +got:\n%s", diff)
	}

	sent := r.sentTo(t, c.number, "broadcast")
	if len(sent["ann@shop.test"]) != 1 || len(sent["bob@shop.test"]) != 1 || len(sent["gone@shop.test"]) != 0 {
		t.Fatalf("messages are %v", sent)
	}
	m, content := r.message(t, sent["ann@shop.test"][0])
	if m.Subject != "Hi A<b>" || m.Tag != "spring" || !m.Broadcast || m.Metadata["Campaign"] != "b" || m.Metadata["kind"] != "news" || len(m.Metadata) != 2 {
		t.Errorf("message is %+v", m)
	}
	for _, part := range []string{"X-One: shared\r\n", "x-two: own\r\n", "Reply-To: help@acme.test\r\n", "<p>A&lt;b&gt; &amp; </p>", "a.txt"} {
		if !strings.Contains(content, part) {
			t.Errorf("no %q in\n%s", part, content)
		}
	}
	if strings.Contains(content, "X-Two") {
		t.Error("the message's own header does not win")
	}
	jobs := r.jobs(t, sent["bob@shop.test"][0])
	if len(jobs) != 2 || jobs[0].Priority <= pennypost.PriorityBulk || jobs[0].Lease != 0 {
		t.Errorf("jobs are %+v, want two free ones behind other broadcasts", jobs)
	}
	// What could not be rendered is there, with its bounce.
	failed := r.call(t, c.server, get, "/messages/outbound/"+sent["eve@shop.test"][0].String()+"/details", "").ok()
	if e := failed.list(t, "MessageEvents"); len(e) != 1 || e[0]["Type"] != "Bounced" {
		t.Errorf("events of what was not rendered: %v", e)
	}
}

func (r *rig) message(t *testing.T, id pennypost.MessageID) (*pennypost.Message, string) {
	t.Helper()
	var m *pennypost.Message
	var content []byte
	err := r.st.View(t.Context(), func(tx *store.Tx) (err error) {
		if m, err = tx.AnyMessage(t.Context(), id); err != nil {
			return err
		}
		content, err = tx.Content(t.Context(), id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m, string(content)
}

func (r *rig) jobs(t *testing.T, id pennypost.MessageID) []pennypost.Job {
	t.Helper()
	var jobs []pennypost.Job
	err := r.st.View(t.Context(), func(tx *store.Tx) (err error) {
		jobs, err = tx.JobsOf(t.Context(), id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return jobs
}

// TestBulkTemplate: all messages say what the template said when the request was
// taken.
func TestBulkTemplate(t *testing.T) {
	r, c := newShop(t)
	r.call(t, c.server, post, "/templates", `{"Name": "Around", "Alias": "around", "TemplateType": "Layout", "HtmlBody": "<b>{{{@content}}}</b>", "TextBody": "[{{{@content}}}]"}`).ok()
	tpl := r.call(t, c.server, post, "/templates", `{"Name": "News", "Alias": "news", "Subject": "To {{name}}", "HtmlBody": "<style>p{color:red}</style><p>{{name}}</p>",
		"TextBody": "{{name}}", "LayoutTemplate": "around"}`).ok()
	id := r.call(t, c.server, post, "/email/bulk", `{"From": "news@acme.test", "TemplateAlias": "news",
		"Messages": [{"To": "ann@shop.test", "TemplateModel": {"name": "Ann"}}]}`).ok().text(t, "ID")
	r.call(t, c.server, put, "/templates/"+tpl["TemplateId"].(json.Number).String(), `{"Subject": "Changed", "TextBody": "changed", "HtmlBody": "changed"}`).ok()
	r.work(t)
	got := r.bulkUntil(t, c.server, id, isCompleted)
	if _, has := got["Subject"]; has {
		t.Errorf("status has a subject without one: %v", got)
	}
	m, content := r.message(t, r.sentTo(t, c.number, "broadcast")["ann@shop.test"][0])
	if m.Subject != "To Ann" || !strings.Contains(content, "[Ann]") || !strings.Contains(content, "<b>") || !strings.Contains(content, `style=3D"color:`) && !strings.Contains(content, `style="color:`) {
		t.Errorf("subject %q, content\n%s", m.Subject, content)
	}
}

// TestBulkRefusals: a mistake anywhere refuses all of it; one has its own code,
// several have 11.
func TestBulkRefusals(t *testing.T) {
	r, c := newShop(t)
	r.call(t, c.server, post, "/templates", `{"Name": "L", "Alias": "layout", "TemplateType": "Layout", "TextBody": "{{{@content}}}"}`).ok()
	const good = `"Messages": [{"To": "ann@shop.test"}]`
	bulk := func(fields string) answer {
		t.Helper()
		return r.call(t, c.server, post, "/email/bulk", "{"+fields+"}")
	}
	const from = `"From": "news@acme.test", "TextBody": "x", `
	bulk(`"From": "x", "TextBody": "x", `+good).refusedWith(422, 300, "From")
	bulk(`"From": "news@elsewhere.test", "TextBody": "x", `+good).refusedWith(422, 400, "news@elsewhere.test")
	bulk(`"From": "news@acme.test", `+good).refused(422, 300, "Provide either email TextBody or HtmlBody or both.")
	bulk(from+`"MessageStream": "nope", `+good).refused(422, 1226, "The stream provided: 'nope' does not exist on this server.")
	bulk(from+`"MessageStream": "outbound", `+good).refused(422, 1236, "Sending is not supported for this stream type.")
	bulk(from+`"MessageStream": "inbound", `+good).refused(422, 1236, "Sending is not supported for this stream type.")
	bulk(from+`"Messages": []`).refusedWith(422, 300, "'Messages'")
	bulk(from+`"Messages": {"To": "ann@shop.test"}`).refused(422, 403, "Invalid request field(s): 'Messages'.")
	bulk(from+`"Messages": [1]`).refusedWith(422, 403, "")
	bulk(from+`"Messages": [{"To": "ann@shop.test"}, {"To": 5}]`).refused(422, 403, "Invalid request field(s): 'To'.")
	bulk(from+`"Messages": [{"To": "ann@shop.test", "TemplateModel": 5}]`).refused(422, 403, "Invalid request field(s): 'TemplateModel'.")
	bulk(from+`"Messages": [{"To": "ann@shop.test"}, {"Cc": "bob@shop.test"}]`).refused(422, 300, "Zero recipients specified")
	bulk(from+`"Messages": [{"To": "`+strings.Repeat("a@shop.test,", 51)+`"}]`).refusedWith(422, 300, "maximum of 50 recipients")
	bulk(from+`"Attachments": [{"Name": "a.exe", "Content": "aGk=", "ContentType": "text/plain"}], `+good).refusedWith(422, 411, "")
	bulk(from+`"Attachments": [{"Name": "a.txt", "Content": "!", "ContentType": "text/plain"}], `+good).refusedWith(422, 300, "not base64")
	bulk(from+`"TemplateAlias": "layout", `+good).refusedWith(422, 11, "Multiple errors")
	bulk(`"From": "news@acme.test", "TemplateAlias": "layout", `+good).refused(422, 1101, "The Template's 'Alias' associated with this request is not valid or was not found.")
	bulk(`"From": "news@acme.test", "TemplateId": 99, `+good).refused(422, 1101, "The 'TemplateId' associated with this request is not valid or was not found.")
	bulk(`"From": "news@acme.test", "TextBody": "{{#each}}", `+good).refused(422, 1122, "The 'TextBody' could not be parsed.")
	bulk(`"From": `).refused(422, 402, "Invalid JSON.")
	bulk(from+`"Subject": "`+strings.Repeat("s", 2001)+`", `+good).refused(422, 300, "Invalid 'Subject' value. It is limited to 2000 characters.")
	bound := r.newToken(t, c, `{"Scope": "send-only", "MessageStream": "broadcast"}`)
	r.call(t, bound, post, "/email/bulk", "{"+from+`"MessageStream": "offers", `+good+"}").refused(422, 1226,
		"The stream provided: 'offers' cannot be used with this token, which is bound to the stream 'broadcast'.")

	a := bulk(`"From": "x", "TextBody": "x", "Messages": [{"To": "y"}, {"To": "ann@shop.test"}, {"To": "z", "Cc": "b@shop.test,@"}]`)
	var got object
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 422 || a.header.Get("X-PM-ApiErrorCode") != "11" {
		t.Fatalf("got %d %s (%v)", a.status, a.body, err)
	}
	if got["ErrorCode"] != float64(11) || got["Message"] != "Multiple errors occurred. Inspect the Errors property for more information." || len(got) != 3 {
		t.Errorf("got %v", got)
	}
	codes := map[string][]float64{}
	for field, list := range got["Errors"].(map[string]any) {
		for _, one := range list.([]any) {
			e := one.(map[string]any)
			codes[field] = append(codes[field], e["ErrorCode"].(float64))
			if e["Message"] == "" || len(e) != 2 {
				t.Errorf("%s: %v", field, e)
			}
		}
	}
	if diff := cmp.Diff(map[string][]float64{"From": {300}, "To": {300, 300}, "Cc": {300}}, codes); diff != "" {
		t.Errorf("errors -want +got:\n%s", diff)
	}
	if list := r.call(t, c.server, get, "/email/bulk", "").ok().list(t, "Requests"); len(list) != 0 {
		t.Errorf("requests that were refused are there: %v", list)
	}
}

// TestBulkManyMistakes: their number has an end.
func TestBulkManyMistakes(t *testing.T) {
	r, c := newShop(t)
	bad := strings.TrimSuffix(strings.Repeat(`{"To": "y"},`, 1000), ",")
	a := r.call(t, c.server, post, "/email/bulk", `{"From": "news@acme.test", "TextBody": "x", "Messages": [`+bad+`]}`)
	if n := strings.Count(a.body, `"ErrorCode":300`); a.status != 422 || n != 100 {
		t.Errorf("status %d with %d errors, want 422 with 100", a.status, n)
	}
}

// TestBulkAccess: code 14 on all calls for an account that may not.
func TestBulkAccess(t *testing.T) {
	r, c := newShop(t)
	const body = `{"From": "news@acme.test", "TextBody": "x", "Messages": [{"To": "ann@shop.test"}]}`
	id := r.call(t, c.server, post, "/email/bulk", body).ok().text(t, "ID")
	r.call(t, operator(), put, "/operator/accounts/1", `{"NoBulk": true}`).ok()
	const text = "This endpoint requires approval to access. Contact support to use the Bulk API postmarkapp.com/contact"
	r.call(t, c.server, post, "/email/bulk", body).refused(422, 14, text)
	r.call(t, c.server, get, "/email/bulk", "").refused(422, 14, text)
	r.call(t, c.server, get, "/email/bulk/"+id, "").refused(422, 14, text)
	r.call(t, c.server, post, "/email/bulk/"+id+"/cancel", "").refused(422, 14, text)
	r.call(t, operator(), put, "/operator/accounts/1", `{"NoBulk": false}`).ok()
	r.call(t, c.server, get, "/email/bulk/"+id, "").ok()
}

// TestBulkUnknown: ids of others are as ids that never were.
func TestBulkUnknown(t *testing.T) {
	r, c := newShop(t)
	other := r.newServer(t, c.account, `{"Name": "Other"}`)
	id := r.call(t, c.server, post, "/email/bulk", `{"From": "news@acme.test", "TextBody": "x", "Messages": [{"To": "ann@shop.test"}]}`).ok().text(t, "ID")
	for _, path := range []string{"/email/bulk/" + id, "/email/bulk/2f9d0f5e-7a53-4c1b-8a55-0d9a3a1c7f10", "/email/bulk/x"} {
		r.call(t, other.server, get, path, "").refusedWith(404, 12, "not found")
		r.call(t, other.server, post, path+"/cancel", "").refusedWith(404, 12, "not found")
	}
	if got := r.call(t, c.server, get, "/email/bulk/"+id, "").ok(); got["Status"] != "Accepted" {
		t.Errorf("status is %v, want Accepted", got["Status"])
	}
}

// TestBulkList: newest first, by pages; a key works for its server alone, as it is.
func TestBulkList(t *testing.T) {
	r, c := newShop(t)
	other := r.newServer(t, c.account, `{"Name": "Other"}`)
	var ids []string
	for n := range 5 {
		ids = append(ids, r.call(t, c.server, post, "/email/bulk", fmt.Sprintf(`{"From": "news@acme.test", "Subject": "%d", "TextBody": "x", "Messages": [{"To": "ann@shop.test"}]}`, n)).ok().text(t, "ID"))
	}
	slices.Reverse(ids)
	var got []string
	key, last := "", ""
	for pages := 0; pages == 0 || key != ""; pages++ {
		page := r.call(t, c.server, get, "/email/bulk?count=2&paginationKey="+key, "").ok()
		for _, b := range page.list(t, "Requests") {
			got = append(got, b.text(t, "Id"))
		}
		last = key
		if key, _ = page["PaginationKey"].(string); pages > 3 {
			t.Fatal("the list has no end")
		}
	}
	if diff := cmp.Diff(ids, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, k := range []string{last[:len(last)-1], last + "A", "B" + last[1:], "x"} {
		r.call(t, c.server, get, "/email/bulk?count=2&paginationKey="+k, "").refusedWith(422, 13, "")
	}
	r.call(t, other.server, get, "/email/bulk?count=2&paginationKey="+last, "").refusedWith(422, 13, "")
	r.call(t, c.server, get, "/email/bulk?count=0", "").refusedWith(422, 300, "count")
	if list := r.call(t, other.server, get, "/email/bulk", "").ok().list(t, "Requests"); len(list) != 0 {
		t.Errorf("another server sees %v", list)
	}
}

// TestBulkCancel: nothing is made any more once it has answered.
func TestBulkCancel(t *testing.T) {
	r, c := newShop(t)
	const body = `{"From": "news@acme.test", "TextBody": "x", "Messages": [{"To": "ann@shop.test"}]}`
	id := r.call(t, c.server, post, "/email/bulk", body).ok().text(t, "ID")
	for range 2 {
		if got := r.call(t, c.server, post, "/email/bulk/"+id+"/cancel", "").ok(); got["Status"] != "Cancelled" || got["ReleasedCount"] != json.Number("0") {
			t.Errorf("got %v", got)
		}
	}
	after := r.call(t, c.server, post, "/email/bulk", body).ok().text(t, "ID")
	r.work(t)
	r.bulkUntil(t, c.server, after, isCompleted)
	if got := r.sentTo(t, c.number, "broadcast"); len(got["ann@shop.test"]) != 1 {
		t.Errorf("messages are %v, want those of the second request", got)
	}
	r.call(t, c.server, post, "/email/bulk/"+after+"/cancel", "").refusedWith(422, 791, "completed")
}

// many is a request of so many messages, in several parts.
func many(n int) string {
	var b strings.Builder
	b.WriteString(`{"From": "news@acme.test", "TextBody": "{{text}}", "Messages": [`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"To": "m%d@shop.test", "TemplateModel": {"text": %q}}`, i, strings.Repeat("x", 150))
	}
	return b.String() + "]}"
}

// TestBulkGoesOn: two that work on the same requests, as two nodes do, and a
// restart make each message once.
func TestBulkGoesOn(t *testing.T) {
	r, c := newShop(t)
	const n = 1500
	id := r.call(t, c.server, post, "/email/bulk", many(n)).ok().text(t, "ID")
	stopOne, stopTwo := r.work(t), running(t, r.elsewhere)
	got := r.bulkUntil(t, c.server, id, func(o object) bool { return o["ReleasedCount"] != json.Number("0") })
	if s := got["Status"]; s != "Processing" && s != "Completed" {
		t.Errorf("status is %v", s)
	}
	stopOne()
	stopTwo()
	before := len(r.sentTo(t, c.number, "broadcast"))
	if before == n {
		t.Errorf("all was made before the restart: the test shows nothing")
	}
	if err := r.st.Close(); err != nil {
		t.Fatal(err)
	}
	again := openRig(t, r.dir)
	again.work(t)
	got = again.bulkUntil(t, c.server, id, isCompleted)
	if got["ReleasedCount"] != json.Number(itoa(n)) || got["FailedCount"] != json.Number("0") {
		t.Errorf("got %v", got)
	}
	sent := again.sentTo(t, c.number, "broadcast")
	for i := range n {
		if k := len(sent[fmt.Sprintf("m%d@shop.test", i)]); k != 1 {
			t.Errorf("message %d was made %d times", i, k)
		}
	}
}

// TestBulkWhileSuspended: it waits, and is not lost.
func TestBulkWhileSuspended(t *testing.T) {
	r, c := newShop(t)
	const body = `{"From": "news@acme.test", "TextBody": "x", "Messages": [{"To": "ann@shop.test"}]}`
	id := r.call(t, c.server, post, "/email/bulk", body).ok().text(t, "ID")
	r.call(t, operator(), post, "/operator/servers/"+c.id+"/suspend", `{"Reason": "complaints"}`).ok()
	r.call(t, c.server, post, "/email/bulk", body).refusedWith(422, 413, "complaints")
	stop := r.work(t)
	other := r.newServer(t, c.account, `{"Name": "Other"}`)
	goes := r.call(t, other.server, post, "/email/bulk", body).ok().text(t, "ID")
	r.bulkUntil(t, other.server, goes, isCompleted)
	stop()
	got := r.call(t, c.server, get, "/email/bulk/"+id, "").ok()
	if got["Status"] != "Accepted" || got["FailedCount"] != json.Number("0") {
		t.Errorf("while suspended it is %v", got)
	}
	r.call(t, operator(), post, "/operator/servers/"+c.id+"/reactivate", "").ok()
	b, err := pennypost.ParseBulkID(id)
	if err != nil {
		t.Fatal(err)
	}
	r.update(t, func(ctx context.Context, tx *store.Tx) error { return tx.DelayBulk(ctx, b, tx.Now()) })
	r.work(t)
	r.bulkUntil(t, c.server, id, isCompleted)
}

// TestBulkOfDeletedServer: nobody waits for it.
func TestBulkOfDeletedServer(t *testing.T) {
	r, c := newShop(t)
	const body = `{"From": "news@acme.test", "TextBody": "x", "Messages": [{"To": "ann@shop.test"}]}`
	r.call(t, c.server, post, "/email/bulk", body).ok()
	other := r.newServer(t, c.account, `{"Name": "Other"}`)
	r.call(t, c.account, del, "/servers/"+c.id, "").ok()
	goes := r.call(t, other.server, post, "/email/bulk", body).ok().text(t, "ID")
	r.work(t)
	r.bulkUntil(t, other.server, goes, isCompleted)
	if got := r.sentTo(t, c.number, "broadcast"); len(got) != 0 {
		t.Errorf("messages of a deleted server: %v", got)
	}
}
