package mustache

import "encoding/json"

// exists tells whether a section over the value runs (contract B4).
func exists(value any) bool {
	switch v := value.(type) {
	case bool:
		return v
	case string:
		return v != ""
	case json.Number:
		return trueNumber(v)
	case float64:
		return v != 0
	case map[string]any:
		return len(v) > 0
	case []any:
		return len(v) > 0
	}
	return false
}

// text is what a tag prints of the value. Objects and lists print nothing, like
// what is absent (contract B6).
func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case bool:
		if v {
			return "True"
		}
		return "False"
	case json.Number:
		return numberText(v)
	case float64:
		return floatText(v)
	}
	return ""
}

// member looks a key up. Only objects have members (contract B2).
func member(value any, key string) any {
	if object, ok := value.(map[string]any); ok {
		return object[key]
	}
	return nil
}

// weight is how many steps it takes to look at the value: a number may be
// written with a million digits.
func weight(value any) int {
	if n, ok := value.(json.Number); ok {
		return len(n) / bytesPerStep
	}
	return 0
}
