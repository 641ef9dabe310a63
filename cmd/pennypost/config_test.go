package main

import (
	"bytes"
	"context"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite golden files")

// runApp runs a command as main does.
func runApp(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{args: args, env: env, stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
	code = a.run(t.Context())
	return code, out.String(), errs.String()
}

func writeTemp(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const hostEnv = "PENNYPOST_HOSTNAME=mail.example.com"

func TestDefaults(t *testing.T) {
	c, err := loadConfig(&settings{}, []string{hostEnv, "HOME=/root"}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ what, got, want string }{
		{"smtp", strings.Join(c.smtpListen, " "), ":25 :587 :2525"},
		{"smtps", strings.Join(c.smtpsListen, " "), ":465"},
		{"http", strings.Join(c.httpListen, " "), "127.0.0.1:8080"},
		{"https", strings.Join(c.httpsListen, " "), ":443"},
		{"operator", strings.Join(c.operatorListen, " "), "127.0.0.1:9091"},
		{"metrics", strings.Join(c.metricsListen, " "), "127.0.0.1:9090"},
		{"bounce domain", c.bounceDomain, "pm.mail.example.com"},
		{"spf domain", c.spfDomain, "spf.mail.example.com"},
		{"inbound domain", c.inboundDomain, "inbound.mail.example.com"},
		{"track domain", c.trackDomain, "track.mail.example.com"},
		{"public url", c.publicURL, "https://mail.example.com"},
		{"tracking", c.trackBase, "https://mail.example.com"},
		{"data", c.dataDir, "./data"},
		{"master key", c.masterKeyFile, "data/master.key"},
		{"log level", c.logLevel.String(), "INFO"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.what, tt.got, tt.want)
		}
	}
	if c.mxPort != 25 || c.allowPrivate || c.insecureHTTP || c.smtpAuthLocal || c.logJSON || len(c.resolver) != 0 ||
		!slices.Equal(c.inboundPorts, []int{25}) || c.stopWithin != 25*time.Second || c.apiRate != 1000 {
		t.Errorf("got %+v", c)
	}
}

func TestNoRate(t *testing.T) {
	c, err := loadConfig(&settings{APIRate: "off"}, []string{hostEnv}, "")
	if err != nil || c.apiRate != 0 {
		t.Errorf("got %d, %v, want no limit", c.apiRate, err)
	}
}

// The command line goes before the environment, that before the file.
func TestPrecedence(t *testing.T) {
	file := writeTemp(t, "p.toml", `
hostname = "file.example.com"
mx_port = 2525
resolver = ["127.0.0.1:5353", "::1"]
allow_private_mx = true
log_level = "warn"
`)
	flags := &settings{Hostname: "flag.example.com"}
	c, err := loadConfig(flags, []string{"PENNYPOST_HOSTNAME=env.example.com", "PENNYPOST_LOG_LEVEL=debug", "PENNYPOST_CONFIG=" + file}, "")
	if err != nil {
		t.Fatal(err)
	}
	if c.hostname != "flag.example.com" || c.logLevel.String() != "DEBUG" || c.mxPort != 2525 || !c.allowPrivate ||
		!slices.Equal(c.resolver, []string{"127.0.0.1:5353", "[::1]:53"}) {
		t.Errorf("got %+v", c)
	}
}

func TestValues(t *testing.T) {
	key := writeTemp(t, "token", strings.Repeat("s", 40)+"\n")
	c, err := loadConfig(&settings{}, []string{
		"PENNYPOST_HOSTNAME=MAIL.Example.COM", "PENNYPOST_SMTP_LISTEN=off", "PENNYPOST_HTTP_LISTEN= [::1]:80 , localhost:81",
		"PENNYPOST_TRUSTED_PROXIES=10.1.2.3/8,192.0.2.1", "PENNYPOST_OPERATOR_TOKEN_FILE=" + key, "PENNYPOST_PUBLIC_URL=http://127.0.0.1:8080/",
		"PENNYPOST_LOG_FORMAT=JSON", "PENNYPOST_STOP_WITHIN=1m", "PENNYPOST_BOUNCE_DOMAIN=b.example.com", "PENNYPOST_SPF_DOMAIN=",
		"PENNYPOST_DISK_RESERVE=512MiB", "PENNYPOST_MEMORY_LIMIT=2g", "PENNYPOST_API_RATE=250",
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	if c.hostname != "mail.example.com" || len(c.smtpListen) != 0 || !slices.Equal(c.httpListen, []string{"[::1]:80", "localhost:81"}) ||
		!slices.Equal(c.trusted, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")}) ||
		c.operatorToken != strings.Repeat("s", 40) || c.publicURL != "http://127.0.0.1:8080" || !c.logJSON || c.stopWithin != time.Minute ||
		c.diskReserve != 512<<20 || c.memoryLimit != 2<<30 || c.apiRate != 250 ||
		c.bounceDomain != "b.example.com" || c.spfDomain != "spf.mail.example.com" {
		t.Errorf("got %+v", c)
	}
}

// All that is wrong is told at once, each by the name under which it was given,
// and no secret is told.
func TestFaultsAllAtOnce(t *testing.T) {
	secret := "canary-secret" // too short
	file := writeTemp(t, "p.toml", "smpt_listen = \":25\"\nmx_port = 70000\nlog_level = {a = 1}\n")
	code, stdout, stderr := runApp(t, []string{
		"PENNYPOST_HOSTNAME=localhost", "PENNYPOST_HTTP_LISTEN=0.0.0.0:80,127.0.0.1", "PENNYPOST_SMTP_LISTN=:25", "PENNYPOST_ACME=true",
		"PENNYPOST_ACCOUNT_TOKEN=" + secret, "PENNYPOST_OPERATOR_TOKEN=" + secret, "PENNYPOST_OPERATOR_TOKEN_FILE=/nowhere",
		"PENNYPOST_DATABASE_URL_FILE=/nowhere/at/all", "PENNYPOST_TLS_CERT=/x", "PENNYPOST_INSECURE_HTTP=maybe",
	}, "serve", "--config", file, "--resolver", "dns.example", "--stop-within=0", "--smtp-lisden", ":26", "--trusted-proxies=10.0.0.0/99", "--log-format", "xml", "--api-rate=0")
	if code != exitUsage || stdout != "" {
		t.Errorf("got code %d, output %q", code, stdout)
	}
	for _, want := range []string{
		"--smtp-lisden: unknown setting, did you mean smtp-listen?",
		"PENNYPOST_SMTP_LISTN: unknown setting, did you mean PENNYPOST_SMTP_LISTEN?",
		"PENNYPOST_ACME: unknown setting",
		"p.toml: smpt_listen: unknown setting, did you mean smtp_listen?",
		"p.toml: mx_port: \"70000\" is not a port",
		"p.toml: log_level: must be a text",
		"PENNYPOST_HOSTNAME: \"localhost\" is not a full domain name",
		"PENNYPOST_HTTP_LISTEN: \"127.0.0.1\" is not an address",
		"PENNYPOST_HTTP_LISTEN: 0.0.0.0:80 can be reached from other machines",
		"PENNYPOST_ACCOUNT_TOKEN: must have 32 to 200 characters",
		"PENNYPOST_OPERATOR_TOKEN_FILE: given beside PENNYPOST_OPERATOR_TOKEN",
		"PENNYPOST_DATABASE_URL_FILE: open /nowhere/at/all",
		"PENNYPOST_TLS_CERT: needs tls-key",
		"PENNYPOST_INSECURE_HTTP: \"maybe\" is neither true nor false",
		"--resolver: \"dns.example\" is not an address",
		"--stop-within: \"0\" is not a duration",
		"--trusted-proxies: \"10.0.0.0/99\" is not a network",
		"--log-format: \"xml\" is not text or json",
		"--api-rate: \"0\" is not a number from 1 to 1000000, nor off",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("not told: %s", want)
		}
	}
	if strings.Contains(stderr, secret) {
		t.Errorf("a secret is told:\n%s", stderr)
	}
	if t.Failed() {
		t.Log(stderr)
	}
}

func TestBrokenFiles(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"a = [", "line 1"},
		{"hostname = 1.5\n", "hostname: must be a text"},
		{"[smtp]\nlisten = \":25\"\n", "smtp: unknown setting"},
	} {
		file := writeTemp(t, "p.toml", tt.text)
		if _, err := loadConfig(&settings{}, []string{hostEnv}, file); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want %q", tt.text, err, tt.want)
		}
	}
	if _, err := loadConfig(&settings{}, []string{hostEnv}, "/nowhere.toml"); err == nil || !strings.Contains(err.Error(), "nowhere.toml") {
		t.Errorf("got %v", err)
	}
	if _, err := readSecret(writeTemp(t, "empty", "\n")); err == nil {
		t.Error("an empty secret was taken")
	}
	if _, err := readSecret(writeTemp(t, "long", strings.Repeat("x", maxSecretFile+1))); err == nil {
		t.Error("a huge secret was taken")
	}
}

func TestHelpGolden(t *testing.T) {
	for _, command := range []string{"", "serve", "dev", "demo", "migrate", "doctor", "admin", "admin suspend", "version"} {
		code, got, stderr := runApp(t, nil, append(strings.Fields(command), "--help")...)
		if code != exitOK || stderr != "" {
			t.Errorf("%s --help: got code %d, %q", command, code, stderr)
		}
		file := filepath.Join("testdata", "help", strings.TrimSpace("help "+command)+".txt")
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s --help changed; `make golden` rewrites it:\n%s", command, got)
		}
	}
}

