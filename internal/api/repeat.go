package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/submit"
)

// keyHeader names a request that its client may repeat
// (draft-ietf-httpapi-idempotency-key-header).
const keyHeader = "Idempotency-Key"

// ErrorCodes of ours, in a range that the contract is far from
// (docs/decisions/0007). The third is submit.CodeUnderWay.
const (
	codeKeyReused pennypost.Code = 9001
	codeKeyForm   pennypost.Code = 9003
)

const maxKey = 255

// underway are the requests with a key that this process works on.
type underway struct {
	mu   sync.Mutex
	list map[callKey][sha256.Size]byte // what they ask for
}

type callKey struct {
	server pennypost.ServerID
	key    string
}

// begin takes a key for a request.
func (u *underway) begin(k callKey, hash [sha256.Size]byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	other, busy := u.list[k]
	switch {
	case busy && other != hash:
		return errKeyReused()
	case busy:
		return submit.ErrUnderWay()
	}
	if u.list == nil {
		u.list = make(map[callKey][sha256.Size]byte)
	}
	u.list[k] = hash
	return nil
}

func (u *underway) end(k callKey) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.list, k)
}

func errKeyReused() *pennypost.Error {
	return pennypost.Refuse(codeKeyReused, "This Idempotency-Key was used for another request within the last 24 hours. Use a new key for a new request.")
}

// requestKey reads the key; "" is none. The draft writes it in quotes, most
// clients do not: both are the same key.
func requestKey(h http.Header) (string, error) {
	list := h.Values(keyHeader)
	if len(list) == 0 {
		return "", nil
	}
	key := strings.TrimSpace(list[0])
	if len(key) > 1 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	printable := strings.IndexFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) < 0
	if len(list) > 1 || key == "" || len(key) > maxKey || !printable {
		return "", pennypost.Refuse(codeKeyForm, "The Idempotency-Key header must be given once, with 1 to %d printable ASCII characters.", maxKey)
	}
	return key, nil
}

// requestHash is of what a request asks for: the call and the body, octet for
// octet.
func requestHash(rt *route, body []byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write([]byte(rt.method + " " + rt.path + "\n")) // a hash takes all
	h.Write(body)
	h.Sum(sum[:0])
	return sum
}

// keep looks a request up by its key, if it has one: what it gives was answered
// before. Otherwise the request is c.who.Request from now on, which the door
// notes what it accepts for, and its answer is kept. Those of POSTMARK_API_TEST
// send nothing that could be sent twice.
func (a *API) keep(ctx context.Context, rt *route, c *call) (*store.KeptRequest, error) {
	key, err := requestKey(c.r.Header)
	if err != nil || key == "" || c.who.ServerID == 0 {
		return nil, err
	}
	hash := requestHash(rt, c.body)
	k := callKey{server: c.who.ServerID, key: key}
	if err := a.keyed.begin(k, hash); err != nil {
		return nil, err
	}
	c.keyEnd = func() { a.keyed.end(k) }
	var kept *store.KeptRequest
	err = a.conf.Store.View(ctx, func(tx *store.Tx) (err error) {
		kept, err = tx.Request(ctx, c.who.ServerID, key)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		c.who.Request = &pennypost.Request{Key: key, Hash: hash[:]}
	case err != nil:
		return nil, err
	case subtle.ConstantTimeCompare(kept.Hash, hash[:]) == 0:
		return nil, errKeyReused()
	case kept.Status != 0:
		return kept, nil
	default: // we died between accepting and answering
		c.who.Request = &kept.Request
	}
	c.keyed = true
	return nil, nil //nolint:nilnil // the call is made
}

// witness keeps the answer of a request with a key before it is sent.
type witness struct {
	http.ResponseWriter
	a *API
	c *call
}

// Unwrap is for http.ResponseController.
func (w *witness) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// watched puts a witness before the answer of a request with a key.
func (a *API) watched(w http.ResponseWriter, c *call) http.ResponseWriter {
	if !c.keyed {
		return w
	}
	return &witness{ResponseWriter: w, a: a, c: c}
}

// keepWithin bounds the time for keeping an answer.
const keepWithin = 5 * time.Second

// Witness keeps an answer, unless it tells of a fault of our own: then the
// request may be repeated, and what was accepted of it is not accepted again. Of
// a request of which nothing was accepted nothing is kept: its repeat sends
// nothing twice, and who is refused writes nothing to our disk.
func (w *witness) Witness(status int, body []byte) {
	r := w.c.who.Request
	if r.Turn == 0 || r.Fault || r.Answered || !isLast(status) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.c.r.Context()), keepWithin)
	defer cancel()
	err := w.a.conf.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.AnswerRequest(ctx, w.c.who.ServerID, r, status, body)
	})
	if err != nil {
		// A repeat is made of what was noted with the messages.
		w.a.log.WarnContext(ctx, "answer to a request with a key not kept", "server", int64(w.c.who.ServerID), "err", err)
	}
}

// isLast tells whether an answer would be the same the next time, as far as the
// request decides it.
func isLast(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	}
	return status < http.StatusInternalServerError
}

// How requests are dropped whose time is over.
const (
	dropEvery = 5 * time.Minute
	dropStep  = 500
	dropRest  = 50 * time.Millisecond // between two steps, for those who wait to write
)

// Run drops, in small steps, what is kept of requests with a key once its time
// is over. It returns when ctx has ended.
func (a *API) Run(ctx context.Context) error {
	t := time.NewTicker(dropEvery)
	defer t.Stop()
	for {
		if err := a.dropRequests(ctx); err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "requests whose time is over not dropped", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func (a *API) dropRequests(ctx context.Context) error {
	for {
		n := 0
		err := a.conf.Store.UpdateSoon(ctx, func(tx *store.Tx) (err error) {
			n, err = tx.DropRequests(ctx, dropStep)
			return err
		})
		if err != nil {
			return err
		}
		if n < dropStep {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(dropRest):
		}
	}
}
