package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"pennypost"
	"pennypost/internal/store"
)

// keyed makes a request with a key.
func (r *rig) keyed(t *testing.T, by who, path, key, body string) answer {
	t.Helper()
	return r.request(t, by, post, path, body, func(req *http.Request) { req.Header.Set("Idempotency-Key", key) })
}

// same demands that an answer is another once more, octet for octet.
func (a answer) same(t *testing.T, first answer) {
	t.Helper()
	if a.status != first.status || a.body != first.body {
		t.Errorf("%s repeated: got %d %s, want %d %s", a.what, a.status, a.body, first.status, first.body)
	}
	if got := a.header.Get("Idempotent-Replayed"); got != "true" {
		t.Errorf("%s repeated: Idempotent-Replayed = %q", a.what, got)
	}
	if got, want := a.header.Get("X-PM-ApiErrorCode"), first.header.Get("X-PM-ApiErrorCode"); got != want {
		t.Errorf("%s repeated: X-PM-ApiErrorCode = %q, want %q", a.what, got, want)
	}
	if got := first.header.Get("Idempotent-Replayed"); got != "" {
		t.Errorf("%s the first time: Idempotent-Replayed = %q", first.what, got)
	}
}

func (r *rig) wantCount(t *testing.T, c *tenant, want string) {
	t.Helper()
	if got := r.count(t, c); got != want {
		t.Errorf("%s messages, want %s", got, want)
	}
}

// design.md §4: same key and body, the first answer again; other body, 422.
func TestIdempotencyKey(t *testing.T) {
	r, c := newShop(t)
	first := r.keyed(t, c.server, "/email", "order-1", message(""))
	first.ok()
	for _, key := range []string{"order-1", `"order-1"`, " order-1 "} {
		r.keyed(t, c.server, "/email/", key, message("")).same(t, first)
	}
	r.wantCount(t, c, "1")

	const reused = "This Idempotency-Key was used for another request within the last 24 hours. Use a new key for a new request."
	r.keyed(t, c.server, "/email", "order-1", message(`"Subject": "Other"`)).refused(422, 9001, reused)
	r.keyed(t, c.server, "/email", "order-1", message("")+" ").refused(422, 9001, reused)
	r.keyed(t, c.server, "/email/batch", "order-1", message("")).refused(422, 9001, reused)
	r.wantCount(t, c, "1")

	if second := r.keyed(t, c.server, "/email", "order-2", message("")); second.ok()["MessageID"] == first.ok()["MessageID"] {
		t.Error("another key gave the same message")
	}
	r.wantCount(t, c, "2")
	r.call(t, c.server, post, "/email", message("")).ok()
	r.wantCount(t, c, "3")

	// A key says nothing to other servers, nor to other tokens of the server.
	other := r.newServer(t, c.account, `{"Name": "Other"}`)
	if got := r.keyed(t, other.server, "/email", "order-1", message("")); got.ok()["MessageID"] == first.ok()["MessageID"] || got.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("another server was answered %s", got.body)
	}
	token := r.call(t, c.account, post, "/servers/"+c.id+"/api-tokens", "").ok().text(t, "Token")
	r.keyed(t, server(token), "/email", "order-1", message("")).same(t, first)
	r.wantCount(t, c, "3")

	// Who may not send gets no answer of before.
	limited := r.call(t, c.account, post, "/servers/"+c.id+"/api-tokens", `{"Scope": "read-only"}`).ok().text(t, "Token")
	r.keyed(t, server(limited), "/email", "order-1", message("")).refusedWith(401, 10, "read-only")
}

// The answer to a batch comes again with its refusals, compressed or not.
func TestIdempotentBatch(t *testing.T) {
	r, c := newShop(t)
	items := make([]string, 0, 60)
	for n := range 60 {
		items = append(items, message(fmt.Sprintf(`"To": "b%d@shop.test"`, n)))
	}
	items[7] = message(`"To": "nobody"`)
	items[8] = message(`"To": 1`)
	body := "[" + strings.Join(items, ",") + "]"
	first := r.keyed(t, c.server, "/email/batch", "b", body)
	if got := first.items(); len(got) != 60 || got[0]["ErrorCode"] != 0.0 || got[7]["ErrorCode"] != 300.0 || got[8]["ErrorCode"] != 403.0 {
		t.Fatalf("answer is %s", first.body)
	}
	r.keyed(t, c.server, "/email/batch", "b", body).same(t, first)
	r.wantCount(t, c, "58")
}

// Of a bulk request that is repeated there is one, though it is made long after
// its answer.
func TestIdempotentBulk(t *testing.T) {
	r, c := newShop(t)
	body := `{"From": "news@acme.test", "Subject": "Hi", "TextBody": "{{name}}", "Messages": [{"To": "a@shop.test"}, {"To": "b@shop.test"}]}`
	first := r.keyed(t, c.server, "/email/bulk", "k", body)
	id := first.ok().text(t, "Id")
	r.keyed(t, c.server, "/email/bulk", "k", body).same(t, first)
	r.work(t)
	r.bulkUntil(t, c.server, id, isCompleted)
	r.keyed(t, c.server, "/email/bulk", "k", body).same(t, first)
	if list := r.call(t, c.server, get, "/email/bulk", "").ok()["Requests"].([]any); len(list) != 1 {
		t.Errorf("%d requests, want 1", len(list))
	}
	if sent := r.sentTo(t, c.number, "broadcast"); len(sent) != 2 || len(sent["a@shop.test"]) != 1 || len(sent["b@shop.test"]) != 1 {
		t.Errorf("sent: %v", sent)
	}
}

