package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pennypost/internal/fakenet"
)

// Names of the pretend internet.
const (
	worldHost   = "mail.pennypost.test"
	worldDomain = "shop.test"
)

// worldFile keeps what a world was seeded with, for the next start in the same
// directory.
const worldFile = "dev.json"

// world is an instance with a pretend internet around it, and a customer in it.
type world struct {
	net  *fakenet.Net
	svc  *service
	seed seed
}

// seed is the customer.
type seed struct {
	AccountToken, OperatorToken string
	ServerID                    int64
	ServerToken                 string
	SMTPUser, SMTPSecret        string
	// Records are the DNS records of the customer's domain.
	Records []string
}

// worldAddrs are the listeners of an instance.
type worldAddrs struct{ smtp, smtps, http, operator, metrics string }

// freePorts leaves the choice of ports to the system.
func freePorts() worldAddrs {
	const free = "127.0.0.1:0"
	return worldAddrs{smtp: free, smtps: free, http: free, operator: free, metrics: free}
}

// newWorld makes instance and net; the instance keeps its data in dir.
func newWorld(ctx context.Context, dir string, at worldAddrs, fc fakenet.Config, log *slog.Logger) (*world, error) {
	w := &world{}
	if err := w.load(dir); err != nil {
		return nil, err
	}
	var err error
	if w.net, err = fakenet.New(fc); err != nil {
		return nil, err
	}
	conf := &config{
		smtpListen: split(at.smtp), smtpsListen: split(at.smtps), httpListen: split(at.http),
		operatorListen: split(at.operator), metricsListen: split(at.metrics),
		hostname: worldHost, bounceDomain: "pm." + worldHost, spfDomain: "spf." + worldHost,
		inboundDomain: "inbound." + worldHost, trackDomain: "track." + worldHost,
		dataDir: dir, masterKeyFile: filepath.Join(dir, "master.key"),
		resolver: []string{w.net.DNSAddr()}, mxPort: w.net.MXPort(), allowPrivate: true, apiRate: 1000,
		stopWithin: 15 * time.Second, publicURL: "http://" + at.http, trackBase: "http://" + at.http,
	}
	for _, a := range conf.smtpListen {
		if _, port, err := net.SplitHostPort(a); err == nil && port == "2525" {
			conf.inboundPorts = []int{2525}
		}
	}
	if w.svc, err = newService(ctx, conf, log); err != nil {
		return nil, errors.Join(err, stopNet(w.net))
	}
	if f := w.svc.firstRun; f.AccountToken != "" {
		w.seed.AccountToken, w.seed.OperatorToken = f.AccountToken.Reveal(), f.OperatorToken.Reveal()
	}
	return w, nil
}

// stopNet ends a net that never ran.
func stopNet(n *fakenet.Net) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return n.Run(ctx)
}

// load reads what an earlier start left.
func (w *world) load(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, worldFile)) //nolint:gosec // G304: the directory of the command
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(b, &w.seed)
}

// run runs all until ctx ends. up is called once the instance answers; its
// error ends all.
func (w *world) run(ctx context.Context, up func(ctx context.Context) error) error {
	outside := newStage(context.WithoutCancel(ctx))
	outside.start("pretend internet", w.net.Run)
	inside := newStage(ctx)
	inside.start("service", func(ctx context.Context) error { return w.svc.run(ctx, nil) })
	inside.start("seed", func(ctx context.Context) error {
		if err := w.plant(ctx); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
		return up(ctx)
	})
	return errors.Join(inside.group.Wait(), outside.end())
}

func (w *world) api(header, token string) *client {
	return newClient("http://"+w.svc.http[0].Addr().String(), header, token)
}

