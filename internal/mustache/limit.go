package mustache

import "fmt"

// Limit names a bound of [Options].
type Limit int

// The bounds.
const (
	LimitSize Limit = iota
	LimitTags
	LimitDepth
	LimitSteps
	LimitOutput
)

// LimitError says which bound a template or a rendering went past. Its text is
// for the author of the template.
type LimitError struct {
	Limit Limit
	Max   int
	// Line and Position tell where, for LimitTags and LimitDepth; else both are 0.
	Line, Position int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf(e.Limit.text(), e.Max)
}

func (l Limit) text() string {
	switch l {
	case LimitSize:
		return "The template is larger than %d bytes. Please shorten it, for example by linking to images instead of embedding them."
	case LimitTags:
		return "The template has more than %d tags. Please move what repeats into an 'each' block."
	case LimitDepth:
		return "The template nests blocks or paths deeper than %d levels. Please close blocks earlier, or use a flatter model."
	case LimitSteps:
		return "Rendering takes more than %d steps. Please loop over fewer elements, or nest fewer 'each' blocks."
	case LimitOutput:
		return "The rendered content is larger than %d bytes. Please shorten the template, or put less into the model."
	}
	return "The template went past the limit of %d."
}
