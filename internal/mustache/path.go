package mustache

import (
	"strings"
	"unicode"
)

// path is a parsed path: first up, then down. A "../" behind a key takes that
// key back, so no path needs another order.
type path struct {
	up   int
	keys []string
	cost int // steps to walk it
}

// bytesPerStep is how many bytes of a name or number are looked at in a step.
const bytesPerStep = 64

// parsePath reads a path without outer blanks; false when it is not valid (B2).
func parsePath(text string) (path, bool) {
	if !validPath(text) {
		return path{}, false
	}
	var p path
	for rest := text; rest != ""; {
		if tail, ok := strings.CutPrefix(rest, "../"); ok {
			p.climb()
			rest = tail
			continue
		}
		if rest[0] == '.' {
			rest = rest[1:]
			continue
		}
		n := strings.IndexByte(rest, '.')
		if n < 0 {
			n = len(rest)
		}
		p.keys = append(p.keys, rest[:n])
		rest = rest[n:]
	}
	p.cost = p.up + len(p.keys) + len(text)/bytesPerStep
	return p, true
}

func (p *path) climb() {
	if n := len(p.keys); n > 0 {
		p.keys = p.keys[:n-1]
		return
	}
	p.up++
}

// validPath tells whether there are only key characters, dots and "../", and no
// more than one dot elsewhere (B2).
func validPath(text string) bool {
	dots := 0
	for _, r := range text {
		switch {
		case r == '.':
			dots++
			if dots > 2 {
				return false
			}
			continue
		case (r == '/') != (dots == 2), r != '/' && !keyRune(r):
			return false
		}
		dots = 0
	}
	return dots < 2
}

func keyRune(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Pc)
}
