package track

import (
	"strings"

	"golang.org/x/net/html"
)

// htmlReader goes once through the tokens of an HTML body, or of what a
// conditional comment holds for Outlook.
type htmlReader struct {
	*applying
	b       *body
	off     int  // of the tokens in the body
	comment bool // in a conditional comment: only placeholders are replaced
	rawText bool // the next text is that of a script, style or the like
	foreign int  // depth of svg and math, in which CDATA is text
	bodyEnd int  // of the last </body>, or -1
	sound   int  // end of the last token after which markup is markup
}

// readHTML finds what is to be done in the HTML body.
func (a *applying) readHTML(src string) *body {
	b := &body{src: src, end: len(src)}
	if src == "" {
		return b
	}
	r := &htmlReader{applying: a, b: b, bodyEnd: -1}
	r.read(src)
	if b.end = r.bodyEnd; b.end < 0 {
		b.end = r.sound
	}
	return b
}

// read goes through the tokens. Their lengths add up to their places
// (html.Tokenizer.Raw), so that all else stays as it is, byte for byte.
func (r *htmlReader) read(src string) {
	z := html.NewTokenizer(strings.NewReader(src))
	for pos := 0; ; {
		z.AllowCDATA(r.foreign > 0)
		tt := z.Next()
		if tt == html.ErrorToken {
			return // the end; a tag that is not finished is no token
		}
		raw := src[pos : pos+len(z.Raw())]
		start := r.off + pos
		pos += len(raw)
		rawText := r.rawText
		r.rawText = false
		whole := true
		switch tt {
		case html.ErrorToken:
		case html.DoctypeToken:
			whole = strings.HasSuffix(raw, ">")
		case html.CommentToken:
			whole = wholeComment(raw)
			r.readComment(start, raw)
		case html.TextToken:
			whole = !rawText && wholeText(raw)
			if whole {
				r.readRun(start, raw)
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			name := tagName(raw, 1)
			if name == "noscript" { // mail programs run no scripts
				z.NextIsNotRawText()
			}
			r.rawText = hasRawText(name)
			whole = !r.rawText
			if isForeign(name) && tt == html.StartTagToken {
				r.foreign++
			}
			r.readTag(z, name, start, raw)
		case html.EndTagToken:
			name := tagName(raw, 2)
			if name == "body" {
				r.bodyEnd = start
			}
			if isForeign(name) {
				r.foreign = max(0, r.foreign-1)
			}
		}
		if whole {
			r.sound = start + len(raw)
		}
	}
}

// readComment looks into conditional comments, of which Outlook shows what
// they hold.
func (r *htmlReader) readComment(start int, raw string) {
	inner, ok := strings.CutPrefix(raw, "<!--")
	if !ok || r.comment || r.b.full || !hasPlaceholder(inner) || !strings.HasPrefix(strings.TrimLeft(inner, " \t\r\n"), "[if") {
		return
	}
	in := &htmlReader{applying: r.applying, b: r.b, off: start + len(raw) - len(inner), comment: true}
	in.read(inner)
}

// readRun replaces the placeholders in text by links.
func (r *htmlReader) readRun(start int, raw string) {
	if !hasPlaceholder(raw) {
		return
	}
	for from := 0; ; {
		p, ok := nextPlaceholder(raw, from)
		if !ok {
			return
		}
		from = p.end
		with := r.unsubscribeURL
		if !p.url {
			label := p.label
			if label == "" {
				label = "Unsubscribe"
			}
			with = `<a href="` + with + `">` + strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(label) + `</a>`
		}
		r.placeholder(start+p.start, start+p.end, with, true)
	}
}

// placeholder makes the edit for a placeholder. The first that a reader sees
// does not count as growth.
func (r *htmlReader) placeholder(start, end int, with string, visible bool) {
	if r.comment {
		visible = false
		// A URL may end in "--": it must not end the comment together with what follows.
		if end < len(r.b.src) && strings.IndexByte(">!-", r.b.src[end]) >= 0 {
			with += " "
		}
	}
	e := edit{start, end, with}
	if visible && !r.b.unsubscribes {
		r.b.edits = append(r.b.edits, e)
		r.b.unsubscribes = true
		return
	}
	r.b.add(e)
}

// readTag looks at a start tag: the href of <a> and <area> is a link, and a
// placeholder anywhere in it the bare URL.
func (r *htmlReader) readTag(z *html.Tokenizer, name string, start int, raw string) {
	marked := hasPlaceholder(raw)
	isLink := name == "a" || name == "area"
	if !marked && !isLink {
		return
	}
	value, hasHref := findHref(raw)
	if marked {
		r.replaceInTag(start, raw, value, isLink && hasHref)
		return
	}
	if !hasHref || r.comment || !r.links(InHTML) && !r.links(InText) {
		return
	}
	target, untracked, ok := readLinkTag(z)
	if !ok {
		return
	}
	target = strings.Trim(target, " \t\r\n\f")
	if untracked {
		if r.untracked == nil {
			r.untracked = make(map[string]bool)
		}
		r.untracked[target] = true
		return
	}
	if r.links(InHTML) {
		r.link(r.b, InHTML, edit{start + value.start, start + value.end, ""}, target)
	}
}

// replaceInTag replaces the placeholders in a tag by the URL. Editors put
// "http://" before what they take for an address without a scheme.
func (r *htmlReader) replaceInTag(start int, raw string, href span, isLink bool) {
	for from := 0; ; {
		p, ok := nextPlaceholder(raw, from)
		if !ok {
			return
		}
		inHref := isLink && href.start <= p.start && p.start <= href.end
		at := p.start
		if inHref && from <= href.start {
			if rest, ok := cutScheme(strings.TrimLeft(raw[href.start:at], " \t\r\n\f")); ok && rest == "" {
				at = href.start
			}
		}
		r.placeholder(start+at, start+p.end, r.unsubscribeURL, inHref)
		from = p.end
	}
}

// htmlTail is what goes to the end of the HTML body (contract/sending.md §14,
// contract/tracking.md §2): the pixel stands after the footer.
func (a *applying) htmlTail(footer, pixel bool) string {
	var tail string
	if footer {
		tail = `<p style="text-align:center;margin:1em 0 3em;"><a href="` + a.unsubscribeURL +
			`" style="color:#A8AAAF;font-family:Helvetica,Arial,sans-serif;font-size:12px;">Unsubscribe</a></p>`
	}
	if pixel {
		tail += `<img src="` + a.signer.OpenURL(a.base, a.id) + `" width="1" height="1" border="0" alt="" />`
	}
	return tail
}

// wholeComment tells whether a comment, or what is read as one, has its end.
func wholeComment(raw string) bool {
	if strings.HasPrefix(raw, "<!--") {
		return strings.HasSuffix(raw, "-->") || strings.HasSuffix(raw, "--!>")
	}
	return strings.HasSuffix(raw, ">")
}

// wholeText tells whether markup after a text is markup: not in CDATA, nor
// after "</", which only the end of the document leaves as text.
func wholeText(raw string) bool {
	return !strings.HasPrefix(raw, "<![CDATA[") && !strings.HasSuffix(raw, "</")
}

// hasRawText names the elements whose text is no markup, as the tokenizer
// knows them.
func hasRawText(name string) bool {
	switch name {
	case "iframe", "noembed", "noframes", "plaintext", "script", "style", "textarea", "title", "xmp":
		return true
	}
	return false
}

func isForeign(name string) bool { return name == "svg" || name == "math" }
