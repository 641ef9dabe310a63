package eml

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Mailbox is one address with its optional display name.
type Mailbox struct {
	// Name is decoded UTF-8 without control characters; empty when there is none.
	Name string
	// Local is the part before the @, unquoted, its letter case as given.
	Local string
	// Domain is canonical: lower-case A-labels.
	Domain string
}

// Addr returns local@domain with the local part quoted where RFC 5321 §4.1.2
// demands it. Two dots in a row do, which some carriers gave to their customers.
func (m Mailbox) Addr() string {
	if isDotAtom(m.Local) {
		return m.Local + "@" + m.Domain
	}
	return quote(m.Local) + "@" + m.Domain
}

// String returns the form of API answers: `"Name" <a@b>` or a@b, not encoded.
func (m Mailbox) String() string {
	if m.Name == "" {
		return m.Addr()
	}
	return quote(m.Name) + " <" + m.Addr() + ">"
}

// maxPlainName is the longest display name in octets that is written without
// RFC 2047, which can be folded anywhere.
const maxPlainName = 60

// Header returns the form for a header field: the name as a phrase, quoted
// string or RFC 2047 words. A non-ASCII local part stays UTF-8 (RFC 6532).
func (m Mailbox) Header() string {
	m.Name = printable(m.Name)
	switch {
	case m.Name == "":
		return m.Addr()
	case len(m.Name) > maxPlainName || !isPrintable(m.Name) || strings.Contains(m.Name, "=?"):
		return words(m.Name, 10) + " <" + m.Addr() + ">"
	case isPhrase(m.Name):
		return m.Name + " <" + m.Addr() + ">"
	}
	return quote(m.Name) + " <" + m.Addr() + ">"
}

// NeedsUTF8 says that the address can be sent only with SMTPUTF8 (RFC 6531).
func (m Mailbox) NeedsUTF8() bool { return !isASCII(m.Local) }

// AddressErrorKind says what is wrong with an address.
type AddressErrorKind int

// The kinds of address errors.
const (
	AddressEmpty       AddressErrorKind = iota + 1 // nothing there
	AddressInvalid                                 // not of the form local@domain, or control characters
	AddressNoAt                                    // looks like an address but has no @
	AddressBadDomain                               // a label is not allowed
	AddressSingleLabel                             // localhost
	AddressBadLocal                                // a character that our mailbox syntax has not
	AddressTooLong                                 // local part over 64 octets, whole over 254 (RFC 5321 §4.5.3.1)
	AddressNotUTF8                                 // overlong, surrogate or truncated UTF-8
	AddressTooMany                                 // more addresses than the caller allows; Value is that number
)

// AddressError says why an address was refused. Value is the address as given,
// cut to 320 octets.
type AddressError struct {
	Kind  AddressErrorKind
	Value string
}

// Error gives the text for logs.
func (e *AddressError) Error() string { return e.Text("address") }

// Text gives the text that the API shows, field being From, To, Cc, Bcc or
// Reply-To (contract/sending.md §8).
func (e *AddressError) Text(field string) string {
	local, domain := e.Value, ""
	if at := strings.LastIndexByte(e.Value, '@'); at >= 0 {
		local, domain = e.Value[:at], e.Value[at+1:]
	}
	switch e.Kind {
	case AddressEmpty:
		return "Invalid '" + field + "' value."
	case AddressNoAt:
		return "Error parsing '" + field + "': Illegal email address '" + e.Value + "'. It must contain the '@' symbol."
	case AddressBadDomain:
		return "Error parsing '" + field + "': Illegal email domain '" + domain + "' in address '" + e.Value + "'."
	case AddressBadLocal:
		return "Error parsing '" + field + "': Illegal email mailbox '" + local + "' in address '" + e.Value + "'."
	case AddressTooMany:
		return "Too many addresses in '" + field + "': the maximum is " + e.Value + "."
	case AddressInvalid, AddressSingleLabel, AddressTooLong, AddressNotUTF8:
	}
	return "Invalid '" + field + "' address: '" + e.Value + "'."
}

const maxErrorValue = 320

func addressError(k AddressErrorKind, value string) *AddressError {
	value = printable(strings.ToValidUTF8(value, "\uFFFD"))
	if len(value) > maxErrorValue {
		cut := maxErrorValue
		for cut > 0 && !utf8.RuneStart(value[cut]) {
			cut--
		}
		value = value[:cut]
	}
	return &AddressError{Kind: k, Value: value}
}

