package interop

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// openDir makes a directory that other users may enter, which t.TempDir's are
// not.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pennypost-interop-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // other users must enter it
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kept for a look: %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func mustWrite(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil { //nolint:gosec // daemons of other users read it
		t.Fatal(err)
	}
}

// program finds a command; a missing one fails the test.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if p := filepath.Join(dir, name); isProgram(p) {
			return p
		}
	}
	t.Fatalf("%s is not installed; tools/test-deps installs what the tests need", name)
	return ""
}

func isProgram(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// run runs a command to its end and gives what it printed.
func run(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func mustRun(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := run(t, nil, name, args...); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// daemon runs a command in the foreground until the test ends.
func daemon(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...) //nolint:noctx // ended below
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log := &logWriter{t: t, name: filepath.Base(name)}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
		done := make(chan struct{})
		go func() { defer close(done); _ = cmd.Wait() }() //nolint:errcheck // ended by a signal
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill() //nolint:errcheck // the last resort
			<-done
		}
	})
}

type logWriter struct {
	t    *testing.T
	name string
}

func (l *logWriter) Write(p []byte) (int, error) {
	fmt.Fprintf(os.Stderr, "%s: %s", l.name, p)
	return len(p), nil
}

// listening waits until a TCP port answers.
func listening(t *testing.T, addr string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			_ = c.Close() //nolint:errcheck // only a look
			return
		}
	}
	t.Fatalf("nothing listens on %s", addr)
}

func certificate(t *testing.T, dir, name string) string {
	t.Helper()
	key, crt, both := filepath.Join(dir, "key.pem"), filepath.Join(dir, "crt.pem"), filepath.Join(dir, "cert.pem")
	mustRun(t, program(t, "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
		"-days", "2", "-subj", "/CN="+name, "-keyout", key, "-out", crt)
	k, err1 := os.ReadFile(key) //nolint:gosec // just made
	c, err2 := os.ReadFile(crt) //nolint:gosec // just made
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	mustWrite(t, both, string(k)+string(c))
	return both
}

// postfix starts Postfix as the mail server of a domain and gives the directory
// where user@domain's mail arrives.
func postfix(t *testing.T, domain, addr string) string {
	t.Helper()
	dir := openDir(t)
	for _, d := range []string{"conf", "spool", "data", "mail"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil { //nolint:gosec // Postfix runs as its own user
			t.Fatal(err)
		}
	}
	const nobody = 65534
	mustRun(t, program(t, "chown"), "postfix", dir+"/data")
	if err := os.Chown(dir+"/mail", nobody, nobody); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, dir+"/conf/main.cf", strings.NewReplacer("DIR", dir, "DOMAIN", domain, "CERT", certificate(t, dir, "mx."+domain)).Replace(`compatibility_level = 3.6
queue_directory = DIR/spool
data_directory = DIR/data
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.DOMAIN
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = DOMAIN
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = inline:{ { user@DOMAIN = user/ } }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_recipient_restrictions = reject_unauth_destination
maillog_file = DIR/maillog
maillog_file_prefixes = /tmp
smtpd_tls_security_level = may
smtpd_tls_cert_file = CERT
smtpd_tls_key_file = CERT
smtpd_tls_received_header = yes
alias_maps =
local_recipient_maps =
`))
	services := addr + ` inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`
	mustWrite(t, dir+"/conf/master.cf", services)
	p := program(t, "postfix")
	mustRun(t, p, "-c", dir+"/conf", "start")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if out, err := exec.CommandContext(ctx, p, "-c", dir+"/conf", "stop").CombinedOutput(); err != nil {
			t.Errorf("stop Postfix: %v\n%s", err, out)
		}
	})
	listening(t, addr)
	return dir + "/mail/user/new"
}

// exim starts Exim as the mail server of a domain and gives the directory where
// user@domain's mail arrives. Exim cannot be installed beside Postfix, so
// tools/test-deps unpacks it.
func exim(t *testing.T, domain, addr string) string {
	t.Helper()
	bin := "/opt/pennypost-test/exim/usr/sbin/exim4"
	if !isProgram(bin) {
		bin = program(t, "exim4")
	}
	dir := openDir(t)
	for _, d := range []string{"spool", "log", "mail"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil { //nolint:gosec // Exim runs as its own user
			t.Fatal(err)
		}
		mustRun(t, program(t, "chown"), "Debian-exim", filepath.Join(dir, d))
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "exim.conf")
	mustWrite(t, conf, strings.NewReplacer("DIR", dir, "DOMAIN", domain, "CERT", certificate(t, dir, "mx."+domain),
		"BIN", bin, "HOST", host, "PORT", port).Replace(`exim_path = BIN
primary_hostname = mx.DOMAIN
domainlist local_domains = DOMAIN
spool_directory = DIR/spool
log_file_path = DIR/log/%slog
keep_environment =
acl_smtp_rcpt = acl_rcpt
daemon_smtp_ports = PORT
local_interfaces = HOST
never_users =
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts = *
tls_certificate = CERT
tls_privatekey = CERT
begin acl
acl_rcpt:
  accept domains = +local_domains
         local_parts = user
  deny domains = +local_domains
       message = Unrouteable address: no such user
  deny message = relay not permitted
begin routers
local:
  driver = accept
  domains = +local_domains
  local_parts = user
  transport = file
begin transports
file:
  driver = appendfile
  directory = DIR/mail/$local_part_data
  maildir_format
  user = Debian-exim
begin retry
*  *  F,1h,1m
`))
	daemon(t, bin, "-C", conf, "-bdf", "-q1h")
	listening(t, addr)
	return dir + "/mail/user/new"
}

// unbound starts a resolver that asks dns for everything below .test.
func unbound(t *testing.T, addr, dns string) {
	t.Helper()
	dir := openDir(t)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	dnsHost, dnsPort, err := net.SplitHostPort(dns)
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "unbound.conf")
	mustWrite(t, conf, strings.NewReplacer("DIR", dir, "HOST", host, "PORT", port, "DNSADDR", dnsHost+"@"+dnsPort).Replace(`server:
  interface: HOST
  port: PORT
  do-ip6: no
  username: ""
  chroot: ""
  directory: "DIR"
  pidfile: "DIR/unbound.pid"
  use-syslog: no
  logfile: "DIR/unbound.log"
  do-daemonize: no
  do-not-query-localhost: no
  local-zone: "test." nodefault
  domain-insecure: "test."
  module-config: "iterator"
stub-zone:
  name: "test."
  stub-addr: DNSADDR
remote-control:
  control-enable: no
`))
	daemon(t, program(t, "unbound"), "-d", "-c", conf)
	listening(t, addr)
}

// arrived waits for one file in a maildir and gives its text.
func arrived(t *testing.T, maildir string) string {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		files, err := filepath.Glob(filepath.Join(maildir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) > 0 {
			b, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
	}
	t.Fatalf("no mail in %s", maildir)
	return ""
}
