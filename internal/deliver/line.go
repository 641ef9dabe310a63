package deliver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/mx"
	"pennypost/internal/smtpc"
)

// maxAddrs is how many addresses are tried for one attempt.
const maxAddrs = 5

// A line is the connection of one worker.
type line struct {
	d      *Deliverer
	client *smtpc.Client // nil: none
	host   string
	addr   netip.Addr
	since  time.Time
	sent   int           // messages begun on it
	notes  chan struct{} // one token per result on its way to the disk
}

// A talk is what was said, or why nothing was. Either reply or err is set.
type talk struct {
	reply   *smtpc.Reply
	err     error
	host    string
	info    smtpc.Info
	phases  []pennypost.PhaseTime // before those of info
	earlier []string              // what hosts before this one said
}

// phase is where it was decided.
func (t *talk) phase() string {
	if t.reply != nil {
		return t.reply.Phase
	}
	var e *smtpc.Error
	var r *smtpc.Reply
	switch {
	case errors.As(t.err, &e):
		return e.Phase
	case errors.As(t.err, &r):
		return r.Phase
	}
	return phaseDNS
}

const phaseDNS = "dns"

// hangUp takes leave of the other side.
func (l *line) hangUp(ctx context.Context) {
	if l.client == nil {
		return
	}
	if l.client.Reusable() {
		_ = l.client.Quit(ctx) //nolint:errcheck // nothing depends on it any more
	}
	l.drop()
}

// drop closes the connection without a word.
func (l *line) drop() {
	if l.client != nil {
		_ = l.client.Close() // nothing depends on it any more
	}
	*l = line{d: l.d, notes: l.notes}
}

// send hands a message over: on the kept connection if it fits, else on a new
// one to the first host of the domain that takes it.
func (l *line) send(ctx context.Context, domain string, p *parcel) talk {
	asked := l.d.c.Now()
	route, err := l.d.c.Finder.Route(ctx, domain)
	if err != nil {
		return talk{err: err}
	}
	took := l.d.c.Now().Sub(asked)
	if host, ok := l.fits(ctx, route); ok {
		t := l.say(ctx, host, p)
		if !errors.Is(t.err, smtpc.ErrStale) && !errors.Is(t.err, smtpc.ErrBroken) {
			return t
		}
		l.drop() // catalogue O-036: no attempt
	}
	l.hangUp(ctx)
	t := l.try(ctx, route, p)
	t.phases = append([]pennypost.PhaseTime{{Phase: phaseDNS, Took: took}}, t.phases...)
	return t
}

// fits tells whether the kept connection is one for the domain, and for which
// of its hosts: one by that name, or the most preferred one if it has the same
// address, as the hosts of a provider's customers do.
func (l *line) fits(ctx context.Context, route *mx.Route) (string, bool) {
	if l.client == nil || !l.client.Reusable() || l.sent >= l.d.c.Messages || l.d.c.Now().Sub(l.since) >= l.d.c.KeepFor {
		return "", false
	}
	if slices.ContainsFunc(route.Hosts, func(h mx.Host) bool { return h.Name == l.host }) {
		return l.host, true
	}
	first := route.Hosts[0].Name
	addrs, err := l.d.c.Finder.Addrs(ctx, first)
	return first, err == nil && slices.Contains(addrs, l.addr)
}

// A round is what the hosts said that did not decide.
type round struct {
	left  int // addresses that may still be tried
	last  talk
	lines []string
}

// failed notes what an address said. One failure that will not pass is not
// taken for the whole site while another host may take the message.
func (r *round) failed(t *talk) {
	r.lines = append(r.lines, t.line())
	var f *mx.Failure
	if r.last.err == nil && r.last.reply == nil || !errors.As(t.err, &f) || !f.Permanent {
		r.last = *t
	}
}

// try goes through the hosts until one decides.
func (l *line) try(ctx context.Context, route *mx.Route, p *parcel) talk {
	r := &round{left: maxAddrs}
	for _, h := range l.d.c.Finder.Plan(route) {
		if r.left == 0 || ctx.Err() != nil {
			break
		}
		if t, ok := l.tryHost(ctx, h.Name, r, p); ok {
			t.earlier = r.lines
			return t
		}
	}
	if r.last.err == nil && r.last.reply == nil {
		r.last.err = context.Cause(ctx)
	}
	r.last.earlier = r.lines
	return r.last
}

