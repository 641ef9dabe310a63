package api

import (
	_ "embed"
	"net/http"
	"strings"
)

// openAPI describes routes() in OpenAPI 3.1. Tests hold every answer against it.
//
//go:embed openapi.json
var openAPI []byte

// openAPIPath is where it is served, to anyone: it has no secrets, and tools
// that read it send no token.
const openAPIPath = "/openapi.json"

func isOpenAPI(path string) bool {
	return strings.EqualFold(strings.TrimSuffix(path, "/"), openAPIPath)
}

func (a *API) serveOpenAPI(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		err := &methodError{allow: http.MethodGet}
		w.Header().Set("Allow", err.allow)
		a.json.Error(w, r, err.refusal())
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*") // for viewers that run in a browser
	a.json.Again(w, r, http.StatusOK, openAPI)
}
