// Package service boots an instance of Pennypost for a measurement, sets it up
// through its own API as a customer would, and measures what it costs.
package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bench/internal/loopback"
)

// Config says what to boot.
type Config struct {
	Bin         string // the pennypost binary
	Dir         string // data directory and log go below it
	DatabaseURL string // "": SQLite in Dir
	Resolver    string // host:port of the DNS to ask
	MXPort      string
	Env         []string // more settings
	// Publish puts a TXT record into the DNS.
	Publish func(name, value string) error
}

// Instance is a running service with a server, a verified domain and tokens.
type Instance struct {
	SMTP, SMTPS, HTTP, Metrics string // addresses
	Token                      string // server API token
	User, Secret               string // SMTP credentials
	cmd                        *exec.Cmd
	done                       chan error
	log                        string
}

const accountToken = "5f0c8f0e-9d0a-4a4e-9d53-0be9c4000001"

// Domain is the verified sending domain.
const Domain = "shop.test"

// Start boots the service and sets it up.
func Start(ctx context.Context, c Config) (*Instance, error) {
	addrs, err := freeAddrs(5)
	if err != nil {
		return nil, err
	}
	in := &Instance{SMTP: addrs[0], SMTPS: addrs[1], HTTP: addrs[2], Metrics: addrs[3], log: filepath.Join(c.Dir, "pennypost.log")}
	logFile, err := os.Create(in.log)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	in.cmd = exec.Command(c.Bin, "serve")
	in.cmd.Stdout, in.cmd.Stderr = logFile, logFile
	in.cmd.Env = append(os.Environ(),
		"PENNYPOST_DATA_DIR="+filepath.Join(c.Dir, "data"),
		"PENNYPOST_HOSTNAME=mail.pennypost.test",
		"PENNYPOST_SMTP_LISTEN="+in.SMTP,
		"PENNYPOST_SMTPS_LISTEN="+in.SMTPS,
		"PENNYPOST_HTTP_LISTEN="+in.HTTP,
		"PENNYPOST_HTTPS_LISTEN=off",
		"PENNYPOST_METRICS_LISTEN="+in.Metrics,
		"PENNYPOST_OPERATOR_LISTEN="+addrs[4],
		"PENNYPOST_RESOLVER="+c.Resolver,
		"PENNYPOST_MX_PORT="+c.MXPort,
		"PENNYPOST_ALLOW_PRIVATE_MX=true",
		"PENNYPOST_ACCOUNT_TOKEN="+accountToken,
	)
	if c.DatabaseURL != "" {
		in.cmd.Env = append(in.cmd.Env, "PENNYPOST_DATABASE_URL="+c.DatabaseURL)
	}
	in.cmd.Env = append(in.cmd.Env, c.Env...)
	// The service must not outlive the measurement.
	in.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := in.cmd.Start(); err != nil {
		return nil, err
	}
	in.done = make(chan error, 1)
	go func() { in.done <- in.cmd.Wait() }()
	if err := in.setUp(ctx, c); err != nil {
		return nil, errors.Join(fmt.Errorf("set up the service: %w (log: %s)", err, in.tail()), in.Stop())
	}
	return in, nil
}

func freeAddrs(n int) ([]string, error) {
	var list []string
	var open []net.Listener
	defer func() {
		for _, l := range open {
			l.Close()
		}
	}()
	for range n {
		l, err := loopback.Listen("127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		open = append(open, l)
		list = append(list, l.Addr().String())
	}
	return list, nil
}

// tail is the end of the service's log.
func (in *Instance) tail() string {
	b, err := os.ReadFile(in.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

func (in *Instance) setUp(ctx context.Context, c Config) error {
	if err := in.waitReady(ctx, time.Minute); err != nil {
		return err
	}
	var server struct {
		ID        int64
		ApiTokens []string
	}
	if err := in.call(ctx, "POST", "/servers", "X-Postmark-Account-Token", accountToken, map[string]any{"Name": "Bench"}, &server); err != nil {
		return err
	}
	if len(server.ApiTokens) == 0 {
		return errors.New("new server has no token")
	}
	in.Token = server.ApiTokens[0]
	var dom struct {
		ID                                    int64
		DKIMPendingHost, DKIMPendingTextValue string
		DKIMVerified                          bool
	}
	if err := in.call(ctx, "POST", "/domains", "X-Postmark-Account-Token", accountToken, map[string]any{"Name": Domain}, &dom); err != nil {
		return err
	}
	if err := c.Publish(dom.DKIMPendingHost, dom.DKIMPendingTextValue); err != nil {
		return err
	}
	path := "/domains/" + strconv.FormatInt(dom.ID, 10) + "/verifyDkim"
	if err := in.call(ctx, "PUT", path, "X-Postmark-Account-Token", accountToken, nil, &dom); err != nil {
		return err
	}
	if !dom.DKIMVerified {
		return errors.New("domain was not verified")
	}
	var smtp struct{ Username, Secret string }
	if err := in.call(ctx, "POST", "/smtp-tokens", "X-Postmark-Server-Token", in.Token, map[string]any{"Label": "bench"}, &smtp); err != nil {
		return err
	}
	in.User, in.Secret = smtp.Username, smtp.Secret
	return nil
}

func (in *Instance) waitReady(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+in.Metrics+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-in.done:
			in.done <- err
			return fmt.Errorf("the service ended: %w", err)
		case <-ctx.Done():
			return errors.New("the service did not become ready")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (in *Instance) call(ctx context.Context, method, path, header, token string, body, answer any) error {
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		rd = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+in.HTTP+path, rd)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(header, token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, b)
	}
	return json.Unmarshal(b, answer)
}

// Cost is what the process took since it started.
type Cost struct {
	CPU        time.Duration // user and system
	WriteBytes int64         // to the disk, as the kernel counts
	RSS        int64         // resident now
	PeakRSS    int64
}

// Sub is the cost between two readings; memory is that of the later one.
func (c Cost) Sub(o Cost) Cost {
	return Cost{CPU: c.CPU - o.CPU, WriteBytes: c.WriteBytes - o.WriteBytes, RSS: c.RSS, PeakRSS: c.PeakRSS}
}

// Cost reads /proc.
func (in *Instance) Cost() (Cost, error) {
	var c Cost
	proc := "/proc/" + strconv.Itoa(in.cmd.Process.Pid)
	stat, err := os.ReadFile(proc + "/stat")
	if err != nil {
		return c, err
	}
	// Fields after the name, which is in parentheses and may hold blanks.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const utime, stime = 11, 12
	if len(f) <= stime {
		return c, errors.New("short /proc/pid/stat")
	}
	u, err1 := strconv.ParseInt(f[utime], 10, 64)
	s, err2 := strconv.ParseInt(f[stime], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on Linux
	c.CPU = time.Duration(u+s) * tick
	io, err3 := field(proc+"/io", "write_bytes:")
	rss, err4 := field(proc+"/status", "VmRSS:")
	peak, err5 := field(proc+"/status", "VmHWM:")
	c.WriteBytes, c.RSS, c.PeakRSS = io, rss<<10, peak<<10
	return c, errors.Join(err1, err2, err3, err4, err5)
}

func field(file, name string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name); ok {
			return strconv.ParseInt(strings.Fields(v)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}

// Stop ends the service gracefully, or after half a minute by force.
func (in *Instance) Stop() error {
	if err := in.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-in.done:
		return err
	case <-time.After(30 * time.Second):
		return errors.Join(errors.New("the service did not end within 30 s"), in.cmd.Process.Kill())
	}
}
