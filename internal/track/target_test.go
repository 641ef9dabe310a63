package track

import (
	"net/url"
	"strings"
	"testing"
)

func TestLocation(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"https://a.example/b?c=%C3%A4#d", "https://a.example/b?c=%C3%A4#d"},
		{"https://bücher.example/ä?ö=1#ü", "https://xn--bcher-kva.example/%C3%A4?%C3%B6=1#%C3%BC"},
		{"HTTP://Bücher.example:8080", "HTTP://xn--bcher-kva.example:8080"},
		{"https://u@bücher.example?x", "https://u@xn--bcher-kva.example?x"},
		{"https://a.example/ä", "https://a.example/%C3%A4"},
		{"https://ä_b.example/", "https://%C3%A4_b.example/"}, // no host name, which a browser may know better,
	} {
		if got := Location(c.in); got != c.want {
			t.Errorf("%s: got %s, want %s", c.in, got, c.want)
		}
	}
}

// What is tracked can be followed: it is an absolute URL of http or https that
// fits a Location field.
func FuzzTrackable(f *testing.F) {
	for _, s := range []string{"https://a.example/b?c#d", "http://u:p@[::1]:80", "HTTPS://bücher.example", "https://a%", "http://a:99999", "https://xn--a/ä"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !trackable(s) {
			return
		}
		location := Location(s)
		for i := range len(location) {
			if c := location[i]; c <= ' ' || c >= 0x7f {
				t.Fatalf("%q is at %q", s, location)
			}
		}
		for _, v := range []string{s, location} {
			u, err := url.Parse(v)
			if err != nil {
				t.Fatal(err)
			}
			if scheme := strings.ToLower(u.Scheme); scheme != "http" && scheme != "https" || u.Hostname() == "" || u.Opaque != "" {
				t.Fatalf("%q is %+v", s, u)
			}
		}
	})
}
