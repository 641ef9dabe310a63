package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

type adminImport struct {
	File   string `arg:"" help:"CSV or JSON (.json) of addresses to suppress; - is standard input."`
	Server int64  `name:"server" short:"s" placeholder:"ID" required:"" help:"The server."`
	Stream string `name:"stream" placeholder:"ID" default:"outbound" help:"The message stream."`
	Type   string `name:"type" placeholder:"TYPE" enum:",csv,json" default:"" help:"csv or json, where the name of the file does not tell."`
}

// Help is the text above the flags.
func (adminImport) Help() string {
	return `A CSV file has a line of titles (EmailAddress, SuppressionReason, Origin, CreatedAt, of which only the
first is needed), or addresses alone. What Postmark exports is taken as it is.`
}

const (
	maxImport  = 20 << 20               // octets of a file; the API takes no more
	importPoll = 500 * time.Millisecond // between two looks at how far it is
)

// importState is what the API says of an import.
type importState struct {
	ID                              int64
	Status                          string
	Total, Processed, Added, Failed int
	Errors                          []struct {
		Line                  int
		EmailAddress, Message string
	}
}

// Run is called by kong.
func (s *adminImport) Run(ctx context.Context, a *app, top *adminCmd) error {
	c, err := top.caller(a)
	if err != nil {
		return err
	}
	body, err := s.read(a)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	path := fmt.Sprintf("/operator/servers/%d/message-streams/%s/suppressions/import", s.Server, url.PathEscape(s.Stream))
	var im importState
	if err := c.upload(ctx, path, s.contentType(), body, &im); err != nil {
		return c.explain(err)
	}
	if err := c.follow(ctx, a.stderr, fmt.Sprintf("%s/%d", path, im.ID), &im); err != nil {
		return c.explain(err)
	}
	err = c.ask(ctx, http.MethodGet, fmt.Sprintf("%s/%d", path, im.ID), nil, &im, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%d entries: %d added, %d were there already, %d failed\n", im.Total, im.Added, im.Total-im.Added-im.Failed, im.Failed)
		for _, e := range im.Errors {
			_, _ = fmt.Fprintf(w, "line %d:\t%q\t%s\n", e.Line, e.EmailAddress, e.Message)
		}
	})
	if err == nil && im.Failed > len(im.Errors) && !c.json {
		_, err = fmt.Fprintf(c.out, "and %d more\n", im.Failed-len(im.Errors))
	}
	return err
}

// read gives the file.
func (s *adminImport) read(a *app) ([]byte, error) {
	in := a.stdin
	if s.File != "-" {
		f, err := os.Open(s.File)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, maxImport+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxImport:
		return nil, errors.New("the file is over 20 MiB: split it")
	case len(body) == 0:
		return nil, errors.New("the file is empty")
	}
	return body, nil
}

func (s *adminImport) contentType() string {
	if s.Type == "json" || s.Type == "" && strings.EqualFold(filepath.Ext(s.File), ".json") {
		return "application/json"
	}
	return "text/csv"
}

// follow tells how far an import is until it is complete. It goes on in the
// service when nobody looks.
func (c *caller) follow(ctx context.Context, to io.Writer, path string, im *importState) error {
	t := time.NewTicker(importPoll)
	defer t.Stop()
	for im.Status != "Completed" {
		_, _ = fmt.Fprintf(to, "%d of %d\n", im.Processed, im.Total)
		select {
		case <-ctx.Done():
			return fmt.Errorf("import %d goes on in the service: %w", im.ID, ctx.Err())
		case <-t.C:
		}
		*im = importState{ID: im.ID}
		if err := c.call(ctx, http.MethodGet, path, nil, im); err != nil {
			return err
		}
	}
	return nil
}

// upload sends a file, and reads the answer.
func (c *client) upload(ctx context.Context, path, contentType string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	return c.do(req, answer)
}
