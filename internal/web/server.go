package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"golang.org/x/net/netutil"
)

// ServerConfig bounds what a client may take of a listener. Zero values are
// defaults.
type ServerConfig struct {
	Handler      http.Handler
	HeaderWithin time.Duration // from the first octet to the end of the header; 10 s
	BodyWithin   time.Duration // from there to the end of the body; 60 s
	AnswerWithin time.Duration // from the end of the header to the end of the answer; 150 s
	IdleFor      time.Duration // between requests; 120 s
	HeaderBytes  int           // 64 KiB; net/http answers 431 above it
	Conns        int           // open connections of a listener; 10000, more wait
	DrainWithin  time.Duration // how long Serve waits for requests at the end; 20 s
	Log          *slog.Logger
}

func (c ServerConfig) orDefault() ServerConfig {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.HeaderWithin, 10*time.Second)
	def(&c.BodyWithin, 60*time.Second)
	def(&c.AnswerWithin, 150*time.Second)
	def(&c.IdleFor, 120*time.Second)
	def(&c.DrainWithin, 20*time.Second)
	if c.HeaderBytes <= 0 {
		c.HeaderBytes = 64 << 10
	}
	if c.Conns <= 0 {
		c.Conns = 10000
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Server serves one handler on any number of listeners.
type Server struct {
	conf ServerConfig
	http *http.Server
}

// NewServer makes a server with all its deadlines set.
func NewServer(c ServerConfig) *Server {
	c = c.orDefault()
	return &Server{conf: c, http: &http.Server{
		Handler:           c.Handler,
		ReadHeaderTimeout: c.HeaderWithin,
		ReadTimeout:       c.HeaderWithin + c.BodyWithin,
		WriteTimeout:      c.AnswerWithin,
		IdleTimeout:       c.IdleFor,
		// net/http allows 4 KiB more than it is told, for the request line.
		MaxHeaderBytes: c.HeaderBytes,
		ErrorLog:       slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}}
}

// Serve answers requests until ctx ends; requests under way are then finished
// within DrainWithin. It closes the listener. With a TLS configuration it
// speaks HTTP/2 and HTTP/1.1 inside TLS, without one HTTP/1.1 in the clear. An
// error before ctx ended is that of the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener, conf *tls.Config) error {
	l = netutil.LimitListener(l, s.conf.Conns)
	if conf != nil {
		// net/http knows HTTP/2 only on a *tls.Conn, so TLS goes outermost.
		conf = conf.Clone()
		for _, proto := range []string{"h2", "http/1.1"} {
			if !slices.Contains(conf.NextProtos, proto) {
				conf.NextProtos = append(conf.NextProtos, proto)
			}
		}
		l = tls.NewListener(l, conf)
	}
	done := make(chan error, 1)
	go func() { done <- s.http.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.conf.DrainWithin)
	defer cancel()
	err := s.http.Shutdown(end)
	if err != nil {
		err = errors.Join(fmt.Errorf("finish requests on %s: %w", l.Addr(), err), s.http.Close())
	}
	if serveErr := <-done; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
