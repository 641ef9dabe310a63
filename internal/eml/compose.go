package eml

import (
	"html"
	"net/url"
	"strings"
)

// Alternative returns the body of a message: text before HTML (RFC 2046 §5.1.4), or
// the one that is not empty. Both empty give an empty text.
func Alternative(text, htm string) *Part {
	t := &Part{Type: "text/plain", Content: []byte(text)}
	h := &Part{Type: "text/html", Content: []byte(htm)}
	switch {
	case htm == "":
		return t
	case text == "":
		return h
	}
	return &Part{Type: "multipart/alternative", Parts: []*Part{t, h}}
}

// Compose returns the tree of an API message (contract/sending.md §5):
// mixed{related{alternative{text, html}, inline files}, attachments}, each layer only
// if it is needed. A file is inline only if the HTML refers to its content id. Files
// come from NewAttachment; they are not changed.
func Compose(text, htm string, files []*Part) *Part {
	body := Alternative(text, htm)
	if len(files) == 0 {
		return body
	}
	refs := cidRefs(htm)
	var inline, attached []*Part
	for _, f := range files {
		c := *f
		if c.ContentID != "" && refs[c.ContentID] {
			c.Disposition = "inline"
			inline = append(inline, &c)
			continue
		}
		c.Disposition = "attachment"
		attached = append(attached, &c)
	}
	if len(inline) > 0 {
		body = &Part{
			Type: "multipart/related", Parts: append([]*Part{body}, inline...),
			Params: []Param{{"type", body.Type}}, // RFC 2387 §3.1
		}
	}
	if len(attached) > 0 {
		body = &Part{Type: "multipart/mixed", Parts: append([]*Part{body}, attached...)}
	}
	return body
}

// maxContentID bounds an id and a reference to it.
const maxContentID = 512

// cidRefs returns all content ids that htm may refer to, in the forms in which an id
// can be spelt there: with character references, percent-encoded (RFC 2392), and cut
// at the first blank.
func cidRefs(htm string) map[string]bool {
	refs := make(map[string]bool)
	for {
		i := indexCID(htm)
		if i < 0 {
			return refs
		}
		htm = htm[i+len("cid:"):]
		ref := htm[:min(len(htm), maxContentID)]
		if n := strings.IndexAny(ref, "\"'<>)\r\n"); n >= 0 {
			ref = ref[:n]
		}
		word, _, _ := strings.Cut(ref, " ")
		for _, s := range []string{ref, word} {
			s = strings.TrimSpace(html.UnescapeString(s))
			refs[s] = true
			if u, err := url.PathUnescape(s); err == nil {
				refs[u] = true
			}
		}
	}
}

func indexCID(s string) int {
	for i := 0; ; {
		n := strings.IndexByte(s[i:], ':')
		if n < 0 {
			return -1
		}
		i += n
		if i >= 3 && strings.EqualFold(s[i-3:i], "cid") {
			return i - 3
		}
		i++
	}
}

// NewAttachment returns a file of an API message. name is made safe to show. A
// contentType that is none, or of a structure that base64 cannot carry (multipart),
// becomes application/octet-stream. contentID may come as id, <id> or cid:id.
func NewAttachment(name, contentType, contentID string, content []byte) *Part {
	typ, params := parseMediaType(contentType)
	p := &Part{
		Type: typ, Disposition: "attachment", Filename: SanitizeFilename(name),
		ContentID: cleanContentID(contentID), Content: content,
	}
	if typ == "" || strings.HasPrefix(typ, "multipart/") {
		p.Type = octetStream
		return p
	}
	p.setParams(params)
	return p
}

const octetStream = "application/octet-stream"

// cleanContentID strips what surrounds an id and what no id may have.
func cleanContentID(s string) string {
	s = strings.Trim(s, " \t\r\n")
	if len(s) >= 4 && strings.EqualFold(s[:4], "cid:") {
		s = s[4:]
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "<"), ">")
	s = strings.Map(func(r rune) rune {
		if isControl(r) || r == '<' || r == '>' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > maxContentID {
		s = strings.ToValidUTF8(s[:maxContentID], "")
	}
	return strings.Trim(s, " ")
}