// ParseMailbox reads one address of the API (contract/sending.md §3): an
// address, a name with an address in angle brackets, or an address wholly in
// quotes. Errors are *AddressError.
func ParseMailbox(s string) (Mailbox, error) {
	s = strings.Trim(s, " \t")
	switch {
	case s == "":
		return Mailbox{}, addressError(AddressEmpty, "")
	case !utf8.ValidString(s):
		return Mailbox{}, addressError(AddressNotUTF8, s)
	case hasControl(s):
		return Mailbox{}, addressError(AddressInvalid, s)
	}
	if isQuoted(s) {
		return checkAddr(unquote(s), false)
	}
	if s[len(s)-1] != '>' {
		return checkAddr(s, true)
	}
	open := strings.LastIndexByte(s, '<')
	if open < 0 {
		return checkAddr(s, true)
	}
	name, ok := decodePhrase(s[:open])
	if !ok || hasControl(name) || len(name) > maxNameLen {
		return Mailbox{}, addressError(AddressInvalid, s)
	}
	m, err := checkAddr(strings.Trim(s[open+1:len(s)-1], " \t"), true)
	if err != nil {
		return Mailbox{}, err
	}
	m.Name = name
	return m, nil
}

const maxNameLen = 2000

// ParseMailboxes reads a comma list of the API. Commas in quotes are none, empty
// items (a trailing comma) are skipped, nothing at all gives nil. More than limit
// addresses give AddressTooMany. Errors are *AddressError.
func ParseMailboxes(s string, limit int) ([]Mailbox, error) {
	var list []Mailbox
	for len(s) > 0 {
		end := itemEnd(s)
		item := strings.Trim(s[:end], " \t")
		s = s[min(end+1, len(s)):]
		if item == "" {
			continue
		}
		if len(list) >= limit {
			return nil, addressError(AddressTooMany, strconv.Itoa(limit))
		}
		m, err := ParseMailbox(item)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

func itemEnd(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ',':
			return i
		case '"':
			n, _ := quotedEnd(s[i:])
			i += n - 1
		}
	}
	return len(s)
}

// ParsePath reads what stands between the angle brackets of MAIL and RCPT (RFC
// 5321 §4.1.2). utf8 says that the client must have asked for SMTPUTF8. The null
// path and a bare Postmaster are errors here: they are the caller's to know.
// Source routes, which RFC 5321 §4.1.1.3 lets us ignore, and address literals are
// refused. Errors are *AddressError.
func ParsePath(s string) (m Mailbox, needsUTF8 bool, err error) {
	switch {
	case s == "":
		return Mailbox{}, false, addressError(AddressEmpty, "")
	case !utf8.ValidString(s):
		return Mailbox{}, false, addressError(AddressNotUTF8, s)
	case hasControl(s):
		return Mailbox{}, false, addressError(AddressInvalid, s)
	}
	m, err = checkAddr(s, true)
	return m, !isASCII(s), err
}

// RFC 5321 §4.5.3.1: a path is at most 256 octets with its angle brackets.
const (
	maxLocalLen = 64
	maxAddrLen  = 254
)

// checkAddr reads an addr-spec; with quoting the local part may be a quoted string.
func checkAddr(s string, quoting bool) (Mailbox, error) {
	at := strings.LastIndexByte(s, '@')
	switch {
	case at < 0 && strings.Contains(s, "."):
		return Mailbox{}, addressError(AddressNoAt, s)
	case at <= 0 || at == len(s)-1:
		// A word without a dot was no attempt at an address: contract/sending.md §8.
		return Mailbox{}, addressError(AddressInvalid, s)
	}
	domain, kind := canonicalDomain(s[at+1:])
	if kind != 0 {
		return Mailbox{}, addressError(kind, s)
	}
	local := s[:at]
	if quoting && isQuoted(local) {
		local = unquote(local)
	}
	if !isLocal(local) {
		return Mailbox{}, addressError(AddressBadLocal, s)
	}
	m := Mailbox{Local: local, Domain: domain}
	if len(local) > maxLocalLen || len(m.Addr()) > maxAddrLen {
		return Mailbox{}, addressError(AddressTooLong, s)
	}
	return m, nil
}
