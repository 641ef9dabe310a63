package bounce

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Why a local part is no Return-Path of ours, or no longer. Mail to it is
// taken and counted as unverified; nobody is suppressed for it.
var (
	ErrVerpMalformed = errors.New("not a signed return path")
	ErrVerpKey       = errors.New("return path signed with an unknown key")
	ErrVerpMAC       = errors.New("return path with a wrong signature")
	ErrVerpExpired   = errors.New("return path expired")
)

// DefaultVerpAge is how long bounces are taken after a message was sent.
// Servers give up after some days; some report late.
const DefaultVerpAge = 30 * 24 * time.Hour

// The layout of the local part: prefix, then 35 octets in base32, which is 56
// characters without padding and without spare bits, so that no two local
// parts mean the same.
const (
	verpPrefix = "b-"
	verpMAC    = 12 // octets: 96 bits
	verpBody   = 1 + 16 + 4 + 2
	verpLen    = len(verpPrefix) + (verpBody+verpMAC)/5*8 // 58, below the 64 of RFC 5321 §4.5.3.1.1
	verpDay    = 24 * time.Hour
	minSecret  = 16
)

// A VerpKey is one key of a ring.
type VerpKey struct {
	// ID names the key in the address; it must not come back with another
	// secret while addresses made with it are out.
	ID uint8
	// Secret has at least 16 octets.
	Secret []byte
}

// A Verp makes and reads Return-Path local parts, each naming one recipient of
// one message under an HMAC-SHA-256. It does not change once made.
type Verp struct {
	keys   map[uint8][]byte
	first  uint8
	maxAge time.Duration
}

// NewVerp makes a Verp that signs with the first key and takes all of them.
// maxAge is how old an address may be; 0 means [DefaultVerpAge].
func NewVerp(maxAge time.Duration, keys ...VerpKey) (*Verp, error) {
	if len(keys) == 0 {
		return nil, errors.New("return path: no key")
	}
	if maxAge <= 0 {
		maxAge = DefaultVerpAge
	}
	v := &Verp{keys: make(map[uint8][]byte, len(keys)), first: keys[0].ID, maxAge: maxAge}
	for _, k := range keys {
		if _, twice := v.keys[k.ID]; twice {
			return nil, fmt.Errorf("return path: key %d given twice", k.ID)
		}
		if len(k.Secret) < minSecret {
			return nil, fmt.Errorf("return path: key %d is shorter than %d octets", k.ID, minSecret)
		}
		v.keys[k.ID] = append([]byte(nil), k.Secret...)
	}
	return v, nil
}

// Encode gives the local part for recipient number rcpt (0 to 2^31-1) of a
// message sent at a time from 1970 to 2149. It has 58 characters of [a-z0-9-]
// and means the same in any case. The same arguments on the same day (UTC)
// give the same address.
func (v *Verp) Encode(messageID [16]byte, rcpt int, at time.Time) string {
	b := make([]byte, 0, verpBody+sha256.Size)
	b = append(b, v.first)
	b = append(b, messageID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(rcpt))      //nolint:gosec // G115: range is the caller's promise
	b = binary.BigEndian.AppendUint16(b, uint16(dayOf(at))) //nolint:gosec // G115: likewise
	b = append(b, sum(v.keys[v.first], b)...)
	return verpPrefix + encoding().EncodeToString(b)
}

// Decode reads a local part that [Verp.Encode] made, in any case and perhaps
// in quotes. The error is one of [ErrVerpMalformed], [ErrVerpKey],
// [ErrVerpMAC] and [ErrVerpExpired].
func (v *Verp) Decode(local string, now time.Time) (messageID [16]byte, rcpt int, err error) {
	b, err := unwrap(local)
	if err != nil {
		return messageID, 0, err
	}
	key, ok := v.keys[b[0]]
	if !ok {
		return messageID, 0, ErrVerpKey
	}
	if !hmac.Equal(sum(key, b[:verpBody]), b[verpBody:]) {
		return messageID, 0, ErrVerpMAC
	}
	// Days are compared, so that an address lives up to a day longer. One of
	// the future was made by a node whose clock is ahead; a day of that is taken.
	age := dayOf(now) - int64(binary.BigEndian.Uint16(b[21:]))
	if age > int64((v.maxAge+verpDay-1)/verpDay) || age < -1 {
		return messageID, 0, ErrVerpExpired
	}
	copy(messageID[:], b[1:17])
	return messageID, int(binary.BigEndian.Uint32(b[17:])), nil
}

func unwrap(local string) ([]byte, error) {
	if n := len(local); n >= 2 && local[0] == '"' && local[n-1] == '"' {
		local = local[1 : n-1]
	}
	if len(local) != verpLen {
		return nil, ErrVerpMalformed
	}
	text, ok := strings.CutPrefix(strings.ToLower(local), verpPrefix)
	// The decoder would skip line ends.
	if !ok || strings.ContainsAny(text, "\r\n") {
		return nil, ErrVerpMalformed
	}
	b, err := encoding().DecodeString(text)
	if err != nil || len(b) != verpBody+verpMAC {
		return nil, ErrVerpMalformed
	}
	return b, nil
}

// dayOf counts days since 1970 in UTC.
func dayOf(t time.Time) int64 { return t.Unix() / int64(verpDay/time.Second) }

func sum(key, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("pennypost return path 1\x00"))
	h.Write(body)
	return h.Sum(nil)[:verpMAC]
}

func encoding() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}
