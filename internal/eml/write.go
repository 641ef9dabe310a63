package eml

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
)

// writer appends one message.
type writer struct {
	out   []byte
	tag   string   // follows the number of a boundary
	next  int      // number of the next boundary
	raws  [][]byte // what is copied, and must not hold a boundary
	whole []byte   // is not broken within a text; empty: no such thing
}

const maxTag = 40

func newWriter(seed string, root *Part) *writer {
	w := &writer{}
	for i := 0; i < len(seed) && len(w.tag) < maxTag; i++ {
		if isAlnum(seed[i]) {
			w.tag += seed[i : i+1]
		}
	}
	for p := range root.All() {
		switch {
		case p.within:
		case p.raw != nil:
			w.raws = append(w.raws, p.raw)
		case strings.HasPrefix(p.Type, "message/"):
			w.raws = append(w.raws, p.Content)
		}
	}
	return w
}

// estimate is how many octets the message will take, more or less.
func (w *writer) estimate(m *Message) int {
	n := 512
	for _, f := range m.Header {
		n += len(f.Name) + len(f.Value) + len(f.Value)/4 + 8
	}
	for p := range m.Root.All() {
		n += 512 + len(p.raw)
		switch {
		case p.within:
		case p.IsAttachment():
			n += len(p.Content)/3*4 + len(p.Content)/28
		default:
			n += len(p.Content) + len(p.Content)/8
		}
	}
	return n
}

// boundary returns a line that occurs nowhere in the message: "=_" is in no output of
// quoted-printable or base64, and what is copied is looked through. The number comes
// before a dot, so that none is the beginning of another.
func (w *writer) boundary() string {
	for {
		b := "=_" + strconv.Itoa(w.next) + "." + w.tag
		w.next++
		clash := false
		for _, raw := range w.raws {
			clash = clash || bytes.Contains(raw, []byte(b))
		}
		if !clash {
			return b
		}
	}
}

// part appends the header and content of p. The content ends without a line end, since
// the one before a boundary belongs to the boundary (RFC 2046 §5.1.1).
func (w *writer) part(p *Part) error {
	switch {
	case p.raw != nil:
		if !is7Bit(p.raw) {
			return ErrNot7Bit
		}
		w.contentType(p, p.Type, "boundary", p.boundary)
		w.out = append(w.out, "\r\n"...)
		w.out = append(w.out, p.raw...)
		return nil
	case len(p.Parts) > 0:
		return w.multipart(p)
	}
	w.leaf(p)
	return nil
}

func (w *writer) multipart(p *Part) error {
	typ := strings.ToLower(p.Type)
	if !strings.HasPrefix(typ, "multipart/") || !isMediaType(typ) {
		typ = "multipart/mixed"
	}
	b := w.boundary()
	w.contentType(p, typ, "boundary", b)
	for _, c := range p.Parts {
		w.out = append(append(append(w.out, "\r\n--"...), b...), "\r\n"...)
		if err := w.part(c); err != nil {
			return err
		}
	}
	w.out = append(append(append(w.out, "\r\n--"...), b...), "--\r\n"...)
	return nil
}

func (w *writer) leaf(p *Part) {
	typ := strings.ToLower(p.Type)
	switch {
	case typ == "":
		typ = "text/plain"
	case !isMediaType(typ) || strings.HasPrefix(typ, "multipart/"):
		typ = octetStream
	}
	name := cleanFilename(p.Filename)
	isMessage := strings.HasPrefix(typ, "message/")
	if isMessage && !is7Bit(p.Content) {
		// RFC 2046 §5.2.1 allows a message no base64. As a file it can still be opened.
		isMessage, typ = false, octetStream
		if name == "" {
			name = "message.eml"
		}
	}
	isText := strings.HasPrefix(typ, "text/") && !p.IsAttachment()
	charset := p.Charset
	if isText {
		charset = "UTF-8"
		if p.Charset != "" {
			charset = p.Charset
		}
	}
	w.contentType(p, typ, "charset", charset)
	w.disposition(p, name)
	w.contentID(p.ContentID)
	switch {
	case isMessage:
		w.out = append(w.out, "Content-Transfer-Encoding: 7bit\r\n\r\n"...)
		w.out = append(w.out, p.Content...)
	case isText:
		w.out = append(w.out, "Content-Transfer-Encoding: quoted-printable\r\n\r\n"...)
		w.out = appendQP(w.out, p.Content, w.whole)
	default:
		w.out = append(w.out, "Content-Transfer-Encoding: base64\r\n\r\n"...)
		w.out = appendBase64(w.out, p.Content)
	}
}