// tryHost goes through the addresses of a host; false: none decided.
func (l *line) tryHost(ctx context.Context, host string, r *round, p *parcel) (talk, bool) {
	addrs, err := l.d.c.Finder.Addrs(ctx, host)
	if err != nil {
		r.failed(&talk{host: host, err: err})
		return talk{}, false
	}
	addrs = addrs[:min(len(addrs), r.left)]
	r.left -= len(addrs)
	for len(addrs) > 0 {
		var t talk
		if t, addrs = l.call(ctx, host, addrs, p); t.decides() {
			return t, true
		}
		l.drop()
		r.failed(&t)
	}
	return talk{}, false
}

// call connects to a host and sends. It gives the addresses that are left:
// those that were not talked to.
func (l *line) call(ctx context.Context, host string, addrs []netip.Addr, p *parcel) (talk, []netip.Addr) {
	ports := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		ports[i] = netip.AddrPortFrom(a, uint16(l.d.c.MXPort)) //nolint:gosec // G115: a port
	}
	client, err := smtpc.Connect(ctx, smtpc.DialConfig{
		Addrs: ports, Allow: l.d.c.Finder.Allowed, Dialer: l.d.c.Dialer,
	}, host, l.d.smtp())
	if client == nil { // none of them answers
		return talk{host: host, err: err}, nil
	}
	info := client.Info()
	rest := slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return a.Unmap().String() == info.IP })
	if len(rest) == len(addrs) {
		rest = nil
	}
	if err != nil {
		_ = client.Close() // it failed before
		return talk{host: host, err: err, info: info}, rest
	}
	l.d.starved.over()
	l.client, l.host, l.since = client, host, l.d.c.Now()
	l.addr, _ = netip.ParseAddr(info.IP) //nolint:errcheck // none fits nothing
	return l.say(ctx, host, p), rest
}

// maxConversation is how much of the dialogue is kept with an attempt.
const maxConversation = 8 << 10

func (d *Deliverer) smtp() smtpc.Config {
	return smtpc.Config{
		Hostname: d.c.Hostname, TLS: d.c.TLS, Timeouts: d.c.Timeouts, Now: d.c.Now, MaxConversation: maxConversation,
	}
}

// say sends on the connection at hand to a host, under whose name it may not
// have been made.
func (l *line) say(ctx context.Context, host string, p *parcel) talk {
	e, err := p.ready(ctx)
	if err != nil {
		return talk{err: err, host: host, info: l.client.Info()}
	}
	l.sent++
	reply, err := l.client.Send(ctx, e)
	t := talk{reply: reply, err: err, host: host, info: l.client.Info()}
	if host != l.host && t.info.TLS != "" {
		t.info.TLSNote += " (as " + l.host + ")"
	}
	return t
}

// decides tells whether the answer is that of the site. Before RCPT another
// host may answer otherwise, except that a refusal of the sender for good, and
// what no host could change, counts.
func (t *talk) decides() bool {
	if t.reply != nil {
		return t.reply.Local || t.reply.Phase != smtpc.PhaseMail || t.reply.Code/100 != 4
	}
	if errors.Is(t.err, smtpc.ErrContent) || errors.Is(t.err, smtpc.ErrPath) || errors.Is(t.err, errLease) || errors.Is(t.err, errUnsigned) {
		return true
	}
	switch t.phase() {
	case smtpc.PhaseData, smtpc.PhaseBody, smtpc.PhaseDot:
		return true
	}
	return false
}

// reached tells whether the site is there: some host said something about a
// message.
func (t *talk) reached() bool {
	if t.reply != nil {
		return t.reply.Code != 421 || t.reply.Phase != smtpc.PhaseMail
	}
	switch t.phase() {
	case smtpc.PhaseRcpt, smtpc.PhaseData, smtpc.PhaseBody, smtpc.PhaseDot:
		return true
	}
	return false
}

// line tells of a failed host in one line of a conversation.
func (t *talk) line() string {
	at := t.host
	if t.info.IP != "" {
		at = fmt.Sprintf("%s (%s)", t.host, t.info.IP)
	}
	if t.reply != nil {
		return fmt.Sprintf("* %s: %s: %s", at, t.reply.Phase, t.reply.Error())
	}
	return fmt.Sprintf("* %s: %s", at, printable(t.err.Error()))
}

// maxText bounds the texts of errors that are kept.
const maxText = 512

// printable makes a text of ours fit to be shown: names in it may come from
// outside.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}

// unrouted tells whether no mail server could be named: that says nothing about
// any.
func (t *talk) unrouted() bool { return t.reply == nil && t.host == "" }

// isConnect tells whether no message was begun.
func isConnect(t *talk) bool {
	switch t.phase() {
	case smtpc.PhaseConnect, smtpc.PhaseBanner, smtpc.PhaseEHLO, smtpc.PhaseStartTLS:
		return t.reply == nil
	}
	return false
}
