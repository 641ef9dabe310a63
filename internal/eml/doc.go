// Package eml builds and parses Internet messages (RFC 5322, MIME).
//
// Both edges use it. The HTTP API gives fields, from which a message is built.
// SMTP submission gives bytes, which are parsed and then written anew: the
// header block comes from the caller's allow list, the MIME structure from the
// parsed tree. What a receiver sees was therefore written by this package and
// read by no second parser in another way, so that no boundary, file name or
// header trick of a client survives.
//
// # Text and wire form
//
// Field{Name, Value} holds text as a person reads it; writing encodes it (RFC
// 2047) and folds it. RawField holds a value which is already in wire form
// (Message-ID, References, a client's pre-encoded header); writing folds it
// only. AddressField holds mailboxes. No form lets a CR, LF or NUL through.
//
// # What is written
//
// Always 7 bit, CRLF only, no line longer than 998 octets, so neither 8BITMIME
// nor BINARYMIME is needed of a receiver. The one exception are addresses with
// a non-ASCII local part (RFC 6532): see Message.NeedsUTF8. Text is UTF-8 in
// quoted-printable, everything else base64, messages inside messages 7bit. A
// boundary begins with "=_", which neither encoding can produce (RFC 2045
// §6.7), and is checked against what is copied unchanged, so it cannot occur.
// Signed and encrypted subtrees (RFC 1847) are copied byte for byte.
//
// # What is read
//
// Parse accepts any bytes in time proportional to size × depth, within Limits,
// and gives a tree even beside an error, for those who must show a part of a
// broken message. Where parsers differ we take the reading that hides least: a
// multipart whose boundary never occurs is text.
//
// # Addresses
//
// One syntax for API and SMTP: the local part has the characters of
// contract/sending.md §3, or non-ASCII ones (RFC 6531); it may be quoted when
// its content obeys the same rule. The domain has at least two labels of
// letters, digits and inner hyphens, or is an IDN, and is kept as lower-case
// A-labels. No address literals, source routes or comments.
package eml
