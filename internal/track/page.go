package track

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"

	"pennypost"
	"pennypost/internal/web"
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
	web.Page(w, r, status, p.policy, b.String())
}
