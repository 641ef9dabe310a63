package web_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pennypost"
	"pennypost/internal/web"
)

var errTest = errors.New("database at /var/lib is gone")

func TestErrorAnswers(t *testing.T) {
	tests := []struct {
		name    string
		err     error
		status  int
		body    string // %s is the request id
		retry   string
		logged  bool
		apiCode string
	}{
		{
			"a refusal is 422 and shown as it is", pennypost.Invalid("Zero recipients specified"),
			422, `{"ErrorCode":300,"Message":"Zero recipients specified"}`, "", false, "300",
		},
		{
			"a refusal in another error", fmt.Errorf("item 3: %w", pennypost.Refuse(406, "x")),
			422, `{"ErrorCode":406,"Message":"x"}`, "", false, "406",
		},
		{
			"a refusal with a status", &pennypost.Error{Code: 10, Status: 401, Text: "no"},
			401, `{"ErrorCode":10,"Message":"no"}`, "", false, "10",
		},
		{
			"characters of HTML stay as they are", pennypost.Invalid("Invalid 'To' address: '<a&b>'."),
			422, `{"ErrorCode":300,"Message":"Invalid 'To' address: '<a&b>'."}`, "", false, "300",
		},
		{
			"a local fault that may pass", fmt.Errorf("store: %w", errTest),
			503, `{"ErrorCode":100,"Message":"The service is not available at the moment. Please try again later."}`, "5", true, "100",
		},
		{
			"no room for the body, which is said elsewhere", web.ErrBusy,
			503, `{"ErrorCode":100,"Message":"The service is not available at the moment. Please try again later."}`, "5", false, "100",
		},
		{
			"a refusal that may pass", &pennypost.Error{Code: 100, Status: 503, Text: "later"},
			503, `{"ErrorCode":100,"Message":"later"}`, "5", false, "100",
		},
		{
			"a deadline that ended", fmt.Errorf("store: %w", context.DeadlineExceeded),
			503, `{"ErrorCode":100,"Message":"The service is not available at the moment. Please try again later."}`, "5", true, "100",
		},
		{
			"anything else is ours and not shown", errors.New("SELECT broke"),
			500, `{"ErrorCode":101,"Message":"An unexpected error occurred. Please try again. Error ID: %s","ErrorID":"%s"}`, "", true, "101",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			j := web.NewJSON(slog.New(slog.NewTextHandler(&log, nil)), func(err error) bool { return errors.Is(err, errTest) })
			h := web.Frame{}.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { j.Error(w, r, tt.err) }))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, get(t))
			id := w.Header().Get("X-Request-Id")
			want := strings.ReplaceAll(tt.body, "%s", id)
			if w.Code != tt.status || w.Body.String() != want {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, tt.status, want)
			}
			if got := w.Header().Get("Content-Type"); got != "application/json; charset=utf-8" {
				t.Errorf("Content-Type = %q", got)
			}
			if got := w.Header().Get("Retry-After"); got != tt.retry {
				t.Errorf("Retry-After = %q, want %q", got, tt.retry)
			}
			if got := w.Header().Get("X-PM-ApiErrorCode"); got != tt.apiCode {
				t.Errorf("X-PM-ApiErrorCode = %q, want %q", got, tt.apiCode)
			}
			if logged := strings.Contains(log.String(), "request_id="+id); logged != tt.logged {
				t.Errorf("logged %v, want %v: %s", logged, tt.logged, &log)
			}
		})
	}
}

// A client that went away is no fault of ours: nothing is logged.
func TestClientGone(t *testing.T) {
	var log bytes.Buffer
	j := web.NewJSON(slog.New(slog.NewTextHandler(&log, nil)), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	j.Error(w, get(t).WithContext(ctx), fmt.Errorf("store: %w", context.Canceled))
	if w.Code != http.StatusServiceUnavailable || log.Len() != 0 {
		t.Errorf("got %d, log %q; want 503 and nothing", w.Code, &log)
	}
	w = httptest.NewRecorder()
	j.Error(w, get(t), fmt.Errorf("store: %w", context.Canceled))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("canceled by ourselves: got %d, want 500", w.Code)
	}
}

func TestOK(t *testing.T) {
	w := httptest.NewRecorder()
	web.NewJSON(nil, nil).OK(w, get(t), map[string]string{"To": `"A & B" <a@b.example>`})
	if want := `{"To":"\"A & B\" <a@b.example>"}`; w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("got %d %s, want 200 %s", w.Code, w.Body, want)
	}
	if got := w.Header().Get("Content-Length"); got != "32" {
		t.Errorf("Content-Length = %s, want 32", got)
	}
	if got := w.Header().Get("Cache-Control"); got != "private, no-store" {
		t.Errorf("Cache-Control = %q", got)
	}
}

// A value that cannot be encoded is a fault, not half an answer.
func TestOKWithUnencodableValue(t *testing.T) {
	w := httptest.NewRecorder()
	web.NewJSON(nil, nil).OK(w, get(t), math.NaN())
	if w.Code != http.StatusInternalServerError || !json.Valid(w.Body.Bytes()) {
		t.Errorf("got %d %s, want 500 with an error object", w.Code, w.Body)
	}
}

func TestGzip(t *testing.T) {
	long := strings.Repeat("Ann <ann@acme.example>, ", 100)
	tests := []struct {
		name, accept, value string
		want                bool
	}{
		{"offered", "gzip", long, true},
		{"offered among others", "br, gzip;q=0.5, *", long, true},
		{"in capitals", "GZIP", long, true},
		{"not offered", "", long, false},
		{"refused by weight", "gzip;q=0", long, false},
		{"refused by weight in another form", "gzip; q=0.000", long, false},
		{"weight is no number", "gzip;q=x", long, false},
		{"another coding", "br", long, false},
		{"short answers are left", "gzip", "short", false},
	}
	j := web.NewJSON(nil, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, r := httptest.NewRecorder(), get(t)
			r.Header.Set("Accept-Encoding", tt.accept)
			j.OK(w, r, tt.value)
			zipped := w.Header().Get("Content-Encoding") == "gzip"
			if zipped != tt.want {
				t.Fatalf("gzip %v, want %v", zipped, tt.want)
			}
			body := io.Reader(w.Body)
			if zipped {
				zr, err := gzip.NewReader(body)
				if err != nil {
					t.Fatal(err)
				}
				body = zr
			}
			var got string
			if err := json.NewDecoder(body).Decode(&got); err != nil || got != tt.value {
				t.Errorf("decoded %d octets, error %v; want %d", len(got), err, len(tt.value))
			}
			if w.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("Vary = %q", w.Header().Get("Vary"))
			}
		})
	}
}
