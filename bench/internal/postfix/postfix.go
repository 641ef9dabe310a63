// Package postfix boots Postfix with OpenDKIM, the mail server that most would
// run instead, in a directory of its own: a system's Postfix is neither read
// nor touched. It relays all mail to one next hop and keeps its queue where it
// is told to. Postfix starts as root only.
package postfix

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"bench/internal/loopback"
	"bench/internal/procs"
	"bench/internal/selfsigned"
)

// Config says what to boot.
type Config struct {
	Dir    string // a directory for everything; other users must be able to enter it
	Relay  string // host:port of the next hop
	Domain string // that OpenDKIM signs for
	// Routes has other next hops, by the last label of the recipient's domain.
	Routes map[string]string
}

// Instance is a running Postfix with OpenDKIM.
type Instance struct {
	// Three ways in, all with STARTTLS and AUTH: signed and relayed, relayed
	// unsigned, and accepted unsigned but then thrown away.
	Signed, Unsigned, Nowhere string
	User, Secret              string

	master, milter *process
	log            string
}

const (
	user   = "bench"
	realm  = "postfix.bench.test"
	secret = "correct-horse-battery"
)

// MissingError says which programs of which packages are not installed, or
// what else keeps Postfix from being started.
type MissingError struct{ What []string }

func (e *MissingError) Error() string { return strings.Join(e.What, ", ") }

// programs are what is needed, with Debian's packages of them.
type programs struct{ postfix, postconf, opendkim, saslpasswd string }

func find() (p programs, err error) {
	var missing []string
	for _, x := range []struct {
		to            *string
		name, Package string
	}{
		{&p.postfix, "postfix", "postfix"},
		{&p.postconf, "postconf", "postfix"},
		{&p.opendkim, "opendkim", "opendkim"},
		{&p.saslpasswd, "saslpasswd2", "sasl2-bin"},
	} {
		if *x.to = look(x.name); *x.to == "" {
			missing = append(missing, x.name+" (package "+x.Package+")")
		}
	}
	if os.Geteuid() != 0 {
		missing = append(missing, "root, without which Postfix does not start")
	}
	if len(missing) > 0 {
		return p, &MissingError{missing}
	}
	return p, nil
}

