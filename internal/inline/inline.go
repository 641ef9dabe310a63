package inline

import (
	"bytes"
	"context"
)

// Options are the choices of a call; the zero value is a good one.
type Options struct {
	// Document adds the html, head and body tags which the source leaves out,
	// as a test rendering shows them (contract/templates.md A4). Where adding
	// them would change the tree, as in framesets, the source stays as it is.
	Document bool
	Limits   Limits
}

// Inline returns html with the rules of its style elements written into style
// attributes and without its scripts. HTML with neither is returned unchanged
// (unless Options.Document completes it). The input is not modified. Errors
// are *LimitError, *SyntaxError, or that of the context, wrapped.
func Inline(ctx context.Context, html []byte, o Options) ([]byte, error) {
	b := newBudget(ctx, o.Limits)
	if err := b.check("html", len(html), b.limits.HTML); err != nil {
		return nil, err
	}
	if !o.Document && !containsFold(html, "<style") && !containsFold(html, "<script") {
		return html, nil
	}
	doc, err := read(b, html)
	if err != nil {
		return nil, err
	}
	var added *completion
	if o.Document {
		if end := doc.openEnd(); end != "" { // what is added must not become its text
			html = append(html[:len(html):len(html)], end...)
			if doc, err = read(b, html); err != nil {
				return nil, err
			}
		}
		if added, err = complete(b, doc); err != nil {
			return nil, err
		}
	}
	sheets, err := doc.sheets(b)
	if err != nil {
		return nil, err
	}
	edits := doc.removeScripts()
	doc.detach(sheets)
	m := newMatcher(b, doc)
	for _, s := range sheets {
		if err := m.add(s); err != nil {
			return nil, err
		}
	}
	styled, err := m.apply(added)
	if err != nil {
		return nil, err
	}
	edits = append(edits, styled...)
	for _, s := range sheets {
		edits = append(edits, s.edits(doc)...)
	}
	return splice(b, html, append(edits, added.edits()...))
}

// containsFold looks for an ASCII word, given in lower case.
func containsFold(s []byte, word string) bool {
	for i := 0; i+len(word) <= len(s); i++ {
		n := bytes.IndexByte(s[i:], word[0])
		if n < 0 || i+n+len(word) > len(s) {
			return false
		}
		i += n
		if asciiLower(s[i:i+len(word)]) == word {
			return true
		}
	}
	return false
}
