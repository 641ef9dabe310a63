package web_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/web"
)

const limit = 1000

func post(t *testing.T, body io.Reader, length int64) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", body)
	r.ContentLength = length
	return r
}

func TestBodiesRead(t *testing.T) {
	tests := []struct {
		name   string
		size   int
		length int64 // as announced; -1: chunked
		code   pennypost.Code
		status int
	}{
		{"at the limit, announced", limit, limit, 0, 0},
		{"at the limit, chunked", limit, -1, 0, 0},
		{"one over, announced", limit + 1, limit + 1, 300, http.StatusRequestEntityTooLarge},
		{"one over, chunked", limit + 1, -1, 300, http.StatusRequestEntityTooLarge},
		{"a gigabyte, announced, is refused before it is read", 0, 1 << 30, 300, http.StatusRequestEntityTooLarge},
		{"empty, announced", 0, 0, 0, 0},
		{"empty, chunked", 0, -1, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := bytes.Repeat([]byte("a"), tt.size)
			b := web.NewBodies(web.BodiesConfig{})
			got, release, err := b.Read(httptest.NewRecorder(), post(t, bytes.NewReader(want), tt.length), limit)
			release()
			if tt.status == 0 {
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("read %d octets, error %v; want %d octets", len(got), err, len(want))
				}
				return
			}
			wantRefusal(t, err, tt.status, tt.code)
		})
	}
}

func wantRefusal(t *testing.T, err error, status int, code pennypost.Code) {
	t.Helper()
	var refusal *pennypost.Error
	if !errors.As(err, &refusal) {
		t.Fatalf("error %v, want a refusal", err)
	}
	if refusal.Status != status || refusal.Code != code {
		t.Errorf("refused with %d/%d %q, want %d/%d", refusal.Status, refusal.Code, refusal.Text, status, code)
	}
}

// A body larger than the first piece of memory arrives whole whatever the
// sizes of its reads.
func TestBodiesReadGrows(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 30_000)
	for _, length := range []int64{int64(len(want)), -1} {
		b := web.NewBodies(web.BodiesConfig{})
		got, release, err := b.Read(httptest.NewRecorder(), post(t, iotestReader{bytes.NewReader(want)}, length), 1<<20)
		release()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("announced %d: read %d octets, error %v", length, len(got), err)
		}
	}
}

// iotestReader gives odd numbers of octets.
type iotestReader struct{ r io.Reader }

func (i iotestReader) Read(p []byte) (int, error) { return i.r.Read(p[:min(len(p), 777)]) }

func TestBodiesRefuseEncodedBody(t *testing.T) {
	for _, enc := range []string{"gzip", "deflate", "br", "gzip, gzip", "zstd"} {
		r := post(t, strings.NewReader("x"), 1)
		r.Header.Set("Content-Encoding", enc)
		_, release, err := web.NewBodies(web.BodiesConfig{}).Read(httptest.NewRecorder(), r, limit)
		release()
		wantRefusal(t, err, http.StatusUnsupportedMediaType, 409)
	}
	r := post(t, strings.NewReader("x"), 1)
	r.Header.Set("Content-Encoding", "Identity")
	if _, release, err := web.NewBodies(web.BodiesConfig{}).Read(httptest.NewRecorder(), r, limit); err != nil {
		t.Errorf("identity was refused: %v", err)
	} else {
		release()
	}
}

