package measure

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"bench/internal/load"
	"bench/internal/postfix"
	"bench/internal/procs"
	"bench/internal/service"
)

// A way is what a server does with what it accepts.
type way string

const (
	signed   way = "signed"   // DKIM RSA-2048, delivered to the sink
	unsigned way = "unsigned" // delivered to the sink
	nowhere  way = "nowhere"  // accepted as durably, then neither signed nor sent
)

// Names of the servers.
const (
	pennypost  = "Pennypost"
	postfixMTA = "Postfix"
)

// A subject is a server under measurement.
type subject struct {
	name    string
	login   func(c *load.Config, w way)
	tree    func() procs.Tree
	metric  func(ctx context.Context, name string) (float64, error) // nil: it has none
	stop    func() error
	metrics string // address of its metrics and profiles; "": it has none
}

// bootOurs starts Pennypost below a directory.
func (r *run) bootOurs(ctx context.Context, name string) (*service.Instance, *subject, error) {
	dir := filepath.Join(r.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, nil, err
	}
	in, err := service.Start(ctx, service.Config{
		Bin: r.c.Bin, Dir: dir, DatabaseURL: r.c.DatabaseURL, Resolver: r.world.dnsAddr, MXPort: r.world.port, Publish: r.world.publish,
	})
	if err != nil {
		return nil, nil, err
	}
	return in, &subject{
		name: pennypost,
		login: func(c *load.Config, w way) {
			l := in.Login
			if w == nowhere {
				l = in.Sandbox
			}
			c.Addr, c.User, c.Pass = in.SMTP, l.User, l.Secret
			c.URL, c.Token = "http://"+in.HTTP, l.Token
		},
		tree:    in.Tree,
		metric:  in.Metric,
		metrics: in.Metrics,
		stop:    in.Stop,
	}, nil
}

// bootPostfix starts Postfix with OpenDKIM below a directory. Only for a backlog
// it is told where the sick and the dead mail servers are.
func (r *run) bootPostfix(ctx context.Context, name string, routes map[string]string) (*subject, error) {
	dir := filepath.Join(r.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	in, err := postfix.Start(ctx, postfix.Config{Dir: dir, Relay: "127.0.0.1:" + r.world.port, Domain: service.Domain, Routes: routes})
	if err != nil {
		return nil, err
	}
	if v := postfix.Version(ctx); !slices.Contains(r.out.Peers, v) {
		r.out.Peers = append(r.out.Peers, v)
	}
	return &subject{
		name: postfixMTA,
		login: func(c *load.Config, w way) {
			c.User, c.Pass = in.User, in.Secret
			switch w {
			case signed:
				c.Addr = in.Signed
			case unsigned:
				c.Addr = in.Unsigned
			case nowhere:
				c.Addr = in.Nowhere
			}
		},
		tree: in.Tree,
		stop: in.Stop,
	}, nil
}
