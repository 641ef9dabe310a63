package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The algorithms that we sign with, as the a= tag names them.
const (
	RSASHA256     = "rsa-sha256"     // RFC 6376 §3.3.2
	Ed25519SHA256 = "ed25519-sha256" // RFC 8463 §3
)

// maxName is the length of a DNS name in characters (RFC 1035 §2.3.4).
const maxName = 253

// Width of the lines that we write, without CRLF (RFC 5322 §2.1.1).
const foldAt = 78

// ErrKey says that a key is of a kind or size that we don't sign with, or that
// its domain or selector is no DNS name.
var ErrKey = errors.New("unusable DKIM key")

// A Key signs for a domain. Its record is at Selector._domainkey.Domain. The
// algorithm follows from the kind of the Signer's public key.
type Key struct {
	// Domain is the d= tag and Selector the s= tag, both in A-labels.
	Domain, Selector string
	// Signer is an RSA key of at least 1,024 bits (take [NewRSASigner] or
	// [ParsePKCS8] for speed) or an Ed25519 key. It is used by several
	// goroutines at once.
	Signer crypto.Signer
}

func (k *Key) algorithm() (string, error) {
	if k == nil || k.Signer == nil || !validName(k.Domain) || !validName(k.Selector) {
		return "", ErrKey
	}
	if len(k.Selector)+len("._domainkey.")+len(k.Domain) > maxName {
		return "", ErrKey
	}
	switch pub := k.Signer.Public().(type) {
	case *rsa.PublicKey:
		if pub.N.BitLen() >= minRSABits {
			return RSASHA256, nil
		}
	case ed25519.PublicKey:
		return Ed25519SHA256, nil
	}
	return "", ErrKey
}

// validName tells whether a name is dotted labels of letters, digits, "-" and
// "_", so that it can stand in a tag and in a question to DNS. Selectors may
// have several labels (RFC 6376 §3.1).
func validName(name string) bool {
	if len(name) > maxName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			c := label[i] | 0x20
			if (c < 'a' || c > 'z') && (label[i] < '0' || label[i] > '9') && label[i] != '-' && label[i] != '_' {
				return false
			}
		}
	}
	return true
}

// Options say what a [Signer] signs. The zero value is what we send with.
type Options struct {
	// Headers are the names of the fields to sign, in any case; one that ends
	// in "*" means all that start so. Nil means [DefaultHeaders].
	Headers []string
	// Oversign are the names that h= lists once more than they occur. Nil
	// means [DefaultOversign].
	Oversign []string
	// Now gives the t= tag. Nil means time.Now.
	Now func() time.Time
}

// DefaultHeaders gives the fields that we sign: those of RFC 6376 §5.4.1 that
// we send, and our own. Received, Return-Path and X-PM-RCPT are left out, as
// they change per hop or recipient.
func DefaultHeaders() []string {
	return []string{
		"From", "Date", "Subject", "Reply-To", "Sender", "To", "Cc", "Message-ID",
		"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition",
		"In-Reply-To", "References", "List-*", "Feedback-ID", "Precedence", "Auto-Submitted",
		"X-Complaints-To", "X-Job", "X-PM-Message-Id", "X-PM-Tag",
	}
}

// DefaultOversign gives the fields of which nobody may add one later.
func DefaultOversign() []string {
	return []string{"From", "To", "Cc", "Subject", "Date", "Reply-To", "Message-ID", "Content-Type"}
}

// A Signer makes DKIM-Signature fields. It does not change once made.
type Signer struct {
	exact    map[string]bool
	prefixes []string
	oversign []string
	now      func() time.Time
}

// NewSigner makes a Signer. From is signed whatever the options say
// (RFC 6376 §5.4); Received, Return-Path, DKIM-Signature and X-PM-RCPT never are.
func NewSigner(o Options) *Signer {
	if o.Headers == nil {
		o.Headers = DefaultHeaders()
	}
	if o.Oversign == nil {
		o.Oversign = DefaultOversign()
	}
	s := &Signer{exact: map[string]bool{"from": true}, oversign: o.Oversign, now: o.Now}
	for _, name := range o.Headers {
		name = strings.ToLower(name)
		if p, ok := strings.CutSuffix(name, "*"); ok {
			s.prefixes = append(s.prefixes, p)
			continue
		}
		s.exact[name] = true
	}
	for _, name := range o.Oversign {
		s.exact[strings.ToLower(name)] = true
	}
	for _, name := range []string{"received", "return-path", "dkim-signature", "x-pm-rcpt"} {
		s.exact[name] = false
	}
	if s.now == nil {
		s.now = time.Now //nolint:forbidigo // the default of Options.Now, the one place
	}
	return s
}

