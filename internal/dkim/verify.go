package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"
)

// Limits of a [Verifier].
const (
	maxSignatures = 8   // checked per message; more cost look-ups and prove nothing
	maxSigned     = 512 // names in h=
	maxTXT        = 4   // records looked at per name
)

// Status is the result of checking one signature, named as RFC 8601 §2.7.1
// names it. "none" is an empty list of results.
type Status int8

// The results.
const (
	// Pass: the signature is good.
	Pass Status = iota + 1
	// Fail: header or body are not what was signed.
	Fail
	// Policy: it may be good, but we count none such: it has l=.
	Policy
	// TempError: the key could not be asked for just now.
	TempError
	// PermError: the signature, or its key, cannot be used.
	PermError
)

// String gives the name as in Authentication-Results.
func (s Status) String() string {
	switch s {
	case Pass:
		return "pass"
	case Fail:
		return "fail"
	case Policy:
		return "policy"
	case TempError:
		return "temperror"
	case PermError:
		return "permerror"
	}
	return fmt.Sprintf("Status(%d)", int8(s))
}

// Why a signature does not pass (RFC 6376 §6.1.1 and §6.1.3).
var (
	ErrSyntax     = errors.New("malformed signature")
	ErrAlgorithm  = errors.New("algorithm not accepted")
	ErrPartial    = errors.New("signs part of the body only (l=)")
	ErrExpired    = errors.New("signature expired")
	ErrFrom       = errors.New("field From not signed")
	ErrIdentity   = errors.New("i= outside of d=")
	ErrBodyHash   = errors.New("body hash differs")
	ErrSignature  = errors.New("signature differs")
	ErrLookup     = errors.New("key look-up failed for now")
	ErrSignatures = errors.New("too many signatures")
)

// A Result is what came of one signature.
type Result struct {
	Status Status
	// Domain is d= in lower case, Selector s=, Identity i= or what it
	// defaults to, Algorithm a=; each is empty when it could not be read.
	Domain, Selector, Identity, Algorithm string
	// Testing says that the key's owner is trying things out (t=y): a
	// failure is to be treated as no signature (RFC 6376 §3.6.1).
	Testing bool
	// Err says why the status is not Pass; it is one of this package's errors,
	// possibly wrapped.
	Err error
}

// LookupTXT gives the TXT records of a name, each with its strings joined. No
// such name or record is an empty list, or an error that is a *net.DNSError
// with IsNotFound set; any other error counts as temporary.
type LookupTXT func(ctx context.Context, name string) ([]string, error)

// A Verifier checks signatures. Lookup must be set.
type Verifier struct {
	Lookup LookupTXT
	// Now is compared with x=. Nil means time.Now.
	Now func() time.Time
}

// Verify checks the signatures of a message from the top, at most eight; a
// ninth and later get [PermError] with [ErrSignatures], unread. No signature
// is an empty list. The error is [ErrMessage] or that of the context.
func (v *Verifier) Verify(ctx context.Context, message []byte) ([]Result, error) {
	fields, body, err := split(message)
	if err != nil {
		return nil, err
	}
	m := &signed{fields: fields, body: body, byName: byName(fields)}
	var results []Result
	for _, f := range fields {
		if !bytes.EqualFold(f.name, []byte("DKIM-Signature")) {
			continue
		}
		if len(results) == maxSignatures {
			return append(results, Result{Status: PermError, Err: ErrSignatures}), nil
		}
		r := v.check(ctx, m, f)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("verify DKIM: %w", err)
		}
		results = append(results, r)
	}
	return results, nil
}

func (v *Verifier) now() time.Time {
	if v.Now == nil {
		return time.Now() //nolint:forbidigo // the default of Verifier.Now, the one place
	}
	return v.Now()
}

// check follows RFC 6376 §6.1: the field, the key, the hashes. The body hash
// is compared before the key is asked for: it costs us less.
func (v *Verifier) check(ctx context.Context, m *signed, f field) Result {
	sig, err := parseSignature(f)
	r := Result{Domain: sig.domain, Selector: sig.selector, Identity: sig.identity, Algorithm: sig.algorithm}
	if err == nil && !sig.expires.IsZero() && v.now().After(sig.expires) {
		err = ErrExpired
	}
	if err == nil {
		err = m.checkBody(sig)
	}
	var key *record
	if err == nil {
		key, err = v.key(ctx, sig)
	}
	if err == nil {
		r.Testing = key.testing
		err = m.checkSignature(sig, key)
	}
	r.Err, r.Status = err, statusOf(err)
	return r
}

func statusOf(err error) Status {
	switch {
	case err == nil:
		return Pass
	case errors.Is(err, ErrBodyHash), errors.Is(err, ErrSignature):
		return Fail
	case errors.Is(err, ErrPartial):
		return Policy
	case errors.Is(err, ErrLookup):
		return TempError
	}
	return PermError
}

