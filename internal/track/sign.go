package track

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"strconv"
	"strings"

	"pennypost"
)

// Copy is the recipient number of the stored content, which is nobody's copy:
// its links lead on and its page shows, but nothing is recorded for them.
const Copy = 255

// Where a link stands, as it is written in its URL (contract/tracking.md §3:
// ClickLocation).
const (
	InHTML byte = 'h'
	InText byte = 't'
)

// The lengths of what URLs are made of, in characters of base64url.
const (
	tokenLen = 24 // 1 octet recipient number, 17 of its MAC
	midLen   = 22 // 16 octets message id
	sigLen   = 16 // 12 octets of a link's MAC
)

// A Signer makes and reads what identifies a recipient of a message and a link
// of a message. It does not change once made and is safe for any number of
// goroutines.
type Signer struct{ key []byte }

// NewSigner makes a Signer with its own copy of a key. URLs stay good as long
// as the key stays the same.
func NewSigner(key []byte) *Signer { return &Signer{key: bytes.Clone(key)} }

// Token is the 24 characters of [A-Za-z0-9_-] that stand for recipient number
// n of a message, or for [Copy]. Other numbers than 0 to 255 have none: "".
func (s *Signer) Token(id pennypost.MessageID, n int) string {
	if n < 0 || n > Copy {
		return ""
	}
	b := make([]byte, 0, 1+sha256.Size)
	b = append(b, byte(n))
	b = append(b, s.sum("recipient\x00", id[:], []byte{byte(n)})...)
	return base64.RawURLEncoding.EncodeToString(b[:tokenLen/4*3])
}

// ReadToken gives the recipient number of a token of a message.
func (s *Signer) ReadToken(id pennypost.MessageID, token string) (n int, ok bool) {
	if len(token) != tokenLen {
		return 0, false
	}
	var b [tokenLen / 4 * 3]byte
	// The decoder skips line ends; then it fills less than all.
	if m, err := base64.RawURLEncoding.Decode(b[:], []byte(token)); err != nil || m != len(b) {
		return 0, false
	}
	n = int(b[0])
	if !hmac.Equal([]byte(s.Token(id, n)), []byte(token)) {
		return 0, false
	}
	return n, true
}

// Has tells whether a content of a message carries the copy's token, so that
// each recipient needs a content of his own.
func (s *Signer) Has(content []byte, id pennypost.MessageID) bool {
	return bytes.Contains(content, []byte(s.Token(id, Copy)))
}

// Personal is the content for recipient number n: a new slice of the same
// length, in which his token stands in every place of the copy's. Nobody but
// us can have written that token into the content, so it needs no places
// recorded. For a number that no recipient has it is the copy.
func (s *Signer) Personal(content []byte, id pennypost.MessageID, n int) []byte {
	out := bytes.Clone(content)
	token := s.Token(id, n)
	if token == "" {
		return out
	}
	marker := []byte(s.Token(id, Copy))
	for rest := out; ; {
		i := bytes.Index(rest, marker)
		if i < 0 {
			return out
		}
		copy(rest[i:], token)
		rest = rest[i+tokenLen:]
	}
}

// OpenURL is the open pixel's URL in the copy.
func (s *Signer) OpenURL(base string, id pennypost.MessageID) string {
	return base + "/o/" + mid(id) + "/" + s.Token(id, Copy) + ".gif"
}

// UnsubscribeURL is the unsubscribe link in the copy. The token is not its end:
// programs that find URLs in text leave out a dash or underscore there, and the
// message id has none as its last character.
func (s *Signer) UnsubscribeURL(base string, id pennypost.MessageID) string {
	return base + "/u/" + s.Token(id, Copy) + "/" + mid(id)
}

// LinkURL is the URL in the copy that stands for a link of a message: the no-th
// unique one of it, from 1, at [InHTML] or [InText]. The target is part of the
// URL and of its MAC, so that a link works without a record of it, for ever,
// and leads nowhere that we did not write (contract/tracking.md §3).
func (s *Signer) LinkURL(base string, id pennypost.MessageID, location byte, no int, target string) string {
	return s.linkURL(base, s.Token(id, Copy), id, location, no, target)
}

func (s *Signer) linkURL(base, token string, id pennypost.MessageID, location byte, no int, target string) string {
	b := make([]byte, 0, len(base)+len(target)*2+96)
	b = append(append(b, base...), "/c/"...)
	b = strconv.AppendInt(append(b, location), int64(no), 10)
	b = append(append(b, '/'), mid(id)...)
	b = append(append(b, '/'), s.linkSig(id, location, no, target)...)
	b = append(append(b, '/'), token...)
	return string(appendSegment(append(b, '/'), target))
}

