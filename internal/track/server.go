package track

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/metrics"
	"pennypost/internal/store"
	"pennypost/internal/web"
)

// ServerConfig is what a Server needs. Zero values of what is optional are
// defaults.
type ServerConfig struct {
	Store *store.Store
	// Signers are those whose URLs are taken: the current one, and those of
	// master keys that were replaced.
	Signers []*Signer
	// Private keeps address, user agent and place out of the store.
	Private bool
	// GeoFile is a database of places in MaxMind's format, read again when it
	// changes; "" is none.
	GeoFile string
	Trusted []netip.Prefix // proxies whose X-Forwarded-For is believed
	Buffer  int            // octets of what waits to be recorded; 16 MiB
	Work    time.Duration  // for a page and what its button does; 10 s
	// Unavailable tells whether an error is a local fault that may pass.
	Unavailable func(error) bool
	Now         func() time.Time
	Log         *slog.Logger
	Metrics     *metrics.Set
}

// A Server answers the URLs that a Signer made: the pixel, the links and the
// unsubscribe pages. Answers of the first two need nothing but the URL; Run
// records them.
type Server struct {
	conf     ServerConfig
	handler  http.Handler
	json     *web.JSON
	page     *page
	buffer   *buffer
	recorder *recorder
	asked    *metrics.Counter
	lost     *metrics.Counter
}

// NewServer makes a Server. It fails when the file of places cannot be read.
func NewServer(c ServerConfig) (*Server, error) {
	if c.Store == nil || len(c.Signers) == 0 {
		return nil, errors.New("track: no store or no signer")
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Buffer <= 0 {
		c.Buffer = 16 << 20
	}
	if c.Work <= 0 {
		c.Work = 10 * time.Second
	}
	places, err := openPlaces(c.GeoFile, c.Now, c.Log)
	if err != nil {
		return nil, err
	}
	s := &Server{
		conf: c, json: web.NewJSON(c.Log, c.Unavailable), page: newPage(), buffer: newBuffer(c.Buffer),
		asked: c.Metrics.Counter("track_requests", "Requests for pixels, links and unsubscribe pages.", "kind", "answer"),
		lost:  c.Metrics.Counter("track_lost", "Opens and clicks that were answered and not recorded.", "why"),
	}
	c.Metrics.Gauge("track_waiting_octets", "Opens and clicks that wait to be recorded.",
		func() float64 { return float64(s.buffer.held()) })
	s.recorder = newRecorder(&s.conf, s.buffer, places, s.lost)
	s.handler = web.Frame{Trusted: c.Trusted, Log: c.Log}.Wrap(http.HandlerFunc(s.serve))
	return s, nil
}

// Owns tells whether a path is one of the Server's, on whichever host.
func Owns(path string) bool {
	return strings.HasPrefix(path, "/o/") || strings.HasPrefix(path, "/c/") || strings.HasPrefix(path, "/u/")
}

// Handler answers the paths that Owns knows, and 404 for the others.
func (s *Server) Handler() http.Handler { return s.handler }

// Run records what was answered until ctx ends, and then the rest. The edges
// end before it does.
func (s *Server) Run(ctx context.Context) error { return s.recorder.run(ctx) }

// The kinds of requests, as metrics name them.
const (
	kindOpen        = "open"
	kindClick       = "click"
	kindUnsubscribe = "unsubscribe"
)

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	switch {
	case strings.HasPrefix(path, "/o/"):
		s.open(w, r, path)
	case strings.HasPrefix(path, "/c/"):
		s.click(w, r, path)
	case strings.HasPrefix(path, "/u/"):
		s.unsubscribe(w, r, path)
	default:
		s.page.write(w, r, http.StatusNotFound, view{Gone: true})
	}
}

// reads tells whether a request is one of those that pixels and links answer.
func (s *Server) reads(w http.ResponseWriter, r *http.Request, kind string) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	s.asked.Add(1, kind, "method")
	w.Header().Set("Allow", "GET, HEAD")
	s.page.write(w, r, http.StatusMethodNotAllowed, view{Gone: true})
	return false
}

func (s *Server) gone(w http.ResponseWriter, r *http.Request, kind string) {
	s.asked.Add(1, kind, "unknown")
	s.page.write(w, r, http.StatusNotFound, view{Gone: true})
}

// pixel is a GIF of one transparent dot.
const pixel = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00," +
	"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

// open answers the pixel (contract/tracking.md §2).
func (s *Server) open(w http.ResponseWriter, r *http.Request, path string) {
	if !s.reads(w, r, kindOpen) {
		return
	}
	for _, signer := range s.conf.Signers {
		id, n, ok := signer.ReadOpen(path)
		if !ok {
			continue
		}
		s.asked.Add(1, kindOpen, "ok")
		s.note(r, hit{id: id, n: n})
		h := w.Header()
		h.Set("Content-Type", "image/gif")
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin") // webmail may ask for it
		h.Set("Content-Length", "43")
		if r.Method == http.MethodHead {
			return
		}
		if _, err := w.Write([]byte(pixel)); err != nil {
			return // the client went away; it was recorded all the same
		}
		return
	}
	s.gone(w, r, kindOpen)
}

// click leads to where the link led that stood in the message
// (contract/tracking.md §3). A target that we did not write there has no
// signature of ours, and is refused.
func (s *Server) click(w http.ResponseWriter, r *http.Request, path string) {
	if !s.reads(w, r, kindClick) {
		return
	}
	for _, signer := range s.conf.Signers {
		l, ok := signer.ReadLink(path)
		if !ok {
			continue
		}
		to, ok := location(l.Target)
		if !ok {
			break
		}
		s.asked.Add(1, kindClick, "ok")
		where := pennypost.ClickHTML
		if l.Location == InText {
			where = pennypost.ClickText
		}
		s.note(r, hit{id: l.ID, n: l.Recipient, link: l.No, location: where, target: l.Target})
		h := w.Header()
		h.Set("Location", to)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Robots-Tag", "noindex")
		h.Set("Content-Length", "0")
		w.WriteHeader(http.StatusFound)
		return
	}
	s.gone(w, r, kindClick)
}

// location is a target as it stands in the header of an answer. Only what is
// on the web has one.
func location(target string) (string, bool) {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || rest == "" || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", false
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(target) {
		c := target[i]
		switch {
		case c < ' ' || c == 0x7f:
			return "", false
		case c == ' ' || c >= 0x80:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		default:
			b.WriteByte(c)
		}
	}
	u, err := url.Parse(b.String())
	return b.String(), err == nil && u.Hostname() != ""
}

// maxAgent is where a user agent is cut.
const maxAgent = 512

// note keeps an open or a click for Run. A HEAD looks without reading, and the
// copy is nobody's.
func (s *Server) note(r *http.Request, h hit) {
	if r.Method == http.MethodHead || h.n == Copy {
		return
	}
	h.at = s.conf.Now()
	h.addr = web.ClientAddr(r.Context())
	h.agent = r.UserAgent()
	if len(h.agent) > maxAgent {
		h.agent = h.agent[:maxAgent]
	}
	h.prefetch = prefetches(r.Header)
	if !s.buffer.add(h) {
		s.lost.Add(1, lostFull)
	}
}

// prefetches tells whether a browser asks before its reader does.
func prefetches(h http.Header) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		v := strings.ToLower(h.Get(name))
		if strings.Contains(v, "prefetch") || strings.Contains(v, "prerender") || strings.Contains(v, "preview") {
			return true
		}
	}
	return false
}
