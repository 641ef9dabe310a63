package web

import (
	"net/http"
	"strconv"
)

// Page answers with an HTML page of ours. policy is its Content-Security-Policy.
// Its address may have a secret in it: it is kept by nobody, told to no other
// site, shown in no frame and found by no search engine.
func Page(w http.ResponseWriter, r *http.Request, status int, policy, html string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Content-Length", strconv.Itoa(len(html)))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if _, err := w.Write([]byte(html)); err != nil {
		return // the client went away
	}
}
