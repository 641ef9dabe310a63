package smtpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// DialConfig says whom to dial and how. Only Addrs must be set.
type DialConfig struct {
	// Addrs are tried in their order, each a little after the one before it.
	Addrs []netip.AddrPort
	// Local is the address to dial from; then only addresses of its family are
	// dialled. The zero value leaves it to the system.
	Local netip.Addr
	// Allow is asked for each address that is dialled: with the system's own
	// dialer at the very last moment, about the address that connect(2) gets.
	// Its error is why not. Nil allows all.
	Allow func(netip.Addr) error
	// Dialer replaces the system's. It must return once its context ends.
	Dialer func(ctx context.Context, network, addr string) (net.Conn, error)
	// Timeout is for each address, 0 is 30 s: RFC 5321 names none, and hosts
	// that answer later do not answer.
	Timeout time.Duration
	// Stagger is the wait before the next address is tried as well; 0 is
	// 250 ms (RFC 8305 §8).
	Stagger time.Duration
}

var errNoAddress = errors.New("no address to dial")

// Dial connects to the first address that answers (RFC 8305 §5): the next one
// is tried as soon as one fails, or when it has not answered within the
// stagger. The error is an *[Error] that tells of each address.
func Dial(ctx context.Context, d DialConfig) (net.Conn, error) {
	if d.Timeout <= 0 {
		d.Timeout = 30 * time.Second
	}
	if d.Stagger <= 0 {
		d.Stagger = 250 * time.Millisecond
	}
	var nc net.Conn
	var err error
	switch addrs := d.family(); len(addrs) {
	case 0:
		err = errNoAddress
	case 1:
		nc, err = d.dial(ctx, addrs[0])
	default:
		nc, err = d.race(ctx, addrs)
	}
	if err != nil {
		return nil, &Error{Phase: PhaseConnect, Err: err}
	}
	return nc, nil
}

// family leaves out what cannot be dialled from Local.
func (d *DialConfig) family() []netip.AddrPort {
	if !d.Local.IsValid() {
		return d.Addrs
	}
	var out []netip.AddrPort
	for _, a := range d.Addrs {
		if a.Addr().Unmap().Is4() == d.Local.Unmap().Is4() {
			out = append(out, a)
		}
	}
	return out
}

type dialled struct {
	nc  net.Conn
	err error
}

// race dials the addresses one after the other without waiting for long. It
// returns after all that it began has ended.
func (d *DialConfig) race(ctx context.Context, addrs []netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialled)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var won net.Conn
	var errs dialErrors
	for next, running := 0, 0; running > 0 || (won == nil && next < len(addrs) && (next == 0 || ctx.Err() == nil)); {
		var more <-chan time.Time
		if won == nil && next < len(addrs) {
			more = timer.C
		}
		select {
		case <-more:
			a := addrs[next]
			next, running = next+1, running+1
			go func() {
				nc, err := d.dial(ctx, a)
				results <- dialled{nc, err}
			}()
			timer.Reset(d.Stagger)
		case r := <-results:
			running--
			switch {
			case r.err == nil && won == nil:
				won = r.nc
				cancel()
			case r.err == nil:
				_ = r.nc.Close() // it came second, and nothing was said on it
			default:
				errs = append(errs, r.err)
				timer.Reset(0)
			}
		}
	}
	if won != nil {
		return won, nil
	}
	return nil, errs
}

// dial connects to one address.
func (d *DialConfig) dial(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	if d.Allow != nil {
		if err := d.Allow(a.Addr()); err != nil {
			return nil, fmt.Errorf("dial %s: %w", a, err)
		}
	}
	dial := d.Dialer
	if dial == nil {
		dial = d.system().DialContext
	}
	nc, err := dial(ctx, "tcp", a.String())
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", a, inner(err))
	}
	return nc, nil
}

// system is the system's dialer. It leaves TCP_NODELAY set, as Go does: each
// of our writes is meant to go out at once.
func (d *DialConfig) system() *net.Dialer {
	sys := &net.Dialer{}
	if d.Local.IsValid() {
		sys.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.Local, 0))
	}
	if d.Allow != nil {
		sys.ControlContext = func(_ context.Context, _, addr string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(addr)
			if err != nil {
				return err
			}
			return d.Allow(a.Addr())
		}
	}
	return sys
}

// inner takes the address away that *net.OpError repeats.
func inner(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

// dialErrors are the errors of all addresses.
type dialErrors []error

// Error gives them on one line.
func (e dialErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap gives them all.
func (e dialErrors) Unwrap() []error { return e }
