package track

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"pennypost"
)

// refreshEvery is how often it is looked whether the file has changed.
const refreshEvery = time.Minute

// places finds out where an address is. It belongs to one goroutine.
//
// The file is read into memory: a mapped file that is written over would end
// the process.
type places struct {
	path    string
	now     func() time.Time
	log     *slog.Logger
	reader  *maxminddb.Reader // nil: none
	state   os.FileInfo       // of the file that was looked at last
	checked time.Time
}

// openPlaces reads a file in MaxMind's format; "" is none.
func openPlaces(path string, now func() time.Time, log *slog.Logger) (*places, error) {
	p := &places{path: path, now: now, log: log, checked: now()}
	if path == "" {
		return p, nil
	}
	var err error
	if p.state, err = os.Stat(path); err != nil {
		return nil, fmt.Errorf("file of places: %w", err)
	}
	if p.reader, err = readPlaces(path); err != nil {
		return nil, err
	}
	return p, nil
}

func readPlaces(path string) (*maxminddb.Reader, error) {
	b, err := os.ReadFile(path) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, fmt.Errorf("file of places: %w", err)
	}
	r, err := maxminddb.OpenBytes(b)
	if err != nil {
		return nil, fmt.Errorf("file of places %s: %w", path, err)
	}
	return r, nil
}

// refresh reads the file again when it has changed. One that cannot be read
// leaves the old one in use.
func (p *places) refresh(ctx context.Context) {
	if p.path == "" || p.now().Sub(p.checked) < refreshEvery {
		return
	}
	p.checked = p.now()
	st, err := os.Stat(p.path)
	if err != nil || st.ModTime().Equal(p.state.ModTime()) && st.Size() == p.state.Size() {
		return
	}
	p.state = st
	r, err := readPlaces(p.path)
	if err != nil {
		p.log.WarnContext(ctx, "the old places stay in use", "err", err)
		return
	}
	p.reader = r
	p.log.InfoContext(ctx, "places read again", "file", p.path, "built", r.Metadata.BuildTime())
}

// city is what is read of an entry (GeoLite2-City and its like).
type city struct {
	Country      named   `maxminddb:"country"`
	Subdivisions []named `maxminddb:"subdivisions"`
	City         named   `maxminddb:"city"`
	Postal       struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"postal"`
	Location struct {
		Latitude  *float64 `maxminddb:"latitude"`
		Longitude *float64 `maxminddb:"longitude"`
	} `maxminddb:"location"`
}

type named struct {
	ISOCode string            `maxminddb:"iso_code"`
	Names   map[string]string `maxminddb:"names"`
}

// find gives what is known of an address: itself at least.
func (p *places) find(addr netip.Addr) pennypost.Place {
	place := pennypost.Place{IP: addr.String()}
	if p.reader == nil {
		return place
	}
	var c city
	if err := p.reader.Lookup(addr).Decode(&c); err != nil { // a damaged entry tells nothing
		return place
	}
	place.CountryISOCode, place.Country = c.Country.ISOCode, c.Country.Names["en"]
	if len(c.Subdivisions) > 0 {
		place.RegionISOCode, place.Region = c.Subdivisions[0].ISOCode, c.Subdivisions[0].Names["en"]
	}
	place.City, place.Zip = c.City.Names["en"], c.Postal.Code
	if l := c.Location; l.Latitude != nil && l.Longitude != nil {
		place.Coords = degrees(*l.Latitude) + "," + degrees(*l.Longitude)
	}
	return place
}

func degrees(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
