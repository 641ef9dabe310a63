package pennypost

import "time"

// Platform is where a message was read (contract/tracking.md §4).
type Platform string

// The platforms of the contract.
const (
	PlatformWebMail Platform = "WebMail"
	PlatformDesktop Platform = "Desktop"
	PlatformMobile  Platform = "Mobile"
	PlatformUnknown Platform = "Unknown"
)

// Software is a program or an operating system as events show it, empty when it
// is not known.
type Software struct {
	Name    string // "Chrome 119.0"
	Company string // "Google"
	Family  string // "Chrome"
}

// Place is where an address is, as far as it is known.
type Place struct {
	CountryISOCode, Country string
	RegionISOCode, Region   string
	City, Zip               string
	Coords                  string // latitude,longitude
	IP                      string
}

// Reading is that a recipient's copy of a message was opened, or a link of it
// followed: what opens and clicks have in common.
type Reading struct {
	ID        int64 // grows with time
	At        time.Time
	AccountID AccountID
	ServerID  ServerID
	Stream    StreamID
	MessageID MessageID
	N         int // recipient
	Recipient Address
	Tag       string

	UserAgent  string
	Client, OS Software
	Platform   Platform
	Place      Place
	// Machine names the rule by which no person did it, "" when a person may
	// have. Those of machines are kept apart: no event, no part of any count of
	// opens and clicks.
	Machine string
}

// Open is the first open of a recipient's copy (contract/messages.md §9).
type Open struct {
	Reading
	Count  int       // opens so far, with this one
	LastAt time.Time // of the latest of them
}

// ClickLocation is the body that a link was in.
type ClickLocation string

// The locations of the contract.
const (
	ClickHTML ClickLocation = "HTML"
	ClickText ClickLocation = "Text"
)

// Click is the first click of a recipient on one link of a message. The same
// address in both bodies is one link (contract/tracking.md §3).
type Click struct {
	Reading
	Link     int // number of the link in the message, from 1
	Location ClickLocation
	Target   string // OriginalLink
	Count    int
	LastAt   time.Time
}
