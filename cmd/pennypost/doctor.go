package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pennypost/internal/mx"
	"pennypost/internal/store"
)

// doctorCmd says what is needed and whether it is there.
type doctorCmd struct {
	configured
	Strict bool `name:"strict" help:"A warning counts as a failure."`
	JSON   bool `name:"json" help:"Print the findings as JSON."`
	// Database is not the default: it reads all of the file.
	Database bool `name:"database" help:"Check the whole SQLite database, which takes a second for a gigabyte or so. The service may run."`
}

// Help is the text above the flags.
func (doctorCmd) Help() string {
	return `Examples:
  pennypost doctor
  pennypost doctor --config /etc/pennypost.toml --strict
  pennypost doctor --database

Takes the settings of "serve". Exit 1 when something fails.`
}

// finding is one line of the doctor.
type finding struct {
	Area   string `json:"area"`
	Status string `json:"status"`
	Text   string `json:"text"`
	Fix    string `json:"fix,omitempty"`
}

// patient is what the doctor looks at.
type patient struct {
	conf     *config
	resolver *mx.Resolver
	list     []finding
}

func (p *patient) note(area, status, text, fix string) {
	p.list = append(p.list, finding{area, status, text, fix})
}

// doctorWithin bounds all of the doctor's questions.
const doctorWithin = time.Minute

// checkWithin bounds the check of a database, which may be large.
const checkWithin = time.Hour

// Run is called by kong.
func (c *doctorCmd) Run(ctx context.Context, a *app) error {
	conf, err := loadConfig(&c.Settings, a.env, c.Config)
	if err != nil {
		return err
	}
	within := doctorWithin
	if c.Database {
		within += checkWithin
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	p := &patient{conf: conf}
	if p.resolver, err = mx.NewResolver(mx.ResolverConfig{Servers: conf.resolver}); err != nil {
		return err
	}
	records := p.records()
	p.files()
	if c.Database {
		p.database(ctx)
	}
	p.certificate(a.stderr)
	p.ports(ctx)
	p.dns(ctx, records)
	if err := c.show(a.stdout, records, p.list); err != nil {
		return err
	}
	bad := slices.ContainsFunc(p.list, func(f finding) bool {
		return f.Status == healthFail || c.Strict && f.Status == healthWarn
	})
	if bad {
		return &exitError{exitFailed, errors.New("not everything is well")}
	}
	return nil
}

func (c *doctorCmd) show(out io.Writer, records []record, list []finding) error {
	if c.JSON {
		return json.NewEncoder(out).Encode(map[string]any{"records": records, "findings": list})
	}
	_, _ = fmt.Fprintln(out, "DNS records that this instance needs:")
	for _, r := range records {
		_, _ = fmt.Fprintf(out, "  %s\n", r)
	}
	_, _ = fmt.Fprintln(out)
	for _, f := range list {
		mark := map[string]string{healthOK: "✔", healthWarn: "⚠", healthFail: "✖"}[f.Status]
		_, _ = fmt.Fprintf(out, "%s %-11s %s\n", mark, f.Area, f.Text)
		if f.Fix != "" {
			_, _ = fmt.Fprintf(out, "  %-11s → %s\n", "", f.Fix)
		}
	}
	return nil
}

// files looks at the data directory.
func (p *patient) files() {
	dir := p.conf.dataDir
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		p.note("data", healthWarn, dir+" does not exist yet", "start the service once")
		return
	case err != nil:
		p.note("data", healthFail, err.Error(), "")
		return
	case st.Mode().Perm()&0o077 != 0:
		p.note("data", healthWarn, fmt.Sprintf("%s can be read by others (mode %04o)", dir, st.Mode().Perm()), "chmod 700 "+dir)
	default:
		p.note("data", healthOK, dir+" is there and is nobody else's", "")
	}
	key, err := os.Stat(p.conf.masterKeyFile)
	switch {
	case err != nil:
		p.note("master key", healthFail, err.Error(), "restore it: without it no secret can be read")
	case key.Mode().Perm()&0o077 != 0:
		p.note("master key", healthFail, fmt.Sprintf("%s can be read by others (mode %04o)", p.conf.masterKeyFile, key.Mode().Perm()), "chmod 600 "+p.conf.masterKeyFile)
	default:
		p.note("master key", healthOK, p.conf.masterKeyFile+" is there; keep a copy apart from the backups", "")
	}
	if _, err := os.Stat(filepath.Join(dir, firstRunFile)); err == nil {
		p.note("tokens", healthWarn, filepath.Join(dir, firstRunFile)+" still has the first tokens", "put them away safely, then delete the file")
	}
}