// plant makes the customer through the API, as a person would, and publishes
// the DNS records.
func (w *world) plant(ctx context.Context) error {
	for _, line := range []string{
		worldHost + ". 60 IN A 127.0.0.1",
		"pm." + worldHost + ". 60 IN MX 10 " + worldHost + ".",
		"pm." + worldHost + ". 60 IN TXT \"v=spf1 a:" + worldHost + " -all\"",
		"spf." + worldHost + ". 60 IN TXT \"v=spf1 a:" + worldHost + " ~all\"",
	} {
		if err := w.net.Record(line); err != nil {
			return err
		}
	}
	if err := w.plantOwnKey(ctx); err != nil {
		return err
	}
	if w.seed.ServerID == 0 {
		if err := w.plantCustomer(ctx); err != nil {
			return err
		}
		b, err := json.MarshalIndent(w.seed, "", "  ")
		if err != nil {
			return err
		}
		return writeFile(filepath.Join(w.svc.conf.dataDir, worldFile), b, 0o600)
	}
	for _, line := range w.seed.Records {
		if err := w.net.Record(line); err != nil {
			return err
		}
	}
	return nil
}

// plantOwnKey publishes the key that signs our own mail.
func (w *world) plantOwnKey(ctx context.Context) error {
	key, err := w.svc.accounts.InstanceDKIM(ctx)
	if err != nil {
		return err
	}
	return w.net.Record(txtRecord(key.Host(), key.TXT))
}

func (w *world) plantCustomer(ctx context.Context) error {
	account := w.api(accountHeader, w.seed.AccountToken)
	var server struct {
		ID        int64
		ApiTokens []string
	}
	if err := account.call(ctx, "POST", "/servers", map[string]any{"Name": "Demo"}, &server); err != nil {
		return err
	}
	if len(server.ApiTokens) == 0 {
		return errors.New("the new server has no token")
	}
	w.seed.ServerID, w.seed.ServerToken = server.ID, server.ApiTokens[0]
	if err := w.plantDomain(ctx, account); err != nil {
		return err
	}
	var token struct{ Username, Secret string }
	err := w.api(serverHeader, w.seed.ServerToken).call(ctx, "POST", "/smtp-tokens", map[string]any{"Label": "demo"}, &token)
	w.seed.SMTPUser, w.seed.SMTPSecret = token.Username, token.Secret
	return err
}

// sendingDomain is what we read of a domain's answer.
type sendingDomain struct {
	ID                                    int64
	DKIMPendingHost, DKIMPendingTextValue string
	DKIMVerified                          bool
	ReturnPathDomain                      string
	ReturnPathDomainCNAMEValue            string
	ReturnPathDomainVerified              bool
}

func (w *world) plantDomain(ctx context.Context, account *client) error {
	var d sendingDomain
	err := account.call(ctx, "POST", "/domains", map[string]any{
		"Name": worldDomain, "ReturnPathDomain": "pm-bounces." + worldDomain,
	}, &d)
	if err != nil {
		return err
	}
	w.seed.Records = []string{
		txtRecord(d.DKIMPendingHost, d.DKIMPendingTextValue),
		d.ReturnPathDomain + ". 60 IN CNAME " + d.ReturnPathDomainCNAMEValue + ".",
	}
	for _, line := range w.seed.Records {
		if err := w.net.Record(line); err != nil {
			return err
		}
	}
	for _, verify := range []string{"verifyDkim", "verifyReturnPath"} {
		if err := account.call(ctx, "PUT", fmt.Sprintf("/domains/%d/%s", d.ID, verify), nil, &d); err != nil {
			return err
		}
	}
	if !d.DKIMVerified || !d.ReturnPathDomainVerified {
		return fmt.Errorf("domain %s is not verified: DKIM %v, return path %v", worldDomain, d.DKIMVerified, d.ReturnPathDomainVerified)
	}
	return nil
}

// txtRecord writes a TXT record; its strings hold 255 octets at most (RFC 1035
// §3.3.14).
func txtRecord(name, text string) string {
	var b strings.Builder
	b.WriteString(name + ". 60 IN TXT")
	for text != "" {
		n := min(len(text), 200)
		b.WriteString(" \"" + text[:n] + "\"")
		text = text[n:]
	}
	return b.String()
}

// clientTLS trusts the instance's own certificate and nothing else.
func (w *world) clientTLS() (*tls.Config, error) {
	pem, err := os.ReadFile(w.svc.cert.certFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("the instance's certificate cannot be read")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: worldHost}, nil
}
