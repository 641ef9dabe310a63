package track_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/track"
)

// What was answered is on the disk within a second, whatever happens then: the
// test reads it while nobody has told the Server to stop.
func TestRecordedWithinASecond(t *testing.T) {
	var best time.Duration
	for range 3 { // a busy machine may have had no time for one
		w := newWorld(t)
		m := w.message("ann@a.test")
		began := time.Now()
		w.get(w.pixel(m, 0), firefox)
		w.get(w.link(m, 0, track.InHTML, 1, "https://acme.example/"), firefox)
		asked := time.Now()
		for len(w.opens(m)) == 0 || len(w.clicks(m)) == 0 {
			if time.Since(asked) > 20*time.Second {
				t.Fatalf("%d opens and %d clicks", len(w.opens(m)), len(w.clicks(m)))
			}
			time.Sleep(10 * time.Millisecond)
		}
		best = time.Since(asked)
		if at := w.opens(m)[0].At; at.Before(began.Add(-time.Millisecond)) || at.After(asked) {
			t.Errorf("the time is %v, asked from %v to %v", at, began, asked)
		}
		if best <= time.Second {
			return
		}
	}
	t.Errorf("it took %v", best)
}

// The end waits for what was answered just before it.
func TestEndRecordsTheRest(t *testing.T) {
	w := newWorld(t)
	m := w.message("ann@a.test", "bob@b.test")
	for n := range 300 { // more than are written at once
		w.get(w.pixel(m, n%2), firefox)
	}
	w.stop()
	if got, want := w.counted(), (store.StatCount{Opens: 300, UniqueOpens: 2}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// When the buffer is full links lead on, and what is not recorded is counted.
func TestFullBuffer(t *testing.T) {
	w := newWorld(t, func(c *track.ServerConfig) { c.Buffer = 2000 })
	w.stop() // nobody empties it
	m := w.message("ann@a.test")
	const asked = 20
	for range asked {
		if a := w.get(w.link(m, 0, track.InHTML, 1, "https://acme.example/"), firefox); a.status != http.StatusFound {
			t.Fatalf("got %d", a.status)
		}
	}
	lost, held := w.figure(`track_lost_total{why="full"}`), w.figure("track_waiting_octets")
	if lost == 0 || lost >= asked || held == 0 || held > 2000 {
		t.Errorf("%d of %d lost, %d octets held", lost, asked, held)
	}
	w.run()
	w.stop()
	if got, want := w.counted(), (store.StatCount{Clicks: int64(asked - lost), UniqueClicks: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	if held := w.figure("track_waiting_octets"); held != 0 {
		t.Errorf("%d octets still held", held)
	}
}

// With the privacy setting neither address nor user agent nor place is stored.
func TestPrivate(t *testing.T) {
	file := geoFile(t, map[string]any{"country": map[string]any{"iso_code": "DE"}})
	w := newWorld(t, func(c *track.ServerConfig) { c.Private, c.GeoFile = true, file })
	m := w.message("ann@a.test")
	w.get(w.pixel(m, 0), firefox)
	w.get(w.link(m, 0, track.InText, 1, "https://acme.example/"), firefox)
	w.stop()
	o, c := w.opens(m), w.clicks(m)
	if len(o) != 1 || len(c) != 1 {
		t.Fatalf("%d opens, %d clicks", len(o), len(c))
	}
	for _, r := range []pennypost.Reading{o[0].Reading, c[0].Reading} {
		if r.UserAgent != "" || r.Place != (pennypost.Place{}) {
			t.Errorf("stored %q, %+v", r.UserAgent, r.Place)
		}
		if r.Client.Family != "Firefox" || r.Platform != pennypost.PlatformDesktop {
			t.Errorf("what tells of no person is gone too: %+v", r)
		}
	}
	if s := w.events(m)[0].Details["Summary"]; s != "Email opened" {
		t.Errorf("event says %q", s)
	}
}

// Machines are kept apart from people: no event, no part of the counts, and a
// person who comes later is still the first.
func TestMachines(t *testing.T) {
	const library, scanner = "Go-http-client/1.1", "Mozilla/5.0 (compatible; Barracuda Sentinel (EE))"
	tests := []struct {
		name   string
		state  pennypost.RecipientState
		ago    time.Duration // of its last change
		agent  string
		header []string
		rule   string // "": a person
	}{
		{"browser", pennypost.Delivered, time.Minute, firefox, nil, ""},
		{"browser at once", pennypost.Delivered, 0, firefox, nil, ""},
		{"nothing said", pennypost.Delivered, time.Minute, "", nil, "no user agent"},
		{"scanner", pennypost.Delivered, time.Minute, scanner, nil, "scanner"},
		{"prefetch", pennypost.Delivered, time.Minute, firefox, []string{"Sec-Purpose", "prefetch;prerender"}, "prefetch"},
		{"prefetch in the old way", pennypost.Delivered, time.Minute, firefox, []string{"Purpose", "prefetch"}, "prefetch"},
		{"library at once", pennypost.Delivered, 0, library, nil, "library at delivery"},
		{"library before the delivery was noted", pennypost.Queued, 0, library, nil, "library at delivery"},
		{"library just in time", pennypost.Delivered, 1999 * time.Millisecond, library, nil, "library at delivery"},
		{"library later", pennypost.Delivered, 2 * time.Second, library, nil, ""},
		{"library after an attempt that failed", pennypost.Deferred, 0, library, nil, ""},
		{"proxy of Gmail at once", pennypost.Delivered, 0, gmail, nil, ""},
		{"proxy of Apple", pennypost.Delivered, 0, "Mozilla/5.0", nil, ""},
		{"unknown program", pennypost.Delivered, time.Minute, "Fetch-o-matic", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClock()
			w := newWorld(t, c.set)
			m := w.messageIn(tt.state, c.now().Add(-tt.ago), "ann@a.test")
			link := w.link(m, 0, track.InHTML, 1, "https://acme.example/")
			w.get(w.pixel(m, 0), tt.agent, tt.header...)
			if a := w.get(link, tt.agent, tt.header...); a.status != http.StatusFound {
				t.Errorf("got %d", a.status)
			}
			w.stop()
			opens, clicks := w.opens(m), w.clicks(m)
			if len(opens) != 1 || len(clicks) != 1 || opens[0].Machine != tt.rule || clicks[0].Machine != tt.rule {
				t.Fatalf("got %+v, %+v; want rule %q", opens, clicks, tt.rule)
			}
			want, events := store.StatCount{Opens: 1, UniqueOpens: 1, Clicks: 1, UniqueClicks: 1}, 2
			if tt.rule != "" {
				want, events = store.StatCount{MachineOpens: 1, MachineClicks: 1}, 0
			}
			if got := w.counted(); got != want || len(w.events(m)) != events {
				t.Errorf("counted %+v and %d events", got, len(w.events(m)))
			}
			w.run()
			w.get(w.pixel(m, 0), firefox)
			w.get(link, firefox)
			w.stop()
			if got := w.counted(); got.UniqueOpens != 1 || got.UniqueClicks != 1 || len(w.events(m)) != 2 {
				t.Errorf("with a person too: %+v, %d events", got, len(w.events(m)))
			}
		})
	}
}

// Who follows three links and more in half a second is no person; the first of
// them too.
func TestBurst(t *testing.T) {
	c := newClock()
	w := newWorld(t, c.set)
	m, other := w.message("ann@a.test", "bob@b.test"), w.message("eve@c.test")
	for no := 1; no <= 4; no++ {
		w.get(w.link(m, 0, track.InHTML, no, fmt.Sprintf("https://acme.example/%d", no)), firefox)
		c.move(200 * time.Millisecond)
	}
	// Two links of a copy, one link again and again, links of different copies: people.
	for range 3 {
		w.get(w.link(m, 1, track.InHTML, 1, "https://acme.example/1"), firefox)
	}
	w.get(w.link(m, 1, track.InHTML, 2, "https://acme.example/2"), firefox)
	w.get(w.link(other, 0, track.InHTML, 3, "https://acme.example/3"), firefox)
	w.stop()
	for _, c := range append(w.clicks(m), w.clicks(other)...) {
		want := ""
		if c.Recipient == "ann@a.test" {
			want = "links at once"
		}
		if c.Machine != want {
			t.Errorf("%s, link %d: rule %q, want %q", c.Recipient, c.Link, c.Machine, want)
		}
	}
	if got, want := w.counted(), (store.StatCount{MachineClicks: 4, Clicks: 5, UniqueClicks: 3}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// Somebody who tries us out on this machine is no scanner, however quick.
func TestTriedOut(t *testing.T) {
	c := newClock()
	w := newWorld(t, c.set)
	w.from = ""
	m := w.messageIn(pennypost.Delivered, c.now(), "ann@a.test")
	w.get(w.pixel(m, 0), "curl/8.4.0")
	for no := 1; no <= 3; no++ {
		w.get(w.link(m, 0, track.InHTML, no, fmt.Sprintf("https://acme.example/%d", no)), "curl/8.4.0")
	}
	w.stop()
	if got, want := w.counted(), (store.StatCount{Opens: 1, UniqueOpens: 1, Clicks: 3, UniqueClicks: 3}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// Three links at a person's pace are clicks.
func TestNoBurst(t *testing.T) {
	c := newClock()
	w := newWorld(t, c.set)
	m := w.message("ann@a.test")
	for no := 1; no <= 3; no++ {
		w.get(w.link(m, 0, track.InHTML, no, fmt.Sprintf("https://acme.example/%d", no)), firefox)
		c.move(300 * time.Millisecond)
	}
	w.stop()
	if got, want := w.counted(), (store.StatCount{Clicks: 3, UniqueClicks: 3}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// Mail of a stream that was archived and of a server that was deleted is still
// read: its rows stay, and so does what is told of them.
func TestArchivedStreamAndDeletedServer(t *testing.T) {
	w := newWorld(t)
	w.update(func(ctx context.Context, tx *store.Tx) error {
		server := &pennypost.Server{
			AccountID: 1, Name: "Shop", InboundHash: "x", TrackLinks: pennypost.TrackNone, SMTPRejection: pennypost.RejectImmediate,
		}
		if err := tx.AddServer(ctx, server); err != nil {
			return err
		}
		w.of = server.ID
		return tx.AddStream(ctx, &pennypost.Stream{
			ServerID: server.ID, ID: "news", Type: pennypost.StreamBroadcasts, Name: "News", ArchivedAt: time.Now(),
		})
	})
	m := w.message("ann@a.test")
	w.update(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteServer(ctx, 1, w.of) })
	w.get(w.pixel(m, 0), firefox)
	w.get(w.link(m, 0, track.InHTML, 1, "https://acme.example/"), firefox)
	if a := w.do(http.MethodPost, w.off(m, 0), "", "List-Unsubscribe=One-Click"); a.status != http.StatusOK {
		t.Errorf("unsubscribe: %d", a.status)
	}
	w.stop()
	if len(w.opens(m)) != 1 || len(w.clicks(m)) != 1 || len(w.events(m)) != 3 {
		t.Errorf("%d opens, %d clicks, %d events", len(w.opens(m)), len(w.clicks(m)), len(w.events(m)))
	}
}

// A store that is closed takes nothing more; the end does not wait for it, and
// says what was lost.
func TestStoreIsGone(t *testing.T) {
	st, err := store.Open(t.Context(), store.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *track.ServerConfig) { c.Store = st })
	m := w.message("ann@a.test")
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := st.View(t.Context(), func(*store.Tx) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("the store is open: %v", err)
	}
	if a := w.get(w.link(m, 0, track.InHTML, 1, "https://acme.example/"), firefox); a.status != http.StatusFound {
		t.Errorf("link: %d", a.status)
	}
	if a := w.get(w.off(m, 0), firefox); a.status < 500 {
		t.Errorf("page: %d", a.status)
	}
	w.stop()
	if n := w.figure(`track_lost_total{why="failed"}`); n != 1 {
		t.Errorf("%d told of as lost, want 1", n)
	}
}

// Of a message that is purged while an open of it is being recorded nothing is
// left.
func TestPurgedMeanwhile(t *testing.T) {
	w := newWorld(t)
	m := w.message("ann@a.test")
	w.update(func(ctx context.Context, tx *store.Tx) error {
		s := &pennypost.Stream{ServerID: w.of, ID: m.Stream, Type: pennypost.StreamBroadcasts, Name: "x", Unsubscribe: pennypost.UnsubscribeNone}
		if err := tx.AddStream(ctx, s); err != nil {
			return err
		}
		s.ArchivedAt = tx.Now()
		return tx.SetStream(ctx, s)
	})
	w.get(w.pixel(m, 0), firefox)
	w.get(w.link(m, 0, track.InHTML, 1, "https://acme.example/"), firefox)
	w.update(func(ctx context.Context, tx *store.Tx) error {
		time.Sleep(1500 * time.Millisecond) // the recorder finds the message, and waits to write
		for more := true; more; {
			var err error
			if more, err = tx.PurgeStream(ctx, w.of, m.Stream, tx.Now(), 10); err != nil {
				return err
			}
		}
		return nil
	})
	for end := time.Now().Add(20 * time.Second); w.figure("track_waiting_octets") > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not seen to")
		}
	}
	if opens, clicks := w.opens(m), w.clicks(m); len(opens) > 0 || len(clicks) > 0 {
		t.Errorf("%d opens and %d clicks are left", len(opens), len(clicks))
	}
	if got := w.counted(); got != (store.StatCount{}) {
		t.Errorf("counted %+v", got)
	}
	if n := w.figure(`track_lost_total{why="gone"}`); n != 2 {
		t.Errorf("%d counted as gone, want 2", n)
	}
}
