package eml

import (
	"bytes"
	"errors"
	"strings"
)

// Limits bound what Parse reads. A zero is the default.
type Limits struct {
	HeaderBytes  int // octets of each header block, 256 KiB
	HeaderFields int // fields of each header block, 1000
	Depth        int // multiparts inside one another, 20
	Parts        int // nodes of the tree, 1000
}

func (l Limits) orDefault() Limits {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.HeaderBytes, 256<<10)
	def(&l.HeaderFields, 1000)
	def(&l.Depth, 20)
	def(&l.Parts, 1000)
	return l
}

// Errors of Parse.
var (
	ErrHeaderTooLarge  = errors.New("header too large")
	ErrTooManyFields   = errors.New("too many header fields")
	ErrMalformedHeader = errors.New("malformed header")
	ErrTooDeep         = errors.New("multiparts nested too deeply")
	ErrTooManyParts    = errors.New("too many parts")
)

// Parsed is a message as read.
type Parsed struct {
	// Header holds the fields in order, names as given, values unfolded and otherwise
	// in wire form (bare CR and NUL made blanks). They can be written again as they are.
	Header []Field
	// Root is never nil.
	Root *Part
}

// Values returns the values of all fields of that name, in wire form.
func (p *Parsed) Values(name string) []string {
	var list []string
	for _, f := range p.Header {
		if strings.EqualFold(f.Name, name) {
			list = append(list, f.Value)
		}
	}
	return list
}

// Get returns the value of the first field of that name in wire form, or "".
func (p *Parsed) Get(name string) string { return field(p.Header, name) }

// Text returns the value of the first field of that name as text, or "".
func (p *Parsed) Text(name string) string { return DecodeHeader(p.Get(name)) }

