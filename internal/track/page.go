package track

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"pennypost"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// page is what people see: one template, without script, which loads nothing
// and may not be framed.
type page struct {
	template *template.Template
	policy   string
}

func newPage() *page {
	sum := sha256.Sum256([]byte(pageCSS))
	return &page{
		template: template.Must(template.New("page").Parse(pageHTML)),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	}
}

// view is what the page shows; exactly one of the first line is true.
type view struct {
	Ask, Off, Back, Copy, Gone, Fault bool

	Again     bool // with Off: the recipient may undo it
	Sender    string
	Address   pennypost.Address
	RequestID string
	CSS       template.CSS
}

func (p *page) write(w http.ResponseWriter, r *http.Request, status int, v view) {
	var b strings.Builder
	v.CSS = template.CSS(pageCSS) //nolint:gosec // our own file
	if err := p.template.Execute(&b, v); err != nil {
		panic(err) // the template is ours and takes any view
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address has the token
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if _, err := w.Write([]byte(b.String())); err != nil {
		return // the client went away
	}
}
