package eml

import (
	"bytes"
	"errors"
)

// Errors of NormalizeLines.
var (
	ErrBareCR = errors.New("CR without LF")
	ErrNUL    = errors.New("NUL octet")
)

// NormalizeLines returns a message of an authenticated client with every bare LF made
// CRLF; raw itself when there is none. A CR elsewhere or a NUL is an error: what a
// receiver makes of them cannot be known.
func NormalizeLines(raw []byte) ([]byte, error) {
	if bytes.IndexByte(raw, 0) >= 0 {
		return nil, ErrNUL
	}
	if crs := bytes.Count(raw, []byte("\r")); crs != bytes.Count(raw, []byte("\r\n")) {
		return nil, ErrBareCR
	} else if bare := bytes.Count(raw, []byte("\n")) - crs; bare > 0 {
		return addCRs(raw, bare), nil
	}
	return raw, nil
}

func addCRs(raw []byte, n int) []byte {
	out := make([]byte, 0, len(raw)+n)
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\n')
		if i < 0 {
			return append(out, raw...)
		}
		if i > 0 && raw[i-1] == '\r' {
			out = append(out, raw[:i+1]...)
		} else {
			out = append(append(out, raw[:i]...), "\r\n"...)
		}
		raw = raw[i+1:]
	}
	return out
}
