package smtpd

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func manual(tb testing.TB) string {
	tb.Helper()
	b, err := os.ReadFile("../../docs/smtp.md")
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// Every fixed reply of reply.go stands in docs/smtp.md, word by word.
func TestManualHasEveryReply(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "reply.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	text := manual(t)
	n := 0
	ast.Inspect(f, func(node ast.Node) bool {
		v, ok := node.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		if typ, ok := v.Type.(*ast.Ident); !ok || typ.Name != "reply" {
			return true
		}
		lit, ok := v.Values[0].(*ast.BasicLit)
		if !ok {
			t.Fatalf("%s is no literal", v.Names[0])
		}
		s, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		n++
		if !strings.Contains(text, "\n| `"+s+"` |") {
			t.Errorf("docs/smtp.md has no row for %s: `%s`", v.Names[0], s)
		}
		if len(s) > maxReplyLine || asciiOnly(s) != s {
			t.Errorf("%s does not fit in a line of ASCII", v.Names[0])
		}
		return true
	})
	if n < 60 {
		t.Errorf("found only %d replies in reply.go", n)
	}
}

// row finds the row of the manual that shows a reply; {…} there is any text.
func row(manual, reply string) (string, bool) {
	cell := regexp.MustCompile("(?m)^\\|[^`\n]*`([2-5][0-9]{2} [^`]*)` \\|")
	hole := regexp.MustCompile(`\\\{[^}]*\\\}`)
	for _, m := range cell.FindAllStringSubmatch(manual, -1) {
		if m[1] == "554 5.6.0 {text}" {
			continue // fits too much
		}
		pattern := hole.ReplaceAllString(regexp.QuoteMeta(m[1]), ".+")
		if regexp.MustCompile("^" + pattern + "$").MatchString(reply) {
			return m[1], true
		}
	}
	return "", false
}

// The example session of the manual is what EHLO says, and the limits are the
// defaults.
func TestManualExample(t *testing.T) {
	text := manual(t)
	w := start(t)
	p := w.dial(w.submission).hello().startTLS(w.tls)
	p.send("EHLO x\r\n")
	want := strings.ReplaceAll(p.reply(), hostname, "mail.example.com")
	if !strings.Contains(text, "    "+strings.ReplaceAll(want, "\n", "\n    ")+"\n") {
		t.Errorf("docs/smtp.md does not show the answer to EHLO:\n%s", want)
	}
	for _, n := range []string{"20480000 octets", "262144 octets, 1,000 lines", "4,000 in all, 50 from one address", "50; 100 for mail to us"} {
		if !strings.Contains(text, n) {
			t.Errorf("docs/smtp.md lacks %q", n)
		}
	}
	lim := Limits{}.withDefaults()
	if lim.Size != 20480000 || lim.HeaderSize != 262144 || lim.HeaderLines != 1000 || lim.Connections != 4000 ||
		lim.PerAddress != 50 || lim.Recipients != 50 || lim.Strangers != 100 {
		t.Errorf("the defaults moved: %+v", lim)
	}
}
