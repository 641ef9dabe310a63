package mustache

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// SyntaxError is one mistake in a template. Message is the contract's text
// (templates.md B8); Line and Position count from 1 and point at the first
// brace of the tag.
type SyntaxError struct {
	Message        string
	Line, Position int
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Position, e.Message)
}

// SyntaxErrors are the mistakes of one template in the order of its text, at
// most 100 of them.
type SyntaxErrors []*SyntaxError

func (e SyntaxErrors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

const maxErrors = 100

// The texts of B8. The single braces are those of the live service.
const (
	textPath       = "The path '%s' is not valid. Please see documentation for examples of valid paths."
	textEachPath   = "The 'each' block being opened requires a model path to be specified in the form '{#each <name>}'."
	textEachClose  = "The syntax to close the 'each' block should be: '{/each}'."
	textEachStray  = "An 'each' block is being closed, but no corresponding opening element ('{#each <name>}') was detected."
	textMismatched = "It appears that open and closing elements are mismatched."
	textUnclosed   = "A scope block to the following path was opened but not closed: '%s', please close it using the appropriate syntax."
	textNotList    = "'%s' is used like an array by the template, but is a scalar value or object in your model."
)

// mistake is a SyntaxError before its position is counted and its text made,
// which is done only for those that are reported.
type mistake struct {
	at   int
	text string
	path string
}

func (m mistake) message() string {
	if m.text == textPath || m.text == textUnclosed {
		return fmt.Sprintf(m.text, excerpt(m.path))
	}
	return m.text
}

// excerpt keeps an answer short when what stands between the braces is not.
func excerpt(path string) string {
	const most = 200
	if len(path) <= most {
		return path
	}
	cut := most
	for !utf8.RuneStart(path[cut]) && cut > most-utf8.UTFMax {
		cut--
	}
	return path[:cut] + "…"
}