// A refusal that accepted nothing leaves its key free, and no trace: the same
// request is checked again, and another may have the key.
func TestRefusalIsNotKept(t *testing.T) {
	r, c := newShop(t)
	kept := func() (n int64) {
		t.Helper()
		for _, key := range []string{"k", "j", "b", "u"} {
			err := r.st.View(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Request(t.Context(), c.number, key)
				return err
			})
			switch {
			case err == nil:
				n++
			case !errors.Is(err, store.ErrNotFound):
				t.Error(err)
			}
		}
		return n
	}
	body := message(`"MessageStream": "news"`)
	r.keyed(t, c.server, "/email", "k", body).refusedWith(422, 1235, "news")
	r.keyed(t, c.server, "/email", "j", "{").refusedWith(422, 402, "")
	r.keyed(t, c.server, "/email/bulk", "u", `{"From": "news@acme.test", "Messages": []}`).refusedWith(422, 11, "")
	batch := "[" + message(`"To": "nobody"`) + "," + message(`"To": 1`) + "]"
	refused := r.keyed(t, c.server, "/email/batch", "b", batch)
	if got := refused.items(); len(got) != 2 || got[0]["ErrorCode"] != 300.0 || got[1]["ErrorCode"] != 403.0 {
		t.Errorf("answer is %s", refused.body)
	}
	if n := kept(); n != 0 {
		t.Errorf("%d requests are kept, want none", n)
	}
	r.addStream(t, c.number, "news")
	first := r.keyed(t, c.server, "/email", "k", body)
	first.ok()
	r.keyed(t, c.server, "/email", "k", body).same(t, first)
	r.keyed(t, c.server, "/email", "j", message("")).ok()
	if again := r.keyed(t, c.server, "/email/batch", "b", batch); again.body != refused.body || again.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("again: %s, want %s, checked anew", again.body, refused.body)
	}
	if n := kept(); n != 2 {
		t.Errorf("%d requests are kept, want the two that were accepted", n)
	}
}

func TestIdempotencyKeyForm(t *testing.T) {
	r, c := newShop(t)
	const text = "The Idempotency-Key header must be given once, with 1 to 255 printable ASCII characters."
	for _, key := range []string{"", `""`, strings.Repeat("k", 256), "schlüssel", "a\tb"} {
		r.keyed(t, c.server, "/email", key, message("")).refused(422, 9003, text)
	}
	r.request(t, c.server, post, "/email", message(""), func(req *http.Request) {
		req.Header["Idempotency-Key"] = []string{"a", "a"}
	}).refused(422, 9003, text)
	r.wantCount(t, c, "0")
	r.keyed(t, c.server, "/email", strings.Repeat("k", 255), message("")).ok()
	r.keyed(t, c.server, "/email", "!~ [1]", message("")).ok()
	// Elsewhere, and for what is not stored, it says nothing.
	for range 2 {
		if got := r.keyed(t, server(testToken), "/email", "k", message("")); got.ok()["Message"] != "Test job accepted" || got.header.Get("Idempotent-Replayed") != "" {
			t.Errorf("test token: %s", got.body)
		}
		if got := r.keyed(t, c.server, "/smtp-tokens", "k", `{"Label": "x"}`); got.ok()["Label"] != "x" || got.header.Get("Idempotent-Replayed") != "" {
			t.Errorf("another call: %s", got.body)
		}
	}
}

// handled lets POST /email be answered by a handler of the test, until back is
// called.
func (r *rig) handled(t *testing.T, handle func(ctx context.Context, c *call) (any, error)) (back func()) {
	t.Helper()
	before := r.url
	tree := newTree([]route{{method: post, path: "/email", opener: byServer, limit: 1 << 20, mail: true, handle: handle}})
	r.url = listen(t, r.api.frame(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.api.serve(tree, w, q) })))
	return func() { r.url = before }
}

// A fault of our own frees the key: the request may be made again.
func TestFaultFreesTheKey(t *testing.T) {
	r, c := newShop(t)
	var n atomic.Int32
	r.handled(t, func(ctx context.Context, c *call) (any, error) {
		switch n.Add(1) {
		case 1:
			return nil, fmt.Errorf("store: %w", store.ErrUnavailable)
		case 2:
			return nil, errors.New("no such thing")
		case 3:
			return nil, &pennypost.Error{Code: pennypost.CodeTooManyRequests, Status: http.StatusTooManyRequests, Text: "too many"}
		case 4:
			panic("a fault")
		}
		return r.api.sendEmail(ctx, c)
	})
	for _, want := range []int{503, 500, 429, 500} {
		if got := r.keyed(t, c.server, "/email", "k", message("")); got.status != want {
			t.Errorf("got %d %s, want %d", got.status, got.body, want)
		}
	}
	first := r.keyed(t, c.server, "/email", "k", message(""))
	first.ok()
	r.keyed(t, c.server, "/email", "k", message("")).same(t, first)
	if n.Load() != 5 {
		t.Errorf("%d calls were made, want 5", n.Load())
	}
}