// Every setting is explained, with its default and its variable.
func TestHelpNamesEverySetting(t *testing.T) {
	_, got, _ := runApp(t, nil, "serve", "--help")
	flat := strings.Join(strings.Fields(got), " ")
	for _, d := range declarations() {
		if !strings.Contains(got, "--"+d.name) || !strings.Contains(flat, d.env()) || d.help == "" {
			t.Errorf("%s is not explained", d.name)
		}
		if def := strings.Trim(d.def, "()"); !strings.Contains(flat, "Default: "+def) {
			t.Errorf("default of %s is not told: %s", d.name, def)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"srve"}, exitUsage, "unexpected argument srve"},
		{[]string{"version", "--foo"}, exitUsage, "unknown flag --foo"},
		{[]string{"admin", "suspend", "--server", "1"}, exitUsage, "--reason"},
		{[]string{"admin", "suspend", "--reason", "x"}, exitUsage, "--server"},
		{[]string{"admin", "discard", "--server", "1"}, exitUsage, "--yes"},
		{[]string{"admin", "accounts", "--url", "ftp://x"}, exitUsage, "not an address"},
		{[]string{"admin", "accounts", "--data-dir", "/nowhere"}, exitNotAllowed, "no operator token"},
	} {
		code, _, stderr := runApp(t, nil, tt.args...)
		if code != tt.code || !strings.Contains(stderr, tt.want) {
			t.Errorf("%v: got %d, %q; want %d, %q", tt.args, code, stderr, tt.code, tt.want)
		}
	}
	code, stdout, _ := runApp(t, nil, "version")
	if code != exitOK || !strings.HasPrefix(stdout, "pennypost ") {
		t.Errorf("version: got %d, %q", code, stdout)
	}
	if code, stdout, _ := runApp(t, nil); code != exitOK || !strings.Contains(stdout, "serve") {
		t.Errorf("no command: got %d, %q", code, stdout)
	}
}

