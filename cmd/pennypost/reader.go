package main

import (
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// reader makes values of settings, and notes what is wrong with them.
type reader struct{ *sources }

// wrong notes a fault under the name by which the setting was given.
func (r *reader) wrong(name, format string, args ...any) {
	at := declared{name: name}.env()
	if w, ok := r.values[name]; ok {
		at = w.at
	}
	r.fault(at, format, args...)
}

// text is what was given, or the default. Defaults in parentheses are for
// people: they stand for "".
func (r *reader) text(name string) string {
	if w, ok := r.values[name]; ok {
		return w.text
	}
	for _, d := range r.list {
		if d.name == name && !strings.HasPrefix(d.def, "(") {
			return d.def
		}
	}
	return ""
}

func split(text string) []string {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// addresses reads addresses to listen on; "off" is none.
func (r *reader) addresses(name string) []string {
	text := r.text(name)
	if strings.TrimSpace(text) == "off" {
		return nil
	}
	list := split(text)
	for _, a := range list {
		host, port, err := net.SplitHostPort(a)
		n, errPort := strconv.ParseUint(port, 10, 16)
		ip := netip.Addr{}
		if host != "" && host != "localhost" {
			var errIP error
			if ip, errIP = netip.ParseAddr(host); errIP != nil {
				err = errIP
			}
		}
		if err != nil || errPort != nil || ip.IsMulticast() {
			r.wrong(name, "%q is not an address such as 127.0.0.1:%d or :%d, nor off", a, max(n, 25), max(n, 25))
		}
	}
	return list
}

func (r *reader) ports(name string) []int {
	var list []int
	for _, p := range split(r.text(name)) {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			r.wrong(name, "%q is not a port from 1 to 65535", p)
			continue
		}
		list = append(list, int(n))
	}
	return list
}

func (r *reader) flag(name string) bool {
	switch text := strings.ToLower(r.text(name)); text {
	case "true", "1", "yes", "on":
		return true
	case "", "false", "0", "no", "off":
		return false
	default:
		r.wrong(name, "%q is neither true nor false", text)
		return false
	}
}

func (r *reader) prefixes(name string) []netip.Prefix {
	var list []netip.Prefix
	for _, p := range split(r.text(name)) {
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			addr, errAddr := netip.ParseAddr(p)
			if errAddr != nil {
				r.wrong(name, "%q is not a network such as 10.0.0.0/8", p)
				continue
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		list = append(list, prefix.Masked())
	}
	return list
}

// servers reads DNS servers; the port may be left out.
func (r *reader) servers(name string) []string {
	var list []string
	for _, s := range split(r.text(name)) {
		if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
			s = net.JoinHostPort(ip.String(), "53")
		}
		if _, err := netip.ParseAddrPort(s); err != nil {
			r.wrong(name, "%q is not an address such as 127.0.0.1:5353", s)
			continue
		}
		list = append(list, s)
	}
	return list
}

// minToken is the least length of a token that is chosen by hand.
const minToken = 32

// token reads a secret that opens everything. Its text is in no message.
func (r *reader) token(name string) string {
	text := r.text(name)
	if text == "" {
		return ""
	}
	for _, c := range text {
		if c <= ' ' || c > '~' {
			r.wrong(name, "has characters that cannot stand in an HTTP header")
			return ""
		}
	}
	if len(text) < minToken || len(text) > 200 {
		r.wrong(name, "must have %d to 200 characters; `openssl rand -hex 32` makes one", minToken)
		return ""
	}
	return text
}

func (r *reader) level(name string) slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(r.text(name))); err != nil {
		r.wrong(name, "%q is not debug, info, warn or error", r.text(name))
	}
	return l
}

func (r *reader) choice(name string, of ...string) string {
	text := r.text(name)
	for _, c := range of {
		if strings.EqualFold(text, c) {
			return c
		}
	}
	r.wrong(name, "%q is not %s", text, strings.Join(of, " or "))
	return of[0]
}

func (r *reader) duration(name string, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(r.text(name))
	if err != nil || d < least || d > most {
		r.wrong(name, "%q is not a duration from %v to %v, such as 25s", r.text(name), least, most)
	}
	return d
}

// leastMemory is what a process needs that takes mail at all.
const leastMemory = 128 << 20

// size reads a number of octets, such as 512MiB or 2G; K, M, G and T are powers
// of 1024, with or without iB. 0 is not given.
func (r *reader) size(name string, least int64) int64 {
	text := r.text(name)
	if text == "" {
		return 0
	}
	digits := strings.TrimRight(strings.ToUpper(text), "KMGTIB")
	shift, known := map[string]int{"": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40}[strings.TrimSuffix(strings.ToUpper(text[len(digits):]), "IB")]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !known || n > (1<<60)>>shift || n<<shift < least {
		r.wrong(name, "%q is not a size of at least %dMiB, such as 512MiB or 2G", text, least>>20)
		return 0
	}
	return n << shift
}

// rate reads a number a second; off is 0.
func (r *reader) rate(name string) int {
	const most = 1_000_000
	text := r.text(name)
	if strings.EqualFold(text, "off") {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		r.wrong(name, "%q is not a number from 1 to %d, nor off", text, most)
		return 0
	}
	return n
}

func (r *reader) url(name, def string) string {
	text := strings.TrimRight(r.text(name), "/")
	if text == "" {
		return def
	}
	if !validURL(text) {
		r.wrong(name, "%q is not an address such as https://mail.example.com", text)
	}
	return text
}
