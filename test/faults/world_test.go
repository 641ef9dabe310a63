//go:build !race

package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pennypost/internal/fakenet"
)

const (
	accountToken = "0b0c9f62-3a6f-4a2c-9a0e-6f5a3a1c7d1f"
	hostname     = "mail.pennypost.test"
	sender       = "orders@shop.test"
)

// world is a pretend internet, the program in it, and what the submitters were
// told.
type world struct {
	t   *testing.T
	net *fakenet.Net
	*ledger

	data     string // data directory
	settings map[string]string
	wrap     []string // goes before the program, such as unshare

	smtp, web, metrics string // addresses

	cmd   *exec.Cmd
	ended chan error
	died  time.Time // set before ended says so
	log   *lockedBuffer

	token, user, secret string

	life   int   // how often it was started: what it calls itself names it
	cuts   []cut // of lives
	pauses []pause
	freed  int // jobs that were taken over from dead sessions: possible duplicates
	// freedNow are those that the present process took over.
	freedNow int

	act  atomic.Pointer[func(fakenet.Moment) fakenet.Act] // what the mail servers of d0 to d3 do
	more []func() []fakenet.Mail                          // what other mail servers took

	// impatient: mail that waits for its next attempt is not waited for when
	// all is reconciled.
	impatient bool
}

// cut is when a life of the program was cut off: it was killed, ended by itself,
// or its world stopped.
type cut struct {
	life int
	at   time.Time
}

// lifeName is what a life of the program calls itself, so that each mail tells
// which of them sent it.
func lifeName(life int) string { return fmt.Sprintf("life%d.%s", life, hostname) }

// lifeOf tells which life of the program sent a mail; 0: it did not say.
func lifeOf(m *fakenet.Mail) (life int) {
	if _, err := fmt.Sscanf(m.Helo, "life%d.", &life); err != nil {
		return 0
	}
	return life
}

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

// newWorld makes a world whose program keeps its data in a directory; "" is a
// temporary one. The program is not started yet.
func newWorld(t *testing.T, data string) *world {
	t.Helper()
	if data == "" {
		data = filepath.Join(t.TempDir(), "data")
	}
	w := &world{t: t, data: data, ledger: newLedger(), log: &lockedBuffer{}}
	var err error
	if w.net, err = fakenet.New(fakenet.Config{Keep: 500_000, Hosts: 8, Again: time.Second}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.net.Run(ctx) }()
	t.Cleanup(func() {
		w.kill()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of the program:\n%s", tail(w.log.String(), 3000))
		}
	})
	for d := range 4 {
		if _, err := w.net.Host(fmt.Sprintf("d%d.test", d), fakenet.Script{Act: func(m fakenet.Moment) fakenet.Act {
			if act := w.act.Load(); act != nil {
				return (*act)(m)
			}
			return fakenet.Act{}
		}}); err != nil {
			t.Fatal(err)
		}
	}
	free, err := fakenet.FreeAddrs(3)
	if err != nil {
		t.Fatal(err)
	}
	w.smtp, w.web, w.metrics = free[0], free[1], free[2]
	w.settings = map[string]string{
		"PENNYPOST_DATA_DIR":         data,
		"PENNYPOST_BOUNCE_DOMAIN":    "pm." + hostname,
		"PENNYPOST_SMTP_LISTEN":      w.smtp,
		"PENNYPOST_SMTPS_LISTEN":     "off",
		"PENNYPOST_HTTP_LISTEN":      w.web,
		"PENNYPOST_HTTPS_LISTEN":     "off",
		"PENNYPOST_OPERATOR_LISTEN":  "off",
		"PENNYPOST_METRICS_LISTEN":   w.metrics,
		"PENNYPOST_RESOLVER":         w.net.DNSAddr(),
		"PENNYPOST_MX_PORT":          strconv.Itoa(w.net.MXPort()),
		"PENNYPOST_ALLOW_PRIVATE_MX": "true",
		"PENNYPOST_ACCOUNT_TOKEN":    accountToken,
		"PENNYPOST_LOG_LEVEL":        "warn",
		"PENNYPOST_LOG_FORMAT":       "json",
	}
	return w
}

// start is what most tests begin with: a program that is set up.
func start(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "")
	w.boot()
	w.seed()
	return w
}

// acts says what the mail servers of d0 to d3 do from now on.
func (w *world) acts(act func(fakenet.Moment) fakenet.Act) { w.act.Store(&act) }

// slowDots lets final dots wait a little, so that a kill meets some.
func slowDots(m fakenet.Moment) fakenet.Act {
	if m.Stage == fakenet.Dot {
		return fakenet.Act{Delay: time.Duration(20+rand.IntN(60)) * time.Millisecond}
	}
	return fakenet.Act{}
}

// bootWithin bounds a start.
const bootWithin = 30 * time.Second

// boot starts the program and waits until it is ready.
func (w *world) boot() {
	w.t.Helper()
	if err := w.tryBoot(); err != nil {
		w.t.Fatalf("%v\n%s", err, tail(w.log.String(), 1000))
	}
}

