package mustache

// cursor counts lines and characters. Offsets are asked for in rising order,
// so that all errors of a template cost one pass over it.
type cursor struct {
	text           string
	at             int
	line, position int
}

func newCursor(text string) *cursor {
	return &cursor{text: text, line: 1, position: 1}
}

// locate gives line and position of a byte offset, both from 1. Only "\n" ends
// a line (B8), and a character is a UTF-16 unit.
func (c *cursor) locate(offset int) (line, position int) {
	for _, r := range c.text[c.at:offset] {
		switch {
		case r == '\n':
			c.line, c.position = c.line+1, 1
		case r > 0xFFFF:
			c.position += 2
		default:
			c.position++
		}
	}
	c.at = offset
	return c.line, c.position
}
