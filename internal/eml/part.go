package eml

import (
	"iter"
	"strings"
)

// Part is a node of the MIME tree: a multipart when Parts is not empty, else a leaf.
type Part struct {
	// Type is the media type in lower case, "text/html" or "multipart/mixed".
	Type string
	// Params are those of the media type without boundary, charset and name.
	Params []Param
	// Charset is empty when the text of a leaf is UTF-8. Else it is the label of a
	// text attachment, whose bytes stay as they are, or one that we do not know.
	Charset string
	// Disposition is "", "inline" or "attachment".
	Disposition string
	// Filename is decoded and safe to show; see SanitizeFilename.
	Filename string
	// ContentID is without angle brackets.
	ContentID string
	// Content is the decoded content of a leaf. After Parse it may be a part of the
	// raw message: replace it, never write into it.
	Content []byte
	// Parts are the children of a multipart.
	Parts []*Part

	raw      []byte // content of a preserved multipart, byte for byte
	boundary string // the one used in raw
	within   bool   // below a preserved multipart
}

// Param is one parameter of a media type, its name in lower case.
type Param struct{ Name, Value string }

// IsMultipart says whether p has children.
func (p *Part) IsMultipart() bool { return len(p.Parts) > 0 || p.raw != nil }

// Preserved says that p is, or lies in, a signed or encrypted multipart, which is
// written as it was read: changes to p would be lost.
func (p *Part) Preserved() bool { return p.raw != nil || p.within }

// IsAttachment says whether p is a leaf that is no body: everything but unnamed text.
// An inline image is one too.
func (p *Part) IsAttachment() bool {
	return !p.IsMultipart() &&
		(p.Disposition == "attachment" || p.Filename != "" || !strings.HasPrefix(p.Type, "text/"))
}

// Text returns the content as UTF-8; what is not becomes U+FFFD.
func (p *Part) Text() string {
	s, _ := toUTF8(orUTF8(p.Charset), p.Content)
	return s
}

func orUTF8(charset string) string {
	if charset == "" {
		return "utf-8"
	}
	return charset
}

// SetText replaces the content by UTF-8 text.
func (p *Part) SetText(s string) { p.Content, p.Charset = []byte(s), "" }

// All yields p and everything below it in the order of the message.
func (p *Part) All() iter.Seq[*Part] {
	return func(yield func(*Part) bool) { p.walk(yield) }
}

func (p *Part) walk(yield func(*Part) bool) bool {
	if p == nil {
		return true
	}
	if !yield(p) {
		return false
	}
	for _, c := range p.Parts {
		if !c.walk(yield) {
			return false
		}
	}
	return true
}

// TextBody returns the first text/plain that is no attachment, or nil.
func (p *Part) TextBody() *Part { return p.body("text/plain") }

// HTMLBody returns the first text/html that is no attachment, or nil.
func (p *Part) HTMLBody() *Part { return p.body("text/html") }

func (p *Part) body(typ string) *Part {
	for q := range p.All() {
		if q.Type == typ && !q.IsMultipart() && !q.IsAttachment() {
			return q
		}
	}
	return nil
}

// Attachments returns the leaves that are attachments, inline ones too.
func (p *Part) Attachments() []*Part {
	var list []*Part
	for q := range p.All() {
		if q.IsAttachment() {
			list = append(list, q)
		}
	}
	return list
}

// AttachmentNames returns the file names of all leaves that have one.
func (p *Part) AttachmentNames() []string {
	var list []string
	for q := range p.All() {
		if q.Filename != "" {
			list = append(list, q.Filename)
		}
	}
	return list
}
