package smtpc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const offersTLS = "250-mx.test\r\n250 STARTTLS\r\n"

// certificate gives a self-signed one.
func certificate(tb testing.TB, key crypto.Signer, name string, until time.Time) (tls.Certificate, *x509.CertPool) {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: until.Add(-100 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}, pool
}

func ecKey(tb testing.TB) crypto.Signer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func rsaKey(tb testing.TB) crypto.Signer {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// secure plays the server's part of STARTTLS and goes on in TLS.
func (p *peer) secure(cfg *tls.Config) *peer {
	p.t.Helper()
	p.greet(offersTLS)
	p.expect("STARTTLS\r\n")
	p.say("220 ready\r\n")
	conn := tls.Server(p.nc, cfg)
	if err := conn.HandshakeContext(p.t.Context()); err != nil {
		p.t.Logf("peer: handshake: %v", err)
		return p
	}
	// With CBC, TLS 1.0 cuts the first octet off each write.
	return &peer{t: p.t, nc: conn, pieces: cfg.MaxVersion == tls.VersionTLS10}
}

// O-026: what the certificate is worth is recorded and changes nothing.
func TestStartTLS(t *testing.T) {
	now := time.Now()
	good, pool := certificate(t, ecKey(t), "mx.test", now.Add(time.Hour))
	late, latePool := certificate(t, ecKey(t), "mx.test", now.Add(-time.Hour))
	other, otherPool := certificate(t, ecKey(t), "elsewhere.test", now.Add(time.Hour))
	rsaCert, rsaPool := certificate(t, rsaKey(t), "mx.test", now.Add(time.Hour))
	tests := []struct {
		name   string
		server *tls.Config
		roots  *x509.CertPool
		tls    string
		note   string
	}{
		{"good", &tls.Config{Certificates: []tls.Certificate{good}}, pool, "TLS 1.3 TLS_", "verified"},
		{"self-signed", &tls.Config{Certificates: []tls.Certificate{good}}, otherPool, "TLS 1.3 TLS_", "not verified: x509: certificate signed by unknown authority"},
		{"expired", &tls.Config{Certificates: []tls.Certificate{late}}, latePool, "TLS 1.3 TLS_", "not verified: x509: certificate has expired"},
		{"wrong name", &tls.Config{Certificates: []tls.Certificate{other}}, otherPool, "TLS 1.3 TLS_", "not verified: x509: certificate is valid for elsewhere.test, not mx.test"},
		// O-025: old servers have nothing better.
		{"TLS 1.0", &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, pool, //nolint:gosec // G402: an old server
			"TLS 1.0 TLS_ECDHE_ECDSA_", "verified"},
		{"TLS 1.0, RSA key exchange, 3DES", &tls.Config{
			Certificates: []tls.Certificate{rsaCert}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10,
			CipherSuites: []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}, //nolint:gosec // G402: an old server
		}, rsaPool, "TLS 1.0 TLS_RSA_WITH_3DES_EDE_CBC_SHA", "verified"},
		{"TLS 1.2, RSA key exchange", &tls.Config{
			Certificates: []tls.Certificate{rsaCert}, MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_256_GCM_SHA384}, //nolint:gosec // G402: an old server
		}, rsaPool, "TLS 1.2 TLS_RSA_WITH_AES_256_GCM_SHA384", "verified"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := begin(t, Config{TLS: &tls.Config{RootCAs: tt.roots}}, func(p *peer) {
				s := p.secure(tt.server)
				// RFC 3207 §4.2: greeted again, and only what is offered now counts.
				s.expect("EHLO client.test\r\n")
				s.say("250-mx.test\r\n250 PIPELINING\r\n")
				s.expect("MAIL FROM:<bounce@sender.test>\r\nRCPT TO:<jane@rcpt.test>\r\nDATA\r\n")
				s.say("250 x\r\n250 x\r\n354 x\r\n")
				s.expect(body + ".\r\n")
				s.say("250 done\r\n")
			})
			if err := c.Hello(t.Context()); err != nil {
				t.Fatal(err)
			}
			i := c.Info()
			if !strings.HasPrefix(i.TLS, tt.tls) || !strings.HasPrefix(i.TLSNote, tt.note) {
				t.Errorf("got TLS %q, note %q, want %q, %q", i.TLS, i.TLSNote, tt.tls, tt.note)
			}
			if got, want := phases(i), "banner ehlo starttls starttls ehlo"; got != want {
				t.Errorf("got phases %q, want %q", got, want)
			}
			r, err := c.Send(t.Context(), letter())
			want(t, r, err, "250 done", PhaseDot)
		})
	}
}

