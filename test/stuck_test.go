package test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pennypost/internal/fakenet"
)

// TestOneDestinationNeverAnswers sends 1,000 messages, a tenth of them to a
// mail server that accepts connections and says nothing. The others must not
// wait for it.
func TestOneDestinationNeverAnswers(t *testing.T) {
	r := booted(t, fakenet.Config{}, map[string]string{"PENNYPOST_STOP_WITHIN": "5s"})
	const total, stuck = 1000, 100
	var batch []map[string]string
	for i := range total {
		to := fmt.Sprintf("u%d@d%d.test", i, i%30)
		if i%10 == 0 {
			to = fmt.Sprintf("u%d@silent.test", i)
		}
		batch = append(batch, map[string]string{"From": "orders@shop.test", "To": to, "Subject": "x", "TextBody": "x"})
	}
	begun := time.Now()
	for half := range 2 {
		var results []struct{ ErrorCode int }
		if err := r.serverCall("POST", "/email/batch", batch[half*500:][:500], &results); err != nil {
			t.Fatal(err)
		}
		for _, one := range results {
			if one.ErrorCode != 0 {
				t.Fatalf("refused: %+v", one)
			}
		}
	}
	accepted := time.Since(begun)
	within := 10 * time.Second
	if raceDetector {
		within *= 3
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	got, err := r.net.Box().Wait(ctx, total-stuck)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d accepted after %v, %d delivered after %v", total, accepted, len(got), time.Since(begun))
	// A message of the one that is stuck is still tried, and nobody was told
	// anything about it.
	if state, err := r.state("u0@silent.test"); err != nil || state == "" || state == "Delivered" || state == "Bounced" {
		t.Errorf("message to the silent destination: state %q, %v", state, err)
	}
}
