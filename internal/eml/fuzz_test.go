package eml_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pennypost/internal/eml"
)

func addresses() []string {
	return []string{
		"", "a@example.com", "Ann <a@example.com>", `"Ann, Bee" <a@example.com>`, `"a@example.com"`, `"a b"@example.com`, "a@b@example.com",
		"=?utf-8?q?J=C3=B6rg?= <j@example.com>", "Jörg <jörg@bücher.example>", "a..b@docomo.example", "a@-x.example", "localhost@localhost",
		"a@example.com\r\nBcc: b@example.com", "Team: a@example.com, B <b@example.com>;", "a@example.com (Ann (Bee))", `"<b@example.com>" <a@example.com>`,
		"=?utf-8?b?PGJAZXhhbXBsZS5jb20+?= <a@example.com>", "a@example.com,,b@example.com,", "<@hop.example:a@example.com>", "a@[127.0.0.1]",
		`"\"" <a@example.com>`, "a\x00@example.com", "\xff@example.com", strings.Repeat("l", 65) + "@example.com", "a@" + strings.Repeat("d.", 130) + "example",
	}
}

// Whatever is given as an address, in the API, in a header field or in a path,
// gives an error that can be shown, or mailboxes that say the same in each
// form: nobody becomes a recipient, and nothing a header field, by being
// written and read again.
func FuzzAddress(f *testing.F) {
	for _, s := range addresses() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := eml.ParseMailbox(s); err != nil {
			wantAddressError(t, err)
		} else {
			wantMailbox(t, m)
		}
		if list, err := eml.ParseMailboxes(s, 5); err != nil {
			wantAddressError(t, err)
		} else {
			if len(list) > 5 {
				t.Fatalf("%d mailboxes, where 5 are allowed", len(list))
			}
			wantSame(t, list)
		}
		list, err := eml.ParseHeaderMailboxes(s)
		if err != nil {
			wantAddressError(t, err)
		}
		for _, m := range list {
			wantMailbox(t, m)
		}
		if m, needs, err := eml.ParsePath(s); err != nil {
			wantAddressError(t, err)
		} else {
			wantMailbox(t, m)
			if m.NeedsUTF8() && !needs {
				t.Fatalf("%q needs SMTPUTF8, which was not told", s)
			}
		}
	})
}

func wantAddressError(t *testing.T, err error) {
	t.Helper()
	var e *eml.AddressError
	if !errors.As(err, &e) {
		t.Fatalf("%T %v is no AddressError", err, err)
	}
	text := e.Text("To")
	if e.Kind == 0 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || len(e.Value) > 320 {
		t.Fatalf("error of kind %d cannot be shown: %q", e.Kind, text)
	}
}

// wantMailbox checks RFC 5321 §4.5.3.1, and that the header field of a mailbox
// is read as this mailbox and no other.
func wantMailbox(t *testing.T, m eml.Mailbox) {
	t.Helper()
	addr, header := m.Addr(), m.Header()
	if len(m.Local) == 0 || len(m.Local) > 64 || len(addr) > 254 {
		t.Fatalf("%q is too long or has no local part", addr)
	}
	if strings.ContainsFunc(m.Domain, func(r rune) bool { return r <= ' ' || r > '~' || unicode.IsUpper(r) }) || !strings.Contains(m.Domain, ".") {
		t.Fatalf("domain %q is not canonical", m.Domain)
	}
	for _, text := range []string{m.Name, addr, header} {
		if !utf8.ValidString(text) || strings.ContainsAny(text, "\r\n\x00") {
			t.Fatalf("%q in a mailbox", text)
		}
	}
	again, _, err := eml.ParsePath(addr)
	if err != nil || again.Local != m.Local || again.Domain != m.Domain {
		t.Fatalf("path %q is read as %+v, %v; it was made of %+v", addr, again, err, m)
	}
	list, err := eml.ParseHeaderMailboxes(header)
	if err != nil || len(list) != 1 || list[0].Addr() != addr {
		t.Fatalf("field %q is read as %+v, %v; it was made of %+v", header, list, err, m)
	}
}

// wantSame checks that the list of an API answer can be sent as a request.
func wantSame(t *testing.T, list []eml.Mailbox) {
	t.Helper()
	texts := make([]string, len(list))
	for i, m := range list {
		wantMailbox(t, m)
		texts[i] = m.String()
	}
	again, err := eml.ParseMailboxes(strings.Join(texts, ", "), len(list))
	if err != nil || len(again) != len(list) {
		t.Fatalf("%q is read as %+v, %v", texts, again, err)
	}
	for i := range list {
		if again[i].Addr() != list[i].Addr() {
			t.Fatalf("%q is read as %+v", texts[i], again[i])
		}
	}
}
