//go:build !race

package faults

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost/internal/fakenet"
)

// rogue is a mail server that misbehaves at one stage.
type rogue struct {
	stage, does string // see misbehave
	notTLS      bool   // STARTTLS is not offered
	cert        *tls.Config

	l     net.Listener
	mu    sync.Mutex
	conns map[net.Conn]bool
	came  int           // connections so far
	both  chan struct{} // closed when atOnce have come
	took  []fakenet.Mail
	tls   int // sessions with TLS
}

var errRogue = errors.New("misbehaved")

// misbehave does what the rogue is there for: reset, close, mute, endless,
// tarpit, stored (close, after the message was kept), or it gives a reply.
func (r *rogue) misbehave(stage string, c net.Conn) error {
	if r.stage != stage {
		return nil
	}
	switch r.does {
	case "reset":
		raw := c
		if t, ok := c.(*tls.Conn); ok {
			raw = t.NetConn()
		}
		_ = raw.(*net.TCPConn).SetLinger(0)
		_ = raw.Close()
	case "close", "stored":
		_ = c.Close()
	case "mute":
		_, _ = io.Copy(io.Discard, c)
	case "endless":
		for line := []byte("250-" + strings.Repeat("x", 60) + "\r\n"); ; {
			if _, err := c.Write(line); err != nil {
				break
			}
		}
	case "tarpit":
		for _, b := range []byte("250-" + strings.Repeat("x", 200)) {
			if _, err := c.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
	default:
		if _, err := io.WriteString(c, r.does+"\r\n"); err != nil || strings.HasPrefix(r.does, "421") {
			_ = c.Close()
			return errRogue
		}
		return errReplied
	}
	return errRogue
}

var errReplied = errors.New("replied")

func (r *rogue) serve() {
	for {
		c, err := r.l.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.conns[c] = true
		if r.came++; r.came == atOnce {
			close(r.both)
		}
		r.mu.Unlock()
		go func() {
			defer func() {
				_ = c.Close()
				r.mu.Lock()
				delete(r.conns, c)
				r.mu.Unlock()
			}()
			// Whoever is told first that it is out of reach keeps the others
			// back that are not on their way yet.
			select {
			case <-r.both:
			case <-time.After(time.Second):
			}
			r.session(c)
		}()
	}
}

func (r *rogue) close() {
	_ = r.l.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		_ = c.Close()
	}
}

func (r *rogue) mails() []fakenet.Mail {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]fakenet.Mail(nil), r.took...)
}

func (r *rogue) session(c net.Conn) {
	in := bufio.NewReader(c)
	var from, to string
	// say answers at a stage; go on tells whether the command took effect.
	say := func(stage, text string) (goOn, open bool) {
		err := r.misbehave(stage, c)
		if err == nil {
			_, err = io.WriteString(c, text+"\r\n")
			return true, err == nil
		}
		return false, errors.Is(err, errReplied)
	}
	if _, open := say("banner", "220 rogue.test ESMTP"); !open {
		return
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		var open, goOn bool
		switch strings.ToUpper(verb) {
		case "EHLO":
			text := "250-rogue.test\r\n250-8BITMIME\r\n"
			if _, inTLS := c.(*tls.Conn); !inTLS && !r.notTLS {
				text += "250-STARTTLS\r\n"
			}
			_, open = say("ehlo", text+"250 ENHANCEDSTATUSCODES")
		case "HELO":
			_, open = say("ehlo", "250 rogue.test")
		case "STARTTLS":
			if goOn, open = say("starttls", "220 go ahead"); goOn {
				t := tls.Server(c, r.cert)
				if r.misbehave("handshake", c) != nil || t.Handshake() != nil {
					return
				}
				r.mu.Lock()
				r.tls++
				r.mu.Unlock()
				c, in = t, bufio.NewReader(t)
			}
		case "MAIL":
			from = arg
			_, open = say("mail", "250 ok")
		case "RCPT":
			to = strings.Trim(strings.TrimPrefix(strings.Fields(arg)[0], "TO:"), "<>")
			_, open = say("rcpt", "250 ok")
		case "DATA":
			if goOn, open = say("data", "354 go ahead"); goOn {
				open = r.data(c, in, from, to, say)
			}
		case "QUIT":
			_, _ = io.WriteString(c, "221 bye\r\n")
			return
		default:
			_, err := io.WriteString(c, "250 ok\r\n")
			open = err == nil
		}
		if !open {
			return
		}
	}
}

