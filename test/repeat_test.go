package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pennypost/internal/fakenet"
)

// postKeyed sends a batch under a key until it is answered, whatever dies
// meanwhile, and gives the answer.
func postKeyed(r *rig, key string, body []byte, stop <-chan struct{}) (answer []byte, tries int, err error) {
	for {
		tries++
		req, err := http.NewRequest("POST", "http://"+r.http+"/email/batch", bytes.NewReader(body)) //nolint:noctx // bounded by the client
		if err != nil {
			return nil, tries, err
		}
		req.Header.Set("Accept", "application/json")
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Postmark-Server-Token", r.serverToken)
		req.Header.Set("Idempotency-Key", key)
		resp, err := apiClient.Do(req)
		if err == nil {
			b, errBody := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			switch {
			case errBody == nil && resp.StatusCode == http.StatusOK:
				return b, tries, nil
			case errBody == nil && resp.StatusCode < 500 && resp.StatusCode != http.StatusConflict:
				return nil, tries, fmt.Errorf("%s: %s", resp.Status, b)
			}
		}
		select {
		case <-stop:
			return nil, tries, fmt.Errorf("not answered: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestKeysOutliveKills kills the program again and again under batches that
// carry an Idempotency-Key, each repeated until it is answered. Every message is
// accepted once: none twice, none missing.
func TestKeysOutliveKills(t *testing.T) {
	r := booted(t, fakenet.Config{Keep: 1000}, map[string]string{"PENNYPOST_LOG_LEVEL": "warn"})
	const perBatch = 120 // three transactions
	var sent, repeated atomic.Int32
	halt, stop := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := make(map[string]bool)
	var twice []string
	for w := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-halt:
					return
				default:
				}
				var batch []map[string]string
				for i := range perBatch {
					batch = append(batch, map[string]string{
						"From": "orders@shop.test", "To": fmt.Sprintf("w%dn%di%d@d%d.test", w, n, i, i%20), "Subject": "Hi", "TextBody": "Hello",
					})
				}
				body, err := json.Marshal(batch)
				if err != nil {
					t.Error(err)
					return
				}
				answer, tries, err := postKeyed(r, fmt.Sprintf("w%d-%d", w, n), body, stop)
				if err != nil {
					t.Error(err)
					return
				}
				var results []struct {
					ErrorCode int
					MessageID string
				}
				if err := json.Unmarshal(answer, &results); err != nil || len(results) != perBatch {
					t.Errorf("%d results, %v", len(results), err)
					return
				}
				mu.Lock()
				for _, one := range results {
					if one.ErrorCode != 0 || ids[one.MessageID] {
						twice = append(twice, fmt.Sprint(one))
					}
					ids[one.MessageID] = true
				}
				mu.Unlock()
				sent.Add(perBatch)
				if tries > 1 {
					repeated.Add(1)
				}
			}
		})
	}
	for range 6 {
		before := sent.Load()
		waitUntil(t, 30*time.Second, "the senders to get on", func() bool { return sent.Load() >= before+2*perBatch })
		if err := r.kill(); err != nil {
			t.Fatal(err)
		}
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
	}
	close(halt)
	late := time.AfterFunc(60*time.Second, func() { close(stop) })
	wg.Wait()
	late.Stop()
	if len(twice) > 0 {
		t.Errorf("failed, or in two answers: %v", twice[:min(len(twice), 10)])
	}
	var page struct{ TotalCount int }
	if err := r.serverCall("GET", "/messages/outbound?count=1&offset=0", nil, &page); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages sent, %d accepted, %d batches were repeated", sent.Load(), page.TotalCount, repeated.Load())
	if page.TotalCount != int(sent.Load()) {
		t.Errorf("%d messages were accepted, %d sent", page.TotalCount, sent.Load())
	}
	if repeated.Load() < 6 {
		t.Errorf("only %d batches were repeated: the test shows nothing", repeated.Load())
	}
}
