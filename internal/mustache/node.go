package mustache

// kind says what a node does when it is rendered.
type kind int

const (
	kindText kind = iota
	kindValue
	kindRaw
	kindSection
	kindInverted
	kindEach
	kindPlaceholder
)

// node is a piece of a parsed template.
type node struct {
	kind kind
	at   int    // byte offset in the template
	text string // of a text or placeholder: itself; else the path as written
	path path
	body []node
}