// A signature is a DKIM-Signature field taken apart (RFC 6376 §3.5).
type signature struct {
	field                                 field
	algorithm, domain, selector, identity string
	relaxedHeader, relaxedBody            bool
	headers                               []string // lower case
	bodyHash, sig                         []byte
	expires                               time.Time
}

func parseSignature(f field) (*signature, error) {
	s := &signature{field: f}
	tags, err := parseTags(string(f.value))
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	s.algorithm, s.domain, s.selector = tags["a"], strings.ToLower(tags["d"]), tags["s"]
	s.identity = "@" + s.domain
	if i, ok := tags["i"]; ok {
		s.identity = noSpace(i)
	}
	for _, name := range []string{"v", "a", "b", "bh", "d", "h", "s"} {
		if tags[name] == "" {
			return s, fmt.Errorf("%w: no %s=", ErrSyntax, name)
		}
	}
	if tags["v"] != "1" {
		return s, fmt.Errorf("%w: v=", ErrSyntax)
	}
	// RFC 8301 §3.1: rsa-sha1 is not to be verified.
	if s.algorithm != RSASHA256 && s.algorithm != Ed25519SHA256 {
		return s, ErrAlgorithm
	}
	// RFC 6376 §8.2: with l= anyone may append to the body. We count none such.
	if _, ok := tags["l"]; ok {
		return s, ErrPartial
	}
	if q, ok := tags["q"]; ok && !listHas(q, "dns/txt") {
		return s, fmt.Errorf("%w: q=", ErrSyntax)
	}
	if err := s.setCanonicalisation(tags); err != nil {
		return s, err
	}
	if err := s.setHeaders(tags["h"]); err != nil {
		return s, err
	}
	if err := s.setTimes(tags); err != nil {
		return s, err
	}
	if err := s.setBytes(tags); err != nil {
		return s, err
	}
	return s, s.checkIdentity()
}

func (s *signature) setCanonicalisation(tags map[string]string) error {
	c, ok := tags["c"]
	if !ok {
		return nil // simple/simple
	}
	header, body, ok := strings.Cut(c, "/")
	if !ok {
		body = "simple"
	}
	for _, part := range []string{header, body} {
		if part != "relaxed" && part != "simple" {
			return fmt.Errorf("%w: c=", ErrSyntax)
		}
	}
	s.relaxedHeader, s.relaxedBody = header == "relaxed", body == "relaxed"
	return nil
}

func (s *signature) setHeaders(list string) error {
	from := false
	for name := range strings.SplitSeq(list, ":") {
		name = strings.ToLower(strings.Trim(name, " \t\r\n"))
		if name == "" || len(s.headers) == maxSigned {
			return fmt.Errorf("%w: h=", ErrSyntax)
		}
		from = from || name == "from"
		s.headers = append(s.headers, name)
	}
	if !from {
		return ErrFrom
	}
	return nil
}

func (s *signature) setTimes(tags map[string]string) error {
	made, err := parseTime(tags, "t")
	if err != nil {
		return err
	}
	s.expires, err = parseTime(tags, "x")
	if err != nil {
		return err
	}
	// RFC 6376 §3.5: x= must be greater than t= if both are there.
	if !made.IsZero() && !s.expires.IsZero() && !s.expires.After(made) {
		return fmt.Errorf("%w: x= before t=", ErrSyntax)
	}
	return nil
}

// parseTime reads seconds since 1970, up to twelve digits as the RFC asks.
func parseTime(tags map[string]string, name string) (time.Time, error) {
	text, ok := tags[name]
	if !ok {
		return time.Time{}, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || len(text) > 12 {
		return time.Time{}, fmt.Errorf("%w: %s=", ErrSyntax, name)
	}
	return time.Unix(int64(n), 0), nil // at most twelve digits
}

func (s *signature) setBytes(tags map[string]string) error {
	var err error
	if s.bodyHash, err = decodeBase64(tags["bh"]); err != nil {
		return fmt.Errorf("%w: bh=: %w", ErrSyntax, err)
	}
	if s.sig, err = decodeBase64(tags["b"]); err != nil {
		return fmt.Errorf("%w: b=: %w", ErrSyntax, err)
	}
	return nil
}

// checkIdentity obeys RFC 6376 §3.5: the domain of i= is d= or below it.
func (s *signature) checkIdentity() error {
	at := strings.LastIndexByte(s.identity, '@')
	if at < 0 {
		return fmt.Errorf("%w: i=", ErrSyntax)
	}
	domain := strings.ToLower(s.identity[at+1:])
	if domain != s.domain && !strings.HasSuffix(domain, "."+s.domain) {
		return ErrIdentity
	}
	return nil
}

// key asks for the key record. Of several records the first that is a key
// record counts (RFC 6376 §3.6.2.2 leaves it open).
func (v *Verifier) key(ctx context.Context, s *signature) (*record, error) {
	name, err := keyRecordName(s)
	if err != nil {
		return nil, err
	}
	texts, err := v.Lookup(ctx, name)
	if err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) && dns.IsNotFound {
			return nil, ErrNoKey
		}
		return nil, fmt.Errorf("%w: %w", ErrLookup, err)
	}
	for i, txt := range texts {
		if i == maxTXT {
			break
		}
		key, err := parseRecord(txt)
		if errors.Is(err, errOtherValue) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return key, s.accepts(key)
	}
	return nil, ErrNoKey
}

