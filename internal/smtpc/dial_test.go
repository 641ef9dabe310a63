package smtpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// network is a pretend one: what becomes of each address, and after what time.
type network struct {
	mu     sync.Mutex
	start  time.Time
	hosts  map[string]func(ctx context.Context) error
	log    []string // what was dialled, and when
	closed map[string]bool
}

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	n.log = append(n.log, fmt.Sprintf("%s@%v", addr, time.Since(n.start)))
	n.mu.Unlock()
	if err := n.hosts[addr](ctx); err != nil {
		return nil, err
	}
	return &named{n: n, name: addr}, nil
}

type named struct {
	net.Conn
	n    *network
	name string
}

func (c *named) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.n.closed == nil {
		c.n.closed = map[string]bool{}
	}
	c.n.closed[c.name] = true
	return nil
}

func answers(after time.Duration) func(context.Context) error {
	return func(context.Context) error { time.Sleep(after); return nil }
}

func refuses(after time.Duration) func(context.Context) error {
	return func(context.Context) error { time.Sleep(after); return syscall.ECONNREFUSED }
}

func silent(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

const (
	v6  = "[2001:db8::1]:25"
	v4  = "192.0.2.1:25"
	v4b = "192.0.2.2:25"
)

func addrs(list ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range list {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

// RFC 8305 §5, in fake time; D-015.
func TestHappyEyeballs(t *testing.T) {
	tests := []struct {
		name  string
		hosts map[string]func(context.Context) error
		addrs []netip.AddrPort
		won   string
		took  time.Duration
		log   string
	}{
		{"first at once", map[string]func(context.Context) error{v6: answers(10 * time.Millisecond), v4: answers(0)}, addrs(v6, v4), v6, 10 * time.Millisecond, v6 + "@0s"},
		{"first is slow", map[string]func(context.Context) error{v6: answers(time.Second), v4: answers(50 * time.Millisecond)}, addrs(v6, v4), v4, time.Second, v6 + "@0s " + v4 + "@250ms"},
		{"first answers a little later", map[string]func(context.Context) error{v6: answers(300 * time.Millisecond), v4: silent}, addrs(v6, v4), v6, 300 * time.Millisecond, v6 + "@0s " + v4 + "@250ms"},
		{"first is silent", map[string]func(context.Context) error{v6: silent, v4: answers(50 * time.Millisecond)}, addrs(v6, v4), v4, 300 * time.Millisecond, v6 + "@0s " + v4 + "@250ms"},
		{"no route", map[string]func(context.Context) error{v6: refuses(0), v4: answers(0)}, addrs(v6, v4), v4, 0, v6 + "@0s " + v4 + "@0s"},
		{"two silent", map[string]func(context.Context) error{v6: silent, v4: silent, v4b: answers(0)}, addrs(v6, v4, v4b), v4b, 500 * time.Millisecond, v6 + "@0s " + v4 + "@250ms " + v4b + "@500ms"},
		{"all refuse", map[string]func(context.Context) error{v6: refuses(0), v4: refuses(time.Second)}, addrs(v6, v4), "", time.Second, v6 + "@0s " + v4 + "@0s"},
		{"all silent", map[string]func(context.Context) error{v6: silent, v4: silent}, addrs(v6, v4), "", 30*time.Second + 250*time.Millisecond, v6 + "@0s " + v4 + "@250ms"},
		{"one", map[string]func(context.Context) error{v4: answers(0)}, addrs(v4), v4, 0, v4 + "@0s"},
		{"none", nil, nil, "", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{start: time.Now(), hosts: tt.hosts}
				nc, err := Dial(t.Context(), DialConfig{Addrs: tt.addrs, Dialer: n.dial})
				if got := time.Since(n.start); got != tt.took {
					t.Errorf("got %v, want %v", got, tt.took)
				}
				if got := strings.Join(n.log, " "); got != tt.log {
					t.Errorf("got dialled %s, want %s", got, tt.log)
				}
				if tt.won == "" {
					var e *Error
					if !errors.As(err, &e) || e.Phase != PhaseConnect {
						t.Fatalf("got %v, want an *Error of connect", err)
					}
					for _, a := range tt.addrs {
						if !strings.Contains(err.Error(), a.String()) {
							t.Errorf("got %q, want it to name %v", err, a)
						}
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				won, ok := nc.(*named)
				if !ok || won.name != tt.won || n.closed[tt.won] {
					t.Errorf("got %+v, want %s, open", won, tt.won)
				}
				if tt.name == "first is slow" && !n.closed[v6] {
					t.Error("the connection that came second was left open")
				}
			})
		})
	}
}

func TestDialContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{start: time.Now(), hosts: map[string]func(context.Context) error{v6: silent, v4: silent, v4b: silent}}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := Dial(ctx, DialConfig{Addrs: addrs(v6, v4, v4b), Dialer: n.dial}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		if got := time.Since(n.start); got != 300*time.Millisecond || len(n.log) > 3 {
			t.Errorf("got %v after %v, want an end after 300ms", n.log, got)
		}
	})
}

