package track_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/track"
)

// benchRate is how many requests come in a second, whether or not earlier ones
// were answered.
const benchRate = 2000

// BenchmarkServe asks for pixels and links of many messages at a steady rate,
// over real connections, while they are recorded. Its figures are measured from
// when a request was due. With -benchtime=10000x it takes five seconds.
func BenchmarkServe(b *testing.B) {
	w := newWorld(b)
	const messages, links = 200, 5
	var urls []string
	for i := range messages {
		m := w.message(pennypost.Address(fmt.Sprintf("ann%d@a.test", i)))
		urls = append(urls, w.pixel(m, 0))
		for no := 1; no <= links; no++ {
			urls = append(urls, w.link(m, 0, track.InHTML, no, fmt.Sprintf("https://acme.example/orders/%d?line=%d", i, no)))
		}
	}
	client := &http.Transport{MaxIdleConnsPerHost: 256, MaxConnsPerHost: 256}
	b.Cleanup(client.CloseIdleConnections)
	took := make([]time.Duration, b.N)
	var wg sync.WaitGroup
	began := time.Now()
	b.ResetTimer()
	for i := range b.N {
		due := began.Add(time.Duration(i) * time.Second / benchRate)
		time.Sleep(time.Until(due))
		wg.Go(func() {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, urls[i%len(urls)], nil)
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("User-Agent", firefox)
			resp, err := client.RoundTrip(req)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			took[i] = time.Since(due)
			if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusFound {
				b.Errorf("got %d", resp.StatusCode)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	w.stop()
	slices.Sort(took)
	at := func(part float64) float64 { return float64(took[int(part*float64(len(took)-1))]) / 1e6 }
	b.ReportMetric(at(.5), "ms-p50")
	b.ReportMetric(at(.99), "ms-p99")
	b.ReportMetric(at(.999), "ms-p99.9")
	got := w.counted()
	if n := got.Opens + got.Clicks + got.MachineClicks; n != int64(b.N) {
		b.Errorf("%d of %d were recorded", n, b.N)
	}
}

// BenchmarkHandler is a link's answer without a connection.
func BenchmarkHandler(b *testing.B) {
	w := newWorld(b)
	m := w.message("ann@a.test")
	url := w.link(m, 0, track.InHTML, 1, "https://acme.example/orders/778?line=1")
	h := w.server.Handler()
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
		r.Header.Set("User-Agent", firefox)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code != http.StatusFound {
			b.Fatalf("got %d", rec.Code)
		}
	}
}
