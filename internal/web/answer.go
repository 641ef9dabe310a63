package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"pennypost"
)

// JSON writes answers of an API.
type JSON struct {
	// Unavailable tells whether an error is a local fault that may pass:
	// 503 then, else 500. ErrBusy and a deadline that ended are so anyhow.
	Unavailable func(error) bool
	Log         *slog.Logger

	gzips sync.Pool // *gzip.Writer
}

// NewJSON makes the writer of an edge. Both arguments may be nil.
func NewJSON(log *slog.Logger, unavailable func(error) bool) *JSON {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if unavailable == nil {
		unavailable = func(error) bool { return false }
	}
	return &JSON{Unavailable: unavailable, Log: log}
}

// ErrorBody is the error object (contract/common.md §5).
type ErrorBody struct {
	ErrorCode pennypost.Code `json:"ErrorCode"`
	Message   string         `json:"Message"`
	ErrorID   string         `json:"ErrorID,omitempty"` // code 101 alone
}

// Worded is a refusal whose error object has more than the two keys.
type Worded interface {
	error
	ErrorBody() (status int, code pennypost.Code, body any)
}

// OK answers 200 with a value: success has no other status
// (contract/common.md §1).
func (j *JSON) OK(w http.ResponseWriter, r *http.Request, v any) {
	body, err := encode(v)
	if err != nil {
		j.Error(w, r, err)
		return
	}
	j.write(w, r, http.StatusOK, body)
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // the answer is never a page: its type is fixed and not sniffed
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Error answers with the error object, and logs what is our own fault.
func (j *JSON) Error(w http.ResponseWriter, r *http.Request, err error) {
	var refusal *pennypost.Error
	var worded Worded
	if errors.As(err, &worded) {
		status, code, body := worded.ErrorBody()
		j.errorObject(w, r, status, code, body)
		return
	}
	status := j.Fails(r, err)
	if after := retryAfter(status); after != "" && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", after)
	}
	switch {
	case errors.As(err, &refusal):
		j.errorObject(w, r, status, refusal.Code, ErrorBody{ErrorCode: refusal.Code, Message: refusal.Text})
	case status == http.StatusServiceUnavailable:
		j.errorObject(w, r, status, pennypost.CodeMaintenance, unavailable())
	default:
		j.Fault(w, r, RequestID(r.Context()))
	}
}

// retryAfter is when to come again after an answer that says nothing of it
// itself, in seconds.
func retryAfter(status int) string {
	switch status {
	case http.StatusServiceUnavailable:
		return "5"
	case http.StatusTooManyRequests:
		return "60"
	}
	return ""
}

// Fails gives the status of an error, and logs what is our own fault. It is for
// those who word the answer themselves.
func (j *JSON) Fails(r *http.Request, err error) int {
	ctx, id := r.Context(), RequestID(r.Context())
	var refusal *pennypost.Error
	switch {
	case errors.As(err, &refusal):
		return orStatus(refusal)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return http.StatusServiceUnavailable // the client went away: nobody reads this
	case errors.Is(err, ErrBusy):
		// Who has the memory says once that it is used up.
		j.Log.DebugContext(ctx, "request refused for want of memory", "request_id", id, "method", r.Method, "err", err)
		return http.StatusServiceUnavailable
	case errors.Is(err, context.DeadlineExceeded), j.Unavailable(err):
		j.Log.WarnContext(ctx, "request refused for a local fault", "request_id", id, "method", r.Method, "err", err)
		return http.StatusServiceUnavailable
	}
	j.Log.ErrorContext(ctx, "request failed", "request_id", id, "method", r.Method, "err", err)
	return http.StatusInternalServerError
}

// Fault answers 500, code 101, with an error id (contract/common.md §4).
func (j *JSON) Fault(w http.ResponseWriter, r *http.Request, id string) {
	j.errorObject(w, r, http.StatusInternalServerError, pennypost.CodeFault, ErrorBody{
		ErrorCode: pennypost.CodeFault, ErrorID: id,
		Message: "An unexpected error occurred. Please try again. Error ID: " + id,
	})
}

func unavailable() ErrorBody {
	return ErrorBody{ErrorCode: pennypost.CodeMaintenance, Message: "The service is not available at the moment. Please try again later."}
}

func orStatus(e *pennypost.Error) int {
	if e.Status == 0 {
		return http.StatusUnprocessableEntity
	}
	return e.Status
}

func (j *JSON) errorObject(w http.ResponseWriter, r *http.Request, status int, code pennypost.Code, e any) {
	body, err := encode(e)
	if err != nil { // plain fields always encode
		panic(err)
	}
	w.Header().Set("X-PM-ApiErrorCode", strconv.Itoa(int(code)))
	j.write(w, r, status, body)
}

// gzipFrom is the length below which compressing costs more than it saves.
const gzipFrom = 1400

func (j *JSON) write(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	if see, ok := w.(Witness); ok {
		see.Witness(status, body)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "private, no-store")
	h.Add("Vary", "Accept-Encoding")
	if len(body) >= gzipFrom && acceptsGzip(r.Header) {
		body = j.compress(body)
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		j.Log.DebugContext(r.Context(), "answer not taken", "request_id", RequestID(r.Context()), "err", err)
	}
}

func (j *JSON) compress(body []byte) []byte {
	var out bytes.Buffer
	zw, ok := j.gzips.Get().(*gzip.Writer)
	if !ok {
		var err error
		if zw, err = gzip.NewWriterLevel(nil, gzip.BestSpeed); err != nil { // a constant level is valid
			panic(err)
		}
	}
	zw.Reset(&out)
	if _, err := zw.Write(body); err != nil { // a bytes.Buffer takes all
		panic(err)
	}
	if err := zw.Close(); err != nil {
		panic(err)
	}
	j.gzips.Put(zw)
	return out.Bytes()
}

// acceptsGzip reads Accept-Encoding (RFC 9110 §12.5.3).
func acceptsGzip(h http.Header) bool {
	for _, v := range h.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(v, ",") {
			name, params, _ := strings.Cut(item, ";")
			if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
				continue
			}
			q, ok := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q=")
			if !ok {
				return true
			}
			weight, err := strconv.ParseFloat(q, 64)
			return err == nil && weight > 0
		}
	}
	return false
}
