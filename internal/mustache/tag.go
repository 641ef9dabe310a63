package mustache

import "strings"

// verb is what a tag asks for.
type verb int

const (
	verbValue verb = iota
	verbRaw
	verbOpen
	verbOpenInverted
	verbOpenEach
	verbClose
	verbCloseEach
	verbComment
	verbPlaceholder
	verbUnsubscribe
)

// read names a tag and gives its operand without outer blanks. For the each
// tags, whose form is checked by the parser, the operand is what follows the
// word, as it stands. A sign must follow the braces directly (B1).
func (t tag) read() (verb, string) {
	if t.triple {
		return t.readTriple()
	}
	if rest, ok := strings.CutPrefix(t.inner, "#each"); ok {
		return verbOpenEach, rest
	}
	if rest, ok := strings.CutPrefix(t.inner, "/each"); ok {
		return verbCloseEach, rest
	}
	switch t.inner[0] {
	case '#':
		return verbOpen, operand(t.inner, "#")
	case '^':
		return verbOpenInverted, operand(t.inner, "^")
	case '/':
		return verbClose, operand(t.inner, "/")
	case '&':
		return verbRaw, operand(t.inner, "&")
	case '!':
		return verbComment, ""
	}
	return verbValue, strings.TrimSpace(t.inner)
}

func (t tag) readTriple() (verb, string) {
	inner := strings.TrimSpace(t.inner)
	if inner == "@content" {
		return verbPlaceholder, ""
	}
	if isUnsubscribe(inner) {
		return verbUnsubscribe, ""
	}
	return verbRaw, operand(t.inner, "&")
}

// isUnsubscribe knows the forms of contract/sending.md §14: alone, with a
// label, and the bare URL.
func isUnsubscribe(inner string) bool {
	rest, ok := strings.CutPrefix(inner, "pm:unsubscribe")
	return ok && (rest == "" || rest == "_url" || strings.TrimSpace(rest) != rest)
}

func operand(inner, sign string) string {
	return strings.TrimSpace(strings.TrimLeft(inner, sign))
}
