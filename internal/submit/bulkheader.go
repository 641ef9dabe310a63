package submit

import (
	"strings"

	"pennypost/internal/eml"
)

// SharedHeaders is what is to be known of the headers that all messages of a bulk
// request have, so that they are checked once and not with every message.
type SharedHeaders struct {
	sum    headerSum
	byName map[string]headerSum // in lower case
}

type headerSum struct{ n, size int }

// NewSharedHeaders counts headers that CheckShared found good.
func NewSharedHeaders(list []Pair) *SharedHeaders {
	s := &SharedHeaders{byName: make(map[string]headerSum, len(list))}
	for _, h := range list {
		one, name := len(h.Key)+len(h.Value), strings.ToLower(h.Key)
		same := s.byName[name]
		s.byName[name] = headerSum{same.n + 1, same.size + one}
		s.sum.n, s.sum.size = s.sum.n+1, s.sum.size+one
	}
	return s
}

// fit refuses a message's own headers that are too many together with those that
// are shared, in place of which they come (contract/sending.md §13).
func (s *SharedHeaders) fit(own []eml.Field) error {
	if len(own) == 0 {
		return nil
	}
	n, size := len(own)+s.sum.n, headersSize(own)+s.sum.size
	replaced := make(map[string]bool, len(own))
	for _, f := range own {
		name := strings.ToLower(f.Name)
		if !replaced[name] {
			replaced[name] = true
			n, size = n-s.byName[name].n, size-s.byName[name].size
		}
	}
	return headersFit(n, size)
}