func TestBodiesBudget(t *testing.T) {
	b := web.NewBodies(web.BodiesConfig{Budget: limit, Wait: 20 * time.Millisecond})
	read := func(n int) (func(), error) {
		_, release, err := b.Read(httptest.NewRecorder(), post(t, bytes.NewReader(make([]byte, n)), int64(n)), limit)
		return release, err
	}
	first, err := read(600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := read(600); !errors.Is(err, web.ErrBusy) {
		t.Fatalf("second body: error %v, want ErrBusy", err)
	}
	small, err := read(400)
	if err != nil {
		t.Fatalf("a body that fits beside the first: %v", err)
	}
	first()
	small()
	again, err := read(limit)
	if err != nil {
		t.Fatalf("after both were released: %v", err)
	}
	again()
}

// Answers and bodies share one budget; more than all of it waits for all of it.
func TestBodiesReserve(t *testing.T) {
	b := web.NewBodies(web.BodiesConfig{Budget: limit, Wait: 20 * time.Millisecond})
	release, err := b.Reserve(t.Context(), 10*limit)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Read(httptest.NewRecorder(), post(t, strings.NewReader("x"), 1), limit); !errors.Is(err, web.ErrBusy) {
		t.Errorf("body beside a reserved budget: error %v, want ErrBusy", err)
	}
	if _, err := b.Reserve(t.Context(), 1); !errors.Is(err, web.ErrBusy) {
		t.Errorf("second answer: error %v, want ErrBusy", err)
	}
	release()
	release, err = b.Reserve(t.Context(), -1)
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// A body that fails gives its share back.
func TestBodiesFailureReleases(t *testing.T) {
	b := web.NewBodies(web.BodiesConfig{Budget: limit, Wait: 20 * time.Millisecond})
	for range 5 {
		_, release, err := b.Read(httptest.NewRecorder(), post(t, broken{}, limit), limit)
		release()
		wantRefusal(t, err, http.StatusBadRequest, 300)
	}
	_, release, err := b.Read(httptest.NewRecorder(), post(t, bytes.NewReader(make([]byte, limit)), limit), limit)
	if err != nil {
		t.Fatalf("after five failures: %v", err)
	}
	release()
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// serveBodies answers with what Read says of each request.
func serveBodies(t *testing.T, conf web.ServerConfig) (addr string) {
	t.Helper()
	b, j := web.NewBodies(web.BodiesConfig{}), web.NewJSON(nil, nil)
	conf.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, release, err := b.Read(w, r, limit)
		defer release()
		if err != nil {
			j.Error(w, r, err)
			return
		}
		j.OK(w, r, len(body))
	})
	return serve(t, conf)
}

// serve runs a server for the time of the test.
func serve(t *testing.T, conf web.ServerConfig) (addr string) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- web.NewServer(conf).Serve(ctx, l, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// ask sends bytes, and gives the status and body of the answer.
func ask(t *testing.T, addr, text string) (status int, body string) {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if err != nil && res.ContentLength >= 0 {
		t.Fatal(err)
	}
	return res.StatusCode, string(got)
}

// talk sends bytes, and gives all that comes back until the peer closes.
func talk(t *testing.T, addr, text string) string {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("the peer did not close: %v; got %q", err, got)
	}
	return string(got)
}

func TestSlowBodyIs408(t *testing.T) {
	addr := serveBodies(t, web.ServerConfig{HeaderWithin: 30 * time.Millisecond, BodyWithin: 30 * time.Millisecond})
	got := talk(t, addr, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nslow")
	if !strings.HasPrefix(got, "HTTP/1.1 408 ") || !strings.Contains(got, `"ErrorCode":300`) {
		t.Errorf("got %q, want 408 with an error object", got)
	}
}

// Who sends all before reading gets the answer, not a reset connection.
func TestTooLargeBodyIsTaken(t *testing.T) {
	addr := serveBodies(t, web.ServerConfig{})
	const size = 24 << 20 // more than the buffers of a connection
	head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)
	status, got := ask(t, addr, head+strings.Repeat("a", size))
	if want := `{"ErrorCode":300,"Message":"The request is too large: the limit is 1000 bytes."}`; status != 413 || got != want {
		t.Errorf("got %d %s, want 413 %s", status, got, want)
	}
}

// A body that is not on its way is not waited for.
func TestBodyThatDoesNotComeIsNotTaken(t *testing.T) {
	for name, head := range map[string]string{
		"waits for 100 Continue": "Content-Length: 5000\r\nExpect: 100-continue\r\n",
		"absurd length":          "Content-Length: 1000000000\r\n",
	} {
		status, got := ask(t, serveBodies(t, web.ServerConfig{}), "POST / HTTP/1.1\r\nHost: x\r\n"+head+"\r\n")
		if status != 413 {
			t.Errorf("%s: got %d %s, want 413", name, status, got)
		}
	}
}

func TestUnendingChunksAre413(t *testing.T) {
	addr := serveBodies(t, web.ServerConfig{})
	chunks := strings.Repeat("100\r\n"+strings.Repeat("a", 256)+"\r\n", 8)
	status, got := ask(t, addr, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"+chunks)
	if want := `{"ErrorCode":300,"Message":"The request is too large: the limit is 1000 bytes."}`; status != 413 || got != want {
		t.Errorf("got %d %s, want 413 %s", status, got, want)
	}
}

// Ambiguous framing (catalogue: CL with TE, two lengths, unknown codings) never
// reaches a handler as a body.
func TestAmbiguousFramingIsRefused(t *testing.T) {
	addr := serveBodies(t, web.ServerConfig{})
	for name, head := range map[string]string{
		"two lengths":         "Content-Length: 3\r\nContent-Length: 4\r\n",
		"length list":         "Content-Length: 3, 4\r\n",
		"unknown coding":      "Transfer-Encoding: xchunked\r\n",
		"obs-fold":            "X: a\r\n b: c\r\nTransfer-Encoding: chunked\r\n\tgzip\r\n",
		"blank before colon":  "Content-Length : 3\r\n",
		"length with a sign":  "Content-Length: +3\r\n",
		"length is no number": "Content-Length: 3x\r\n",
	} {
		got := talk(t, addr, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+head+"\r\nabc")
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") && !strings.HasPrefix(got, "HTTP/1.1 501 ") {
			t.Errorf("%s: got %q, want 400 or 501", name, got)
		}
	}
}