// look finds a program, also where only root has its path.
func look(name string) string {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin", "/usr/local/sbin") {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}

// Available tells whether Start can work; if not the error is a *MissingError.
func Available() error {
	_, err := find()
	return err
}

// Start boots both. The error is a *MissingError when they are not installed.
func Start(ctx context.Context, c Config) (*Instance, error) {
	p, err := find()
	if err != nil {
		return nil, err
	}
	addrs, err := loopback.Free(3)
	if err != nil {
		return nil, err
	}
	in := &Instance{Signed: addrs[0], Unsigned: addrs[1], Nowhere: addrs[2], User: user + "@" + realm, Secret: secret, log: filepath.Join(c.Dir, "maillog")}
	if err := in.start(ctx, c, p); err != nil {
		return nil, errors.Join(fmt.Errorf("start Postfix: %w (log: %s)", err, in.tail()), in.Stop())
	}
	return in, nil
}

func (in *Instance) start(ctx context.Context, c Config, p programs) error {
	if err := in.write(ctx, c, p); err != nil {
		return err
	}
	var err error
	if in.milter, err = begin(c.Dir, p.opendkim, "-f", "-x", filepath.Join(c.Dir, "opendkim.conf")); err != nil {
		return err
	}
	if err := in.await(ctx, in.milter, func() bool { return exists(filepath.Join(c.Dir, "opendkim.sock")) }); err != nil {
		return err
	}
	conf := filepath.Join(c.Dir, "conf")
	if err := command(ctx, p.postfix, "-c", conf, "check"); err != nil {
		return err
	}
	daemons, err := output(ctx, p.postconf, "-c", conf, "-h", "daemon_directory")
	if err != nil {
		return err
	}
	if in.master, err = begin(c.Dir, filepath.Join(daemons, "master"), "-s", "-c", conf); err != nil {
		return err
	}
	for _, addr := range []string{in.Signed, in.Unsigned, in.Nowhere} {
		if err := in.await(ctx, in.master, func() bool { return answers(addr) }); err != nil {
			return err
		}
	}
	return nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// answers tells whether a server greets. Only a greeting shows that the
// process behind the port works.
func answers(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	b := make([]byte, 4)
	if c.SetDeadline(time.Now().Add(5*time.Second)) != nil {
		return false
	}
	n, err := c.Read(b)
	if err != nil || string(b[:n]) != "220 " {
		return false
	}
	_, err = c.Write([]byte("QUIT\r\n"))
	return err == nil
}

// await waits for a condition as long as the process lives.
func (in *Instance) await(ctx context.Context, p *process, ok func() bool) error {
	end := time.Now().Add(30 * time.Second)
	for !ok() {
		select {
		case err := <-p.done:
			p.done <- err
			return fmt.Errorf("%s ended: %w", p.name, err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s is not ready after 30 s", p.name)
		}
	}
	return nil
}

// write makes the directory: configuration, certificate, key, credentials.
func (in *Instance) write(ctx context.Context, c Config, p programs) error {
	if err := os.Chmod(c.Dir, 0o755); err != nil {
		return err
	}
	for _, d := range []string{"conf", "conf/sasl", "spool", "data"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := command(ctx, look("chown"), "postfix", filepath.Join(c.Dir, "data")); err != nil {
		return err
	}
	cert, err := selfsigned.PEM("mx.bench.test")
	if err != nil {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	dkim := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	routes := ""
	if len(c.Routes) > 0 {
		routes = "regexp:" + filepath.Join(c.Dir, "conf/transport")
	}
	fill := strings.NewReplacer("@ROUTES@", routes, "@DIR@", c.Dir, "@RELAY@", bracketed(c.Relay), "@DOMAIN@", c.Domain, "@REALM@", realm,
		"@SIGNED@", in.Signed, "@UNSIGNED@", in.Unsigned, "@NOWHERE@", in.Nowhere)
	for _, f := range []struct {
		name, text string
		mode       os.FileMode
	}{
		{"conf/main.cf", fill.Replace(mainCF), 0o644},
		{"conf/transport", transports(c.Routes), 0o644},
		{"conf/master.cf", fill.Replace(masterCF), 0o644},
		{"conf/sasl/smtpd.conf", fill.Replace(saslConf), 0o644},
		{"opendkim.conf", fill.Replace(opendkimConf), 0o644},
		{"cert.pem", string(cert), 0o600},
		{"dkim.pem", string(dkim), 0o600},
	} {
		if err := os.WriteFile(filepath.Join(c.Dir, f.name), []byte(f.text), f.mode); err != nil {
			return err
		}
	}
	db := filepath.Join(c.Dir, "sasldb2")
	set := exec.CommandContext(ctx, p.saslpasswd, "-p", "-c", "-f", db, "-u", realm, user)
	set.Stdin = strings.NewReader(secret + "\n")
	if out, err := set.CombinedOutput(); err != nil {
		return fmt.Errorf("saslpasswd2: %w: %s", err, out)
	}
	return command(ctx, look("chown"), "postfix", db)
}

// transports is a regexp table.
func transports(routes map[string]string) string {
	var b strings.Builder
	for _, zone := range slices.Sorted(maps.Keys(routes)) {
		fmt.Fprintf(&b, "/\\.%s$/ smtp:%s\n", zone, bracketed(routes[zone]))
	}
	return b.String()
}

// bracketed is a next hop without an MX look-up.
func bracketed(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return "[" + host + "]:" + port
}

// commandFor bounds the helpers.
const commandFor = 30 * time.Second

func command(ctx context.Context, name string, args ...string) error {
	_, err := output(ctx, name, args...)
	return err
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandFor)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %.500s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// Tree is all processes of both programs.
func (in *Instance) Tree() procs.Tree {
	return procs.Tree{Roots: []int{in.master.cmd.Process.Pid, in.milter.cmd.Process.Pid}}
}

// Version is that of Postfix and OpenDKIM.
func Version(ctx context.Context) string {
	p, err := find()
	if err != nil {
		return ""
	}
	text := "Postfix"
	if v, err := output(ctx, p.postconf, "-d", "-h", "mail_version"); err == nil {
		text += " " + v
	}
	// OpenDKIM prints its version and ends.
	if v, err := output(ctx, p.opendkim, "-V"); err == nil {
		v, _, _ = strings.Cut(v, "\n")
		v = strings.TrimPrefix(strings.TrimPrefix(v, "opendkim: "), "OpenDKIM Filter ")
		return text + " with OpenDKIM " + strings.TrimPrefix(v, "v")
	}
	return text + " with OpenDKIM"
}

// tail is the end of what Postfix said, to its log and before it had one.
func (in *Instance) tail() string {
	var all string
	for _, name := range []string{filepath.Join(filepath.Dir(in.log), "master.out"), in.log} {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		all += string(b[max(0, len(b)-2000):])
	}
	return all
}

// Stop ends both, at last by force.
func (in *Instance) Stop() error {
	return errors.Join(in.master.stop(), in.milter.stop())
}

// process is a daemon in the foreground, in a session of its own: master
// signals its whole group.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan error
}

func begin(dir, name string, args ...string) (*process, error) {
	p := &process{name: filepath.Base(name), cmd: exec.Command(name, args...), done: make(chan error, 1)}
	out, err := os.OpenFile(filepath.Join(dir, p.name+".out"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd.Stdout, p.cmd.Stderr = out, out
	// The daemons must not outlive the measurement.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.done <- p.cmd.Wait() }()
	return p, nil
}

func (p *process) stop() error {
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-p.done:
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil // by our signal, or before
		}
		return err
	case <-time.After(10 * time.Second):
		return errors.Join(fmt.Errorf("%s did not end within 10 s", p.name), syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL))
	}
}
