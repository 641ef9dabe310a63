package pennypost

import (
	"encoding/hex"
	"errors"
	"strings"
)

// AccountID names a customer's account. It fits a signed 32-bit integer
// (contract/clients.md 2.3).
type AccountID int64

// ServerID names a server of an account. It fits a signed 32-bit integer and
// is the SMTP user name.
type ServerID int64

// StreamID names a message stream within its server, such as "outbound"
// (contract/streams.md §2).
type StreamID string

// The streams that every server starts with (contract/streams.md §3).
const (
	StreamOutbound  StreamID = "outbound"
	StreamInbound   StreamID = "inbound"
	StreamBroadcast StreamID = "broadcast"
)

// TokenID names an API or SMTP token.
type TokenID int64

// MessageID is the UUID that every answer, event and header calls a message
// by; it is not the Message-ID field of the mail. New ones are UUIDv7, so that
// they sort by time of acceptance.
type MessageID [16]byte

// String gives the 36 lower-case characters of the contract.
func (id MessageID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], id[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], id[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], id[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], id[10:16])
	return string(b[:])
}

// MarshalText gives the form of String.
func (id MessageID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the form of String.
func (id *MessageID) UnmarshalText(text []byte) error {
	v, err := ParseMessageID(string(text))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

// IsZero tells whether the id was never set.
func (id MessageID) IsZero() bool { return id == MessageID{} }

// ErrMessageID says that a text is no message id.
var ErrMessageID = errors.New("not a message id")

// ParseMessageID reads the 36 characters of a UUID, in either case.
func ParseMessageID(s string) (MessageID, error) {
	var id MessageID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, ErrMessageID
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(id) {
		return id, ErrMessageID
	}
	copy(id[:], b)
	return id, nil
}

// Address is a valid mailbox without display name, local@domain, its domain in
// lower-case A-labels. It is made by the edges from eml's parsers.
type Address string

// Domain gives the part after the last @.
func (a Address) Domain() string { return string(a[strings.LastIndexByte(string(a), '@')+1:]) }

// Key is the form that suppressions and duplicates are compared by: letters
// in lower case (contract/sending.md §9).
func (a Address) Key() string { return strings.ToLower(string(a)) }

// Mailbox is an address with the display name it was given, which may be "".
type Mailbox struct {
	Name    string
	Address Address
}
