package track

import (
	"bytes"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"pennypost"
)

func TestToken(t *testing.T) {
	s, id := testSigner(), testID()
	form := regexp.MustCompile(`^[A-Za-z0-9_-]{24}$`)
	seen := make(map[string]bool)
	for n := range 256 {
		token := s.Token(id, n)
		if !form.MatchString(token) {
			t.Fatalf("token %d is %q", n, token)
		}
		if seen[token] {
			t.Fatalf("token %d is another's", n)
		}
		seen[token] = true
		if got, ok := s.ReadToken(id, token); !ok || got != n {
			t.Errorf("token %d reads %d, %v", n, got, ok)
		}
	}
	for _, n := range []int{-1, 256, 1 << 40} {
		if got := s.Token(id, n); got != "" {
			t.Errorf("there is a token %d: %q", n, got)
		}
	}
}

func TestReadTokenRefuses(t *testing.T) {
	s, id := testSigner(), testID()
	token := s.Token(id, 7)
	other := id
	other[15]++
	for name, bad := range map[string]string{
		"empty": "", "short": token[:23], "long": token + "A", "number changed": s.Token(id, 8)[:2] + token[2:],
		"MAC changed": token[:23] + flip(token[23]), "of another message": s.Token(other, 7),
		"with another key": NewSigner([]byte("another key of some octets")).Token(id, 7), "line end": token[:23] + "\n", "not base64": token[:23] + "=",
	} {
		if n, ok := s.ReadToken(id, bad); ok {
			t.Errorf("%s: %q is read as %d", name, bad, n)
		}
	}
}