// Sign gives one DKIM-Signature field per key, in their order, each folded at
// 78 columns and ended by CRLF, to be put before the message. Header and body
// are read once whatever the number of keys. Errors are [ErrMessage] and
// [ErrKey], or those of a key's Signer, which have no other cause than a fault.
func (s *Signer) Sign(message []byte, keys ...*Key) ([]byte, error) {
	fields, body, err := split(message)
	if err != nil {
		return nil, err
	}
	names, header, err := s.collect(fields)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	hashRelaxedBody(sum, body)
	bh := base64.StdEncoding.EncodeToString(sum.Sum(nil))

	now := strconv.FormatInt(s.now().Unix(), 10)
	out := make([]byte, 0, len(keys)*1024)
	for _, key := range keys {
		out, err = s.appendSignature(out, key, names, header, now, bh)
		if err != nil {
			return nil, fmt.Errorf("sign for %s: %w", keyName(key), err)
		}
	}
	return out, nil
}

func keyName(k *Key) string {
	if k == nil {
		return "no key"
	}
	return strconv.Quote(k.Selector + "._domainkey." + k.Domain)
}

// collect gives the names for h= and the fields that they mean in relaxed
// form. Fields are taken from the bottom up, the order in which a verifier
// finds them (RFC 6376 §5.4.2).
func (s *Signer) collect(fields []field) (names [][]byte, header []byte, err error) {
	var buf [64]byte
	from := false
	header = make([]byte, 0, 4096)
	for i := len(fields) - 1; i >= 0; i-- {
		f := fields[i]
		if !wellFormed(f) {
			return nil, nil, ErrMessage
		}
		name := appendLower(buf[:0], f.name)
		if !s.wants(name) {
			continue
		}
		from = from || string(name) == "from"
		names = append(names, f.name)
		header = append(appendRelaxed(header, f.name, f.value), "\r\n"...)
	}
	if !from {
		return nil, nil, ErrMessage
	}
	for _, name := range s.oversign {
		names = append(names, []byte(name))
	}
	return names, header, nil
}

// wellFormed tells whether a field has a name of RFC 5322 §3.6.8 and no CR or
// LF other than in folds. Such a field would be read differently along the way.
func wellFormed(f field) bool {
	if len(f.name) == 0 {
		return false
	}
	for _, c := range f.name {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	n := bytes.Count(f.value, []byte("\r\n"))
	return n == bytes.Count(f.value, []byte{'\n'}) && n == bytes.Count(f.value, []byte{'\r'})
}

func (s *Signer) wants(name []byte) bool {
	if want, ok := s.exact[string(name)]; ok {
		return want
	}
	for _, p := range s.prefixes {
		// A name may hold a ";", which no h= tag can (RFC 6376 §3.2).
		if bytes.HasPrefix(name, []byte(p)) && bytes.IndexByte(name, ';') < 0 {
			return true
		}
	}
	return false
}

func (s *Signer) appendSignature(out []byte, key *Key, names [][]byte, header []byte, now, bh string) ([]byte, error) {
	alg, err := key.algorithm()
	if err != nil {
		return nil, err
	}
	f := folder{out: out, lineStart: len(out)}
	start := len(out)
	f.put("", "DKIM-Signature: v=1;")
	f.put(" ", "a="+alg+";")
	f.put(" ", "c=relaxed/relaxed;")
	f.put(" ", "d="+key.Domain+";")
	f.put(" ", "s="+key.Selector+";")
	f.put(" ", "t="+now+";")
	sep, lead := " ", "h="
	for i, name := range names {
		end := ":"
		if i == len(names)-1 {
			end = ";"
		}
		f.put(sep, lead+string(name)+end)
		sep, lead = "", ""
	}
	f.put(" ", "bh="+bh+";")
	f.put(" ", "b=")

	// RFC 6376 §3.7: the fields, then this one without its b= value and CRLF.
	sum := sha256.New()
	sum.Write(header)
	own := newField(f.out[start:])
	sum.Write(appendRelaxed(make([]byte, 0, len(own.raw)), own.name, own.value))
	sig, err := signDigest(key.Signer, alg, sum.Sum(nil))
	if err != nil {
		return nil, err
	}
	f.fill(base64.StdEncoding.EncodeToString(sig))
	return append(f.out, "\r\n"...), nil
}

func signDigest(signer crypto.Signer, alg string, digest []byte) ([]byte, error) {
	if alg == Ed25519SHA256 {
		// RFC 8463 §3: PureEdDSA over the SHA-256 digest.
		return signer.Sign(rand.Reader, digest, crypto.Hash(0))
	}
	return signer.Sign(rand.Reader, digest, crypto.SHA256)
}

// A folder writes a header field in lines of at most foldAt columns.
type folder struct {
	out       []byte
	lineStart int
}

// put writes a piece that stays whole, on a new line when this one is full.
func (f *folder) put(sep, piece string) {
	if len(f.out)-f.lineStart+len(sep)+len(piece) > foldAt {
		f.newLine()
		sep = ""
	}
	f.out = append(append(f.out, sep...), piece...)
}

// fill writes text that may be broken anywhere.
func (f *folder) fill(text string) {
	for text != "" {
		n := min(foldAt-(len(f.out)-f.lineStart), len(text))
		if n <= 0 {
			f.newLine()
			continue
		}
		f.out = append(f.out, text[:n]...)
		text = text[n:]
	}
}

func (f *folder) newLine() {
	f.out = append(f.out, "\r\n "...)
	f.lineStart = len(f.out) - 1
}
