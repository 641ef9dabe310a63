package track

import (
	"cmp"
	"slices"
	"strings"

	"pennypost"
)

// MaxURL is how long the URL of a tracked link may become; what would be
// longer is left alone. Some mail programs cut URLs off after 2,083
// characters, and a link that works matters more than a click counted.
const MaxURL = 2000

// MaxGrowth bounds by how many octets the links and placeholders of one body
// may make it longer; the rest of them are left alone then. The first
// placeholder, the footer and the pixel do not count. It is room for some
// 8,000 links.
const MaxGrowth = 1 << 20

// Dress is what is done to the bodies of a message.
type Dress struct {
	Base        string               // of our URLs: "https://track.example.com"
	Opens       bool                 // the HTML gets a pixel
	Links       pennypost.TrackLinks // in which bodies links are rewritten; "" is none
	Unsubscribe bool                 // there must be an unsubscribe link: a footer, where no placeholder makes one
}

// Dressed is what became of the bodies.
type Dressed struct {
	HTML, Text  string
	Links       int  // unique links that are tracked
	Personal    bool // has the copy's token: each recipient needs a content of his own
	Unsubscribe bool // has an unsubscribe link that a reader can see
}

// Apply dresses the bodies of a message as its copy (see [Copy]). A body that
// is "" stays "". Placeholders are replaced whatever the dress says
// (contract/sending.md §14). Bodies with nothing to do come back as they are,
// found out by a mere search for "{{{". Without a base nothing is done.
func (s *Signer) Apply(id pennypost.MessageID, d Dress, html, text string) Dressed {
	a := &applying{signer: s, id: id, dress: d, base: strings.TrimSuffix(d.Base, "/")}
	out := Dressed{HTML: html, Text: text}
	if a.base == "" || !a.concerns(html, text) {
		return out
	}
	a.copyToken = s.Token(id, Copy)
	a.unsubscribeURL = s.UnsubscribeURL(a.base, id)
	page, letter := a.readHTML(html), a.readText(text)
	out.Unsubscribe = page.unsubscribes || letter.unsubscribes
	footer := d.Unsubscribe && !out.Unsubscribe
	if html != "" {
		page.tail = a.htmlTail(footer, d.Opens)
	}
	if text != "" && footer {
		letter.tail = a.textTail(text)
	}
	if footer {
		out.Unsubscribe = html != "" || text != ""
	}
	out.HTML, out.Text = page.String(), letter.String()
	out.Links = len(a.numbers)
	out.Personal = page.changed() || letter.changed()
	return out
}

// applying is one call of Apply.
type applying struct {
	signer                          *Signer
	id                              pennypost.MessageID
	dress                           Dress
	base, copyToken, unsubscribeURL string
	numbers                         map[string]int  // of the unique links, by target
	untracked                       map[string]bool // targets that an element asked not to track
}

func (a *applying) concerns(html, text string) bool {
	d := a.dress
	return d.Opens && html != "" || d.Unsubscribe || a.links(InHTML) && html != "" || a.links(InText) && text != "" ||
		hasPlaceholder(html) || hasPlaceholder(text)
}

// links tells whether links are tracked in a body.
func (a *applying) links(location byte) bool {
	switch a.dress.Links {
	case pennypost.TrackHTMLAndText:
		return true
	case pennypost.TrackHTMLOnly:
		return location == InHTML
	case pennypost.TrackTextOnly:
		return location == InText
	case pennypost.TrackNone:
		return false
	}
	return false
}

// link makes the edit that has a target tracked, if it may be: the same URL in
// both bodies has one number (contract/tracking.md §3).
func (a *applying) link(b *body, location byte, at edit, target string) {
	if b.full || !trackable(target) || a.ours(target) {
		return
	}
	no, known := a.numbers[target]
	if !known {
		no = len(a.numbers) + 1
	}
	at.with = a.signer.linkURL(a.base, a.copyToken, a.id, location, no, target)
	if len(at.with) > MaxURL || !b.add(at) || known {
		return
	}
	if a.numbers == nil {
		a.numbers = make(map[string]int)
	}
	a.numbers[target] = no
}

// ours tells whether a URL is one that we made: tracking it again would make a
// chain, and unsubscribing is never tracked (contract/tracking.md §3).
func (a *applying) ours(target string) bool {
	if len(target) < len(a.base) || !strings.EqualFold(target[:len(a.base)], a.base) {
		return false
	}
	for _, p := range []string{"/o/", "/c/", "/u/"} {
		if strings.HasPrefix(target[len(a.base):], p) {
			return true
		}
	}
	return false
}

// body is a body with the edits that are to be made in it, in their order.
type body struct {
	src          string
	edits        []edit
	growth       int
	full         bool   // no more links
	unsubscribes bool   // a reader sees a link that a placeholder made
	end          int    // where footer and pixel go
	tail         string // footer and pixel
}

// edit replaces a range of a body.
type edit struct {
	start, end int
	with       string
}

// add takes an edit, unless the body would grow too much by it.
func (b *body) add(e edit) bool {
	growth := b.growth + max(0, len(e.with)-(e.end-e.start))
	if growth > MaxGrowth {
		b.full = true
		return false
	}
	b.growth = growth
	b.edits = append(b.edits, e)
	return true
}

func (b *body) changed() bool { return len(b.edits) > 0 || b.tail != "" }

func (b *body) String() string {
	if !b.changed() {
		return b.src
	}
	size := len(b.src) + len(b.tail)
	for _, e := range b.edits {
		size += len(e.with) - (e.end - e.start)
	}
	var out strings.Builder
	out.Grow(size)
	last := 0
	put := func(e edit) {
		out.WriteString(b.src[last:e.start])
		out.WriteString(e.with)
		last = e.end
	}
	after, _ := slices.BinarySearchFunc(b.edits, b.end, func(e edit, end int) int { return cmp.Compare(e.start, end) })
	for _, e := range b.edits[:after] {
		put(e)
	}
	put(edit{b.end, b.end, b.tail})
	for _, e := range b.edits[after:] {
		put(e)
	}
	out.WriteString(b.src[last:])
	return out.String()
}