// keyRecordName obeys RFC 8616 §5: U-labels are asked for as A-labels.
func keyRecordName(s *signature) (string, error) {
	selector, err := idna.Punycode.ToASCII(s.selector)
	if err != nil {
		return "", fmt.Errorf("%w: s=: %w", ErrSyntax, err)
	}
	domain, err := idna.Punycode.ToASCII(s.domain)
	if err != nil {
		return "", fmt.Errorf("%w: d=: %w", ErrSyntax, err)
	}
	name := selector + "._domainkey." + domain
	if !validName(name) {
		return "", fmt.Errorf("%w: no name for a key", ErrSyntax)
	}
	return name, nil
}

// accepts tells whether a key is for the signature's algorithm and identity.
func (s *signature) accepts(key *record) error {
	if kind, _, _ := strings.Cut(s.algorithm, "-"); kind != key.kind {
		return ErrKeyUse
	}
	at := strings.LastIndexByte(s.identity, '@')
	if key.strict && !strings.EqualFold(s.identity[at+1:], s.domain) {
		return ErrIdentity
	}
	return nil
}

// A signed is a message whose signatures are checked. Each of the two hashes
// of its body is made once.
type signed struct {
	fields          []field
	body            []byte
	byName          map[string][]int // positions, from the top
	simple, relaxed []byte
}

func byName(fields []field) map[string][]int {
	m := make(map[string][]int, len(fields))
	for i, f := range fields {
		if len(f.name) > 0 {
			name := strings.ToLower(string(f.name))
			m[name] = append(m[name], i)
		}
	}
	return m
}

func (m *signed) checkBody(s *signature) error {
	if m.relaxed == nil && s.relaxedBody {
		h := sha256.New()
		hashRelaxedBody(h, m.body)
		m.relaxed = h.Sum(nil)
	}
	if m.simple == nil && !s.relaxedBody {
		h := sha256.New()
		hashSimpleBody(h, m.body)
		m.simple = h.Sum(nil)
	}
	want := m.simple
	if s.relaxedBody {
		want = m.relaxed
	}
	if !bytes.Equal(s.bodyHash, want) {
		return ErrBodyHash
	}
	return nil
}

func (m *signed) checkSignature(s *signature, key *record) error {
	digest := m.headerHash(s)
	switch pub := key.public.(type) {
	case *rsa.PublicKey:
		if rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest, s.sig) != nil {
			return ErrSignature
		}
		return nil
	case ed25519.PublicKey:
		if !ed25519.Verify(pub, digest, s.sig) {
			return ErrSignature
		}
		return nil
	}
	return ErrKeyUse
}

// headerHash obeys RFC 6376 §3.7 and §5.4.2: the fields that h= names, each
// name meaning the lowest field not used yet, or nothing when there is no more;
// then the signature itself without the value of b=.
func (m *signed) headerHash(s *signature) []byte {
	h := sha256.New()
	used := make(map[string]int, len(s.headers))
	var buf []byte
	for _, name := range s.headers {
		at := m.byName[name]
		n := len(at) - 1 - used[name]
		if n < 0 {
			continue
		}
		used[name]++
		buf = append(s.appendField(buf[:0], m.fields[at[n]]), "\r\n"...)
		h.Write(buf)
	}
	h.Write(s.appendField(buf[:0], newField(withoutB(s.field.raw))))
	return h.Sum(nil)
}

func (s *signature) appendField(dst []byte, f field) []byte {
	if s.relaxedHeader {
		return appendRelaxed(dst, f.name, f.value)
	}
	return append(dst, f.raw...)
}

// withoutB gives a DKIM-Signature field without the value of b=, the white
// space around that included (RFC 6376 §3.5). parseTags saw b= once.
func withoutB(raw []byte) []byte {
	for at := bytes.IndexByte(raw, ':') + 1; at < len(raw); {
		end := len(raw)
		if i := bytes.IndexByte(raw[at:], ';'); i >= 0 {
			end = at + i
		}
		eq := bytes.IndexByte(raw[at:end], '=')
		if eq >= 0 && string(bytes.Trim(raw[at:at+eq], " \t\r\n")) == "b" {
			return append(append([]byte(nil), raw[:at+eq+1]...), raw[end:]...)
		}
		at = end + 1
	}
	return raw
}
