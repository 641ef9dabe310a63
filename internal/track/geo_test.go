package track_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/track"
)

// geoFile writes a file in MaxMind's format (MaxMind DB file format 2.0) in
// which every IPv4 address has one entry.
func geoFile(t *testing.T, entry map[string]any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "places.mmdb")
	writeGeo(t, path, entry)
	return path
}

func writeGeo(t *testing.T, path string, entry map[string]any) {
	t.Helper()
	var b bytes.Buffer
	// One node, both of whose records of 24 bits lead to the data's beginning.
	const nodes = 1
	for range 2 {
		b.Write([]byte{0, 0, nodes + 16})
	}
	b.Write(make([]byte, 16))
	writeValue(&b, entry)
	b.WriteString("\xab\xcd\xefMaxMind.com")
	writeValue(&b, map[string]any{
		"node_count": uint32(nodes), "record_size": uint32(24), "ip_version": uint32(4), "database_type": "Test-City",
		"binary_format_major_version": uint32(2), "binary_format_minor_version": uint32(0), "build_epoch": uint32(1),
	})
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func writeValue(b *bytes.Buffer, v any) {
	control := func(kind, size int) {
		first := byte(0)
		if kind < 8 {
			first = byte(kind << 5)
		}
		if size < 29 {
			b.WriteByte(first | byte(size))
		} else {
			b.WriteByte(first | 29)
		}
		if kind >= 8 {
			b.WriteByte(byte(kind - 7))
		}
		if size >= 29 {
			b.WriteByte(byte(size - 29))
		}
	}
	switch v := v.(type) {
	case string:
		control(2, len(v))
		b.WriteString(v)
	case float64:
		control(3, 8)
		b.Write(binary.BigEndian.AppendUint64(nil, math.Float64bits(v)))
	case uint32:
		control(6, 4)
		b.Write(binary.BigEndian.AppendUint32(nil, v))
	case []any:
		control(11, len(v))
		for _, e := range v {
			writeValue(b, e)
		}
	case map[string]any:
		control(7, len(v))
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			writeValue(b, k)
			writeValue(b, v[k])
		}
	default:
		panic(v)
	}
}

func inHamburg() map[string]any {
	names := func(s string) map[string]any { return map[string]any{"en": s, "de": "auf Deutsch"} }
	return map[string]any{
		"country":      map[string]any{"iso_code": "DE", "names": names("Germany")},
		"subdivisions": []any{map[string]any{"iso_code": "HH", "names": names("Hamburg")}},
		"city":         map[string]any{"names": names("Hamburg")},
		"postal":       map[string]any{"code": "20095"},
		"location":     map[string]any{"latitude": 53.5507, "longitude": 9.993},
	}
}

// The eight fields of a place (contract/messages.md §9).
func TestPlaces(t *testing.T) {
	path := geoFile(t, inHamburg())
	w := newWorld(t, func(c *track.ServerConfig) { c.GeoFile = path })
	m := w.message("ann@a.test", "bob@b.test")
	w.get(w.pixel(m, 0), firefox)
	w.get(w.pixel(m, 1), gmail) // whose place is not the reader's
	w.stop()
	want := pennypost.Place{
		CountryISOCode: "DE", Country: "Germany", RegionISOCode: "HH", Region: "Hamburg", City: "Hamburg", Zip: "20095",
		Coords: "53.5507,9.993", IP: "192.0.2.7",
	}
	list := w.opens(m)
	if len(list) != 2 || list[0].Place != want || list[1].Place != (pennypost.Place{}) {
		t.Errorf("got %+v", list)
	}
}

// The file is read again when it has changed; one that is broken leaves the
// old one in use.
func TestPlacesAreReadAgain(t *testing.T) {
	path := geoFile(t, inHamburg())
	var ahead atomic.Int64
	w := newWorld(t, func(c *track.ServerConfig) {
		c.GeoFile, c.Now = path, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	country := func() string {
		t.Helper()
		m := w.message("ann@a.test")
		ahead.Add(int64(2 * time.Minute)) // the next tick looks at the file, before the hit is due
		w.get(w.pixel(m, 0), firefox)
		for range 300 {
			if list := w.opens(m); len(list) > 0 {
				return list[0].Place.CountryISOCode
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal("nothing was recorded")
		return ""
	}
	if got := country(); got != "DE" {
		t.Errorf("got %q", got)
	}
	writeGeo(t, path, map[string]any{"country": map[string]any{"iso_code": "NO"}})
	if got := country(); got != "NO" {
		t.Errorf("after a change: %q", got)
	}
	if err := os.WriteFile(path, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := country(); got != "NO" {
		t.Errorf("after the file broke: %q", got)
	}
}

func TestPlacesThatCannotBeRead(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.mmdb")
	if err := os.WriteFile(broken, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	for _, path := range []string{broken, filepath.Join(t.TempDir(), "none.mmdb")} {
		_, err := track.NewServer(track.ServerConfig{Store: w.store, Signers: []*track.Signer{w.signer}, GeoFile: path})
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
