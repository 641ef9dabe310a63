package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pennypost/internal/fakenet"
)

// TestMain builds the program for all tests of the package.
func TestMain(m *testing.M) { os.Exit(testMain(m)) }

var binary string

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pennypost-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "pennypost")
	cmd := exec.Command("go", "build", "-o", binary, "pennypost/cmd/pennypost")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

const (
	accountToken = "0b0c9f62-3a6f-4a2c-9a0e-6f5a3a1c7d1f"
	sender       = "orders@shop.test"
)

// instance is a running service with a verified domain and credentials.
type instance struct {
	submission, port25, smtps, web string // addresses
	serverID                       int64
	token, user, secret            string
}

// pretendNet starts DNS and mail servers.
func pretendNet(t *testing.T) *fakenet.Net {
	t.Helper()
	n, err := fakenet.New(fakenet.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return n
}

func freeAddrs(t *testing.T, n int) []string {
	t.Helper()
	addrs, err := fakenet.FreeAddrs(n)
	if err != nil {
		t.Fatal(err)
	}
	return addrs
}

// start boots the service with a resolver and sets it up through its API.
func start(t *testing.T, n *fakenet.Net, resolver string, more ...string) *instance {
	t.Helper()
	free := freeAddrs(t, 5)
	in := &instance{submission: free[0], port25: free[1], smtps: free[2], web: free[3]}
	metrics := free[4]
	cmd := exec.Command(binary, "serve") //nolint:noctx // ended below
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(),
		"PENNYPOST_DATA_DIR="+filepath.Join(t.TempDir(), "data"),
		"PENNYPOST_HOSTNAME=mail.pennypost.test",
		"PENNYPOST_SMTP_LISTEN="+in.port25+","+in.submission,
		"PENNYPOST_SMTPS_LISTEN="+in.smtps,
		"PENNYPOST_HTTP_LISTEN="+in.web,
		"PENNYPOST_HTTPS_LISTEN=off",
		"PENNYPOST_OPERATOR_LISTEN=off",
		"PENNYPOST_METRICS_LISTEN="+metrics,
		"PENNYPOST_RESOLVER="+resolver,
		"PENNYPOST_MX_PORT="+strconv.Itoa(n.MXPort()),
		"PENNYPOST_ALLOW_PRIVATE_MX=true",
		"PENNYPOST_ACCOUNT_TOKEN="+accountToken,
	)
	cmd.Env = append(cmd.Env, more...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("stop: %v", err)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the service ended with %v", err)
			}
		case <-time.After(40 * time.Second):
			t.Error("the service did not end within 40 s")
			_ = cmd.Process.Kill() //nolint:errcheck // the last resort
			<-ended
		}
		if t.Failed() {
			t.Logf("log of the service:\n%s", log.String())
		}
	})
	in.setUp(t, n, metrics, ended)
	return in
}

func (in *instance) setUp(t *testing.T, n *fakenet.Net, metrics string, ended <-chan error) {
	t.Helper()
	ready := func() bool {
		resp, err := http.Get("http://" + metrics + "/readyz") //nolint:noctx,forbidigo // a test
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	for end := time.Now().Add(30 * time.Second); !ready(); time.Sleep(30 * time.Millisecond) {
		select {
		case err := <-ended:
			t.Fatalf("the service ended at once: %v", err)
		default:
		}
		if time.Now().After(end) {
			t.Fatal("the service is not ready after 30 s")
		}
	}
	var server struct {
		ID        int64
		ApiTokens []string
	}
	in.call(t, "POST", "/servers", "X-Postmark-Account-Token", accountToken, `{"Name":"Interop"}`, &server)
	in.serverID, in.token = server.ID, server.ApiTokens[0]
	var dom struct {
		ID                                    int64
		DKIMPendingHost, DKIMPendingTextValue string
		DKIMVerified                          bool
	}
	in.call(t, "POST", "/domains", "X-Postmark-Account-Token", accountToken, `{"Name":"shop.test"}`, &dom)
	if err := n.Record(dom.DKIMPendingHost + ". 60 IN TXT " + quoted(dom.DKIMPendingTextValue)); err != nil {
		t.Fatal(err)
	}
	in.call(t, "PUT", "/domains/"+strconv.FormatInt(dom.ID, 10)+"/verifyDkim", "X-Postmark-Account-Token", accountToken, "", &dom)
	if !dom.DKIMVerified {
		t.Fatalf("domain not verified: %+v", dom)
	}
	var smtp struct{ Username, Secret string }
	in.call(t, "POST", "/smtp-tokens", "X-Postmark-Server-Token", in.token, `{"Label":"interop"}`, &smtp)
	in.user, in.secret = smtp.Username, smtp.Secret
}

func itoa(n int) string { return strconv.Itoa(n) }

// quoted splits a text into DNS strings.
func quoted(s string) string {
	var b strings.Builder
	for len(s) > 200 {
		b.WriteString(`"` + s[:200] + `" `)
		s = s[200:]
	}
	return b.String() + `"` + s + `"`
}

func (in *instance) call(t *testing.T, method, path, header, token, body string, answer any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+in.web+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(header, token)
	resp, err := http.DefaultClient.Do(req) //nolint:forbidigo // a test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	if err := json.Unmarshal(b, answer); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, b)
	}
}
