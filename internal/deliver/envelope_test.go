package deliver

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"pennypost"
	"pennypost/internal/dkim"
)

func TestPath(t *testing.T) {
	tests := []struct{ address, want string }{
		{"ann@shop.example", "ann@shop.example"},
		{"a.b+c=d@shop.example", "a.b+c=d@shop.example"},
		{"a..b@shop.example", `"a..b"@shop.example`},
		{".a@shop.example", `".a"@shop.example`},
		{"a.@shop.example", `"a."@shop.example`},
		{`a"b\c@shop.example`, `"a\"b\\c"@shop.example`},
		{"a b> ORCPT=x@shop.example", `"a b> ORCPT=x"@shop.example`},
		{"jürgen@shop.example", "jürgen@shop.example"},
	}
	for _, tt := range tests {
		if got := path(pennypost.Address(tt.address)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.address, got, tt.want)
		}
	}
}

// contract/smtp.md §6.
func TestRcptField(t *testing.T) {
	m := &pennypost.Message{AccountID: 255437, ServerID: 9849154}
	got := string(rcptField(m, "ann@example.org"))
	const want = "X-PM-RCPT: |bTF8MjU1NDM3fDk4NDkxNTR8YW5uQGV4YW1wbGUub3Jn|\r\n"
	if got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestMadeWith(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	one := &dkim.Key{Domain: "shop.example", Selector: "20260101000000pm", Signer: key}
	two := &dkim.Key{Domain: "shop.example", Selector: "20270101000000pm", Signer: key}
	message := []byte("From: a@shop.example\r\nSubject: hello\r\n\r\nhello\r\n")
	fields, err := dkim.NewSigner(dkim.Options{}).Sign(message, one)
	if err != nil {
		t.Fatal(err)
	}
	both, err := dkim.NewSigner(dkim.Options{}).Sign(message, one, two)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		fields []byte
		keys   []*dkim.Key
		want   bool
	}{
		{"the same", fields, []*dkim.Key{one}, true},
		{"rotated", fields, []*dkim.Key{two}, false},
		{"one was added", fields, []*dkim.Key{one, two}, false},
		{"one is gone", both, []*dkim.Key{one}, false},
		{"both", both, []*dkim.Key{two, one}, true},
		{"nothing", nil, []*dkim.Key{one}, false},
	}
	for _, tt := range tests {
		if got := madeWith(tt.fields, tt.keys); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
