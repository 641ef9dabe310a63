package mustache

// Merge lays a test model over a suggested one (contract A4): objects are
// merged member by member, and everywhere else the test value wins, null
// included. Neither argument is changed.
func Merge(suggested, test map[string]any) map[string]any {
	merged := make(map[string]any, len(suggested)+len(test))
	for key, value := range suggested {
		merged[key] = value
	}
	for key, value := range test {
		over, ok := value.(map[string]any)
		under, also := merged[key].(map[string]any)
		if ok && also {
			merged[key] = Merge(under, over)
			continue
		}
		merged[key] = value
	}
	return merged
}
