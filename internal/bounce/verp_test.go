package bounce

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"
)

func testVerp(tb testing.TB, maxAge time.Duration, ids ...uint8) *Verp {
	tb.Helper()
	var keys []VerpKey
	for _, id := range ids {
		keys = append(keys, VerpKey{ID: id, Secret: bytes.Repeat([]byte{id}, 32)})
	}
	v, err := NewVerp(maxAge, keys...)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func issued() time.Time { return time.Date(2026, 3, 2, 14, 15, 7, 0, time.UTC) }

var localPart = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

func TestVerpRoundTrip(t *testing.T) {
	v := testVerp(t, 0, 7)
	seen := make(map[string]bool)
	for _, rcpt := range []int{0, 1, 49, 499, 1<<31 - 1} {
		for _, id := range [][16]byte{{}, {0xff, 15: 0xff}, {1, 2, 3}} {
			local := v.Encode(id, rcpt, issued())
			if !localPart.MatchString(local) || seen[local] {
				t.Errorf("bad or repeated local part %q", local)
			}
			seen[local] = true
			for _, form := range []string{local, strings.ToUpper(local), `"` + local + `"`} {
				gotID, gotRcpt, err := v.Decode(form, issued().Add(time.Hour))
				if err != nil || gotID != id || gotRcpt != rcpt {
					t.Errorf("%s: got %x %d %v, want %x %d", form, gotID, gotRcpt, err, id, rcpt)
				}
			}
		}
	}
}

func TestVerpAge(t *testing.T) {
	for _, tt := range []struct {
		maxAge, age time.Duration
		want        error
	}{
		{0, 0, nil},
		{0, 30 * 24 * time.Hour, nil},
		{0, 32 * 24 * time.Hour, ErrVerpExpired},
		{10 * 24 * time.Hour, 12 * 24 * time.Hour, ErrVerpExpired},
		{36 * time.Hour, 36 * time.Hour, nil},
		{time.Second, time.Hour, nil}, // days are compared
		{0, -24 * time.Hour, nil},
		{0, -72 * time.Hour, ErrVerpExpired},
	} {
		v := testVerp(t, tt.maxAge, 1)
		_, _, err := v.Decode(v.Encode([16]byte{1}, 2, issued()), issued().Add(tt.age))
		if !errors.Is(err, tt.want) {
			t.Errorf("%v of %v: got %v, want %v", tt.age, tt.maxAge, err, tt.want)
		}
	}
}

func TestVerpKeyRing(t *testing.T) {
	old := testVerp(t, 0, 1).Encode([16]byte{1}, 2, issued())
	rotated := testVerp(t, 0, 2, 1)
	if _, _, err := rotated.Decode(old, issued()); err != nil {
		t.Errorf("old key: %v", err)
	}
	if local := rotated.Encode([16]byte{1}, 2, issued()); local == old {
		t.Error("still signs with the old key")
	}
	if _, _, err := testVerp(t, 0, 2).Decode(old, issued()); !errors.Is(err, ErrVerpKey) {
		t.Errorf("dropped key: %v", err)
	}
	stolen, err := NewVerp(0, VerpKey{ID: 1, Secret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := stolen.Decode(old, issued()); !errors.Is(err, ErrVerpMAC) {
		t.Errorf("other secret: %v", err)
	}
	for name, keys := range map[string][]VerpKey{
		"none": nil, "short": {{ID: 1, Secret: make([]byte, 15)}},
		"twice": {{ID: 1, Secret: make([]byte, 16)}, {ID: 1, Secret: make([]byte, 16)}},
	} {
		if _, err := NewVerp(0, keys...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestVerpForged(t *testing.T) {
	v := testVerp(t, 0, 1)
	local := v.Encode([16]byte{1}, 2, issued())
	for i := len(verpPrefix); i < len(local); i++ {
		forged := []byte(local)
		if forged[i]++; forged[i] > 'z' || forged[i] == '8' {
			forged[i] = 'a'
		}
		if _, _, err := v.Decode(string(forged), issued()); !errors.Is(err, ErrVerpMAC) && !errors.Is(err, ErrVerpKey) {
			t.Errorf("character %d changed: %v", i, err)
		}
	}
	for _, s := range []string{
		"", "b-", "postmaster", local[1:], local[:57], local + "a", local + " ", "x" + local[1:], `"`,
		local[:20] + "=" + local[21:], local[:20] + "\n" + local[21:], local[:20] + "0" + local[21:], strings.Repeat("b", 1<<20),
	} {
		if _, _, err := v.Decode(s, issued()); !errors.Is(err, ErrVerpMalformed) {
			t.Errorf("%.70q: got %v", s, err)
		}
	}
}

// What decodes is what was encoded: there is no second form but case and quotes.
func FuzzVerpDecode(f *testing.F) {
	v := testVerp(f, 0, 1, 2)
	f.Add(v.Encode([16]byte{1}, 2, issued()))
	f.Add(`"` + v.Encode([16]byte{1}, 2, issued()) + `"`)
	f.Add("b-")
	f.Add("postmaster")
	f.Fuzz(func(t *testing.T, local string) {
		id, rcpt, err := v.Decode(local, issued())
		if err != nil {
			return
		}
		if want := v.Encode(id, rcpt, issued()); !strings.EqualFold(strings.Trim(local, `"`), want) {
			t.Errorf("%q reads as %q", local, want)
		}
	})
}