// A toggle's name alone means true; what follows an equals sign is judged with
// the other settings.
func TestToggles(t *testing.T) {
	env := []string{hostEnv, "PENNYPOST_HTTP_LISTEN=0.0.0.0:80", "PENNYPOST_MX_PORT=none"}
	for _, tt := range []struct {
		arg      string
		refused  bool // plain HTTP
		mistaken bool
	}{
		{"--insecure-http", false, false},
		{"--insecure-http=true", false, false},
		{"--insecure-http=false", true, false},
		{"--insecure-http=perhaps", true, true},
	} {
		// The port is wrong each time, so that nothing is started.
		code, _, stderr := runApp(t, env, "serve", tt.arg)
		if code != exitUsage || strings.Contains(stderr, "without TLS") != tt.refused || strings.Contains(stderr, "neither true nor false") != tt.mistaken {
			t.Errorf("%s: got %d, %s", tt.arg, code, stderr)
		}
	}
}

func TestInterruptedIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := &app{stderr: &bytes.Buffer{}}
	if got := a.end(ctx, context.Canceled); got != exitInterrupted {
		t.Errorf("got %d", got)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"268435456": 256 << 20, "268435456B": 256 << 20, "262144K": 256 << 20, "256M": 256 << 20, "256MiB": 256 << 20,
		"1gib": 1 << 30, "3T": 3 << 40,
	} {
		c, err := loadConfig(&settings{MemoryLimit: value(text)}, []string{hostEnv}, "")
		if err != nil || c.memoryLimit != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"0", "-1G", "127M", "1.5G", "G", "1GG", "12 M", "99999999999999999999", "9999999999T", "5%"} {
		if _, err := loadConfig(&settings{MemoryLimit: value(text)}, []string{hostEnv}, ""); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// Links begin with the tracking domain where one is set: the default of it
// needs records that a fresh instance has not (contract/tracking.md §3: HTTPS).
func TestTrackBase(t *testing.T) {
	for _, tt := range []struct {
		env  []string
		want string
	}{
		{nil, "https://mail.example.com"},
		{[]string{"PENNYPOST_PUBLIC_URL=https://api.example.com/"}, "https://api.example.com"},
		{[]string{"PENNYPOST_TRACK_DOMAIN=Click.example.com", "PENNYPOST_PUBLIC_URL=http://api.example.com"}, "https://click.example.com"},
	} {
		c, err := loadConfig(&settings{}, append([]string{hostEnv}, tt.env...), "")
		if err != nil {
			t.Fatal(err)
		}
		if c.trackBase != tt.want {
			t.Errorf("%v: got %q, want %q", tt.env, c.trackBase, tt.want)
		}
	}
}
