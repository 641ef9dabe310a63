package eml

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
)

const (
	wordStart = "=?utf-8?B?"
	wordEnd   = "?="
	// RFC 2047 §2: a word has at most 75 octets, a line with words at most 76.
	maxWordLine = 76
)

// words gives s as RFC 2047 words in base64 (contract/smtp.md §6), col being
// the column where the first begins. The words are separated by single blanks,
// which the folding turns into line ends.
func words(s string, col int) string {
	var dst []byte
	s = strings.ToValidUTF8(s, "\uFFFD")
	room := wordRoom(col)
	for first := true; s != ""; first = false {
		n := min(room, len(s))
		for n < len(s) && !utf8.RuneStart(s[n]) {
			n--
		}
		if !first {
			dst = append(dst, ' ')
		}
		dst = append(dst, wordStart...)
		dst = base64.StdEncoding.AppendEncode(dst, []byte(s[:n]))
		dst = append(dst, wordEnd...)
		s = s[n:]
		room = wordRoom(1)
	}
	return string(dst)
}

// wordRoom is how many octets of text fit into a word at column col.
func wordRoom(col int) int {
	n := (maxWordLine - col - len(wordStart) - len(wordEnd)) / 4 * 3
	if n < 9 {
		return 45 // it begins on a line of its own
	}
	return min(n, 45)
}

// DecodeHeader returns a header value as text: RFC 2047 words decoded, 8-bit bytes
// taken as UTF-8 or else as windows-1252, control characters (the CR LF that a word
// can carry too) as blanks. What is no proper word stays as it is. Linear time.
func DecodeHeader(v string) string {
	if !utf8.ValidString(v) {
		v, _ = toUTF8("windows-1252", []byte(v))
	}
	if !strings.Contains(v, "=?") {
		return printable(v)
	}
	d := wordDecoder{}
	for {
		i := strings.Index(v, "=?")
		if i < 0 {
			break
		}
		word, n, ok := readWord(v[i:])
		if !ok {
			d.text(v[:i+2])
			v = v[i+2:]
			continue
		}
		// RFC 2047 §6.2: white space between two words is not shown.
		if !d.afterWord || strings.Trim(v[:i], " \t\r\n") != "" {
			d.text(v[:i])
		}
		d.word(word)
		v = v[i+n:]
	}
	d.text(v)
	d.flush()
	return printable(d.out.String())
}

type encodedWord struct {
	charset string
	q       bool
	text    string
}

// readWord reads the word at the start of s and says how long it is. Each call looks
// no further than the next question mark after the text, so that all calls together
// look at every byte a constant number of times.
func readWord(s string) (encodedWord, int, bool) {
	i := 2
	for i < len(s) && i < 64 && s[i] > ' ' && s[i] != '?' {
		i++
	}
	if i+3 > len(s) || s[i] != '?' || s[i+2] != '?' {
		return encodedWord{}, 0, false
	}
	charset, _, _ := strings.Cut(s[2:i], "*") // RFC 2231 §5: charset*language
	w := encodedWord{charset: charset}
	switch s[i+1] {
	case 'q', 'Q':
		w.q = true
	case 'b', 'B':
	default:
		return encodedWord{}, 0, false
	}
	start := i + 3
	end := strings.IndexByte(s[start:], '?')
	if end < 0 {
		// No question mark follows at all, so no later word can be whole either.
		return encodedWord{}, 0, false
	}
	end += start
	if end+1 >= len(s) || s[end+1] != '=' {
		return encodedWord{}, 0, false
	}
	w.text = s[start:end]
	return w, end + 2, true
}

// wordDecoder joins the bytes of neighbouring words of one charset before it decodes
// them, since many programs cut characters in two.
type wordDecoder struct {
	out       strings.Builder
	pending   []byte
	charset   string
	afterWord bool
}

func (d *wordDecoder) flush() {
	if len(d.pending) > 0 {
		s, _ := toUTF8(d.charset, d.pending)
		d.out.WriteString(s)
		d.pending = d.pending[:0]
	}
}

func (d *wordDecoder) text(s string) {
	if s == "" {
		return
	}
	d.flush()
	d.out.WriteString(s)
	d.afterWord = false
}

func (d *wordDecoder) word(w encodedWord) {
	if d.charset != w.charset {
		d.flush()
		d.charset = w.charset
	}
	if w.q {
		d.pending = appendQ(d.pending, w.text)
	} else {
		d.pending = appendDecodedBase64(d.pending, []byte(w.text))
	}
	d.afterWord = true
}

func appendQ(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '_':
			dst = append(dst, ' ')
		case s[i] == '=' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			dst = append(dst, unhexPair(s[i+1], s[i+2]))
			i += 2
		default:
			dst = append(dst, s[i])
		}
	}
	return dst
}

// toUTF8 converts b; ok is false when the charset is unknown, or one that only serves
// to hide markup (UTF-7, HZ): then what is not UTF-8 becomes U+FFFD.
func toUTF8(charset string, b []byte) (s string, ok bool) {
	switch strings.ToLower(charset) {
	case "utf-8", "utf8":
		return strings.ToValidUTF8(string(b), "\uFFFD"), true
	case "", "us-ascii", "ascii":
		if utf8.Valid(b) {
			return string(b), true
		}
		return latin1(b), true
	case "iso-8859-1", "windows-1252":
		return latin1(b), true
	}
	enc, err := htmlindex.Get(charset)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\uFFFD"), false
	}
	if name, err := htmlindex.Name(enc); err != nil || name == "replacement" {
		return strings.ToValidUTF8(string(b), "\uFFFD"), false
	}
	out, err := enc.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\uFFFD"), false
	}
	return strings.ToValidUTF8(string(out), "\uFFFD"), true
}

func latin1(b []byte) string {
	var s strings.Builder
	s.Grow(len(b) + len(b)/8)
	for _, c := range b {
		s.WriteRune(charmap.Windows1252.DecodeByte(c))
	}
	return s.String()
}
