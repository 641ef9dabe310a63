package eml

import (
	"bytes"
	"errors"
	"io"
	"net/mail"
	"strings"
	"testing"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // the second opinion knows charsets too
	"github.com/google/go-cmp/cmp"
)

func build(t *testing.T, m *Message) []byte {
	t.Helper()
	out, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	checkWire(t, out)
	return out
}

// checkWire covers S-034, S-040: 7 bit, CRLF only, lines of at most 998 octets.
func checkWire(t *testing.T, b []byte) {
	t.Helper()
	if !is7Bit(b) {
		t.Errorf("not 7 bit clean: %.400q", b)
	}
	if !bytes.HasSuffix(b, []byte("\r\n")) {
		t.Errorf("no line end at the end")
	}
	for line := range bytes.SplitSeq(b, []byte("\r\n")) {
		if len(line) > 998 || bytes.ContainsAny(line, "\r\n\x00") {
			t.Errorf("bad line of %d octets: %.100q", len(line), line)
		}
	}
}

func reparse(t *testing.T, b []byte) *Parsed {
	t.Helper()
	p, err := Parse(b, Limits{})
	if err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	return p
}

type leafView struct{ Type, Name, ID, Disposition, Content string }

func ours(p *Part) []leafView {
	var list []leafView
	for q := range p.All() {
		if !q.IsMultipart() {
			list = append(list, leafView{q.Type, q.Filename, q.ContentID, q.Disposition, string(q.Content)})
		}
	}
	return list
}

// theirs is the same as read by go-message.
func theirs(t *testing.T, raw []byte) []leafView {
	t.Helper()
	e, err := message.Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("go-message: %v", err)
	}
	var list []leafView
	err = e.Walk(func(_ []int, e *message.Entity, err error) error {
		if err != nil || e.MultipartReader() != nil {
			return err
		}
		typ, _, err := e.Header.ContentType()
		if err != nil {
			return err
		}
		v := leafView{Type: typ, ID: strings.Trim(e.Header.Get("Content-Id"), "<>")}
		if e.Header.Has("Content-Disposition") {
			disp, params, err := e.Header.ContentDisposition()
			if err != nil {
				return err
			}
			v.Disposition, v.Name = disp, params["filename"]
		}
		body, err := io.ReadAll(e.Body)
		v.Content = string(body)
		list = append(list, v)
		return err
	})
	if err != nil {
		t.Fatalf("go-message: %v", err)
	}
	return list
}

func TestBuildTree(t *testing.T) {
	png := bytes.Repeat([]byte{0x89, 'P', 'N', 'G', 0, '\r', '\n'}, 99)
	long := strings.Repeat("ä", 70) + " " + strings.Repeat("b", 60) + ".txt"
	m := &Message{
		Header: []Field{
			AddressField("From", Mailbox{"Blue Kettle", "orders", "bluekettle.example"}),
			AddressField("To", Mailbox{"Doe, Jane", "jane", "example.com"}, Mailbox{"Zoë", "zoe", "example.com"}),
			{Name: "Subject", Value: "Größe – " + strings.Repeat("long ", 40)},
			RawField("References", strings.Repeat("<aaaaaaaaaaaaaaaaaaaaaaaaa@example.com> ", 30)),
			{Name: "MIME-Version", Value: "9"},
			{Name: "content-type", Value: "text/evil"},
		},
		Root: Compose("Text: ü\nFrom me \n. \n..\nend", `<p>Häl<img src="cid:logo.png"><img src='CID:b%20c'></p>`, []*Part{
			NewAttachment("logo.png", "image/png", "cid:logo.png", png),
			NewAttachment("b c.png", "image/png", "b c", png[:1]),
			NewAttachment("unused.png", "", "unused.png", nil),
			NewAttachment(long, "text/calendar; method=REQUEST; charset=iso-8859-1", "", []byte("raw\n\xff\r")),
		}),
		Boundary: "0123abc",
	}
	raw := build(t, m)
	want := []leafView{
		{"text/plain", "", "", "", "Text: ü\r\nFrom me \r\n. \r\n..\r\nend"},
		{"text/html", "", "", "", `<p>Häl<img src="cid:logo.png"><img src='CID:b%20c'></p>`},
		{"image/png", "logo.png", "logo.png", "inline", string(png)},
		{"image/png", "b c.png", "b c", "inline", "\x89"},
		{octetStream, "unused.png", "unused.png", "attachment", ""},
		{"text/calendar", long, "", "attachment", "raw\n\xff\r"},
	}
	p := reparse(t, raw)
	if d := cmp.Diff(want, ours(p.Root)); d != "" {
		t.Errorf("ours: %s", d)
	}
	// go-message converts the charset of a text attachment.
	want[5].Content = "raw\nÿ\r"
	if d := cmp.Diff(want, theirs(t, raw)); d != "" {
		t.Errorf("go-message: %s", d)
	}
	if got := p.Root.Attachments()[3].Params; !cmp.Equal(got, []Param{{"method", "REQUEST"}}) {
		t.Errorf("params %v", got)
	}
	var types []string
	for q := range p.Root.All() {
		types = append(types, q.Type)
	}
	if got := strings.Join(types[:4], " "); got != "multipart/mixed multipart/related multipart/alternative text/plain" {
		t.Errorf("tree %s", got)
	}
	if got := p.Text("Subject"); got != strings.TrimSpace(m.Header[2].Value) {
		t.Errorf("subject %q", got)
	}
	if got, err := ParseHeaderMailboxes(p.Get("To")); err != nil || len(got) != 2 || got[0].Name != "Doe, Jane" || got[1].Name != "Zoë" {
		t.Errorf("to %v, %v", got, err)
	}
	if got := p.Get("References"); got != strings.TrimSpace(m.Header[3].Value) {
		t.Errorf("references %q", got)
	}
	if n := len(p.Values("MIME-Version")) + len(p.Values("Content-Type")); n != 2 {
		t.Errorf("%d MIME fields in the header", n)
	}
	std, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil || len(std.Header) != 6 {
		t.Errorf("net/mail: %v, %v", err, std)
	}
	for line := range strings.SplitSeq(string(raw), "\r\n") {
		if len(line) > 78 {
			t.Errorf("line could be folded: %s", line)
		}
	}
}

