// Command goclient makes every call of a Go client that Pennypost answers, as a
// customer's program would; what it says on standard output is compared by the
// test. Usage: goclient <JSON settings>
//
// It is a module of its own: the client is no part of the product.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/mrz1836/postmark"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: goclient <JSON settings>")
	}
	s := &session{answers: map[string]any{}}
	if err := json.Unmarshal([]byte(os.Args[1]), &s.settings); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.client = s.dial(s.Token, s.AccountToken)
	for _, part := range []func(context.Context) error{s.account, s.server, s.streams, s.suppressions, s.mail, s.templates} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(s.answers)
}

// settings are what the test says.
type settings struct {
	URL, Token, AccountToken string
	From, Customers          string // sender; domain of the recipients
	ServerID                 int64
}

// session is one run with its answers by name.
type session struct {
	settings
	client  *postmark.Client
	status  int // of the latest answer
	answers map[string]any
}

func (s *session) dial(token, account string) *postmark.Client {
	c := postmark.NewClient(token, account)
	c.BaseURL = s.URL
	c.HTTPClient = &http.Client{Transport: transport{s}}
	return c
}

// transport notes the status, which the client does not tell.
type transport struct{ s *session }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		t.s.status = resp.StatusCode
	}
	return resp, err
}

// keep notes the answer of a call that must succeed: with 200 alone.
func keep[T any](s *session, name string, answer T, err error) (T, error) {
	switch {
	case err != nil:
		err = fmt.Errorf("%s: %d %w", name, s.status, err)
	case s.status != http.StatusOK:
		err = fmt.Errorf("%s: status %d", name, s.status)
	}
	s.answers[name] = answer
	return answer, err
}

// keepPage is keep for lists, whose length comes beside them.
func keepPage[T any](s *session, name string, list []T, total int64, err error) error {
	_, err = keep(s, name, map[string]any{"List": list, "TotalCount": total}, err)
	return err
}

// done is keep for calls that answer nothing.
func (s *session) done(name string, err error) error {
	_, err = keep(s, name, "done", err)
	return err
}

// failed notes how a call failed.
func (s *session) failed(name string, err error) {
	f := map[string]any{"Status": s.status}
	var refused postmark.APIError
	switch {
	case errors.As(err, &refused):
		f["Code"], f["Message"] = refused.ErrorCode, refused.Message
	case err != nil:
		f["Message"] = err.Error()
	}
	s.answers[name] = f
}
