package web

import (
	"bufio"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"time"
)

// rowsWithin is how long a client may take for each share of a long answer.
const rowsWithin = 30 * time.Second

// Rows answers 200 with an object of one list that may be too long to be held
// in memory: it is written as next gives it, until next gives none. When next
// fails, or the client takes too long, the connection is cut, so that nobody
// takes a part for the whole.
func (j *JSON) Rows(w http.ResponseWriter, r *http.Request, name string, next func(ctx context.Context) ([]any, error)) {
	rows, err := next(r.Context())
	if err != nil {
		j.Error(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "private, no-store")
	h.Add("Vary", "Accept-Encoding")
	client := &clientWriter{w: w}
	var out io.Writer = client
	var zw *gzip.Writer
	if acceptsGzip(r.Header) {
		h.Set("Content-Encoding", "gzip")
		if zw, err = gzip.NewWriterLevel(client, gzip.BestSpeed); err != nil { // a constant level is valid
			panic(err)
		}
		out = zw
	}
	w.WriteHeader(http.StatusOK)
	b := bufio.NewWriterSize(out, 32<<10)
	if err = j.rows(w, r, b, name, rows, next); err == nil {
		err = b.Flush()
	}
	if err == nil && zw != nil {
		err = zw.Close()
	}
	if err != nil {
		if client.err != nil {
			j.Log.DebugContext(r.Context(), "answer not taken", "request_id", RequestID(r.Context()), "err", err)
		} else {
			j.Fails(r, err)
		}
		panic(http.ErrAbortHandler)
	}
}

// clientWriter knows whose fault it is that an answer ends: an error of its own
// is the client's.
type clientWriter struct {
	w   io.Writer
	err error
}

func (c *clientWriter) Write(p []byte) (n int, err error) {
	n, err = c.w.Write(p)
	if err != nil {
		c.err = err
	}
	return n, err
}

func (j *JSON) rows(w http.ResponseWriter, r *http.Request, out *bufio.Writer, name string, rows []any, next func(ctx context.Context) ([]any, error)) error {
	key, err := encode(name)
	if err != nil {
		return err
	}
	if _, err := out.WriteString(`{` + string(key) + `:[`); err != nil {
		return err
	}
	comma := ""
	for len(rows) > 0 {
		end := time.Now().Add(rowsWithin) //nolint:forbidigo // deadlines are compared with the real clock
		if err := http.NewResponseController(w).SetWriteDeadline(end); err != nil {
			return err
		}
		for _, row := range rows {
			b, err := encode(row)
			if err != nil {
				return err
			}
			if _, err := out.WriteString(comma + string(b)); err != nil {
				return err
			}
			comma = ","
		}
		if rows, err = next(r.Context()); err != nil {
			return err
		}
	}
	_, err = out.WriteString(`]}`)
	return err
}
