package main

// value is a setting as it was written; "" is not given.
type value string

// settings are all that `serve` can be told. The flag is the tag name, the
// environment variable the same in capitals behind PENNYPOST_, the key in the
// file the same with underscores. def is what holds when nothing is given, for
// people where it is in parentheses. A secret can also be read from a file
// named by the setting with _FILE behind it.
type settings struct {
	SMTPListen     value  `name:"smtp-listen" group:"listeners" placeholder:"ADDRESS,…" def:":25,:587,:2525" help:"SMTP with STARTTLS."`
	SMTPSListen    value  `name:"smtps-listen" group:"listeners" placeholder:"ADDRESS,…" def:":465" help:"SMTP with TLS from the start."`
	InboundPort    value  `name:"inbound-port" group:"listeners" placeholder:"PORT,…" def:"25" help:"Ports of smtp-listen on which mail addressed to us (bounces, postmaster) is taken without a login."`
	SMTPAuthLocal  toggle `name:"smtp-auth-on-loopback" group:"listeners" def:"false" help:"Allow SMTP logins without TLS from this machine."`
	HTTPListen     value  `name:"http-listen" group:"listeners" placeholder:"ADDRESS,…" def:"127.0.0.1:8080" help:"API, plain. Other than loopback addresses need insecure-http."`
	HTTPSListen    value  `name:"https-listen" group:"listeners" placeholder:"ADDRESS,…" def:":443" help:"API, TLS."`
	OperatorListen value  `name:"operator-listen" group:"listeners" placeholder:"ADDRESS,…" def:"127.0.0.1:9091" help:"Operator API, which is on no other listener."`
	MetricsListen  value  `name:"metrics-listen" group:"listeners" placeholder:"ADDRESS,…" def:"127.0.0.1:9090" help:"Metrics, health and profiles."`
	InsecureHTTP   toggle `name:"insecure-http" group:"listeners" def:"false" help:"Allow plain HTTP on addresses that others can reach: only behind a proxy that ends TLS."`
	TrustedProxies value  `name:"trusted-proxies" group:"listeners" placeholder:"CIDR,…" def:"" help:"Proxies whose X-Forwarded-For is believed."`

	Hostname      value `name:"hostname" group:"names" placeholder:"NAME" def:"(the machine's)" help:"Full name of this host, for banner, EHLO and Message-ID; its address should resolve back to it."`
	BounceDomain  value `name:"bounce-domain" group:"names" placeholder:"NAME" def:"(pm.HOSTNAME)" help:"Return-Path domain, and target of customers' return-path CNAME. Needs an MX to us."`
	SPFDomain     value `name:"spf-domain" group:"names" placeholder:"NAME" def:"(spf.HOSTNAME)" help:"What customers include in their SPF record."`
	InboundDomain value `name:"inbound-domain" group:"names" placeholder:"NAME" def:"(inbound.HOSTNAME)" help:"Domain of inbound addresses."`
	TrackDomain   value `name:"track-domain" group:"names" placeholder:"NAME" def:"(track.HOSTNAME)" help:"Target of customers' tracking CNAME. When set, tracked links and unsubscribe links begin with https:// and it, else with public-url."`
	PublicURL     value `name:"public-url" group:"names" placeholder:"URL" def:"(https://HOSTNAME)" help:"Where the API is reached; confirmation links in our mail lead there."`

	DataDir       value `name:"data-dir" group:"data" placeholder:"DIRECTORY" def:"./data" help:"Where the database, the keys and the certificate are."`
	DatabaseURL   value `name:"database-url" group:"data" secret:"" placeholder:"postgres://…" def:"(SQLite in the data directory)" help:"PostgreSQL in place of SQLite."`
	MasterKeyFile value `name:"master-key-file" group:"data" placeholder:"FILE" def:"(master.key in the data directory)" help:"Key that seals secrets, 0600; made at the first start."`
	AccountToken  value `name:"account-token" group:"data" secret:"" placeholder:"TOKEN" def:"(made at the first start)" help:"Token of the first account."`
	OperatorToken value `name:"operator-token" group:"data" secret:"" placeholder:"TOKEN" def:"(made at the first start)" help:"Token of the operator API."`
	TLSCert       value `name:"tls-cert" group:"data" placeholder:"FILE" def:"(self-signed, in the data directory)" help:"Certificate chain, PEM; read again when it changes."`
	TLSKey        value `name:"tls-key" group:"data" placeholder:"FILE" def:"(self-signed, in the data directory)" help:"Its key, PEM."`

	Resolver       value  `name:"resolver" group:"delivery" placeholder:"HOST:PORT,…" def:"(the system's)" help:"DNS servers; when set, every DNS question goes there."`
	MXPort         value  `name:"mx-port" group:"delivery" placeholder:"PORT" def:"25" help:"Port of recipients' mail servers; other than 25 for tests."`
	AllowPrivateMX toggle `name:"allow-private-mx" group:"delivery" def:"false" help:"Deliver to loopback and private addresses, for tests and labs."`

	GeoFile         value  `name:"geoip-file" group:"tracking" placeholder:"FILE" def:"" help:"Places of addresses for opens and clicks, in MaxMind's format (GeoLite2-City.mmdb); read into memory, and again when it changes."`
	TrackingPrivacy toggle `name:"tracking-privacy" group:"tracking" def:"false" help:"Store neither address nor user agent nor place of who opens a message or follows a link."`

	DiskReserve value `name:"disk-reserve" group:"operation" placeholder:"SIZE" def:"(5 % of the disk: 64MiB to 2GiB, at most a quarter)" help:"New mail is refused while the disk of the data directory (SQLite) has less room than this; deliveries go on in it."`
	MemoryLimit value `name:"memory-limit" group:"operation" placeholder:"SIZE" def:"(GOMEMLIMIT, the control group's, or what the machine has free)" help:"Memory of the process, which is shared out; new mail is refused when the shares are used up."`

	APIRate value `name:"api-rate" group:"operation" placeholder:"NUMBER" def:"1000" help:"API requests a second that one token may make, ten times as many at once; above it 429. off: no limit."`

	LogLevel   value `name:"log-level" group:"operation" placeholder:"LEVEL" def:"info" help:"debug, info, warn or error."`
	LogFormat  value `name:"log-format" group:"operation" placeholder:"FORMAT" def:"text" help:"text or json, on standard error."`
	StopWithin value `name:"stop-within" group:"operation" placeholder:"DURATION" def:"25s" help:"How long what is under way may take to finish when the service is told to stop."`
}
