package main

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pennypost/internal/eml"
)

// config is the settings of `serve`, read and checked.
type config struct {
	smtpListen, smtpsListen, httpListen, httpsListen, operatorListen, metricsListen []string

	inboundPorts  []int
	smtpAuthLocal bool
	insecureHTTP  bool
	trusted       []netip.Prefix

	hostname, bounceDomain, spfDomain, inboundDomain, trackDomain, publicURL string

	dataDir, databaseURL, masterKeyFile string
	accountToken, operatorToken         string
	tlsCert, tlsKey                     string

	trackBase       string // what the URLs of tracking begin with: publicURL, unless ownTrackHost
	ownTrackHost    bool   // trackDomain was set
	geoFile         string
	trackingPrivacy bool

	resolver     []string
	mxPort       int
	allowPrivate bool

	diskReserve, memoryLimit int64 // 0: found out
	apiRate                  int   // requests a second of a token; 0: no limit

	logLevel   slog.Level
	logJSON    bool
	stopWithin time.Duration
}

// loadConfig reads the settings from all sources. The error names all that is
// wrong.
func loadConfig(flags *settings, env []string, configFile string) (*config, error) {
	r := &reader{sources: collect(flags, env, configFile)}
	c := &config{
		smtpListen:     r.addresses("smtp-listen"),
		smtpsListen:    r.addresses("smtps-listen"),
		inboundPorts:   r.ports("inbound-port"),
		smtpAuthLocal:  r.flag("smtp-auth-on-loopback"),
		httpListen:     r.addresses("http-listen"),
		httpsListen:    r.addresses("https-listen"),
		operatorListen: r.addresses("operator-listen"),
		metricsListen:  r.addresses("metrics-listen"),
		insecureHTTP:   r.flag("insecure-http"),
		trusted:        r.prefixes("trusted-proxies"),
		dataDir:        r.text("data-dir"),
		databaseURL:    r.text("database-url"),
		masterKeyFile:  r.text("master-key-file"),
		accountToken:   r.token("account-token"),
		operatorToken:  r.token("operator-token"),
		tlsCert:        r.text("tls-cert"),
		tlsKey:         r.text("tls-key"),
		geoFile:        r.text("geoip-file"),
		resolver:       r.servers("resolver"),
		allowPrivate:   r.flag("allow-private-mx"),
		diskReserve:    r.size("disk-reserve", 1<<20),
		memoryLimit:    r.size("memory-limit", leastMemory),
		apiRate:        r.rate("api-rate"),
		logLevel:       r.level("log-level"),
		logJSON:        r.choice("log-format", "text", "json") == "json",
		stopWithin:     r.duration("stop-within", time.Second, time.Hour),
	}
	c.trackingPrivacy = r.flag("tracking-privacy")
	if p := r.ports("mx-port"); len(p) == 1 {
		c.mxPort = p[0]
	} else if len(p) > 1 {
		r.wrong("mx-port", "must be one port")
	}
	r.names(c)
	r.together(c)
	if len(r.faults) > 0 {
		return nil, &settingsError{r.faults}
	}
	return c, nil
}

// names fills what follows from the host name.
func (r *reader) names(c *config) {
	host, err := r.hostname()
	if err != nil {
		r.wrong("hostname", "%v", err)
	}
	c.hostname = host
	for _, n := range []struct {
		name, prefix string
		to           *string
	}{
		{"bounce-domain", "pm.", &c.bounceDomain},
		{"spf-domain", "spf.", &c.spfDomain},
		{"inbound-domain", "inbound.", &c.inboundDomain},
		{"track-domain", "track.", &c.trackDomain},
	} {
		text := r.text(n.name)
		if text == "" {
			*n.to = n.prefix + host
			continue
		}
		d, err := eml.CanonicalDomain(text)
		if err != nil {
			r.wrong(n.name, "%q is not a domain name", text)
		}
		*n.to = d
	}
	c.publicURL = r.url("public-url", "https://"+host)
	c.trackBase = strings.TrimSuffix(c.publicURL, "/")
	if c.ownTrackHost = r.text("track-domain") != ""; c.ownTrackHost {
		c.trackBase = "https://" + c.trackDomain
	}
}

// hostname is the setting or the machine's name. A name without a dot would
// make every banner and Message-ID useless to others.
func (r *reader) hostname() (string, error) {
	text := r.text("hostname")
	if text == "" {
		name, err := os.Hostname()
		if err != nil {
			return "", err
		}
		if d, err := eml.CanonicalDomain(name); err == nil {
			return d, nil
		}
		return "", errors.New("the machine's name " + strconv.Quote(name) + " is not a full domain name; set one, such as mail.example.com")
	}
	d, err := eml.CanonicalDomain(text)
	if err != nil {
		return "", errors.New(strconv.Quote(text) + " is not a full domain name such as mail.example.com")
	}
	return d, nil
}

// together checks what two settings say only together.
func (r *reader) together(c *config) {
	if c.masterKeyFile == "" {
		c.masterKeyFile = filepath.Join(c.dataDir, "master.key")
	}
	if (c.tlsCert == "") != (c.tlsKey == "") {
		r.wrong("tls-cert", "needs tls-key beside it, and the other way round")
	}
	for _, plain := range []struct {
		name string
		list []string
	}{{"http-listen", c.httpListen}, {"operator-listen", c.operatorListen}, {"metrics-listen", c.metricsListen}} {
		for _, a := range plain.list {
			if _, _, err := net.SplitHostPort(a); err == nil && !c.insecureHTTP && !loopback(a) {
				r.wrong(plain.name, "%s can be reached from other machines without TLS; %sINSECURE_HTTP=true allows it, behind a proxy that ends TLS", a, envPrefix)
			}
		}
	}
	if u := c.databaseURL; u != "" && !strings.HasPrefix(u, "postgres://") && !strings.HasPrefix(u, "postgresql://") {
		r.wrong("database-url", "must begin with postgres://")
	}
}

// loopback tells whether only this machine can reach an address to listen on.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// validURL tells whether a text is the base of an HTTP address.
func validURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.RawQuery == "" && u.Fragment == "" && u.User == nil
}