func TestGoldenMessage(t *testing.T) {
	got := build(t, &Message{
		Header:   []Field{{Name: "Subject", Value: "Hi"}},
		Root:     Alternative("Größe = 1 ", "<p>"),
		Boundary: "b0",
	})
	want := "Subject: Hi\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"=_0.b0\"\r\n" +
		"\r\n--=_0.b0\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=B6=C3=9Fe =3D 1=20" +
		"\r\n--=_0.b0\r\nContent-Type: text/html; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>" +
		"\r\n--=_0.b0--\r\n"
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Error(d)
	}
}

func TestBoundaryCannotOccur(t *testing.T) {
	inner := build(t, &Message{Root: Alternative("a", "b")})
	outer := &Message{Root: &Part{Type: "multipart/mixed", Parts: []*Part{
		{Type: "text/plain", Content: []byte("--=_0.\r\n--=_1.--\r\n")},
		{Type: "message/rfc822", Content: inner},
	}}}
	p := reparse(t, build(t, outer))
	if len(p.Root.Parts) != 2 || string(p.Root.Parts[1].Content) != string(inner) {
		t.Errorf("%d parts", len(p.Root.Parts))
	}
}

func TestLongHeaderValues(t *testing.T) { // S-040
	for _, v := range []string{strings.Repeat("x", 5000), strings.Repeat("x ", 5000), strings.Repeat("ü", 5000), "a" + strings.Repeat(" ", 3000) + "b"} {
		for _, f := range []Field{{Name: "X-A", Value: v}, RawField("X-A", v), RawField(strings.Repeat("N", 255), v)} {
			p := reparse(t, build(t, &Message{Header: []Field{f}}))
			if got := p.Text(f.Name); got != strings.TrimSpace(v) {
				t.Errorf("%.20q: %d octets, want %d", v, len(got), len(v))
			}
		}
	}
	huge := Mailbox{strings.Repeat("name ", 1000), "a", "b.example"}
	p := reparse(t, build(t, &Message{Header: []Field{AddressField("To", huge)}}))
	if got := p.Text("To"); got != huge.Name+" <a@b.example>" {
		t.Errorf("%d octets", len(got))
	}
}

