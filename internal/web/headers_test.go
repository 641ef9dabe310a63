package web_test

import (
	"errors"
	"net/http"
	"testing"

	"pennypost"
	"pennypost/internal/web"
)

func TestCheckHeaders(t *testing.T) {
	const missing = "\x00" // the header is not there
	tests := []struct {
		name, accept, contentType string
		readsBody                 bool
		ok                        bool
	}{
		{"both are JSON", "application/json", "application/json", true, true},
		{"charset parameter", "application/json; charset=utf-8", "application/json; charset=utf-8", true, true},
		{"charset of another kind counts as UTF-8", "application/json", "application/json; charset=iso-8859-1", true, true},
		{"text/json", "text/json", "text/json", true, true},
		{"text/x-json", "text/x-json", "text/x-json", true, true},
		{"letter case does not matter", "Application/JSON", "APPLICATION/Json", true, true},
		{"any type is accepted", "*/*", "application/json", true, true},
		{"any application type is accepted", "application/*", "application/json", true, true},
		{"JSON among others", "text/html, application/json;q=0.9", "application/json", true, true},
		{"broken parameter", "application/json", "application/json; charset", true, true},
		{"no Accept", missing, "application/json", true, false},
		{"Accept is empty", "", "application/json", true, false},
		{"Accept is HTML", "text/html", "application/json", true, false},
		{"no Content-Type", "application/json", missing, true, false},
		{"Content-Type is a form", "application/json", "application/x-www-form-urlencoded", true, false},
		{"Content-Type is multipart", "application/json", "multipart/form-data; boundary=x", true, false},
		{"Content-Type is plain text", "application/json", "text/plain", true, false},
		{"no body needs no Content-Type", "application/json", missing, false, true},
		{"Content-Type without a body is not looked at", "application/json", "text/plain", false, true},
		{"no body still needs Accept", missing, "application/json", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{}}
			if tt.accept != missing {
				r.Header.Set("Accept", tt.accept)
			}
			if tt.contentType != missing {
				r.Header.Set("Content-Type", tt.contentType)
			}
			err := web.CheckHeaders(r, tt.readsBody)
			if (err == nil) != tt.ok {
				t.Fatalf("CheckHeaders = %v, want ok %v", err, tt.ok)
			}
			if tt.ok {
				return
			}
			var refusal *pennypost.Error
			if !errors.As(err, &refusal) {
				t.Fatalf("error is a %T, want *pennypost.Error", err)
			}
			const text = "Content-Type and Accept headers must be set to application/json, text/json, or text/x-json."
			if refusal.Status != http.StatusUnsupportedMediaType || refusal.Code != 409 || refusal.Text != text {
				t.Errorf("got %d/%d %q, want 415/409 %q", refusal.Status, refusal.Code, refusal.Text, text)
			}
		})
	}
}
