package smtpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// startTLS upgrades the connection (RFC 3207) and greets again.
func (c *Client) startTLS(ctx context.Context) error {
	c.out = append(c.out[:0], "STARTTLS\r\n"...)
	if err := c.command(ctx, PhaseStartTLS, c.cfg.Timeouts.Hello); err != nil {
		return err
	}
	if err := c.answer(ctx, PhaseStartTLS, c.cfg.Timeouts.Hello); err != nil {
		return err
	}
	if c.raw.code != 220 {
		if class := c.raw.code / 100; class != 4 && class != 5 {
			return c.refusal(PhaseStartTLS)
		}
		return &Error{Phase: PhaseStartTLS, Err: &TLSError{Err: c.raw.reply(PhaseStartTLS)}}
	}
	// RFC 3207 §6 and CVE-2011-0411: what stands in the buffer now came in the
	// clear, from anybody, and would be read as an answer to what we ask next.
	if c.in.Buffered() > 0 {
		return &Error{Phase: PhaseStartTLS, Err: &ProtocolError{"text between the reply to STARTTLS and the handshake"}}
	}
	if err := c.handshake(ctx); err != nil {
		return err
	}
	err := c.ehlo(ctx)
	// With TLS 1.3 the peer's last word on the handshake comes after ours.
	if isAlert(err) {
		return &Error{Phase: PhaseStartTLS, Err: &TLSError{Err: errors.Unwrap(err)}}
	}
	return err
}

func (c *Client) handshake(ctx context.Context) error {
	err := c.allow(ctx, c.cfg.Timeouts.StartTLS)
	conn := tls.Client(c.socket, c.tlsConfig())
	if err == nil {
		err = conn.HandshakeContext(ctx)
	}
	c.took(PhaseStartTLS)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return &Error{Phase: PhaseStartTLS, Err: cause}
		}
		return &Error{Phase: PhaseStartTLS, Err: &TLSError{Err: err, Stalled: timeout(err) || cutOff(err)}}
	}
	s := conn.ConnectionState()
	c.nc, c.tls = conn, tls.VersionName(s.Version)+" "+tls.CipherSuiteName(s.CipherSuite)
	// A new reader: nothing that was read before belongs to this session.
	c.in.Reset(conn)
	return nil
}

// tlsConfig is that of opportunistic TLS: RFC 7435 §3 wants anything rather
// than the clear, so that versions and suites are taken that Go leaves out by
// default, and a certificate that does not verify is noted.
func (c *Client) tlsConfig() *tls.Config {
	cfg := &tls.Config{}
	if c.cfg.TLS != nil {
		cfg = c.cfg.TLS.Clone()
	}
	cfg.ServerName = c.host
	cfg.MinVersion = tls.VersionTLS10
	cfg.CipherSuites = suites()
	if c.cfg.FewCurves {
		cfg.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}
	}
	// A message goes out in one write; small first records would make many.
	cfg.DynamicRecordSizingDisabled = true
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		c.note = verify(s, c.host, cfg)
		return nil
	}
	return cfg
}

// verify says in words whether a certificate is that of the host.
func verify(s tls.ConnectionState, host string, cfg *tls.Config) string {
	if len(s.PeerCertificates) == 0 {
		return "not verified: no certificate"
	}
	opts := x509.VerifyOptions{Roots: cfg.RootCAs, DNSName: host, Intermediates: x509.NewCertPool()}
	if cfg.Time != nil {
		opts.CurrentTime = cfg.Time()
	}
	for _, cert := range s.PeerCertificates[1:] {
		opts.Intermediates.AddCert(cert)
	}
	if _, err := s.PeerCertificates[0].Verify(opts); err != nil {
		return "not verified: " + escape(fmt.Append(nil, err), 256)
	}
	return "verified"
}

// suites are those of TLS 1.0 to 1.2, strong ones first. Go leaves out RSA key
// exchange and 3DES unless they are listed; old servers have nothing else. RC4
// is left out: who has that alone has waited too long.
func suites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
		tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA,
	}
}

// isAlert tells whether an error is a TLS alert of either side.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}
