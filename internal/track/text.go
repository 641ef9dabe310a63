package track

import "strings"

// readText finds what is to be done in the text body: bare URLs are replaced
// in place (contract/tracking.md §3), except those that an element of the HTML
// asked not to track.
func (a *applying) readText(src string) *body {
	b := &body{src: src, end: len(src)}
	links := a.links(InText)
	pos := 0
	p, hasP := placeholder{}, hasPlaceholder(src)
	if hasP {
		p, hasP = nextPlaceholder(src, 0)
	}
	for {
		u, hasU := bareURL{}, false
		if links {
			limit := len(src)
			if hasP {
				limit = p.start
			}
			u, hasU = nextURL(src, pos, limit)
		}
		switch {
		case hasU:
			pos = u.next
			if target := src[u.start:u.end]; !a.untracked[target] {
				a.link(b, InText, edit{u.start, u.end, ""}, target)
			}
		case hasP:
			a.textPlaceholder(b, p)
			pos = p.end
			p, hasP = nextPlaceholder(src, pos)
		default:
			return b
		}
	}
}

// textPlaceholder puts the URL in a placeholder's place. Text has no links with
// a text of their own: the label, or "Unsubscribe" where the placeholder has
// the line to itself, stands before the URL; within a sentence the sentence
// says what it is.
func (a *applying) textPlaceholder(b *body, p placeholder) {
	with := a.unsubscribeURL
	switch {
	case p.url:
	case p.label != "":
		with = p.label + ": " + with
	case aloneOnLine(b.src, p):
		with = "Unsubscribe: " + with
	}
	e := edit{p.start, p.end, with}
	if !b.unsubscribes { // the first does not count as growth
		b.edits = append(b.edits, e)
		b.unsubscribes = true
		return
	}
	b.add(e)
}

// aloneOnLine looks no further than the spaces around it.
func aloneOnLine(src string, p placeholder) bool {
	before := strings.TrimRight(src[max(0, p.start-maxPlaceholder):p.start], " \t")
	after := strings.TrimLeft(src[p.end:min(len(src), p.end+maxPlaceholder)], " \t")
	return (before == "" || strings.HasSuffix(before, "\n")) &&
		(after == "" || strings.HasPrefix(after, "\n") || strings.HasPrefix(after, "\r\n"))
}

// textTail is the footer of the text body: a line of its own after an empty
// one, with the line ends that the text has. The wording is ours; the contract
// says only that there is one (contract/sending.md §14).
func (a *applying) textTail(src string) string {
	eol := "\n"
	if i := strings.IndexByte(src, '\n'); i > 0 && src[i-1] == '\r' {
		eol = "\r\n"
	}
	gap := eol + eol
	if strings.HasSuffix(src, "\n") {
		gap = eol
	}
	return gap + "Unsubscribe: " + a.unsubscribeURL + eol
}