func (w *world) tryBoot() error {
	args := append(append([]string{}, w.wrap...), binary, "serve")
	w.life++
	w.settings["PENNYPOST_HOSTNAME"] = lifeName(w.life)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for k, v := range w.settings {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Stdout, cmd.Stderr = w.log, w.log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		w.died = time.Now()
		ended <- err
	}()
	w.cmd, w.ended = cmd, ended
	for end := time.Now().Add(bootWithin); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-ended:
			w.cmd = nil
			return fmt.Errorf("the program ended at its start: %w", err)
		default:
		}
		if status, _, err := w.get("/readyz"); err == nil && status == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("the program is not ready after %v", bootWithin)
}

func (w *world) pid() int { return w.cmd.Process.Pid }

// kill ends the program as kill -9 does.
func (w *world) kill() {
	if w.cmd == nil {
		return
	}
	if err := w.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		w.t.Errorf("kill: %v", err)
	}
	<-w.ended
	w.cmd = nil
	w.cuts = append(w.cuts, cut{w.life, time.Now()})
}

// reboot starts the program after it died.
func (w *world) reboot() {
	w.t.Helper()
	w.freed += w.freedNow
	w.freedNow = 0
	w.boot()
}

// countFreed reads how many jobs of dead sessions this process took over: it is
// to be called some time after its start, and before it dies.
func (w *world) countFreed() {
	w.t.Helper()
	w.freedNow = int(w.metric("pennypost_queue_taken_over_total"))
}

// wait waits until the program ended by itself.
func (w *world) wait(within time.Duration) error {
	w.t.Helper()
	select {
	case err := <-w.ended:
		w.cmd = nil
		w.cuts = append(w.cuts, cut{w.life, w.died})
		return err
	case <-time.After(within):
		w.t.Fatalf("the program did not end within %v", within)
		return nil
	}
}

// stop ends the program as a service manager does.
func (w *world) stop() {
	w.t.Helper()
	if w.cmd == nil {
		return
	}
	w.signal(syscall.SIGTERM)
	select {
	case err := <-w.ended:
		w.cmd = nil
		if err != nil {
			w.t.Errorf("the program ended with %v", err)
		}
	case <-time.After(40 * time.Second):
		w.t.Error("the program did not end within 40 s")
		w.kill()
	}
}

func (w *world) signal(s syscall.Signal) {
	w.t.Helper()
	if err := w.cmd.Process.Signal(s); err != nil {
		w.t.Errorf("%v: %v", s, err)
	}
}

// watcher has no connections of its own that would count as the program's
// descriptors.
var watcher = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// get asks the metrics listener.
func (w *world) get(path string) (int, string, error) {
	resp, err := watcher.Get("http://" + w.metrics + path)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// metric reads the sum of a figure over its labels; 0 when it is not there.
func (w *world) metric(name string) float64 {
	w.t.Helper()
	_, page, err := w.get("/metrics")
	if err != nil {
		w.t.Fatalf("metrics: %v", err)
	}
	sum := 0.0
	for line := range strings.Lines(page) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || key != name && !strings.HasPrefix(key, name+"{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			w.t.Fatal(err)
		}
		sum += v
	}
	return sum
}

// call uses the API.
func (w *world) call(method, path, header, token string, body, answer any) error {
	in := io.Reader(nil)
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, "http://"+w.web+path, in)
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
		return &statusError{resp.StatusCode, string(b)}
	}
	return json.Unmarshal(b, answer)
}

type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return fmt.Sprintf("HTTP %d: %.300s", e.code, e.text) }

var apiClient = &http.Client{Timeout: 20 * time.Second}

const serverHeader = "X-Postmark-Server-Token"

// seed makes a server, a verified domain and an SMTP token.
func (w *world) seed() {
	w.t.Helper()
	must := func(method, path, header, token string, body, answer any) {
		w.t.Helper()
		if err := w.call(method, path, header, token, body, answer); err != nil {
			w.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	const account = "X-Postmark-Account-Token"
	var server struct{ ApiTokens []string }
	must("POST", "/servers", account, accountToken, map[string]string{"Name": "Faults"}, &server)
	w.token = server.ApiTokens[0]
	var d struct {
		ID                                    int64
		DKIMPendingHost, DKIMPendingTextValue string
		DKIMVerified                          bool
	}
	must("POST", "/domains", account, accountToken, map[string]string{"Name": "shop.test"}, &d)
	if err := w.net.Record(d.DKIMPendingHost + ". 60 IN TXT " + quoted(d.DKIMPendingTextValue)); err != nil {
		w.t.Fatal(err)
	}
	must("PUT", fmt.Sprintf("/domains/%d/verifyDkim", d.ID), account, accountToken, nil, &d)
	if !d.DKIMVerified {
		w.t.Fatalf("domain is not verified: %+v", d)
	}
	var token struct{ Username, Secret string }
	must("POST", "/smtp-tokens", serverHeader, w.token, map[string]string{"Label": "faults"}, &token)
	w.user, w.secret = token.Username, token.Secret
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

// until polls for a condition.
func (w *world) until(within time.Duration, what string, ok func() bool) bool {
	w.t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		if ok() {
			return true
		}
		if time.Now().After(end) {
			w.t.Errorf("waited %v in vain for %s", within, what)
			return false
		}
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + strings.ToValidUTF8(s[len(s)-n:], "")
	}
	return s
}
