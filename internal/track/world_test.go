package track_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"pennypost"
	"pennypost/internal/metrics"
	"pennypost/internal/store"
	"pennypost/internal/track"
)

// The user agents that tests use.
const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:137.0) Gecko/20100101 Firefox/137.0"
	gmail   = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
)

// world is a Server with a store, which a real client asks.
type world struct {
	t       testing.TB
	store   *store.Store
	signer  *track.Signer
	server  *track.Server
	metrics *metrics.Set
	web     *httptest.Server
	stop    func()             // ends Run and waits for it
	of      pennypost.ServerID // of the messages
	from    string             // address of the client, as a proxy tells it; "" is this machine's
}

func newWorld(tb testing.TB, change ...func(c *track.ServerConfig)) *world {
	tb.Helper()
	st, err := store.Open(tb.Context(), store.Config{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := st.Close(); err != nil {
			tb.Error(err)
		}
	})
	w := &world{t: tb, store: st, signer: track.NewSigner([]byte("the key of the test")), metrics: metrics.New(), of: 7, from: "192.0.2.7"}
	c := track.ServerConfig{Store: st, Signers: []*track.Signer{w.signer}, Metrics: w.metrics, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for _, f := range change {
		f(&c)
	}
	if w.server, err = track.NewServer(c); err != nil {
		tb.Fatal(err)
	}
	w.web = httptest.NewServer(w.server.Handler())
	tb.Cleanup(w.web.Close)
	w.run()
	return w
}

// clock is a Server's clock that moves only when it is told to.
type clock struct{ us atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.us.Store(time.Now().UnixMicro())
	return c
}

func (c *clock) now() time.Time            { return time.UnixMicro(c.us.Load()) }
func (c *clock) move(d time.Duration)      { c.us.Add(d.Microseconds()) }
func (c *clock) set(s *track.ServerConfig) { s.Now = c.now }

// run starts Run, as the service does.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.server.Run(ctx) }()
	stopped := false
	w.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	}
	w.t.Cleanup(w.stop)
}

// message stores a message to some addresses that was delivered a minute ago.
func (w *world) message(to ...pennypost.Address) *pennypost.Message {
	return w.messageIn(pennypost.Delivered, time.Now().Add(-time.Minute), to...)
}

func (w *world) messageIn(state pennypost.RecipientState, changed time.Time, to ...pennypost.Address) *pennypost.Message {
	w.t.Helper()
	m := &pennypost.Message{
		ID: pennypost.MessageID(uuid.Must(uuid.NewV7())), AccountID: 1, ServerID: w.of, Stream: "news", Source: pennypost.SourceHTTP,
		From: pennypost.Mailbox{Name: "Acme <b>", Address: "shop@acme.test"}, Tag: "march", ReceivedAt: time.Now(), Recipients: len(to),
		TrackOpens: true, TrackLinks: pennypost.TrackHTMLAndText,
	}
	list := make([]pennypost.Recipient, len(to))
	for n, a := range to {
		list[n] = pennypost.Recipient{MessageID: m.ID, N: n, Address: a, State: state, ChangedAt: changed}
	}
	w.update(func(ctx context.Context, tx *store.Tx) error {
		return tx.AddMessage(ctx, &store.NewMessage{Message: m, Content: []byte("From: shop@acme.test\r\n\r\n"), Recipients: list})
	})
	return m
}

func (w *world) update(fn func(ctx context.Context, tx *store.Tx) error) {
	w.t.Helper()
	if err := w.store.Update(w.t.Context(), func(tx *store.Tx) error { return fn(w.t.Context(), tx) }); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) view(fn func(ctx context.Context, tx *store.Tx) error) {
	w.t.Helper()
	if err := w.store.View(context.Background(), func(tx *store.Tx) error { return fn(context.Background(), tx) }); err != nil {
		w.t.Fatal(err)
	}
}

// own makes of a URL of the copy that of recipient n.
func (w *world) own(m *pennypost.Message, url string, n int) string {
	return string(w.signer.Personal([]byte(url), m.ID, n))
}

func (w *world) pixel(m *pennypost.Message, n int) string {
	return w.own(m, w.signer.OpenURL(w.web.URL, m.ID), n)
}

func (w *world) link(m *pennypost.Message, n int, loc byte, no int, target string) string {
	return w.own(m, w.signer.LinkURL(w.web.URL, m.ID, loc, no, target), n)
}

func (w *world) off(m *pennypost.Message, n int) string {
	return w.own(m, w.signer.UnsubscribeURL(w.web.URL, m.ID), n)
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// do asks, and follows no redirect.
func (w *world) do(method, url, agent, body string, header ...string) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("User-Agent", agent) // "" sends none
	if w.from != "" {
		req.Header.Set("X-Forwarded-For", w.from)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (w *world) get(url, agent string, header ...string) answer {
	w.t.Helper()
	return w.do(http.MethodGet, url, agent, "", header...)
}

func (w *world) opens(m *pennypost.Message) (list []pennypost.Open) {
	w.t.Helper()
	w.view(func(ctx context.Context, tx *store.Tx) (err error) {
		list, err = tx.Opens(ctx, m.ID)
		return err
	})
	return list
}

func (w *world) clicks(m *pennypost.Message) (list []pennypost.Click) {
	w.t.Helper()
	w.view(func(ctx context.Context, tx *store.Tx) (err error) {
		list, err = tx.Clicks(ctx, m.ID)
		return err
	})
	return list
}

func (w *world) events(m *pennypost.Message) (list []pennypost.Event) {
	w.t.Helper()
	w.view(func(ctx context.Context, tx *store.Tx) (err error) {
		list, err = tx.Events(ctx, m.ID)
		return err
	})
	return list
}

// counted sums up the counters of the messages.
func (w *world) counted() store.StatCount {
	w.t.Helper()
	var sum store.StatCount
	w.view(func(ctx context.Context, tx *store.Tx) error {
		hours, err := tx.StatsHours(ctx, w.of, "", time.Now().Add(-3*time.Hour), time.Now().Add(time.Hour))
		for i := range hours {
			sum = sum.Plus(hours[i].StatCount)
		}
		return err
	})
	return sum
}

// figure reads a counter, such as `track_lost_total{why="full"}`.
func (w *world) figure(name string) int {
	w.t.Helper()
	page := httptest.NewRecorder()
	w.metrics.Handler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/", nil))
	for line := range strings.Lines(page.Body.String()) {
		if v, ok := strings.CutPrefix(line, "pennypost_"+name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				w.t.Fatal(err)
			}
			return int(f)
		}
	}
	return 0
}
