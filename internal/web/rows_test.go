package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A long answer comes whole, or the client learns that it did not.
func TestRows(t *testing.T) {
	fault := errors.New("database away")
	pages := func(end error, list ...[]any) func(context.Context) ([]any, error) {
		return func(context.Context) ([]any, error) {
			if len(list) == 0 {
				return nil, end
			}
			rows := list[0]
			list = list[1:]
			return rows, nil
		}
	}
	for name, tt := range map[string]struct {
		next   func(context.Context) ([]any, error)
		status int
		body   string
		cut    bool
	}{
		"none":        {pages(nil), 200, `{"Rows":[]}`, false},
		"some":        {pages(nil, []any{1, "<a>"}, []any{map[string]int{"B": 2}}), 200, `{"Rows":[1,"<a>",{"B":2}]}`, false},
		"fault first": {pages(fault), 500, `"ErrorCode":101`, false},
		"fault later": {pages(fault, []any{strings.Repeat("x", 1<<20)}), 200, `{"Rows":["xxx`, true},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			j := NewJSON(slog.New(slog.NewTextHandler(&log, nil)), nil)
			srv := httptest.NewServer(Frame{}.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				j.Rows(w, r, "Rows", tt.next)
			})))
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept-Encoding", "identity") // so that a part of it goes out
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if (err != nil) != tt.cut {
				t.Errorf("reading: %v, want it cut: %v", err, tt.cut)
			}
			body := string(b)
			if res.StatusCode != tt.status || !strings.Contains(body, tt.body) || tt.status == 200 && !tt.cut && body != tt.body {
				t.Errorf("got %d %.100s, want %d %s", res.StatusCode, body, tt.status, tt.body)
			}
			srv.Close()
			if faulty := strings.Contains(log.String(), "level=ERROR"); faulty != strings.HasPrefix(name, "fault") {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}
