package test

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
	"sync"
	"syscall"
	"time"

	"pennypost/internal/fakenet"
)

// rig is a pretend internet and the program in it.
type rig struct {
	net      *fakenet.Net
	dir      string
	settings map[string]string // of the program, as environment variables

	smtp, smtps, http, operator, metrics string // addresses

	fileLimit int // KiB that a file may have; 0: any

	cmd   *exec.Cmd
	ended chan error
	log   lockedBuffer

	accountToken, serverToken string
	serverID                  int64
	user, secret              string
}

const accountToken = "0b0c9f62-3a6f-4a2c-9a0e-6f5a3a1c7d1f"

// lockedBuffer is written by the program and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// pretendNet runs a pretend internet until stop is called.
func pretendNet(c fakenet.Config) (n *fakenet.Net, stop func() error, err error) {
	if n, err = fakenet.New(c); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	return n, func() error { cancel(); return <-done }, nil
}

// newRig takes free ports, which stay the same when the program is started
// again.
func newRig(dir string, n *fakenet.Net) (*rig, error) {
	r := &rig{net: n, dir: dir, accountToken: accountToken}
	free, err := fakenet.FreeAddrs(5)
	if err != nil {
		return nil, err
	}
	r.smtp, r.smtps, r.http, r.operator, r.metrics = free[0], free[1], free[2], free[3], free[4]
	_, smtpPort, err := net.SplitHostPort(r.smtp)
	r.settings = map[string]string{
		"PENNYPOST_DATA_DIR":         filepath.Join(dir, "data"),
		"PENNYPOST_HOSTNAME":         "mail.pennypost.test",
		"PENNYPOST_SMTP_LISTEN":      r.smtp,
		"PENNYPOST_INBOUND_PORT":     smtpPort,
		"PENNYPOST_SMTPS_LISTEN":     r.smtps,
		"PENNYPOST_HTTP_LISTEN":      r.http,
		"PENNYPOST_HTTPS_LISTEN":     "off",
		"PENNYPOST_OPERATOR_LISTEN":  r.operator,
		"PENNYPOST_METRICS_LISTEN":   r.metrics,
		"PENNYPOST_RESOLVER":         n.DNSAddr(),
		"PENNYPOST_MX_PORT":          strconv.Itoa(n.MXPort()),
		"PENNYPOST_ALLOW_PRIVATE_MX": "true",
		"PENNYPOST_LOG_FORMAT":       "json",
	}
	return r, err
}

// startWithin bounds a start.
const startWithin = 60 * time.Second