// contentType appends the field with one parameter of ours, if it has a value, and
// those of the part.
func (w *writer) contentType(p *Part, typ, name, value string) {
	w.out = append(append(w.out, "Content-Type: "...), typ...)
	col := len("Content-Type: ") + len(typ)
	if value != "" {
		col = w.param(name, value, col)
	}
	for _, q := range p.Params {
		if isToken(q.Name) && !isOurParam(q.Name) {
			col = w.param(q.Name, q.Value, col)
		}
	}
	if n := cleanFilename(p.Filename); n != "" && isPlainParam(n) {
		w.param("name", n, col)
	}
	w.out = append(w.out, "\r\n"...)
}

func isOurParam(name string) bool {
	return strings.EqualFold(name, "boundary") || strings.EqualFold(name, "charset") || strings.EqualFold(name, "name")
}

func (w *writer) disposition(p *Part, name string) {
	disp := "attachment"
	switch {
	case p.Disposition == "inline":
		disp = "inline"
	case p.Disposition == "" && name == "":
		return
	}
	w.out = append(append(w.out, "Content-Disposition: "...), disp...)
	if name != "" {
		w.param("filename", name, len("Content-Disposition: ")+len(disp))
	}
	w.out = append(w.out, "\r\n"...)
}

func (w *writer) contentID(id string) {
	id = cleanContentID(id)
	if id == "" {
		return
	}
	w.out = append(w.out, "Content-ID: <"...)
	for i := range len(id) {
		// RFC 2392 §2: percent-encoding is how a URL names such a character; a blank
		// stays, for the mail programs which compare literally.
		if id[i] >= ' ' && id[i] <= '~' {
			w.out = append(w.out, id[i])
			continue
		}
		w.out = append(w.out, '%', hexDigits[id[i]>>4], hexDigits[id[i]&15])
	}
	w.out = append(w.out, ">\r\n"...)
}

// maxPlainParam is the longest value that is written without RFC 2231.
const maxPlainParam = 64

func isPlainParam(v string) bool {
	return len(v) <= maxPlainParam && isPrintable(v) && !strings.Contains(v, "=?")
}

// param appends a parameter that begins at column col, and returns the new column.
func (w *writer) param(name, value string, col int) int {
	if !isPlainParam(value) {
		return w.param2231(name, value)
	}
	if !isToken(value) {
		value = quote(value)
	}
	w.out = append(w.out, ';')
	if col+len(name)+len(value)+3 > foldAt {
		w.out = append(w.out, "\r\n"...)
		col = 0
	}
	w.out = append(append(append(append(w.out, ' '), name...), '='), value...)
	return col + len(name) + len(value) + 3
}

// param2231 appends a parameter in UTF-8, in as many pieces as it takes (RFC 2231 §4.1).
func (w *writer) param2231(name, value string) int {
	value = printable(strings.ToValidUTF8(value, "\uFFFD"))
	col := 0
	for n := 0; n == 0 || value != ""; n++ {
		w.out = append(w.out, ";\r\n "...)
		start := len(w.out)
		w.out = append(append(w.out, name...), '*')
		if n > 0 || len(value) > 18 {
			w.out = append(strconv.AppendInt(w.out, int64(n), 10), '*')
		}
		w.out = append(w.out, '=')
		if n == 0 {
			w.out = append(w.out, "utf-8''"...)
		}
		for value != "" && len(w.out)-start < foldAt-6 {
			if c := value[0]; isAlnum(c) || strings.IndexByte("-._", c) >= 0 {
				w.out = append(w.out, c)
			} else {
				w.out = append(w.out, '%', hexDigits[c>>4], hexDigits[c&15])
			}
			value = value[1:]
		}
		col = len(w.out) - start + 1
	}
	return col
}