// ReadOpen reads the path of an open pixel's URL.
func (s *Signer) ReadOpen(path string) (id pennypost.MessageID, n int, ok bool) {
	rest, ok := strings.CutPrefix(path, "/o/")
	if !ok {
		return id, 0, false
	}
	if rest, ok = strings.CutSuffix(rest, ".gif"); !ok {
		return id, 0, false
	}
	m, token, _ := strings.Cut(rest, "/")
	return s.readPersonal(m, token)
}

// ReadUnsubscribe reads the path of an unsubscribe link. What a reader's
// software hung on to the end of the URL is forgiven, as in [Signer.ReadLink].
func (s *Signer) ReadUnsubscribe(path string) (id pennypost.MessageID, n int, ok bool) {
	rest, ok := strings.CutPrefix(path, "/u/")
	if !ok {
		return id, 0, false
	}
	token, m, _ := strings.Cut(trimJunk(rest), "/")
	return s.readPersonal(m, token)
}

func (s *Signer) readPersonal(m, token string) (id pennypost.MessageID, n int, ok bool) {
	if id, ok = readMID(m); !ok {
		return id, 0, false
	}
	n, ok = s.ReadToken(id, token)
	return id, n, ok
}

// A Link is what a tracked link's URL says.
type Link struct {
	ID        pennypost.MessageID
	Recipient int    // number of the recipient, or [Copy]
	Location  byte   // [InHTML] or [InText]
	No        int    // number of the unique link in its message, from 1
	Target    string // the original URL, as the sender wrote it
}

// ReadLink reads the path of a tracked link, escaped as it came
// (url.URL.EscapedPath). What a reader's software hung on to the end of the
// URL, such as a closing bracket, is forgiven: our URLs end in a letter or
// digit.
func (s *Signer) ReadLink(path string) (Link, bool) {
	var l Link
	rest, ok := strings.CutPrefix(path, "/c/")
	if !ok {
		return l, false
	}
	f := strings.SplitN(rest, "/", 5)
	if len(f) != 5 || len(f[0]) < 2 {
		return l, false
	}
	l.Location = f[0][0]
	no, err := strconv.ParseUint(f[0][1:], 10, 31)
	if err != nil || no == 0 || f[0][1] == '0' || l.Location != InHTML && l.Location != InText {
		return Link{}, false
	}
	l.No = int(no)
	if l.ID, ok = readMID(f[1]); !ok {
		return Link{}, false
	}
	if l.Recipient, ok = s.ReadToken(l.ID, f[3]); !ok {
		return Link{}, false
	}
	for _, raw := range []string{f[4], trimJunk(f[4])} {
		target, err := url.PathUnescape(raw)
		if err == nil && hmac.Equal([]byte(s.linkSig(l.ID, l.Location, l.No, target)), []byte(f[2])) {
			l.Target = target
			return l, true
		}
	}
	return Link{}, false
}

func (s *Signer) linkSig(id pennypost.MessageID, location byte, no int, target string) string {
	var where [9]byte
	where[0] = location
	binary.BigEndian.PutUint64(where[1:], uint64(no)) //nolint:gosec // G115: any number, as long as it is the same
	return base64.RawURLEncoding.EncodeToString(s.sum("link\x00", where[:], id[:], []byte(target))[:sigLen/4*3])
}

// sum is an HMAC-SHA-256. All parts but the last have a fixed length.
func (s *Signer) sum(purpose string, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(purpose))
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func mid(id pennypost.MessageID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func readMID(s string) (id pennypost.MessageID, ok bool) {
	if len(s) != midLen {
		return id, false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(id[:], []byte(s))
	return id, err == nil && n == len(id)
}

// appendSegment writes text as one segment of a path. Only RFC 3986's
// unreserved characters stay as they are: neither "&" nor "=", which would have
// to be escaped once more in HTML and in quoted-printable. At the end only
// letters and digits stay, as programs that find URLs in text drop
// punctuation there.
func appendSegment(b []byte, text string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(text) {
		c := text[i]
		last := i == len(text)-1
		if isAlnum(c) || !last && (c == '-' || c == '.' || c == '_' || c == '~') {
			b = append(b, c)
			continue
		}
		b = append(b, '%', hex[c>>4], hex[c&15])
	}
	return b
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// trimJunk takes off what is behind the last letter or digit.
func trimJunk(s string) string {
	n := len(s)
	for n > 0 && !isAlnum(s[n-1]) {
		n--
	}
	return s[:n]
}