// start boots the program and waits until it is ready.
func (r *rig) start() error {
	cmd := exec.Command(filepath.Join(binDir, "pennypost"), "serve")
	if r.fileLimit > 0 {
		cmd = exec.Command("bash", "-c", fmt.Sprintf(`ulimit -f %d; exec "$0" "$@"`, r.fileLimit), cmd.Path, "serve")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for k, v := range r.settings {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Stdout, cmd.Stderr = &r.log, &r.log
	if err := cmd.Start(); err != nil {
		return err
	}
	r.cmd, r.ended = cmd, make(chan error, 1)
	go func() { r.ended <- cmd.Wait() }()
	for end := time.Now().Add(startWithin); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-r.ended:
			return fmt.Errorf("the program ended at its start: %w\n%s", err, r.log.String())
		default:
		}
		if status, _, err := r.get("/readyz"); err == nil && status == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("the program is not ready after %v\n%s", startWithin, r.log.String())
}

// get asks the metrics listener.
func (r *rig) get(path string) (int, string, error) {
	c := &http.Client{Timeout: 5 * time.Second}
	resp, err := c.Get("http://" + r.metrics + path) //nolint:noctx // bounded above
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// metric reads the sum of a figure over its labels.
func (r *rig) metric(name string) (float64, error) {
	_, page, err := r.get("/metrics")
	if err != nil {
		return 0, err
	}
	sum := 0.0 // a figure is on the page only once it was counted
	for line := range strings.Lines(page) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || key != name && !strings.HasPrefix(key, name+"{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

// stop ends the program as a service manager does; it must end by itself and
// without a fault.
func (r *rig) stop() error {
	if r.cmd == nil {
		return nil
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	defer func() { r.cmd = nil }()
	select {
	case err := <-r.ended:
		if err != nil {
			return fmt.Errorf("the program ended with %w", err)
		}
		return r.clean()
	case <-time.After(40 * time.Second):
		return errors.Join(errors.New("the program did not end within 40 s"), r.kill())
	}
}

// clean looks for what a log must never have.
func (r *rig) clean() error {
	for _, bad := range []string{"DATA RACE", "panic", "goroutine "} {
		if strings.Contains(r.log.String(), bad) {
			return fmt.Errorf("%q in the log", bad)
		}
	}
	return nil
}

// kill ends the program at once, as kill -9 does.
func (r *rig) kill() error {
	if r.cmd == nil {
		return nil
	}
	err := r.cmd.Process.Kill()
	<-r.ended
	r.cmd = nil
	return err
}

// call uses the API of customers.
func (r *rig) call(method, path, header, token string, body, answer any) error {
	in := io.Reader(nil)
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, "http://"+r.http+path, in) //nolint:noctx // bounded by the client
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(header, token)
	resp, err := apiClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	return json.Unmarshal(b, answer)
}

var apiClient = &http.Client{Timeout: 30 * time.Second}

func (r *rig) serverCall(method, path string, body, answer any) error {
	return r.call(method, path, "X-Postmark-Server-Token", r.serverToken, body, answer)
}

// seed makes a server, a verified domain and an SMTP token.
func (r *rig) seed() error {
	account := func(method, path string, body, answer any) error {
		return r.call(method, path, "X-Postmark-Account-Token", r.accountToken, body, answer)
	}
	var server struct {
		ID        int64
		ApiTokens []string
	}
	if err := account("POST", "/servers", map[string]string{"Name": "Test"}, &server); err != nil {
		return err
	}
	r.serverID, r.serverToken = server.ID, server.ApiTokens[0]
	var d struct {
		ID                                    int64
		DKIMPendingHost, DKIMPendingTextValue string
		DKIMVerified                          bool
	}
	if err := account("POST", "/domains", map[string]string{"Name": "shop.test"}, &d); err != nil {
		return err
	}
	if err := r.net.Record(d.DKIMPendingHost + ". 60 IN TXT " + quoted(d.DKIMPendingTextValue)); err != nil {
		return err
	}
	if err := account("PUT", fmt.Sprintf("/domains/%d/verifyDkim", d.ID), nil, &d); err != nil {
		return err
	}
	if !d.DKIMVerified {
		return fmt.Errorf("domain is not verified: %+v", d)
	}
	var token struct{ Username, Secret string }
	err := r.serverCall("POST", "/smtp-tokens", map[string]string{"Label": "test"}, &token)
	r.user, r.secret = token.Username, token.Secret
	return err
}

// quoted splits a text into the strings of a TXT record.
func quoted(s string) string {
	var b strings.Builder
	for len(s) > 200 {
		b.WriteString(`"` + s[:200] + `" `)
		s = s[200:]
	}
	return b.String() + `"` + s + `"`
}

// state gives the state of the latest message to a recipient.
func (r *rig) state(recipient string) (string, error) {
	var page struct {
		Messages []struct{ MessageID string }
	}
	if err := r.serverCall("GET", "/messages/outbound?count=1&offset=0&recipient="+strings.ReplaceAll(recipient, "+", "%2B"), nil, &page); err != nil {
		return "", err
	}
	if len(page.Messages) == 0 {
		return "", nil
	}
	var way struct {
		Recipients []struct{ Recipient, State string }
	}
	if err := r.serverCall("GET", "/messages/outbound/"+page.Messages[0].MessageID+"/explain", nil, &way); err != nil {
		return "", err
	}
	for _, one := range way.Recipients {
		if strings.EqualFold(one.Recipient, recipient) {
			return one.State, nil
		}
	}
	return "", nil
}
