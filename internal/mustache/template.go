package mustache

// Template is a parsed template. It never changes.
type Template struct {
	text         string
	nodes        []node
	options      Options
	placeholders int
	content      *Template // what stands in for the layout placeholder
}

// Placeholders gives how many layout placeholders {{{ @content }}} the template
// itself has. A layout has one, a standard template none (contract A3).
func (t *Template) Placeholders() int {
	return t.placeholders
}

// Wrap gives the layout t around content, within the bounds of t. The content
// stands exactly where the placeholder is and has its scope (contract A3).
func (t *Template) Wrap(content *Template) *Template {
	wrapped := *t
	wrapped.content = content
	return &wrapped
}
