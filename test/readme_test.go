package test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"pennypost/internal/fakenet"
)

// commands gives the commands of the README that contain a word, in order;
// lines that end in a backslash are joined.
func commands(t *testing.T, word string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(strings.ReplaceAll(string(b), "\\\n", " ")) {
		if strings.HasPrefix(line, "    ") && strings.HasPrefix(strings.TrimSpace(line), word) {
			list = append(list, strings.TrimSpace(line))
		}
	}
	return list
}

// TestReadme does what the README says, word for word, except that ports are
// free ones.
func TestReadme(t *testing.T) {
	n, stopNet, err := pretendNet(fakenet.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Host("example.org", fakenet.Script{}); err != nil {
		t.Fatal(err)
	}
	r, err := newRig(t.TempDir(), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.stop(), stopNet()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(tail(r.log.String(), 20_000))
		}
	})
	r.settings["PENNYPOST_HOSTNAME"] = "mail.example.com"
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{
		"api": "http://" + r.http, "json": "-sS --fail-with-body -H Accept:application/json -H Content-Type:application/json",
		"PATH": os.Getenv("PATH"), "HOME": t.TempDir(),
	}
	b, err := os.ReadFile(filepath.Join(r.dir, "data", "first-run.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`(?m)^Account token: +(\S+)$`).FindSubmatch(b); m != nil {
		vars["ACCOUNT_TOKEN"] = string(m[1])
	}
	sh := func(command string) string {
		t.Helper()
		cmd := exec.Command("sh", "-c", command) //nolint:gosec,noctx // from our README
		for k, v := range vars {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	var answer struct {
		ID                                    int64
		ApiTokens                             []string
		DKIMPendingHost, DKIMPendingTextValue string
		DKIMVerified                          bool
		MessageID, Username, Secret           string
		Recipients                            []struct{ State string }
	}
	curl := commands(t, "curl $json")
	if len(curl) != 6 {
		t.Fatalf("the README has %d calls: %q", len(curl), curl)
	}
	for _, command := range curl[:5] {
		if err := json.Unmarshal([]byte(sh(command)), &answer); err != nil {
			t.Fatal(err)
		}
		switch {
		case answer.ApiTokens != nil && vars["SERVER_TOKEN"] == "":
			vars["SERVER_TOKEN"] = answer.ApiTokens[0]
		case answer.DKIMPendingHost != "":
			if err := n.Record(answer.DKIMPendingHost + ". 60 IN TXT " + quoted(answer.DKIMPendingTextValue)); err != nil {
				t.Fatal(err)
			}
			answer.DKIMPendingHost = ""
		}
	}
	vars["MESSAGE_ID"], vars["USERNAME"], vars["SECRET"] = answer.MessageID, answer.Username, answer.Secret
	swaks := commands(t, "swaks ")
	if len(swaks) != 1 || !strings.Contains(swaks[0], "mail.example.com:587") {
		t.Fatalf("the README sends with %q", swaks)
	}
	sh(strings.Replace(swaks[0], "mail.example.com:587", r.smtp, 1))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := n.Box().WaitFor(ctx, "you@example.org", 2); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, 10*time.Second, "the way of the message", func() bool {
		out := sh(curl[5])
		if err := json.Unmarshal([]byte(out), &answer); err != nil {
			t.Fatal(err)
		}
		return len(answer.Recipients) == 1 && strings.EqualFold(answer.Recipients[0].State, "delivered")
	})
}

// TestDev pastes what `dev` prints.
func TestDev(t *testing.T) {
	dir := t.TempDir()
	for again := range 2 { // the second time in the same directory
		cmd := exec.Command(filepath.Join(binDir, "pennypost"), "dev", "--free-ports", "--dir", dir) //nolint:gosec,noctx // our own program, ended below
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		var errs lockedBuffer
		cmd.Stderr = &errs
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := make(chan string, 1000)
		go func() {
			defer close(lines)
			for s := bufio.NewScanner(out); s.Scan(); {
				lines <- s.Text()
			}
		}()
		var shown []string
		until := func(what string) {
			t.Helper()
			late := time.After(30 * time.Second)
			for {
				select {
				case line, ok := <-lines:
					if !ok {
						t.Fatalf("dev ended before it said %q:\n%s\n%s", what, strings.Join(shown, "\n"), errs.String())
					}
					if shown = append(shown, line); strings.Contains(line, what) {
						return
					}
				case <-late:
					t.Fatalf("dev does not say %q:\n%s\n%s", what, strings.Join(shown, "\n"), errs.String())
				}
			}
		}
		until("What arrives is shown here")
		text := strings.Join(shown, "\n")
		for _, word := range []string{"swaks", "curl"} {
			from := strings.Index(text, "  "+word+" ")
			command, _, _ := strings.Cut(text[from:], "\n\n")
			if got, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil { //nolint:gosec,noctx // what our program printed
				t.Fatalf("%s: %v\n%s", command, err, got)
			}
			until("alice@example.test: delivered")
		}
		from := strings.Index(text, "  curl ")
		command := strings.Replace(text[from:], "alice@example.test", "bounce+550@sim.test", 1)
		command, _, _ = strings.Cut(command, "\n\n")
		got, err := exec.Command("sh", "-c", command).CombinedOutput() //nolint:gosec,noctx // what our program printed
		switch {
		case err != nil:
			t.Fatalf("%s: %v\n%s", command, err, got)
		case again == 0:
			until("bounce+550@sim.test refused at rcpt: 550 5.1.1")
		case !strings.Contains(string(got), `"ErrorCode":406`):
			t.Errorf("the address that bounced before: %s", got)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		go func() {
			for range lines { // until the program closes its output
			}
		}()
		if err := cmd.Wait(); err != nil {
			t.Errorf("dev ended with %v\n%s", err, errs.String())
		}
	}
}
