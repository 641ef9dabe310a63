package track

import (
	"net/url"
	"strings"
	"testing"
)

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
		to, ok := location(s)
		if !ok {
			t.Fatalf("%q leads nowhere", s)
		}
		for _, v := range []string{s, to} {
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