// We die, or cannot tell what became of the commit, after a message was accepted
// and before it was answered: the repeat is answered with that message.
func TestAcceptedAndNotAnswered(t *testing.T) {
	r, c := newShop(t)
	var n atomic.Int32
	var ids []string
	back := r.handled(t, func(ctx context.Context, c *call) (any, error) {
		send := r.api.sendEmail
		if c.body[0] == '[' {
			send = r.api.sendBatch
		}
		v, err := send(ctx, c)
		if n.Add(1)%2 == 0 || err != nil {
			return v, err
		}
		switch v := v.(type) {
		case sendResult:
			ids = append(ids, v.MessageID)
		case []any:
			ids = append(ids, v[1].(sendResult).MessageID)
		}
		return nil, fmt.Errorf("store: %w", store.ErrUnknown)
	})
	body := message("")
	if got := r.keyed(t, c.server, "/email", "k", body); got.status != 500 {
		t.Fatalf("got %d %s, want 500", got.status, got.body)
	}
	// The answer of a single message is kept with it.
	second := r.keyed(t, c.server, "/email", "k", body)
	if second.ok()["MessageID"] != ids[0] || second.header.Get("Idempotent-Replayed") != "true" || n.Load() != 1 {
		t.Errorf("got %s, want message %v", second.body, ids)
	}
	n.Store(0)
	batch := "[" + message(`"To": "nobody"`) + "," + message("") + "]"
	if got := r.keyed(t, c.server, "/email", "b", batch); got.status != 500 {
		t.Fatalf("got %d %s, want 500", got.status, got.body)
	}
	// That of a batch is made of what was noted with its messages.
	third := r.keyed(t, c.server, "/email", "b", batch)
	if got := third.items(); got[0]["ErrorCode"] != 300.0 || got[1]["MessageID"] != ids[1] {
		t.Errorf("got %s, want message %v", third.body, ids)
	}
	r.keyed(t, c.server, "/email", "b", batch).same(t, third)
	back()
	r.wantCount(t, c, "2")
}

// While the first request is worked on, a second one is told so and sends
// nothing (draft-ietf-httpapi-idempotency-key-header §2.6: 409).
func TestSameKeyAtOnce(t *testing.T) {
	r, c := newShop(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	back := r.handled(t, func(ctx context.Context, c *call) (any, error) {
		close(begun)
		<-goOn
		return r.api.sendEmail(ctx, c)
	})
	done := make(chan answer)
	go func() { done <- r.keyed(t, c.server, "/email", "k", message("")) }()
	<-begun
	const text = "A request with this Idempotency-Key is still being worked on. Please repeat it in a moment to get its answer."
	r.keyed(t, c.server, "/email", "k", message("")).refused(409, 9002, text)
	r.keyed(t, c.server, "/email", "k", message(`"Subject": "x"`)).refusedWith(422, 9001, "")
	close(goOn)
	first := <-done
	first.ok()
	r.keyed(t, c.server, "/email", "k", message("")).same(t, first)
	back()
	r.wantCount(t, c, "1")
	if n := len(r.api.keyed.list); n != 0 {
		t.Errorf("%d keys are still taken", n)
	}
}

// What is kept stays for its day; dropping what is older leaves it alone. That
// the day ends is tested in package store.
func TestKeysAreKept(t *testing.T) {
	r, c := newShop(t)
	first := r.keyed(t, c.server, "/email", "k", message(""))
	if err := r.api.dropRequests(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.keyed(t, c.server, "/email", "k", message("")).same(t, first)
}

// A batch of which a part failed by our own fault is not answered for good: its
// repeat is made again, and what was accepted is not accepted twice.
func TestBatchWithAFaultIsNotTheLast(t *testing.T) {
	r, c := newShop(t)
	var n atomic.Int32
	back := r.handled(t, func(ctx context.Context, c *call) (any, error) {
		v, err := r.api.sendBatch(ctx, c)
		c.who.Request.Fault = n.Add(1) == 1
		return v, err
	})
	batch := "[" + message("") + "," + message(`"Subject": "Second"`) + "]"
	first := r.keyed(t, c.server, "/email", "b", batch)
	second := r.keyed(t, c.server, "/email", "b", batch)
	if first.body != second.body || second.header.Get("Idempotent-Replayed") != "" || n.Load() != 2 {
		t.Errorf("got %s, want %s made again", second.body, first.body)
	}
	r.keyed(t, c.server, "/email", "b", batch).same(t, second)
	back()
	r.wantCount(t, c, "2")
}