func TestUTF8Address(t *testing.T) {
	m := &Message{Header: []Field{AddressField("To", Mailbox{"Jø", "jørgen", "example.com"})}}
	if !m.NeedsUTF8() {
		t.Error("NeedsUTF8 is false")
	}
	out, err := m.Append(nil)
	if err != nil || !bytes.Contains(out, []byte("To: =?utf-8?B?SsO4?= <jørgen@example.com>\r\n")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestInjection covers H-001 to H-020: every payload in every field is refused or leaves
// the names of the header fields and the parts as they are, by two readers.
func TestInjection(t *testing.T) {
	control := build(t, injected("x"))
	for _, p := range []string{
		"\r\nBcc: evil@evil.example", "\nBcc: evil@evil.example", "\rBcc: evil@evil.example", "\r\n\r\nbody", "\n\nbody",
		"\r\n Bcc: x", "\r\n\tBcc: x", "\x00Bcc: x", "a\x00", "\u2028Bcc: x", "\u2029Bcc: x", "\u0085Bcc: x", "\x0bBcc: x", "\x0cBcc: x",
		"%0d%0aBcc: x", "=0D=0ABcc: x", "=?utf-8?Q?a=0D=0ABcc:_x?=", "=?utf-8?B?DQpCY2M6IHg=?=", "\\r\\nBcc: x", "&#13;&#10;Bcc: x",
		"嘊嘍Bcc: x", "\xc4\x8d\xc4\x8aBcc: x", "\r\n--=_0.\r\nContent-Type: text/html\r\n\r\n<b>", "\"; filename=evil.exe; x=\"", "x\"\r\nContent-Type: text/evil\r\n\r\n",
		"a>,<evil@evil.example", "\x1b[2J", "\xff\xfe\r\nBcc: x", "a;b=c", ".\r\n.\r\nMAIL FROM:<>",
	} {
		out, err := injected(p).Append(nil)
		if err != nil {
			fe := new(FieldError)
			if !errors.As(err, &fe) {
				t.Errorf("%q: %v", p, err)
			}
		} else {
			sameShape(t, p, out, control)
		}
		// The rest has no error to give: it is made harmless.
		m := injected("x")
		m.Root = injectedTree(p)
		m.Boundary = p
		m.Header = append(m.Header, AddressField("To", Mailbox{p, "a", "b.example"}))
		out, err = m.Append(nil)
		if err != nil {
			t.Errorf("%q: %v", p, err)
			continue
		}
		m = injected("x")
		m.Header = append(m.Header, AddressField("To", Mailbox{"x", "a", "b.example"}))
		sameShape(t, p, out, build(t, m))
		if _, err := ParseMailbox(p + " <a@b.example>"); err == nil && strings.ContainsAny(p, "\r\n\x00") {
			t.Errorf("%q accepted as a name", p)
		}
		for _, f := range []Field{{Name: p, Value: "x"}, {Name: "X" + p, Value: "x"}} {
			if out, err := (&Message{Header: []Field{f}}).Append(nil); err == nil && strings.ContainsAny(p, "\r\n\x00: ") {
				t.Errorf("name %q accepted: %s", f.Name, out)
			}
		}
	}
}

func injected(p string) *Message {
	return &Message{
		Header: []Field{{Name: "Subject", Value: p}, RawField("X-Raw", p)},
		Root:   injectedTree("x"),
	}
}

func injectedTree(p string) *Part {
	a := NewAttachment("x"+p, "text/calendar; method="+p, p, []byte(p))
	b := &Part{Type: "text/x" + p, Filename: p + "x", ContentID: p + "x", Disposition: p, Params: []Param{{p, p}, {"p", p}}, Content: []byte(p)}
	return &Part{Type: "multipart/mixed" + p, Parts: []*Part{Compose(p, p+" ", []*Part{a}), b}}
}

func sameShape(t *testing.T, payload string, got, control []byte) {
	t.Helper()
	checkWire(t, got)
	names := func(p *Parsed) (list []string) {
		for _, f := range p.Header {
			list = append(list, f.Name)
		}
		return list
	}
	g, c := reparse(t, got), reparse(t, control)
	if d := cmp.Diff(names(c), names(g)); d != "" {
		t.Errorf("%q: %s", payload, d)
	}
	if a, b := len(ours(g.Root)), len(ours(c.Root)); a != b {
		t.Errorf("%q: %d parts, want %d", payload, a, b)
	}
	std, err := mail.ReadMessage(bytes.NewReader(got))
	if err != nil {
		t.Errorf("%q: net/mail: %v", payload, err)
		return
	}
	want, err := mail.ReadMessage(bytes.NewReader(control))
	if err != nil || len(std.Header) != len(want.Header) {
		t.Errorf("%q: net/mail sees %v", payload, std.Header)
	}
	if a, b := len(theirs(t, got)), len(theirs(t, control)); a != b {
		t.Errorf("%q: go-message sees %d parts, want %d", payload, a, b)
	}
}

func TestFieldCheck(t *testing.T) { // H-021
	for name, ok := range map[string]bool{"X-A": true, "x": true, "!": true, "": false, "A B": false, "A:": false, "Ä": false, strings.Repeat("a", 256): false} {
		if err := (Field{Name: name, Value: "v"}).Check(); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestWriteTo(t *testing.T) {
	m := &Message{Root: Alternative("a", "")}
	var b bytes.Buffer
	n, err := m.WriteTo(&b)
	if err != nil || n != int64(b.Len()) || !bytes.Equal(b.Bytes(), build(t, m)) {
		t.Errorf("%d, %v", n, err)
	}
}
