package web

import (
	"mime"
	"net/http"
	"strings"

	"pennypost"
)

// headersText is the text of old code 409, which is now a 415
// (contract/common.md §3).
const headersText = "Content-Type and Accept headers must be set to application/json, text/json, or text/x-json."

// CheckHeaders applies the rules of contract/common.md §3: Accept names JSON
// or a wildcard; Content-Type names JSON where the request has a body that is
// read. Parameters such as charset are ignored: a body is UTF-8.
func CheckHeaders(r *http.Request, readsBody bool) error {
	if acceptsJSON(r.Header.Values("Accept")) && (!readsBody || isJSON(r.Header.Get("Content-Type"))) {
		return nil
	}
	return &pennypost.Error{Code: CodeContentHeaders, Status: http.StatusUnsupportedMediaType, Text: headersText}
}

func acceptsJSON(values []string) bool {
	for _, v := range values {
		for item := range strings.SplitSeq(v, ",") {
			typ, _, _ := strings.Cut(item, ";")
			switch typ = strings.TrimSpace(typ); typ {
			case "*/*", "application/*", "text/*", "*":
				return true
			}
			if isJSON(typ) {
				return true
			}
		}
	}
	return false
}

func isJSON(v string) bool {
	typ, _, err := mime.ParseMediaType(v)
	if err != nil {
		typ, _, _ = strings.Cut(v, ";")
	}
	switch strings.ToLower(strings.TrimSpace(typ)) {
	case "application/json", "text/json", "text/x-json":
		return true
	}
	return false
}