// database checks the database as a whole.
func (p *patient) database(ctx context.Context) {
	if p.conf.databaseURL != "" {
		p.note("database", healthWarn, "PostgreSQL is not checked from here", "use pg_amcheck")
		return
	}
	found, err := store.Check(ctx, p.conf.dataDir)
	const fix = "stop the service, keep a copy of the files, restore a backup, or recover the file with sqlite3's .recover"
	switch {
	case err != nil:
		p.note("database", healthFail, err.Error(), fix)
	case len(found) > 0:
		p.note("database", healthFail, fmt.Sprintf("damaged, %d findings: %s", len(found), strings.Join(found, "; ")), fix)
	default:
		p.note("database", healthOK, "sound: all pages and indexes were read", "")
	}
}

func (p *patient) certificate(stderr io.Writer) {
	c := *p.conf
	if c.tlsCert == "" {
		if _, err := os.Stat(filepath.Join(c.dataDir, "self-signed.crt")); err != nil {
			p.note("certificate", healthWarn, "none yet; the first start makes a self-signed one", "set tls-cert and tls-key")
			return
		}
	}
	cert, err := openCertificate(&c, time.Now, newLog(stderr, c.logLevel, c.logJSON))
	if err != nil {
		p.note("certificate", healthFail, err.Error(), "")
		return
	}
	until := cert.until().UTC().Format(time.DateOnly)
	leaf := cert.current.Leaf
	switch {
	case cert.left() <= 0:
		p.note("certificate", healthFail, "expired on "+until, "renew it")
	case leaf.VerifyHostname(c.hostname) != nil:
		p.note("certificate", healthFail, "is not for "+c.hostname, "take one for that name, or set hostname")
	case c.ownTrackHost && leaf.VerifyHostname(c.trackDomain) != nil:
		p.note("certificate", healthWarn, "is not for "+c.trackDomain+", where tracked links lead",
			"take one for both names, or let a proxy end TLS for it")
	case cert.left() < certWarnBefore:
		p.note("certificate", healthWarn, "expires on "+until, "renew it")
	case cert.selfSigned:
		p.note("certificate", healthWarn, "self-signed: clients that check certificates refuse it", "set tls-cert and tls-key")
	default:
		p.note("certificate", healthOK, "good for "+c.hostname+" until "+until, "")
	}
}

// ports looks whether the service answers, or whether it could.
func (p *patient) ports(ctx context.Context) {
	running := p.health(ctx)
	for _, a := range p.conf.smtpListen {
		switch {
		case running:
			banner, err := smtpBanner(ctx, a)
			if err != nil {
				p.note("port", healthFail, a+" does not answer: "+err.Error(), "")
				continue
			}
			p.note("port", healthOK, a+" answers "+banner, "")
		default:
			p.free(ctx, a)
		}
	}
	if !running {
		for _, a := range slices.Concat(p.conf.smtpsListen, p.conf.httpListen, p.conf.httpsListen) {
			p.free(ctx, a)
		}
	}
}

// free tells whether a port could be opened.
func (p *patient) free(ctx context.Context, a string) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", a)
	if err != nil {
		p.note("port", healthFail, err.Error(), "end what uses it, or let the service use low ports (CAP_NET_BIND_SERVICE)")
		return
	}
	_ = l.Close()
	p.note("port", healthOK, a+" is free", "")
}

// health asks a running service; false when none answers.
func (p *patient) health(ctx context.Context) bool {
	if len(p.conf.metricsListen) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(p.conf.metricsListen[0])+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.note("service", healthWarn, "is not running (or its metrics listener is another)", "")
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	var answer healthAnswer
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		p.note("service", healthFail, reachable(p.conf.metricsListen[0])+" is something else", "")
		return false
	}
	p.note("service", answer.Status, "is running", "")
	for _, name := range []string{"store", "service"} {
		if c, ok := answer.Checks[name]; ok {
			p.note(name, c.Status, c.Note, "")
		}
	}
	return true
}

// reachable is where a client on this machine finds a listener.
func reachable(a string) string {
	host, port, err := net.SplitHostPort(a)
	if err == nil && (host == "" || host == "0.0.0.0" || host == "::") {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return a
}

func smtpBanner(ctx context.Context, a string) (string, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, "tcp", reachable(a))
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(io.LimitReader(c, 1024)).ReadString('\n')
	if err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "QUIT\r\n"); err != nil {
		return "", err
	}
	return strings.TrimSpace(line), nil
}