func field(header []Field, name string) string {
	for _, f := range header {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Parse reads a message. Beside an error, which is one of the above, it returns what
// could be read; Root then is an empty text or has leaves in the place of what was too
// deep or too much. Lines may end in LF. The end of the input ends every part, an mbox
// From line is skipped. The Parsed shares memory with raw.
func Parse(raw []byte, lim Limits) (*Parsed, error) {
	r := &reader{lim: lim.orDefault()}
	if bytes.HasPrefix(raw, []byte("From ")) || bytes.HasPrefix(raw, []byte(">From ")) {
		if i := bytes.IndexByte(raw, '\n'); i >= 0 {
			raw = raw[i+1:]
		}
	}
	header, body, err := r.header(raw)
	p := &Parsed{Header: header}
	if err != nil {
		p.Root = &Part{Type: "text/plain"}
		return p, err
	}
	p.Root = r.part(header, body, "text/plain", 0)
	return p, r.err
}

type reader struct {
	lim   Limits
	parts int
	err   error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// header reads the fields up to the empty line. On ErrMalformedHeader body begins with
// the offending line.
func (r *reader) header(raw []byte) (list []Field, body []byte, err error) {
	pos, start := 0, -1 // start is where the value of the present field begins
	end := func() {
		if start >= 0 {
			list[len(list)-1].Value = unfold(raw[start:pos])
		}
		start = -1
	}
	for pos < len(raw) {
		next := len(raw)
		if i := bytes.IndexByte(raw[pos:min(len(raw), r.lim.HeaderBytes+1)], '\n'); i >= 0 {
			next = pos + i + 1
		}
		if next > r.lim.HeaderBytes {
			end()
			return list, nil, ErrHeaderTooLarge
		}
		line := bytes.TrimRight(raw[pos:next], "\r\n")
		switch {
		case len(line) == 0:
			end()
			return list, raw[next:], nil
		case line[0] == ' ' || line[0] == '\t' || isLostParam(line, list):
			if start < 0 {
				return list, raw[pos:], ErrMalformedHeader
			}
		default:
			end()
			colon := bytes.IndexByte(line, ':')
			name := string(bytes.TrimRight(line[:max(colon, 0)], " \t")) // RFC 5322 §4.5: obsolete blank
			if !isFieldName(name) {
				return list, raw[pos:], ErrMalformedHeader
			}
			if len(list) >= r.lim.HeaderFields {
				return list, nil, ErrTooManyFields
			}
			list = append(list, Field{Name: name, form: formRaw})
			start = pos + colon + 1
		}
		pos = next
	}
	end()
	return list, nil, nil
}

// isLostParam: bounces of some gateways have boundary= in the first column.
func isLostParam(line []byte, list []Field) bool {
	return len(list) > 0 && len(line) > 9 && strings.EqualFold(string(line[:9]), "boundary=") &&
		strings.EqualFold(list[len(list)-1].Name, "Content-Type")
}

// unfold removes line ends, keeping the white space after them (RFC 5322 §2.2.3).
func unfold(v []byte) string {
	v = bytes.Trim(v, " \t\r\n")
	if bytes.IndexByte(v, '\n') < 0 && bytes.IndexByte(v, '\r') < 0 && bytes.IndexByte(v, 0) < 0 {
		return string(v)
	}
	out := make([]byte, 0, len(v))
	for i, c := range v {
		switch {
		case c == '\n', c == '\r' && i+1 < len(v) && v[i+1] == '\n':
		case c == '\r', c == 0:
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

// part makes a node from its header and body.
func (r *reader) part(header []Field, body []byte, defaultType string, depth int) *Part {
	r.parts++
	if r.parts > r.lim.Parts {
		r.fail(ErrTooManyParts)
	}
	p := &Part{Type: defaultType}
	var params []Param
	if v := field(header, "Content-Type"); v != "" {
		var typ string
		if typ, params = parseMediaType(v); typ != "" {
			p.Type = typ
		}
	}
	p.setParams(params)
	p.ContentID = cleanContentID(field(header, "Content-ID"))
	if r.multipart(p, param(params, "boundary"), body, depth) {
		p.Charset = ""
		return p
	}
	if strings.HasPrefix(p.Type, "multipart/") {
		// No boundary, or one that does not occur: hide nothing.
		p.Type, p.Params, p.Charset = "text/plain", nil, ""
	}
	r.leaf(p, header, params, body)
	return p
}

// multipart reads the children, and says whether there are any.
func (r *reader) multipart(p *Part, boundary string, body []byte, depth int) bool {
	if !strings.HasPrefix(p.Type, "multipart/") || boundary == "" {
		return false
	}
	if depth >= r.lim.Depth {
		r.fail(ErrTooDeep)
		return false
	}
	childType := "text/plain"
	if p.Type == "multipart/digest" {
		childType = "message/rfc822" // RFC 2046 §5.1.5
	}
	for content := range bodies(body, boundary) {
		if r.parts >= r.lim.Parts {
			r.fail(ErrTooManyParts)
			break
		}
		header, rest, err := r.header(content)
		switch {
		case err == nil:
		case errors.Is(err, ErrMalformedHeader):
			// Like other readers: what is no field begins the content.
		default:
			r.fail(err)
		}
		p.Parts = append(p.Parts, r.part(header, rest, childType, depth+1))
	}
	if len(p.Parts) == 0 {
		return false
	}
	if p.Type == "multipart/signed" || p.Type == "multipart/encrypted" {
		p.preserve(body, boundary)
	}
	return true
}

// preserve keeps the bytes of a signed or encrypted multipart (RFC 1847).
func (p *Part) preserve(body []byte, boundary string) {
	p.raw, p.boundary = body, boundary
	for q := range p.All() {
		q.within = q.within || q != p
	}
}

// bodies yields what stands between the lines of a boundary (RFC 2046 §5.1.1). It looks
// at the body once, so that a tree costs its size times its depth.
func bodies(body []byte, boundary string) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		delim := []byte("\n--" + boundary)
		start := -1 // of the present part
		for pos := 0; ; {
			var at int // of the two dashes
			if pos == 0 && bytes.HasPrefix(body, delim[1:]) {
				at = 0
			} else {
				i := bytes.Index(body[pos:], delim)
				if i < 0 {
					break
				}
				at = pos + i + 1
			}
			rest := body[at+len(delim)-1:]
			eol := bytes.IndexByte(rest, '\n')
			if eol < 0 {
				eol = len(rest)
			}
			tail := string(bytes.TrimRight(rest[:eol], " \t\r"))
			pos = at + len(delim) - 1
			if tail != "" && tail != "--" {
				continue // the beginning of another boundary, or just text
			}
			if start >= 0 && !yield(trimEnd(body[start:max(at, start)])) {
				return
			}
			start = min(pos+eol+1, len(body))
			if tail == "--" {
				return
			}
			// The line end may begin the next delimiter.
			pos += eol
		}
		if start >= 0 {
			yield(body[start:])
		}
	}
}

// trimEnd removes the line end that belongs to the boundary.
func trimEnd(b []byte) []byte {
	b = bytes.TrimSuffix(b, []byte("\n"))
	return bytes.TrimSuffix(b, []byte("\r"))
}

func (r *reader) leaf(p *Part, header []Field, params []Param, body []byte) {
	disp, rest, _ := strings.Cut(field(header, "Content-Disposition"), ";")
	dispParams := parseParams(rest)
	switch strings.ToLower(strings.Trim(disp, " \t")) {
	case "":
	case "inline":
		p.Disposition = "inline"
	default: // RFC 2183 §2.8: unknown ones are attachments
		p.Disposition = "attachment"
	}
	p.Filename = firstName(param(dispParams, "filename"), param(params, "name"))
	var known bool
	p.Content, known = decodeTransfer(field(header, "Content-Transfer-Encoding"), body)
	if !known {
		p.Type, p.Params, p.Charset = octetStream, nil, "" // RFC 2045 §6.4
		return
	}
	if !strings.HasPrefix(p.Type, "text/") || p.IsAttachment() {
		return
	}
	if s, ok := toUTF8(p.Charset, p.Content); ok {
		p.Charset = ""
		if s != string(p.Content) {
			p.Content = []byte(s)
		}
	}
}

func firstName(names ...string) string {
	for _, n := range names {
		if n = cleanFilename(n); n != "" {
			return n
		}
	}
	return ""
}
