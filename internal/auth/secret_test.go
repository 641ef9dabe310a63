package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"pennypost"
)

func TestSecretNeverPrints(t *testing.T) {
	const text = "6f5a3a1c-7d10-4a2c-9a0e-5b0c9f623a6f"
	s := Secret(text)
	in := struct{ S Secret }{s}
	var printed []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s"} {
		printed = append(printed, fmt.Sprintf(verb, s), fmt.Sprintf(verb, in), fmt.Sprintf(verb, &in), fmt.Sprintf(verb, []Secret{s}))
	}
	j, err := json.Marshal(map[string]any{"a": s, "b": in, "c": &s})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(h).Info("x", "secret", s, "in", in, "err", fmt.Errorf("with %v", s))
	}
	printed = append(printed, string(j), log.String())
	hex := fmt.Sprintf("%x", text)
	for _, p := range printed {
		if strings.Contains(p, text) || strings.Contains(strings.ToLower(p), hex) {
			t.Errorf("prints the secret: %s", p)
		}
		if !strings.Contains(p, "***") {
			t.Errorf("does not show that something is there: %s", p)
		}
	}
	if got := s.Reveal(); got != text {
		t.Errorf("Reveal: %q", got)
	}
}

func TestSecretForms(t *testing.T) {
	forms := []struct {
		what string
		got  string
		want string
	}{
		{"API token", NewAPIToken().Reveal(), `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`},
		{"SMTP secret", NewSMTPSecret().Reveal(), `^[A-Za-z0-9][A-Za-z0-9_-]{35}$`},
		{"link token", NewLinkToken().Reveal(), `^[A-Za-z0-9_-]{43}$`},
		{"transactional", NewAccessKey(7, "outbound", pennypost.StreamTransactional), `^PM-T-outbound-[A-Za-z0-9]{22}$`},
		{"broadcasts", NewAccessKey(7, "broadcast", pennypost.StreamBroadcasts), `^PM-B-broadcast-[A-Za-z0-9]{22}$`},
		{"no stream", NewAccessKey(41077, "", ""), `^PM-S-41077-[A-Za-z0-9]{22}$`},
	}
	for _, f := range forms {
		if !regexp.MustCompile(f.want).MatchString(f.got) {
			t.Errorf("%s: %q does not match %s", f.what, f.got, f.want)
		}
	}
	for _, key := range []string{forms[3].got, forms[4].got, forms[5].got} {
		if !accessKey.MatchString(key) {
			t.Errorf("%q would not be known in the log", key)
		}
	}
	seen := map[Secret]bool{}
	for range 1000 {
		s := NewSMTPSecret()
		if seen[s] {
			t.Fatal("same secret twice")
		}
		seen[s] = true
	}
}

// swaks and its like take a password that begins with a hyphen for an option.
func TestSMTPSecretIsNoOption(t *testing.T) {
	for range 5000 {
		if s := NewSMTPSecret().Reveal(); s[0] == '-' || s[0] == '_' {
			t.Fatalf("secret begins with %q", s[0])
		}
	}
}