// A message of 16 KiB is one TLS record from the first on, so that it is one
// write.
func TestOneRecord(t *testing.T) {
	cert, pool := certificate(t, ecKey(t), "mx.test", time.Now().Add(time.Hour))
	text := strings.Repeat("0123456789abcd\r\n", 900)
	c := begin(t, Config{TLS: &tls.Config{RootCAs: pool}}, func(p *peer) {
		s := p.secure(&tls.Config{Certificates: []tls.Certificate{cert}})
		s.read()
		s.say(plainest)
		for _, r := range []string{"250 x\r\n", "250 x\r\n", "354 x\r\n"} {
			s.read()
			s.say(r)
		}
		s.expect(text + ".\r\n") // one read is one record
		s.say("250 done\r\n")
	})
	if err := c.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := letter()
	e.Parts = [][]byte{[]byte(text)}
	r, err := c.Send(t.Context(), e)
	want(t, r, err, "250 done", PhaseDot)
}

// O-027, CVE-2011-0411: text after the reply to STARTTLS is not an answer to
// anything said in TLS, and no reason to go on in the clear either.
func TestResponseInjection(t *testing.T) {
	c := begin(t, Config{}, func(p *peer) {
		p.greet(offersTLS)
		p.expect("STARTTLS\r\n")
		p.say("220 ready\r\n250-mx.test\r\n250 PIPELINING\r\n")
		p.gone()
	})
	err := c.Hello(t.Context())
	e := gotError(t, nil, err, PhaseStartTLS, "between the reply to STARTTLS and the handshake", false)
	var failed *TLSError
	if errors.As(e, &failed) {
		t.Error("got a *TLSError, after which a caller would go on in the clear")
	}
	wantReusable(t, c, false)
}

// O-025: whatever becomes of the handshake, the caller learns that it was that.
func TestTLSErrors(t *testing.T) {
	cert, _ := certificate(t, ecKey(t), "mx.test", time.Now().Add(time.Hour))
	tests := []struct {
		name    string
		script  func(p *peer)
		text    string
		stalled bool
	}{
		{"454", func(p *peer) { p.say("454 4.7.0 no TLS today\r\n"); p.gone() }, "454 4.7.0 no TLS today", false},
		{"502", func(p *peer) { p.say("502 5.5.1 what?\r\n"); p.gone() }, "502 5.5.1 what?", false},
		{"close", func(p *peer) { p.say("220 ready\r\n"); p.read() }, "EOF", true},
		{"no TLS", func(p *peer) { p.say("220 ready\r\n"); p.read(); p.say("500 what?\r\n") }, "first record does not look like a TLS handshake", false},
		{"nothing in common", func(p *peer) {
			p.say("220 ready\r\n")
			rc4 := []uint16{tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA}
			conn := tls.Server(p.nc, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12, CipherSuites: rc4}) //nolint:gosec // G402: the point
			if err := conn.HandshakeContext(p.t.Context()); err == nil {
				p.t.Error("peer: got no error, want that of the handshake")
			}
		}, "handshake failure", false},
		{"refused after our last word", func(p *peer) {
			p.say("220 ready\r\n")
			conn := tls.Server(p.nc, &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert})
			if err := conn.HandshakeContext(p.t.Context()); err == nil {
				p.t.Error("peer: got no error, want that of the handshake")
			}
		}, "certificate required", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// On a real connection: an alert and what we say cross.
			c := dialPeer(t, Config{}, func(p *peer) {
				p.greet(offersTLS)
				p.expect("STARTTLS\r\n")
				tt.script(p)
			})
			err := c.Hello(within(t, 5*time.Second))
			e := gotError(t, nil, err, PhaseStartTLS, tt.text, false)
			var failed *TLSError
			if !errors.As(e, &failed) || failed.Stalled != tt.stalled {
				t.Errorf("got %#v, want a *TLSError, stalled %v", e.Err, tt.stalled)
			}
			wantReusable(t, c, false)
		})
	}
}

func TestStartTLSUnexpectedReply(t *testing.T) {
	c := begin(t, Config{}, func(p *peer) {
		p.greet(offersTLS)
		p.expect("STARTTLS\r\n")
		p.say("250 fine\r\n")
		p.gone()
	})
	e := gotError(t, nil, c.Hello(t.Context()), PhaseStartTLS, "unexpected reply: 250 fine", false)
	var failed *TLSError
	if errors.As(e, &failed) {
		t.Error("got a *TLSError of a protocol error")
	}
}

