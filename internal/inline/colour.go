package inline

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tdewolff/parse/v2/css"
)

// hexColour reads rgb(…) or rgba(…) at the head of tokens and returns it as a
// hex colour with the number of tokens it took; 0 if it is no such colour or
// not opaque.
func hexColour(text []byte, toks []token) (string, int) {
	name := strings.ToLower(string(text[toks[0].start:toks[0].end]))
	if name != "rgb(" && name != "rgba(" {
		return "", 0
	}
	var parts []float64
	alpha := false
	for i, t := range toks[1:] {
		s := string(text[t.start:t.end])
		switch {
		case t.tt == css.RightParenthesisToken:
			if len(parts) == 4 && parts[3] < 1 || len(parts) != 3 && len(parts) != 4 {
				return "", 0
			}
			return fmt.Sprintf("#%02X%02X%02X", channel(parts[0]), channel(parts[1]), channel(parts[2])), i + 2
		case isBlank(t.tt), t.tt == css.CommaToken:
			alpha = alpha || len(parts) == 3 && t.tt == css.CommaToken
		case s == "/" && len(parts) == 3:
			alpha = true
		case t.tt == css.NumberToken || t.tt == css.PercentageToken:
			if len(parts) >= 3 && !alpha {
				return "", 0
			}
			v, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
			if err != nil {
				return "", 0
			}
			switch {
			case len(parts) == 3 && t.tt == css.PercentageToken:
				v /= 100
			case t.tt == css.PercentageToken:
				v = v * 255 / 100
			}
			parts = append(parts, v)
		default:
			return "", 0
		}
	}
	return "", 0
}

func channel(v float64) int {
	return int(math.Round(min(max(v, 0), 255)))
}
