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
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bench/internal/loopback"
	"bench/internal/procs"
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

// Login is what a customer's application sends with: a server's API token and
// SMTP credentials.
type Login struct{ Token, User, Secret string }

// Instance is a running service with a verified domain and two servers: one
// that delivers, and a sandbox that does all but sign and connect.
type Instance struct {
	SMTP, SMTPS, HTTP, Metrics string // addresses
	Login                             // of the server that delivers
	Sandbox                    Login

	c        Config
	operator string
	cmd      *exec.Cmd
	done     chan error
	log      string
}

const accountToken = "5f0c8f0e-9d0a-4a4e-9d53-0be9c4000001"

// Domain is the verified sending domain.
const Domain = "shop.test"

// Start boots the service and sets it up.
func Start(ctx context.Context, c Config) (*Instance, error) {
	addrs, err := loopback.Free(5)
	if err != nil {
		return nil, err
	}
	in := &Instance{SMTP: addrs[0], SMTPS: addrs[1], HTTP: addrs[2], Metrics: addrs[3], operator: addrs[4], c: c, log: filepath.Join(c.Dir, "pennypost.log")}
	err = in.boot(ctx)
	if err == nil {
		err = in.setUp(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up the service: %w (log: %s)", err, in.tail()), in.Stop())
	}
	return in, nil
}

// boot starts the process and waits until it is ready.
func (in *Instance) boot(ctx context.Context) error {
	logFile, err := os.OpenFile(in.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	cmd := exec.Command(in.c.Bin, "serve")
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.Env = append(os.Environ(),
		"PENNYPOST_DATA_DIR="+filepath.Join(in.c.Dir, "data"),
		"PENNYPOST_HOSTNAME=mail.pennypost.test",
		"PENNYPOST_SMTP_LISTEN="+in.SMTP,
		"PENNYPOST_SMTPS_LISTEN="+in.SMTPS,
		"PENNYPOST_HTTP_LISTEN="+in.HTTP,
		"PENNYPOST_HTTPS_LISTEN=off",
		"PENNYPOST_METRICS_LISTEN="+in.Metrics,
		"PENNYPOST_OPERATOR_LISTEN="+in.operator,
		"PENNYPOST_RESOLVER="+in.c.Resolver,
		"PENNYPOST_MX_PORT="+in.c.MXPort,
		"PENNYPOST_API_RATE=off",
		"PENNYPOST_ALLOW_PRIVATE_MX=true",
		"PENNYPOST_ACCOUNT_TOKEN="+accountToken,
	)
	if in.c.DatabaseURL != "" {
		cmd.Env = append(cmd.Env, "PENNYPOST_DATABASE_URL="+in.c.DatabaseURL)
	}
	cmd.Env = append(cmd.Env, in.c.Env...)
	// The service must not outlive the measurement, and Ctrl-C is for us alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	in.cmd, in.done = cmd, make(chan error, 1)
	go func(done chan<- error) { done <- cmd.Wait() }(in.done)
	return in.waitReady(ctx, 2*time.Minute)
}

// Restart ends the service gracefully and starts it again on the same data and
// addresses. It tells when the start began, and returns once it is ready.
func (in *Instance) Restart(ctx context.Context) (began time.Time, err error) {
	if err := in.Stop(); err != nil {
		return began, err
	}
	began = time.Now()
	if err := in.boot(ctx); err != nil {
		return began, fmt.Errorf("restart: %w (log: %s)", err, in.tail())
	}
	return began, nil
}

// Tree is the process of the service.
func (in *Instance) Tree() procs.Tree { return procs.Tree{Roots: []int{in.cmd.Process.Pid}} }

// tail is the end of the service's log.
func (in *Instance) tail() string {
	b, err := os.ReadFile(in.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

func (in *Instance) setUp(ctx context.Context) error {
	var dom struct {
		ID                                    int64
		DKIMPendingHost, DKIMPendingTextValue string
		DKIMVerified                          bool
	}
	if err := in.call(ctx, "POST", "/domains", "X-Postmark-Account-Token", accountToken, map[string]any{"Name": Domain}, &dom); err != nil {
		return err
	}
	if err := in.c.Publish(dom.DKIMPendingHost, dom.DKIMPendingTextValue); err != nil {
		return err
	}
	path := "/domains/" + strconv.FormatInt(dom.ID, 10) + "/verifyDkim"
	if err := in.call(ctx, "PUT", path, "X-Postmark-Account-Token", accountToken, nil, &dom); err != nil {
		return err
	}
	if !dom.DKIMVerified {
		return errors.New("domain was not verified")
	}
	var err error
	if in.Login, err = in.server(ctx, "Bench", "Live"); err != nil {
		return err
	}
	in.Sandbox, err = in.server(ctx, "Bench sandbox", "Sandbox")
	return err
}

// server makes a server with credentials.
func (in *Instance) server(ctx context.Context, name, delivery string) (l Login, err error) {
	var server struct{ ApiTokens []string }
	if err := in.call(ctx, "POST", "/servers", "X-Postmark-Account-Token", accountToken, map[string]any{"Name": name, "DeliveryType": delivery}, &server); err != nil {
		return l, err
	}
	if len(server.ApiTokens) == 0 {
		return l, errors.New("new server has no token")
	}
	l.Token = server.ApiTokens[0]
	var smtp struct{ Username, Secret string }
	if err := in.call(ctx, "POST", "/smtp-tokens", "X-Postmark-Server-Token", l.Token, map[string]any{"Label": "bench"}, &smtp); err != nil {
		return l, err
	}
	l.User, l.Secret = smtp.Username, smtp.Secret
	return l, nil
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
		case <-time.After(2 * time.Millisecond):
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

// Metric reads a figure without labels from the metrics page.
func (in *Instance) Metric(ctx context.Context, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+in.Metrics+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
	}
	return 0, fmt.Errorf("the metrics have no %s", name)
}

// Stop ends the service gracefully, or after half a minute by force.
func (in *Instance) Stop() error {
	if in.cmd == nil {
		return nil
	}
	if err := in.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-in.done:
		in.cmd = nil
		return err
	case <-time.After(30 * time.Second):
		return errors.Join(errors.New("the service did not end within 30 s"), in.cmd.Process.Kill())
	}
}