func (r *rogue) data(c net.Conn, in *bufio.Reader, from, to string, say func(stage, text string) (bool, bool)) bool {
	var msg strings.Builder
	for n := 0; ; n++ {
		line, err := in.ReadString('\n')
		if err != nil {
			return false
		}
		if n == 3 && r.stage == "body" {
			_ = r.misbehave("body", c)
			return false
		}
		if line == ".\r\n" {
			break
		}
		msg.WriteString(strings.TrimPrefix(line, "."))
	}
	keep := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.took = append(r.took, fakenet.Mail{At: time.Now(), From: from, To: []string{to}, Data: []byte(msg.String())})
	}
	if r.stage != "dot" || r.does == "stored" {
		keep()
	}
	goOn, open := say("dot", "250 taken")
	if goOn && r.misbehave("after", c) != nil {
		return false
	}
	return open
}

// certificate makes a server's TLS with a certificate that nobody should trust.
func certificate(t *testing.T, name string, until time.Time) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: until.AddDate(-1, 0, 0), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// TestMailServersThatMisbehave delivers to mail servers each of which does one
// thing wrong at one stage (catalogue O-001 to O-026), beside good ones. Each
// message has the right outcome, and when the servers are gone the program holds
// no more than before.
func TestMailServersThatMisbehave(t *testing.T) {
	t.Parallel()
	const waits = -1 // an attempt is under way
	tests := []struct {
		stage, does string
		state       int
		ambiguous   bool
		took        int // by the server, of each message
	}{
		{"banner", "reset", deferred, false, 0},
		{"ehlo", "reset", deferred, false, 0},
		{"mail", "reset", deferred, false, 0},
		{"rcpt", "reset", deferred, false, 0},
		{"data", "reset", deferred, false, 0},
		{"body", "reset", deferred, true, 0}, // a small message: its dot is out already
		{"rcpt", "close", deferred, false, 0},
		{"banner", "421 4.3.2 not now", deferred, false, 0},
		{"ehlo", "421 4.3.2 not now", deferred, false, 0},
		{"mail", "421 4.3.2 not now", deferred, false, 0},
		{"rcpt", "421 4.3.2 not now", deferred, false, 0},
		{"data", "421 4.3.2 not now", deferred, false, 0},
		{"dot", "421 4.3.2 not now", deferred, false, 0},
		{"mail", "451 4.3.0 later", deferred, false, 0},
		{"rcpt", "451 4.3.0 later", deferred, false, 0},
		{"data", "451 4.3.0 later", deferred, false, 0},
		{"dot", "451 4.3.0 later", deferred, false, 0},
		{"banner", "554 5.3.2 no", deferred, false, 0},
		{"ehlo", "554 5.3.2 no", deferred, false, 0},
		{"mail", "550 5.1.8 no", bounced, false, 0},
		{"rcpt", "550 5.1.1 no", bounced, false, 0},
		{"data", "554 5.6.0 no", bounced, false, 0},
		{"dot", "554 5.6.0 no", bounced, false, 0},
		{"dot", "close", deferred, true, 0},
		{"dot", "stored", deferred, true, 1},
		{"dot", "reset", deferred, true, 0},
		{"after", "reset", delivered, false, 1},
		{"banner", "endless", deferred, false, 0},
		{"ehlo", "endless", deferred, false, 0},
		{"rcpt", "endless", deferred, false, 0},
		{"banner", "tarpit", waits, false, 0},
		{"rcpt", "tarpit", waits, false, 0},
		{"data", "mute", waits, false, 0},
		{"starttls", "454 4.7.0 not available", delivered, false, 1},
		{"starttls", "502 5.5.1 what", delivered, false, 1},
		{"starttls", "close", deferred, false, 0},
		{"handshake", "close", delivered, false, 1}, // a new connection, in the clear
		{"handshake", "reset", delivered, false, 1},
		{"certificate", "self-signed", delivered, false, 1},
		{"certificate", "expired", delivered, false, 1},
		{"certificate", "wrong name", delivered, false, 1},
	}
	w := start(t)
	// The base line is that of a program that has been at work.
	for range 3 {
		if err := w.sendHTTP(20, w.fresh); err != nil {
			t.Fatal(err)
		}
	}
	w.settle(20*time.Second, nil)
	base := w.usage()
	rogues := make([]*rogue, len(tests))
	good := certificate(t, "mx.test", time.Now().AddDate(1, 0, 0))
	each := rounds(2, 20)
	to := make([][]string, len(tests))
	outcomes := 100 // of mail for good servers
	for i, tt := range tests {
		r := &rogue{stage: tt.stage, does: tt.does, cert: good, conns: make(map[net.Conn]bool), both: make(chan struct{})}
		domain := fmt.Sprintf("r%d.test", i)
		switch tt.does {
		case "expired":
			r.cert = certificate(t, "mx."+domain, time.Now().AddDate(0, 0, -1))
		case "wrong name":
			r.cert = certificate(t, "elsewhere.example", time.Now().AddDate(1, 0, 0))
		}
		addr := fmt.Sprintf("127.0.9.%d", i+1)
		var err error
		if r.l, err = net.Listen("tcp", net.JoinHostPort(addr, strconv.Itoa(w.net.MXPort()))); err != nil {
			t.Fatal(err)
		}
		go r.serve()
		t.Cleanup(r.close)
		rogues[i] = r
		w.more = append(w.more, r.mails)
		for _, rr := range []string{domain + ". 60 IN MX 10 mx." + domain + ".", "mx." + domain + ". 60 IN A " + addr} {
			if err := w.net.Record(rr); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.sendHTTP(each, func() string {
			name := w.freshAt(domain)
			to[i] = append(to[i], name)
			return name
		}); err != nil {
			t.Fatal(err)
		}
		switch {
		case tt.state == waits, tt.ambiguous:
		case keepsBack(tt.stage, tt.does):
			outcomes += atOnce
		default:
			outcomes += each
		}
	}
	misled := make(map[string]bool) // those that need not arrive
	for i, tt := range tests {
		if tt.state != delivered {
			for _, one := range to[i] {
				misled[one] = true
			}
		}
	}
	// Beside them mail to good servers goes on.
	began := time.Now()
	if err := w.sendHTTP(40, w.fresh); err != nil {
		t.Fatal(err)
	}
	w.settle(20*time.Second, func(to string) bool { return misled[to] })
	t.Logf("mail for the others arrived within %v", time.Since(began).Round(time.Millisecond))
	w.until(20*time.Second, "the outcomes", func() bool {
		return w.metric("pennypost_delivery_ambiguous_total") >= 1 && w.metric("pennypost_delivery_outcomes_total") >= float64(outcomes)
	})
	time.Sleep(2 * time.Second)
	for _, r := range rogues {
		r.close()
	}
	w.restored(base, 60*time.Second)
	w.impatient = true
	w.stopAndCheck(func(db row) {
		for i, tt := range tests {
			untried := 0
			for _, one := range to[i] {
				state, attempts, windows := db(one)
				if tt.state == waits {
					if state != queued && state != deferred {
						t.Errorf("%s %s: state %d, want one that waits", tt.stage, tt.does, state)
					}
					continue
				}
				if state == queued && attempts == 0 && keepsBack(tt.stage, tt.does) {
					untried++
					continue
				}
				if state != tt.state || (windows > 0) != tt.ambiguous || attempts < 1 {
					t.Errorf("%s %s: state %d after %d attempts, %d ambiguous; want %d, ambiguous %v",
						tt.stage, tt.does, state, attempts, windows, tt.state, tt.ambiguous)
				}
			}
			if untried > each-atOnce {
				t.Errorf("%s %s: %d of %d were never tried", tt.stage, tt.does, untried, each)
			}
			if got := len(rogues[i].mails()); got != tt.took*each {
				t.Errorf("%s %s: the server took %d, want %d", tt.stage, tt.does, got, tt.took*each)
			}
			if tt.stage == "certificate" && rogues[i].tls == 0 {
				t.Errorf("%s: went in the clear", tt.does)
			}
		}
	})
	w.cleanLog()
	w.compare(func(to string) bool { return misled[to] })
}

// atOnce is how many messages are tried at once at servers that have not shown
// yet that they work.
const atOnce = 2

// keepsBack tells whether servers that misbehave so seem to be out of reach: the
// other mail for them is kept back for a minute then.
func keepsBack(stage, does string) bool {
	switch stage {
	case "banner", "ehlo":
		return true
	case "mail":
		return does == "reset" || strings.HasPrefix(does, "421")
	case "starttls":
		return does == "close"
	}
	return false
}

// row looks a recipient up: its state, attempts, and those among them without a
// reply to the dot.
type row func(to string) (state, attempts, ambiguous int)

func (w *world) stopAndCheck(check func(row)) {
	w.t.Helper()
	w.stop()
	db := w.open()
	defer func() { _ = db.Close() }()
	check(func(to string) (state, attempts, ambiguous int) {
		err := db.QueryRow(`SELECT r.state, r.attempts, (SELECT COALESCE(SUM(a.ambiguous), 0) FROM attempts a
			WHERE a.message_id = r.message_id AND a.n = r.n) FROM recipients r WHERE r.address = $1`, to).Scan(&state, &attempts, &ambiguous)
		if err != nil {
			w.t.Errorf("%s: %v", to, err)
		}
		return state, attempts, ambiguous
	})
}
