package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/shed"
)

// CodeTooLarge is the ErrorCode of a 413, which the contract does not give:
// 413 itself means something else there (contract/common.md §6.2).
const CodeTooLarge = pennypost.CodeInvalid

// CodeContentHeaders is the ErrorCode of a 415 (contract/README.md, settled
// contradictions).
const CodeContentHeaders = pennypost.CodeHeaders

// BodiesConfig bounds the memory of request bodies. Zero values are defaults.
type BodiesConfig struct {
	Budget int64         // octets of all bodies being handled; 256 MiB
	Memory *shed.Memory  // in place of Budget: shared with others
	Factor int64         // what a body takes with all that is decoded from it, in times of its size; 1
	Wait   time.Duration // how long a request waits for its share; 2 s
}

// Bodies reads request bodies within a budget.
type Bodies struct {
	memory *shed.Memory
	factor int64
	wait   time.Duration
}

// NewBodies makes the reader of an edge.
func NewBodies(c BodiesConfig) *Bodies {
	if c.Budget <= 0 {
		c.Budget = 256 << 20
	}
	if c.Wait <= 0 {
		c.Wait = 2 * time.Second
	}
	if c.Memory == nil {
		c.Memory = shed.NewMemory(c.Budget, nil)
	}
	return &Bodies{memory: c.Memory, factor: max(c.Factor, 1), wait: c.Wait}
}

// ErrBusy says that the budget of bodies is used up; it is a local fault.
var ErrBusy = errors.New("too many request bodies at once")

// Read reads the whole body, at most limit octets. The caller calls release
// when the body and what was decoded from it are no longer needed. Refusals
// are *pennypost.Error: 413 over the limit, 415 for an encoded body, 408 when
// the client was too slow, 400 when it went away or sent no valid chunks.
func (b *Bodies) Read(w http.ResponseWriter, r *http.Request, limit int64) (body []byte, release func(), err error) {
	release = func() {}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, release, &pennypost.Error{
			Code: CodeContentHeaders, Status: http.StatusUnsupportedMediaType,
			Text: "Content-Encoding is not supported for requests.",
		}
	}
	if r.ContentLength > limit {
		TakeRest(w, r)
		return nil, release, tooLarge(limit)
	}
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil, release, nil
	}
	share := r.ContentLength
	if share < 0 {
		share = limit
	}
	if release, err = b.Reserve(r.Context(), b.factor*share); err != nil {
		return nil, release, err
	}
	body, err = readAll(http.MaxBytesReader(w, r.Body, limit), r.ContentLength)
	if err != nil {
		release()
		return nil, func() {}, readError(err, limit)
	}
	return body, release, nil
}

// How much of a refused body is taken, and for how long.
const (
	maxRest    = 64 << 20
	restWithin = 15 * time.Second
)

// TakeRest takes the body of a request that is refused unread, and forgets it:
// most clients read no answer before they have sent all, and find the
// connection reset when it was closed meanwhile. A body of unknown or absurd
// length is left, and one that waits for 100 Continue never comes.
func TakeRest(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor > 1 || r.ContentLength <= 0 || r.ContentLength > maxRest || r.Header.Get("Expect") != "" {
		return
	}
	end := time.Now().Add(restWithin) //nolint:forbidigo // deadlines are compared with the real clock
	if err := http.NewResponseController(w).SetReadDeadline(end); err != nil {
		return // not a connection of ours
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return // it went away, or took too long: the answer is tried all the same
	}
}

// Reserve takes room for n octets of an answer that is built in memory, out of
// the same budget. The caller calls release when the answer is written. The
// error is ErrBusy.
func (b *Bodies) Reserve(ctx context.Context, n int64) (release func(), err error) {
	taken, err := b.memory.Take(ctx, n, b.wait)
	if err != nil {
		return func() {}, fmt.Errorf("wait for room for a body of %d octets: %w", n, ErrBusy)
	}
	return func() { b.memory.Give(taken) }, nil
}

// readAll takes memory as it arrives: an announced length that never comes
// must not cost its size.
func readAll(r io.Reader, announced int64) ([]byte, error) {
	const first = 64 << 10
	size := int64(first)
	if announced >= 0 {
		size = min(size, announced)
	}
	buf := make([]byte, 0, size+1)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
		if len(buf) == cap(buf) {
			next := int64(2 * cap(buf))
			if announced >= 0 && next > announced {
				next = announced + 1
			}
			next = max(next, int64(len(buf)+1))
			buf = append(make([]byte, 0, next), buf...)
		}
	}
}

func readError(err error, limit int64) error {
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		return tooLarge(limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &pennypost.Error{Code: pennypost.CodeInvalid, Status: http.StatusRequestTimeout, Text: "The request body did not arrive in time."}
	}
	return &pennypost.Error{Code: pennypost.CodeInvalid, Status: http.StatusBadRequest, Text: "The request body could not be read."}
}

func tooLarge(limit int64) error {
	return &pennypost.Error{
		Code: CodeTooLarge, Status: http.StatusRequestEntityTooLarge,
		Text: fmt.Sprintf("The request is too large: the limit is %d bytes.", limit),
	}
}
