package eml

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type addressRow struct {
	In    string
	Addr  string
	UTF8  bool
	Error string
}

func kindName(err error) string {
	ae := new(AddressError)
	if !errors.As(err, &ae) {
		return ""
	}
	return map[AddressErrorKind]string{
		AddressEmpty: "Empty", AddressInvalid: "Invalid", AddressNoAt: "NoAt", AddressBadDomain: "BadDomain",
		AddressSingleLabel: "SingleLabel", AddressBadLocal: "BadLocal", AddressTooLong: "TooLong",
		AddressNotUTF8: "NotUTF8", AddressTooMany: "TooMany",
	}[ae.Kind]
}

// TestAddressTable covers S-075: API, SMTP and header fields agree.
func TestAddressTable(t *testing.T) {
	data, err := os.ReadFile("testdata/addresses.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []addressRow
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) < 60 {
		t.Fatalf("table has only %d rows", len(rows))
	}
	for _, row := range rows {
		t.Run(row.In, func(t *testing.T) {
			api, apiErr := ParseMailbox(row.In)
			path, utf8, pathErr := ParsePath(row.In)
			if got := kindName(apiErr); got != row.Error {
				t.Errorf("ParseMailbox: %q, want %q", got, row.Error)
			}
			if got := kindName(pathErr); got != row.Error {
				t.Errorf("ParsePath: %q, want %q", got, row.Error)
			}
			if row.Error != "" {
				return
			}
			if api.Addr() != row.Addr || path != api || utf8 != row.UTF8 {
				t.Errorf("got %q and %+v (utf8 %v), want %q (%v)", api.Addr(), path, utf8, row.Addr, row.UTF8)
			}
			list, err := ParseHeaderMailboxes("X <" + row.In + ">")
			if err != nil || len(list) != 1 || list[0].Addr() != row.Addr {
				t.Errorf("in a header field: %v, %v", list, err)
			}
			if again, err := ParseMailbox(api.Addr()); err != nil || again != api {
				t.Errorf("Addr does not parse to itself: %v, %v", again, err)
			}
		})
	}
}