// Only addresses of the family that we dial from.
func TestDialLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{start: time.Now(), hosts: map[string]func(context.Context) error{v6: answers(0), v4: answers(0)}}
		d := DialConfig{Addrs: addrs(v6, v4), Dialer: n.dial, Local: netip.MustParseAddr("198.51.100.7")}
		nc, err := Dial(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := nc.(*named); !ok || got.name != v4 {
			t.Errorf("got %+v, want %s", nc, v4)
		}
		d.Addrs = addrs(v6)
		if _, err := Dial(t.Context(), d); !errors.Is(err, errNoAddress) {
			t.Errorf("got %v, want errNoAddress", err)
		}
	})
	at := listen(t, func(p *peer) { p.say(p.nc.RemoteAddr().String()) })
	nc, err := Dial(t.Context(), DialConfig{Addrs: []netip.AddrPort{at}, Local: netip.MustParseAddr("127.0.0.9")})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if got := nc.LocalAddr().String(); !strings.HasPrefix(got, "127.0.0.9:") {
		t.Errorf("got local address %s, want 127.0.0.9", got)
	}
}

// The egress rule is asked about what is dialled, and nothing refused is.
func TestDialAllow(t *testing.T) {
	no := errors.New("not there")
	dialled := false
	d := DialConfig{
		Addrs:  addrs("127.0.0.1:25", "[::ffff:127.0.0.1]:25"),
		Allow:  func(a netip.Addr) error { return fmt.Errorf("%v: %w", a, no) },
		Dialer: func(context.Context, string, string) (net.Conn, error) { dialled = true; return nil, no },
	}
	if _, err := Dial(t.Context(), d); !errors.Is(err, no) || dialled {
		t.Errorf("got %v, dialled %v", err, dialled)
	}
	// With the system's dialer it is asked again for the address of connect(2).
	var asked []netip.Addr
	at := listen(t, func(*peer) {})
	d = DialConfig{Addrs: []netip.AddrPort{at}, Allow: func(a netip.Addr) error {
		asked = append(asked, a)
		if len(asked) == 2 {
			return no
		}
		return nil
	}}
	if _, err := Dial(t.Context(), d); !errors.Is(err, no) {
		t.Errorf("got %v, want the rule's error", err)
	}
	if len(asked) != 2 || asked[1] != at.Addr() {
		t.Errorf("got asked about %v, want %v twice", asked, at.Addr())
	}
}

// O-001: nobody listens.
func TestDialRefused(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	_ = l.Close() // the point
	_, err = Dial(t.Context(), DialConfig{Addrs: []netip.AddrPort{at}})
	if got, want := fmt.Sprint(err), "connect: dial "+at.String()+": connect: connection refused"; got != want || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %q, want %q", got, want)
	}
}
