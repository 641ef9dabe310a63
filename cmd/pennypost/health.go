package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"pennypost/internal/metrics"
	"pennypost/internal/shed"
	"pennypost/internal/store"
	"pennypost/internal/submit"
)

// What a check can say, from good to bad.
const (
	healthOK   = "ok"
	healthWarn = "warn"
	healthFail = "fail"
)

// health answers what watches the service. Healthy is whether someone should
// look at it; ready whether mail should be given to it.
type health struct {
	store    *store.Store
	door     *submit.Door
	bodies   *shed.Memory
	cert     *certificate
	stopping func() bool
	metrics  *metrics.Set
}

// pingWithin bounds what a check waits for the store.
const pingWithin = 3 * time.Second

// check is one line of the answer.
type check struct {
	Status  string     `json:"status"`
	Note    string     `json:"note,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
}

type healthAnswer struct {
	Status string           `json:"status"`
	Checks map[string]check `json:"checks"`
}

func (h *health) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h.metrics.Handler())
	mux.HandleFunc("GET /healthz", h.healthz)
	mux.HandleFunc("GET /readyz", h.readyz)
	// Profiles show memory, and secrets with it: for this machine alone,
	// whatever the address of the listener.
	for path, fn := range map[string]http.HandlerFunc{
		"/debug/pprof/": pprof.Index, "/debug/pprof/cmdline": pprof.Cmdline, "/debug/pprof/profile": pprof.Profile,
		"/debug/pprof/symbol": pprof.Symbol, "/debug/pprof/trace": pprof.Trace,
	} {
		mux.Handle(path, localOnly(fn))
	}
	return mux
}

func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Unmap().IsLoopback() {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (h *health) healthz(w http.ResponseWriter, r *http.Request) {
	answer(w, map[string]check{"store": h.checkStore(r.Context()), "certificate": h.checkCert(), "room": h.healthyRoom()})
}

func (h *health) readyz(w http.ResponseWriter, r *http.Request) {
	checks := map[string]check{"store": h.checkStore(r.Context()), "room": h.checkRoom()}
	if h.stopping() {
		checks["service"] = check{Status: healthFail, Note: "stopping"}
	}
	answer(w, checks)
}

// checkRoom fails while no mail is let in: it should go elsewhere, if there is
// another place.
func (h *health) checkRoom() check {
	switch why := h.door.Closed(); {
	case why != "":
		return check{Status: healthFail, Note: why}
	case h.bodies.Short():
		return check{Status: healthWarn, Note: "the memory for requests is used up"}
	}
	return check{Status: healthOK}
}

// healthyRoom only warns: nobody should restart the service for a full disk, as
// those do that ask whether it is healthy. It goes on by itself.
func (h *health) healthyRoom() check {
	c := h.checkRoom()
	if c.Status == healthFail {
		c.Status = healthWarn
	}
	return c
}

func (h *health) checkStore(ctx context.Context) check {
	ctx, cancel := context.WithTimeout(ctx, pingWithin)
	defer cancel()
	if h.store.Ping(ctx) != nil { // the reason is in the log
		return check{Status: healthFail, Note: "database cannot be used"}
	}
	return check{Status: healthOK, Note: h.store.Engine()}
}

func (h *health) checkCert() check {
	left, until := h.cert.left(), h.cert.until().UTC()
	switch {
	case left <= 0:
		return check{Status: healthFail, Note: "certificate expired", Expires: &until}
	case left < certWarnBefore:
		return check{Status: healthWarn, Note: "certificate expires soon", Expires: &until}
	}
	return check{Status: healthOK, Expires: &until}
}

// answer is 200, also with a warning, or 503 when a check fails.
func answer(w http.ResponseWriter, checks map[string]check) {
	a := healthAnswer{Status: healthOK, Checks: checks}
	for _, c := range checks {
		if c.Status == healthFail || c.Status == healthWarn && a.Status == healthOK {
			a.Status = c.Status
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if a.Status == healthFail {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// Whoever asked may be gone.
	_ = json.NewEncoder(w).Encode(a) //nolint:errcheck // nobody is there to be told
}