// A handshake that hangs has half a minute; a caller that stops, none.
func TestHandshakeTimeout(t *testing.T) {
	hang := func(p *peer) {
		p.greet(offersTLS)
		p.expect("STARTTLS\r\n")
		p.say("220 ready\r\n")
		p.read()
		p.gone()
	}
	synctest.Test(t, func(t *testing.T) {
		c := begin(t, Config{}, hang)
		start := time.Now()
		e := gotError(t, nil, c.Hello(t.Context()), PhaseStartTLS, "timeout", false)
		var failed *TLSError
		if !errors.As(e, &failed) || !failed.Stalled || time.Since(start) != 30*time.Second {
			t.Errorf("got %v after %v, want a stalled *TLSError after 30s", e, time.Since(start))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := begin(t, Config{}, hang)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		e := gotError(t, nil, c.Hello(ctx), PhaseStartTLS, "deadline exceeded", false)
		var failed *TLSError
		if errors.As(e, &failed) {
			t.Errorf("got %v, want no *TLSError when the caller stops", e)
		}
	})
}

// scripted dials in-memory connections, each with its script, and counts them.
type scripted struct {
	t       *testing.T
	scripts []func(p *peer)
	dialled []string
}

func (s *scripted) dial(_ context.Context, network, addr string) (net.Conn, error) {
	n := len(s.dialled)
	s.dialled = append(s.dialled, network+" "+addr)
	if n >= len(s.scripts) {
		return nil, fmt.Errorf("dial %d: %w", n, syscall.ECONNREFUSED)
	}
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		s.scripts[n](&peer{t: s.t, nc: theirs})
	}()
	s.t.Cleanup(func() {
		_ = ours.Close() // a pipe
		<-done
	})
	return ours, nil
}

// O-025, dependencies.md §2: TLS, TLS with fewer curves when it stalled, the
// clear; each on a connection of its own.
func TestConnect(t *testing.T) {
	cert, _ := certificate(t, ecKey(t), "mx.test", time.Now().Add(time.Hour))
	server := &tls.Config{Certificates: []tls.Certificate{cert}}
	stall := func(p *peer) {
		p.greet(offersTLS)
		p.expect("STARTTLS\r\n")
		p.say("220 ready\r\n")
		hello := p.read()
		// X25519MLKEM768 brings 1,216 octets of key share.
		if len(hello) < 1216 {
			p.t.Errorf("peer: got a hello of %d octets first, want one with a post-quantum key", len(hello))
		}
	}
	stallFew := func(p *peer) {
		p.greet(offersTLS)
		p.expect("STARTTLS\r\n")
		p.say("220 ready\r\n")
		if hello := p.read(); len(hello) > 1000 {
			p.t.Errorf("peer: got a hello of %d octets, want one that fits a packet", len(hello))
		}
	}
	works := func(p *peer) {
		s := p.secure(server)
		s.read()
		s.say(plainest)
		s.expect("QUIT\r\n")
	}
	refuse := func(p *peer) {
		p.greet(offersTLS)
		p.expect("STARTTLS\r\n")
		p.say("454 4.7.0 no\r\n")
	}
	clear := func(p *peer) {
		p.greet(offersTLS)
		p.expect("QUIT\r\n")
	}
	busy := func(p *peer) { p.say("421 4.3.2 busy\r\n") }
	tests := []struct {
		name    string
		scripts []func(p *peer)
		tls     string
		note    string
		err     string
	}{
		{"at once", []func(*peer){works}, "TLS 1.3", "not verified", ""},
		{"fewer curves", []func(*peer){stall, works}, "TLS 1.3", "not verified", ""},
		{"clear after two stalls", []func(*peer){stall, stallFew, clear}, "", "not used: TLS handshake: EOF", ""},
		{"clear after a refusal", []func(*peer){refuse, clear}, "", "not used: TLS handshake: 454 4.7.0 no", ""},
		{"busy", []func(*peer){busy}, "", "", "421 4.3.2 busy"},
		{"busy the second time", []func(*peer){refuse, busy}, "", "", "421 4.3.2 busy"},
		{"nobody there", nil, "", "", "connect: dial 192.0.2.1:25: dial 0: connection refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &scripted{t: t, scripts: tt.scripts}
			d := DialConfig{Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:25")}, Dialer: s.dial}
			c, err := Connect(t.Context(), d, "mx.test", Config{Hostname: "client.test"})
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("got %v, want %q", err, tt.err)
				}
				if c != nil && c.Reusable() {
					t.Error("got a reusable client with an error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			i := c.Info()
			if !strings.HasPrefix(i.TLS, tt.tls) || (tt.tls == "" && i.TLS != "") || !strings.HasPrefix(i.TLSNote, tt.note) {
				t.Errorf("got TLS %q, note %q, want %q, %q", i.TLS, i.TLSNote, tt.tls, tt.note)
			}
			if i.Phases[0].Phase != PhaseConnect {
				t.Errorf("got phases %v, want connect first", i.Phases)
			}
			if got := len(s.dialled); got != len(tt.scripts) {
				t.Errorf("got %d connections, want %d", got, len(tt.scripts))
			}
			wantReusable(t, c, true)
			_ = c.Quit(t.Context()) //nolint:errcheck // the peer closes
		})
	}
}
