package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Headers that carry tokens.
const (
	serverHeader   = "X-Postmark-Server-Token"
	accountHeader  = "X-Postmark-Account-Token"
	operatorHeader = "X-Operator-Token"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

// client calls the API of an instance.
type client struct {
	base          string // "http://127.0.0.1:8080"
	header, token string
	http          *http.Client
}

func newClient(base, header, token string) *client {
	return &client{base: base, header: header, token: token, http: &http.Client{Timeout: time.Minute}}
}

// apiError is the error object of an answer.
type apiError struct {
	Status    int
	ErrorCode int
	Message   string
}

func (e *apiError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("HTTP status %d", e.Status)
	}
	return e.Message
}

// unreachable says that no answer came.
type unreachable struct{ error }

func (u unreachable) Unwrap() error { return u.error }

// call sends body, if any, as JSON and reads the answer into answer, if any. A
// refusal is an *apiError.
func (c *client) call(ctx context.Context, method, path string, body, answer any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, in)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.do(req, answer)
}

// do makes a call and reads the answer.
func (c *client) do(req *http.Request, answer any) error {
	req.Header.Set("Accept", "application/json")
	req.Header.Set(c.header, c.token)
	resp, err := c.http.Do(req) //nolint:gosec // who calls says where the service is
	if err != nil {
		return unreachable{err}
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return unreachable{err}
	}
	if resp.StatusCode != http.StatusOK {
		refusal := &apiError{Status: resp.StatusCode}
		if err := json.Unmarshal(b, refusal); err != nil {
			refusal.Message = "" // a proxy's answer: the status tells
		}
		return refusal
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return fmt.Errorf("answer of %s %s: %w", req.Method, req.URL.Path, err)
	}
	return nil
}
