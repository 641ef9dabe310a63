package smtpc

import (
	"context"
	"errors"
)

// Connect dials and greets a mail server. Where TLS is offered and comes to
// nothing it dials again: with fewer curves when the handshake stalled, since
// a hello with post-quantum keys needs two packets and some middleboxes wait
// for ever for the second; then in the clear. The client is given back with
// the error as well, for what its Info tells, unless nothing answered.
func Connect(ctx context.Context, d DialConfig, host string, cfg Config) (*Client, error) {
	for {
		c, err := connect(ctx, d, host, cfg)
		var failed *TLSError
		if !errors.As(err, &failed) || cfg.NoTLS || ctx.Err() != nil {
			return c, err
		}
		if failed.Stalled && !cfg.FewCurves {
			cfg.FewCurves = true
			continue
		}
		cfg.NoTLS, cfg.Why = true, escape([]byte(failed.Error()), 256)
	}
}

func connect(ctx context.Context, d DialConfig, host string, cfg Config) (*Client, error) {
	now := cfg.clock()
	begun := now()
	nc, err := Dial(ctx, d)
	if err != nil {
		return nil, err
	}
	c := New(nc, host, cfg)
	c.phases = append(c.phases, PhaseTime{PhaseConnect, now().Sub(begun)})
	return c, c.Hello(ctx)
}
