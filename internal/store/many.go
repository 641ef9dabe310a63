package store

import (
	"strconv"
	"strings"
)

// inGroups hands a list on in groups of at most size.
func inGroups[T any](list []T, size int, do func(group []T) error) error {
	for len(list) > 0 {
		n := min(size, len(list))
		if err := do(list[:n:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// insertMany completes an INSERT with places for rows of so many columns.
func insertMany(insert string, columns, rows int) string {
	var b strings.Builder
	b.Grow(len(insert) + rows*columns*5)
	b.WriteString(insert)
	n := 0
	for row := range rows {
		if row > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('(')
		for col := range columns {
			if col > 0 {
				b.WriteString(", ")
			}
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		}
		b.WriteByte(')')
	}
	return b.String()
}

// places gives n places "$from, …".
func places(from, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(from + i))
	}
	return b.String()
}