const hexDigits = "0123456789ABCDEF"

// appendBase64 appends lines of 76 characters (RFC 2045 §6.8), the last without CRLF.
func appendBase64(dst, b []byte) []byte {
	const line = 57
	dst = grow(dst, len(b)/line*78+80)
	for len(b) > line {
		dst = base64.StdEncoding.AppendEncode(dst, b[:line])
		dst = append(dst, "\r\n"...)
		b = b[line:]
	}
	return base64.StdEncoding.AppendEncode(dst, b)
}

// appendQP appends text in quoted-printable (RFC 2045 §6.7). LF and CRLF are line ends;
// a lone CR is data. "From " at the start of a line is hidden from mbox programs.
// What is whole stays on one line.
func appendQP(dst, text, whole []byte) []byte {
	for len(text) > 0 {
		n := bytes.IndexByte(text, '\n')
		if n < 0 {
			return appendQPLine(dst, text, whole)
		}
		line := text[:n]
		if n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		dst = append(appendQPLine(dst, line, whole), "\r\n"...)
		text = text[n+1:]
	}
	return dst
}

const maxQPLine = 76

func appendQPLine(dst, line, whole []byte) []byte {
	if len(line) <= maxQPLine && isQPSafe(line) {
		return append(dst, line...)
	}
	end := len(line) // of what may stand for itself
	if c := line[end-1]; c == ' ' || c == '\t' {
		end--
	}
	col := 0
	for i := 0; i < len(line); {
		// The last column is for the soft line break, unless the line ends here.
		room := maxQPLine - 1 - col
		n := 0
		if i > 0 || !bytes.HasPrefix(line, []byte("From ")) {
			// No further than it matters: a line may be megabytes long.
			n = plainRun(line[i:min(end, i+room+2)])
		}
		switch {
		case n == 0:
			if room < 2 || room == 2 && i < len(line)-1 {
				dst = append(dst, "=\r\n"...)
				col = 0
			}
			dst = append(dst, '=', hexDigits[line[i]>>4], hexDigits[line[i]&15])
			col += 3
			i++
		case n <= room || n == room+1 && i+n == len(line):
			dst = append(dst, line[i:i+n]...)
			col += n
			i += n
		default:
			n = room - within(line, i+room, whole)
			dst = append(append(dst, line[i:i+n]...), "=\r\n"...)
			col = 0
			i += n
		}
	}
	return dst
}

// plainRun is how many octets at the start of b stand for themselves.
func plainRun(b []byte) int {
	for i, c := range b {
		if (c < ' ' && c != '\t') || c > '~' || c == '=' {
			return i
		}
	}
	return len(b)
}

// within is how many octets before line[i] belong to something whole that goes on
// there.
func within(line []byte, i int, whole []byte) int {
	if len(whole) == 0 {
		return 0
	}
	from := max(i-len(whole)+1, 0)
	n := bytes.Index(line[from:min(i+len(whole)-1, len(line))], whole)
	if n < 0 {
		return 0
	}
	return i - from - n
}

func isQPSafe(line []byte) bool {
	n := len(line)
	if plainRun(line) < n {
		return false
	}
	return n == 0 || line[n-1] != ' ' && line[n-1] != '\t' && !bytes.HasPrefix(line, []byte("From "))
}

// is7Bit says whether b can be sent as it is: ASCII without NUL, CR and LF only
// together, lines of at most 998 octets (RFC 2045 §2.7).
func is7Bit(b []byte) bool {
	start := 0
	for i, c := range b {
		switch {
		case c == 0 || c > 127, i-start > maxLine+1:
			return false
		case c == '\r' && (i+1 == len(b) || b[i+1] != '\n'):
			return false
		case c == '\n':
			if i == 0 || b[i-1] != '\r' || i-1-start > maxLine {
				return false
			}
			start = i + 1
		}
	}
	return len(b)-start <= maxLine
}
