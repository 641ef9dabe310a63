package auth

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"

	"github.com/google/uuid"

	"pennypost"
)

// Secret is a token or password in the clear. It prints as *** with every verb,
// in logs and as JSON; only Reveal gives it away.
type Secret string

const hidden = "***"

// Reveal gives the text, for the one answer or file that it is made for.
func (s Secret) Reveal() string { return string(s) }

// Format hides the text from every verb of package fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) } //nolint:errcheck // fmt has no way to tell

// String hides the text.
func (s Secret) String() string { return hidden }

// LogValue hides the text from package slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the text from JSON and other encodings.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// smtpSecretSize is the length of SMTP secrets: almost 216 bits.
const smtpSecretSize = 36

// alphabet64 has 64 characters that neither SMTP clients nor shells nor
// settings files need to quote.
const alphabet64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// NewAPIToken makes a token for HTTP: a random UUID (version 4) in lower case.
func NewAPIToken() Secret { return Secret(uuid.NewString()) }

// NewSMTPSecret makes the secret of an SMTP token: 36 characters of A–Z, a–z,
// 0–9, - and _. The first is a letter or digit: mail programs on a command line
// take a password that begins with - for an option.
func NewSMTPSecret() Secret { return Secret(randomAlnum(1) + random64(smtpSecretSize-1)) }

// NewLinkToken makes a token for a link in a mail: 43 characters of the same.
func NewLinkToken() Secret { return Secret(random64(43)) }

// NewAccessKey makes the access key of an SMTP token of a server: PM-T- or
// PM-B- with the stream that it is bound to, PM-S- with the server's number when
// it is bound to none, and 22 random characters. An access key is no secret.
func NewAccessKey(server pennypost.ServerID, stream pennypost.StreamID, typ pennypost.StreamType) string {
	random := randomAlnum(22)
	switch {
	case stream == "":
		return fmt.Sprintf("PM-S-%d-%s", server, random)
	case typ == pennypost.StreamBroadcasts:
		return fmt.Sprintf("PM-B-%s-%s", stream, random)
	}
	return fmt.Sprintf("PM-T-%s-%s", stream, random)
}

// random64 gives n characters of alphabet64. crypto/rand never fails: where the
// system has no randomness the program ends.
func random64(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	for i, c := range b {
		b[i] = alphabet64[c&63]
	}
	return string(b)
}

// randomAlnum gives n letters and digits.
func randomAlnum(n int) string {
	out := make([]byte, 0, n)
	for len(out) < n {
		for _, c := range []byte(random64(n)) {
			if c != '-' && c != '_' && len(out) < n {
				out = append(out, c)
			}
		}
	}
	return string(out)
}
