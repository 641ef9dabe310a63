package measure

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
)

// Marks in a Markdown file between which the tables are put.
const (
	markBegin = "<!-- results: written by bench run -md -->\n"
	markEnd   = "<!-- end of results -->\n"
)

// SaveMarkdown writes the tables to a file. In one that has the marks only what
// is between them is replaced; any other is written anew.
func (r *Result) SaveMarkdown(name string) error {
	var b bytes.Buffer
	if err := r.WriteMarkdown(&b); err != nil {
		return err
	}
	old, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(name, splice(old, b.Bytes()), 0o644)
}

func splice(old, tables []byte) []byte {
	head, rest, ok := bytes.Cut(old, []byte(markBegin))
	if !ok {
		return tables
	}
	_, tail, ok := bytes.Cut(rest, []byte(markEnd))
	if !ok {
		return tables
	}
	return bytes.Join([][]byte{head, []byte(markBegin), []byte("\n"), tables, []byte("\n"), []byte(markEnd), tail}, nil)
}
