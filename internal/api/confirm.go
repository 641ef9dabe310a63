package api

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/account"
	"pennypost/internal/web"
)

//go:embed confirm.html
var confirmHTML string

//go:embed confirm.css
var confirmCSS string

// confirmPage is the page behind the link of a confirmation mail. A GET shows
// whose account asks for which address and changes nothing, since link
// scanners follow every link; the POST of its button confirms. It has no
// script, loads nothing and may not be framed.
type confirmPage struct {
	accounts *account.Accounts
	within   time.Duration
	json     *web.JSON // for what an error means and how it is logged
	page     *template.Template
	policy   string
}

func (a *API) confirmPage() *confirmPage {
	sum := sha256.Sum256([]byte(confirmCSS))
	return &confirmPage{
		accounts: a.conf.Accounts, within: a.conf.Work, json: a.json,
		page: template.Must(template.New("confirm").Parse(confirmHTML)),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	}
}

// confirmToken gives the token of a path of the page.
func confirmToken(path string) (string, bool) {
	if len(path) < len(account.ConfirmPath) || !strings.EqualFold(path[:len(account.ConfirmPath)], account.ConfirmPath) {
		return "", false
	}
	token := strings.TrimSuffix(path[len(account.ConfirmPath):], "/")
	return token, token != "" && !strings.Contains(token, "/") && len(token) <= maxSegment
}

// confirmView is what the page shows; exactly one of the steps is true.
type confirmView struct {
	CSS         template.CSS
	Ask, Done   bool
	Gone, Fault bool
	Account     string
	Address     pennypost.Address
	RequestID   string
}

func (p *confirmPage) serve(w http.ResponseWriter, r *http.Request, token string) {
	ctx, cancel := context.WithTimeout(r.Context(), p.within)
	defer cancel()
	var c *account.Confirmation
	var err error
	view := confirmView{CSS: template.CSS(confirmCSS)} //nolint:gosec // our own file
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		view.Ask = true
		c, err = p.accounts.Confirmation(ctx, token)
	case http.MethodPost:
		view.Done = true
		c, err = p.accounts.Confirm(ctx, token)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		p.write(w, r, http.StatusMethodNotAllowed, confirmView{CSS: view.CSS, Gone: true})
		return
	}
	switch {
	case err == nil:
		view.Account, view.Address = c.Account, c.Address
		p.write(w, r, http.StatusOK, view)
	case errors.Is(err, account.ErrLink):
		p.write(w, r, http.StatusNotFound, confirmView{CSS: view.CSS, Gone: true})
	default:
		status := p.json.Fails(r, err)
		p.write(w, r, status, confirmView{CSS: view.CSS, Fault: true, RequestID: web.RequestID(r.Context())})
	}
}

func (p *confirmPage) write(w http.ResponseWriter, r *http.Request, status int, v confirmView) {
	var b strings.Builder
	if err := p.page.Execute(&b, v); err != nil {
		p.json.Error(w, r, fmt.Errorf("write confirmation page: %w", err))
		return
	}
	web.Page(w, r, status, p.policy, b.String())
}