func TestPathUTF8(t *testing.T) { // S-079
	for _, s := range []string{"a\xc0\xafb@example.com", "a\xed\xa0\x80@example.com", "a\xe2\x82@example.com", "a@b\xff.example"} {
		if _, _, err := ParsePath(s); kindName(err) != "NotUTF8" {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestParseMailboxNames(t *testing.T) {
	for in, want := range map[string]Mailbox{
		`Jane Doe <jane@example.com>`:               {"Jane Doe", "jane", "example.com"},
		`Jane<jane@example.com>`:                    {"Jane", "jane", "example.com"},
		`"Doe, Jane" <jane@example.com>`:            {"Doe, Jane", "jane", "example.com"},
		` <jane@example.com> `:                      {"", "jane", "example.com"},
		`"a \"b\" \\c" <jane@example.com>`:          {`a "b" \c`, "jane", "example.com"},
		`"<x@y.example>" <jane@example.com>`:        {"<x@y.example>", "jane", "example.com"},
		`Zoë Ärger <jane@example.com>`:              {"Zoë Ärger", "jane", "example.com"},
		`=?utf-8?B?Wm/Dqw==?= <jane@example.com>`:   {"Zoë", "jane", "example.com"},
		`"jane@example.com"`:                        {"", "jane", "example.com"},
		`John D. O'Neil (Sales) <jane@example.com>`: {"John D. O'Neil (Sales)", "jane", "example.com"},
		`"Jane" Doe <jane@example.com>`:             {"Jane Doe", "jane", "example.com"},
		`jane@other.example <jane@example.com>`:     {"jane@other.example", "jane", "example.com"},
		"\t\"\" <jane@example.com>":                 {"", "jane", "example.com"},
	} {
		got, err := ParseMailbox(in)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", in, got, err, want)
		}
	}
}

// The texts are those of contract/sending.md §3, §8 and clients.md §4.4, 4.5.
func TestAddressErrorText(t *testing.T) {
	for _, c := range []struct{ field, in, want string }{
		{"To", "test", "Invalid 'To' address: 'test'."},
		{"To", "jane.example.com", "Error parsing 'To': Illegal email address 'jane.example.com'. It must contain the '@' symbol."},
		{"Cc", "jane@+", "Error parsing 'Cc': Illegal email domain '+' in address 'jane@+'."},
		{"Bcc", "Jane <jane@+>", "Error parsing 'Bcc': Illegal email domain '+' in address 'jane@+'."},
		{"From", "webmaster@localhost", "Invalid 'From' address: 'webmaster@localhost'."},
		{"From", "", "Invalid 'From' value."},
		{"Reply-To", "@domain", "Invalid 'Reply-To' address: '@domain'."},
		{"To", `"Jane Doe <jane@example.com>"`, "Error parsing 'To': Illegal email domain 'example.com>' in address 'Jane Doe <jane@example.com>'."},
		{"To", "j d@example.com", "Error parsing 'To': Illegal email mailbox 'j d' in address 'j d@example.com'."},
	} {
		_, err := ParseMailbox(c.in)
		ae := new(AddressError)
		if !errors.As(err, &ae) || ae.Text(c.field) != c.want {
			t.Errorf("%s: %v\nwant %s", c.in, err, c.want)
		}
	}
	_, err := ParseMailbox(strings.Repeat("é", 5000))
	if len(err.Error()) > 400 {
		t.Errorf("text has %d octets", len(err.Error()))
	}
}

func TestParseMailboxes(t *testing.T) {
	got, err := ParseMailboxes(`"Doe, Jane" <jane@example.com>, sam@example.com,Bo <bo@example.com>,`, 50)
	want := []Mailbox{{"Doe, Jane", "jane", "example.com"}, {"", "sam", "example.com"}, {"Bo", "bo", "example.com"}}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", " ", ",", " , ,"} {
		if got, err := ParseMailboxes(s, 50); got != nil || err != nil {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	fifty := strings.Repeat("a@example.com,", 50)
	if got, err := ParseMailboxes(fifty, 50); len(got) != 50 || err != nil {
		t.Errorf("50: %d, %v", len(got), err)
	}
	_, err = ParseMailboxes(fifty+"a@example.com", 50)
	if kindName(err) != "TooMany" {
		t.Errorf("51: %v", err)
	}
	_, err = ParseMailboxes(`Doe, Jane <jane@example.com>`, 50)
	if err == nil || err.Error() != "Invalid 'address' address: 'Doe'." {
		t.Errorf("unquoted comma: %v", err)
	}
}

func TestMailboxForms(t *testing.T) {
	for _, c := range []struct {
		m           Mailbox
		str, header string
	}{
		{Mailbox{"", "a", "b.example"}, "a@b.example", "a@b.example"},
		{Mailbox{"Jane Doe", "a", "b.example"}, `"Jane Doe" <a@b.example>`, "Jane Doe <a@b.example>"},
		{Mailbox{"Doe, Jane", "a", "b.example"}, `"Doe, Jane" <a@b.example>`, `"Doe, Jane" <a@b.example>`},
		{Mailbox{`x "y" \`, "a", "b.example"}, `"x \"y\" \\" <a@b.example>`, `"x \"y\" \\" <a@b.example>`},
		{Mailbox{"Zoë", "a", "b.example"}, `"Zoë" <a@b.example>`, "=?utf-8?B?Wm/Dqw==?= <a@b.example>"},
		{Mailbox{"=?utf-8?Q?x?=", "a", "b.example"}, `"=?utf-8?Q?x?=" <a@b.example>`, "=?utf-8?B?PT91dGYtOD9RP3g/PQ==?= <a@b.example>"},
		{Mailbox{"A\r\nBcc: x", "a", "b.example"}, "\"A\r\nBcc: x\" <a@b.example>", `"A  Bcc: x" <a@b.example>`},
	} {
		if got := c.m.String(); got != c.str {
			t.Errorf("String %q, want %q", got, c.str)
		}
		if got := c.m.Header(); got != c.header {
			t.Errorf("Header %q, want %q", got, c.header)
		}
	}
}

func TestParseHeaderMailboxes(t *testing.T) {
	jane := Mailbox{"Jane", "jane", "example.com"}
	joe := Mailbox{"", "joe", "example.com"}
	for _, c := range []struct {
		in   string
		want []Mailbox
		bad  bool
	}{
		{in: "Jane <jane@example.com>, joe@example.com", want: []Mailbox{jane, joe}},
		// RFC 5322 A.1.3, A.5, with domains that we accept
		{in: "A Group:Jane <jane@example.com>, joe@example.com;", want: []Mailbox{jane, joe}},
		{in: "Undisclosed recipients:;"},
		{in: "(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;"},
		{in: `Pete(A nice \) chap) <pete(his account)@silly.example(his host)>`, want: []Mailbox{{"Pete", "pete", "silly.example"}}},
		{in: "jane@example.com (Jane)", want: []Mailbox{jane}},
		{in: "=?iso-8859-1?Q?J=F8rn?= =?utf-8?B?w6Y=?= <joe@example.com>", want: []Mailbox{{"Jørnæ", "joe", "example.com"}}},
		{in: `"=?utf-8?B?w6Y=?=" <joe@example.com>`, want: []Mailbox{{"æ", "joe", "example.com"}}},
		{in: "J\xf8rn <joe@example.com>", want: []Mailbox{{"Jørn", "joe", "example.com"}}},
		{in: "=?utf-8?Q?a=40ours.example=3E?= <joe@example.com>", want: []Mailbox{{"a@ours.example>", "joe", "example.com"}}},
		{in: "=?utf-8?Q?x=0D=0ABcc=3Ay?= <joe@example.com>", want: []Mailbox{{"x  Bcc:y", "joe", "example.com"}}},
		{in: ",, joe@example.com,", want: []Mailbox{joe}},
		{in: ""},
		{in: "<@a.example,@b.example:joe@example.com>", bad: true},
		{in: "ours@ours.example <joe@evil.example> <joe@example.com>", want: []Mailbox{{"ours@ours.example", "joe", "example.com"}}, bad: true},
		{in: "joe@example.com joe@example.com", bad: true},
		{in: "joe@[127.0.0.1]", bad: true},
		{in: "Jane <jane@example.com", bad: true},
		{in: "(open joe@example.com", bad: true},
		{in: "joe@example.com; x", want: []Mailbox{joe}, bad: true},
		{in: "x, Jane <jane@example.com>", want: []Mailbox{jane}, bad: true},
		{in: `"joe@example.com`, bad: true},
		{in: "<>", bad: true},
		{in: "a: b: joe@example.com;", want: []Mailbox{joe}, bad: true},
	} {
		got, err := ParseHeaderMailboxes(c.in)
		if (err != nil) != c.bad || !cmp.Equal(got, c.want) {
			t.Errorf("%q: %v, %v; want %v", c.in, got, err, c.want)
		}
	}
	many := strings.Repeat("a@example.com,", maxHeaderMailboxes+1)
	if got, err := ParseHeaderMailboxes(many); len(got) != maxHeaderMailboxes || kindName(err) != "TooMany" {
		t.Errorf("%d, %v", len(got), err)
	}
}

func TestCanonicalDomain(t *testing.T) {
	if d, err := CanonicalDomain("Bücher.Example"); d != "xn--bcher-kva.example" || err != nil {
		t.Errorf("%q, %v", d, err)
	}
	if _, err := CanonicalDomain("localhost"); kindName(err) != "SingleLabel" {
		t.Errorf("localhost: %v", err)
	}
	// H-025: a look-alike stays distinct from what it looks like.
	if d, err := CanonicalDomain("pаypal.example"); err != nil || d == "paypal.example" {
		t.Errorf("Cyrillic: %q, %v", d, err)
	}
}
