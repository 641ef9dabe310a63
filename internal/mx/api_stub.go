package mx

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

var errStub = errors.New("stub")
var _ = dns.TypeA

type ResolverConfig struct {
	Servers   []string
	Dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	Now       func() time.Time
	Timeout   time.Duration
	CacheSize int
}
type Resolver struct{}

func NewResolver(c ResolverConfig) (*Resolver, error)                              { return nil, errStub }
func (r *Resolver) TXT(ctx context.Context, name string) ([]string, error)         { return nil, errStub }
func (r *Resolver) CNAME(ctx context.Context, name string) (string, error)         { return "", errStub }
func (r *Resolver) MX(ctx context.Context, name string) ([]Host, error)            { return nil, errStub }
func (r *Resolver) Addrs(ctx context.Context, host string) ([]netip.Addr, error)   { return nil, errStub }

type Kind int8

const (
	NoName Kind = iota + 1
	NoRecord
	Temporary
)

type Error struct {
	Name, Type string
	Kind       Kind
	Err        error
}

func (e *Error) Error() string { return "" }

type Host struct {
	Name string
	Pref uint16
}
type Route struct {
	Domain   string
	Hosts    []Host
	Implicit bool
	Site     string
	Expires  time.Time
}
type FinderConfig struct {
	Resolver     *Resolver
	Own          []string
	OwnAddrs     func() []netip.Addr
	AllowPrivate bool
	Rand         func(n int) int
	Now          func() time.Time
}
type Finder struct{}

func New(c FinderConfig) *Finder                                                 { return nil }
func (f *Finder) Route(ctx context.Context, domain string) (*Route, error)       { return nil, errStub }
func (f *Finder) Plan(r *Route) []Host                                           { return nil }
func (f *Finder) Addrs(ctx context.Context, host string) ([]netip.Addr, error)   { return nil, errStub }
func (f *Finder) Allowed(a netip.Addr) error                                     { return nil } // for smtpc.DialConfig.Allow

type Failure struct {
	Permanent      bool
	Code           int
	Enhanced, Text string
}

func (f *Failure) Error() string { return "" }
func Public(a netip.Addr) bool { return false }
