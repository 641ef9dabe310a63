package deliver

import (
	"encoding/base64"
	"fmt"
	"strings"

	"pennypost"
	"pennypost/internal/smtpc"
)

// envelope makes what is sent: the signature, the one field that differs per
// recipient, and the content. Receivers' tools find the recipient by
// X-PM-RCPT (contract/smtp.md §6); it is not signed.
func (d *Deliverer) envelope(k *letter, fields []byte) *smtpc.Envelope {
	return &smtpc.Envelope{
		From:      d.returnPath(k),
		To:        path(k.rcpt.Address),
		UTF8:      k.m.NeedsSMTPUTF8,
		Parts:     [][]byte{fields, rcptField(k.m, k.rcpt.Address), k.content},
		BeforeDot: d.beforeDot,
	}
}

// returnPath names message and recipient under a MAC. It stays the same over
// all attempts: greylisting knows a sender by it.
func (d *Deliverer) returnPath(k *letter) string {
	domain := k.m.ReturnDomain
	if domain == "" {
		domain = d.c.BounceDomain
	}
	return d.c.Verp.Encode(k.rcpt.MessageID, k.rcpt.N, k.m.ReceivedAt) + "@" + domain
}

func rcptField(m *pennypost.Message, a pennypost.Address) []byte {
	text := fmt.Sprintf("m1|%d|%d|%s", m.AccountID, m.ServerID, a)
	const name = "X-PM-RCPT: |"
	out := make([]byte, 0, len(name)+base64.StdEncoding.EncodedLen(len(text))+len("|\r\n"))
	out = append(out, name...)
	out = base64.StdEncoding.AppendEncode(out, []byte(text))
	return append(out, "|\r\n"...)
}

// path writes an address as RFC 5321 §4.1.2 has it: a local part that is no
// dot-string is quoted.
func path(a pennypost.Address) string {
	at := strings.LastIndexByte(string(a), '@')
	if at < 0 || dotString(string(a[:at])) {
		return string(a)
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(a[:at]) {
		if c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
	b.WriteString(string(a[at:]))
	return b.String()
}

// dotString: RFC 5321 §4.1.2, with RFC 6531 §3.3 for octets from 128 on.
func dotString(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if c := atom[i]; !atext(c) {
				return false
			}
		}
	}
	return true
}

func atext(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c >= 0x80:
		return true
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}
