package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"pennypost/internal/account"
	"pennypost/internal/auth"
)

// firstRunFile is where the first start leaves the tokens that it made.
const firstRunFile = "first-run.txt"

// Lines of the file begin with these.
const (
	accountLine  = "Account token:"
	operatorLine = "Operator token:"
)

// saveFirstRun writes the tokens that were made. It runs before the database
// knows them: a crash in between leaves a file that the next start replaces.
func (s *service) saveFirstRun(f account.FirstRun) error {
	return writeFile(filepath.Join(s.conf.dataDir, firstRunFile), firstRunText(&f), 0o600)
}

func firstRunText(f *account.FirstRun) []byte {
	var b bytes.Buffer
	b.WriteString("These tokens were made at the first start. Keep them where you keep passwords,\nthen delete this file: `pennypost doctor` warns while it is here.\n\n")
	for _, line := range []struct {
		name   string
		secret auth.Secret
		what   string
	}{
		{accountLine, f.AccountToken, "X-Postmark-Account-Token: servers, domains, senders"},
		{operatorLine, f.OperatorToken, "X-Operator-Token, and PENNYPOST_OPERATOR_TOKEN for `pennypost admin`"},
	} {
		if line.secret != "" {
			_, _ = fmt.Fprintf(&b, "%-16s %s\n                 %s\n", line.name, line.secret.Reveal(), line.what)
		}
	}
	return b.Bytes()
}

// showFirstRun prints the tokens when a person looks on, else where they are.
func (s *service) showFirstRun(stdout io.Writer) {
	if s.firstRun == nil || s.firstRun.AccountToken == "" && s.firstRun.OperatorToken == "" {
		return
	}
	file := filepath.Join(s.conf.dataDir, firstRunFile)
	s.log.Info("first start: tokens were made", "file", file)
	if isTerminal(stdout) {
		_, _ = fmt.Fprintf(stdout, "\n%s\nThe same is in %s.\n\n", firstRunText(s.firstRun), file)
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// operatorTokenOf reads the operator's token out of a first-run file.
func operatorTokenOf(dataDir string) (string, error) {
	f, err := os.Open(filepath.Join(dataDir, firstRunFile)) //nolint:gosec // G304: the directory of the settings
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(io.LimitReader(f, 64<<10))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), operatorLine); ok {
			return strings.TrimSpace(rest), nil
		}
	}
	return "", lines.Err()
}