func flip(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

func TestPersonal(t *testing.T) {
	s, id := testSigner(), testID()
	marker, mine := s.Token(id, Copy), s.Token(id, 3)
	content := []byte(marker + "x" + marker + marker + "\r\n" + marker[1:] + marker)
	before := bytes.Clone(content)
	got := s.Personal(content, id, 3)
	if want := mine + "x" + mine + mine + "\r\n" + marker[1:] + mine; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !bytes.Equal(content, before) {
		t.Error("the content was changed")
	}
	got[0] = '!'
	if content[0] == '!' {
		t.Error("the content is shared")
	}
	other := id
	other[0]++
	for name, c := range map[string][]byte{
		"the copy": s.Personal(content, id, Copy), "no such recipient": s.Personal(content, id, 300), "another message": s.Personal(content, other, 3),
	} {
		if !bytes.Equal(c, content) {
			t.Errorf("%s: %q", name, c)
		}
	}
	if !s.Has(content, id) || s.Has(got, id) || s.Has(content, other) {
		t.Error("the marker is found where it is not, or not where it is")
	}
}

func TestOpenAndUnsubscribeURL(t *testing.T) {
	s, id := testSigner(), testID()
	open, unsubscribe := s.OpenURL(base, id), s.UnsubscribeURL(base, id)
	if !regexp.MustCompile(`^https://track\.example\.com/o/[A-Za-z0-9_-]{22}/[A-Za-z0-9_-]{24}\.gif$`).MatchString(open) {
		t.Error(open)
	}
	if !regexp.MustCompile(`^https://track\.example\.com/u/[A-Za-z0-9_-]{24}/[A-Za-z0-9_-]{21}[AQgw]$`).MatchString(unsubscribe) {
		t.Error(unsubscribe)
	}
	mine := string(s.Personal([]byte(open+unsubscribe), id, 2))
	open, unsubscribe = mine[:len(open)], mine[len(open):]
	if got, n, ok := s.ReadOpen(strings.TrimPrefix(open, base)); got != id || n != 2 || !ok {
		t.Errorf("open: %v %d %v", got, n, ok)
	}
	if got, n, ok := s.ReadUnsubscribe(strings.TrimPrefix(unsubscribe, base)); got != id || n != 2 || !ok {
		t.Errorf("unsubscribe: %v %d %v", got, n, ok)
	}
	for _, tail := range []string{".", ")", ">", "/", "?"} {
		if got, n, ok := s.ReadUnsubscribe(strings.TrimPrefix(unsubscribe, base) + tail); got != id || n != 2 || !ok {
			t.Errorf("unsubscribe and %q: %v %d %v", tail, got, n, ok)
		}
	}
	for _, bad := range []string{
		"", "/", "/o/", "/u/", "/o/a/b.gif", "/u/" + strings.Repeat("A", 22), strings.TrimPrefix(open, base) + "/", strings.TrimPrefix(unsubscribe, base) + "/x",
		strings.TrimPrefix(unsubscribe, base) + ".gif", strings.Replace(strings.TrimPrefix(open, base), "/o/", "/u/", 1), strings.TrimSuffix(strings.TrimPrefix(open, base), ".gif"),
	} {
		if _, _, ok := s.ReadOpen(bad); ok {
			t.Errorf("open %q is read", bad)
		}
		if _, _, ok := s.ReadUnsubscribe(bad); ok {
			t.Errorf("unsubscribe %q is read", bad)
		}
	}
}

func TestLinkURL(t *testing.T) {
	s, id := testSigner(), testID()
	for _, target := range []string{
		"https://shop.example/p?id=9", "http://a", "https://a/" + strings.Repeat("/", 9), "https://a/?b=c&copy=1&d=%2F%25#e+f",
		"https://bücher.example/ä?ö=ü", "https://a/(b)!*'.;:@&=+$,~_-", "https://a/b.", "https://a/b_", "https://[2001:db8::1]:8080/x",
	} {
		for _, location := range []byte{InHTML, InText} {
			u := s.LinkURL(base, id, location, 12, target)
			if !regexp.MustCompile(`^https://track\.example\.com/c/[ht]12/[A-Za-z0-9_-]{22}/[A-Za-z0-9_-]{16}/[A-Za-z0-9_-]{24}/[A-Za-z0-9._~%-]*[A-Za-z0-9]$`).MatchString(u) {
				t.Errorf("%s becomes %s", target, u)
			}
			parsed, err := url.Parse(string(s.Personal([]byte(u), id, 5)))
			if err != nil {
				t.Fatal(err)
			}
			want := Link{ID: id, Recipient: 5, Location: location, No: 12, Target: target}
			for _, tail := range []string{"", ")", ".", "...", ">", "/"} {
				if got, ok := s.ReadLink(parsed.EscapedPath() + tail); !ok || got != want {
					t.Errorf("%q and %q: %+v, %v", target, tail, got, ok)
				}
			}
		}
	}
}

// A proxy on the way may write percent encodings anew.
func TestReadLinkForgives(t *testing.T) {
	s, id := testSigner(), testID()
	const target = "https://a.example/~b/c?d=%2f&e=~"
	path := strings.TrimPrefix(s.LinkURL(base, id, InText, 1, target), base)
	for _, p := range []string{
		path, strings.ReplaceAll(path, "%2F", "%2f"), strings.ReplaceAll(path, "%3A", ":"),
		strings.ReplaceAll(path, "%2F", "/"), strings.ReplaceAll(path, "%7E", "~"),
	} {
		if got, ok := s.ReadLink(p); !ok || got.Target != target {
			t.Errorf("%q: %+v, %v", p, got, ok)
		}
	}
}

func TestReadLinkRefuses(t *testing.T) {
	s, id := testSigner(), testID()
	other := id
	other[15]++
	good := strings.TrimPrefix(s.LinkURL(base, id, InHTML, 1, "https://a.example/b"), base)
	part := func(i int, with string) string {
		f := strings.Split(good, "/")
		f[i] = with
		return strings.Join(f, "/")
	}
	if _, ok := s.ReadLink(good); !ok {
		t.Fatal("the good one is not read")
	}
	for name, bad := range map[string]string{
		"empty": "", "prefix alone": "/c/", "too few": "/c/h1/a/b/c", "location": part(2, "x1"), "other location": part(2, "t1"), "no number": part(2, "h"),
		"other number": part(2, "h2"), "zero": part(2, "h0"), "leading zero": part(2, "h01"), "sign": part(2, "h+1"), "huge": part(2, "h99999999999999999999"),
		"message": part(3, mid(other)), "no message": part(3, ""), "signature": part(4, flipFirst(strings.Split(good, "/")[4])), "no signature": part(4, ""),
		"token of another message": part(5, s.Token(other, Copy)), "target": part(6, "https%3A%2F%2Fevil.example%2Fb"), "longer target": good + "c", "no target": part(6, ""),
		"broken escape": good + "%zz", "longer by much": good + "/c", "other key": strings.TrimPrefix(NewSigner([]byte("x")).LinkURL(base, id, InHTML, 1, "https://a.example/b"), base),
	} {
		if l, ok := s.ReadLink(bad); ok {
			t.Errorf("%s: %q is read as %+v", name, bad, l)
		} else if l != (Link{}) {
			t.Errorf("%s: %+v is left", name, l)
		}
	}
}

func flipFirst(s string) string { return flip(s[0]) + s[1:] }

func FuzzRead(f *testing.F) {
	s, id := testSigner(), testID()
	for _, u := range []string{s.LinkURL("", id, InHTML, 1, "https://a"), s.OpenURL("", id), s.UnsubscribeURL("", id), "/c/h1////", "/o/.gif"} {
		f.Add(u)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if l, ok := s.ReadLink(path); ok {
			again, ok := s.ReadLink(strings.TrimPrefix(s.linkURL("", s.Token(l.ID, l.Recipient), l.ID, l.Location, l.No, l.Target), base))
			if !ok || again != l {
				t.Errorf("%+v, %+v", l, again)
			}
		}
		if id, n, ok := s.ReadOpen(path); ok && path != "/o/"+mid(id)+"/"+s.Token(id, n)+".gif" {
			t.Errorf("%q opens %v %d", path, id, n)
		}
		if id, n, ok := s.ReadUnsubscribe(path); ok && trimJunk(path) != "/u/"+s.Token(id, n)+"/"+mid(id) {
			t.Errorf("%q unsubscribes %v %d", path, id, n)
		}
	})
}

func FuzzLinkURL(f *testing.F) {
	f.Add("https://a.example/b?c=d#e", 1)
	f.Add("%2F\x00ä.", 300)
	s, id := testSigner(), pennypost.MessageID{1, 2, 3}
	f.Fuzz(func(t *testing.T, target string, no int) {
		no = no&(1<<31-1) | 1 // of the numbers that there are
		u, err := url.Parse(s.LinkURL(base, id, InText, no, target))
		if err != nil {
			t.Fatal(err)
		}
		want := Link{ID: id, Recipient: Copy, Location: InText, No: no, Target: target}
		if got, ok := s.ReadLink(u.EscapedPath()); !ok || got != want {
			t.Errorf("%q: %+v, %v", target, got, ok)
		}
	})
}
