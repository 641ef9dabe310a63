package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"pennypost"
)

// Bounds of a JSON body beside its size.
const (
	maxDepth  = 128     // arrays and objects inside one another
	maxValues = 500_000 // elements of arrays and members of objects
	maxName   = 4096    // octets of a member's name
	maxNumber = 64      // characters of a number
	maxExpo   = 3       // digits of an exponent
)

func errJSON() error { return pennypost.Refuse(pennypost.CodeJSON, "Invalid JSON.") }

// fieldError names the fields whose JSON type is wrong (contract/common.md §6.2).
func fieldError(names ...string) error {
	if len(names) == 0 {
		return pennypost.Refuse(pennypost.CodeFieldType, "Invalid request body.")
	}
	return pennypost.Refuse(pennypost.CodeFieldType, "Invalid request field(s): '%s'.", strings.Join(names, "', '"))
}

// isEmpty tells whether a body says nothing: clients send null where a call
// takes no body (contract/clients.md 1.8).
func isEmpty(body []byte) bool {
	body = bytes.TrimSpace(body)
	return len(body) == 0 || string(body) == "null"
}

// decode reads one JSON object into the struct that dst points to. A body
// that says nothing leaves it as it is.
func decode(body []byte, dst any) error { return decodeUpTo(body, dst, maxValues) }

// decodeUpTo is decode for a body of more values, most of which are decoded
// later.
func decodeUpTo(body []byte, dst any, values int) error {
	if isEmpty(body) {
		return nil
	}
	s, err := scanUpTo(body, 1, values)
	if err != nil {
		return err
	}
	if !s.repeats {
		err = json.Unmarshal(body, dst)
		if err == nil {
			return nil
		}
		if !isTypeError(err) {
			return errJSON()
		}
	} else if !json.Valid(body) {
		return errJSON()
	}
	v := reflect.ValueOf(dst).Elem()
	v.SetZero()
	return decodeFields(body, v)
}

func isTypeError(err error) bool {
	var wrong *json.UnmarshalTypeError
	return errors.As(err, &wrong)
}

// decodeFields reads a valid object member by member. It is the slow way, taken
// when encoding/json met a type that it cannot use: empty strings and arrays
// are absence where the field is something else (contract/common.md §3), and
// the answer names every wrong field, not the first alone.
func decodeFields(object []byte, dst reflect.Value) error {
	dec := json.NewDecoder(bytes.NewReader(object))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return fieldError()
	}
	var wrong []string
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return errJSON()
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return errJSON()
		}
		text, ok := name.(string)
		if !ok {
			return errJSON()
		}
		field, title := fieldNamed(dst, text)
		if !field.IsValid() || isAbsent(raw, field.Type()) {
			continue
		}
		fresh := reflect.New(field.Type())
		if err := json.Unmarshal(raw, fresh.Interface()); err != nil {
			if !slices.Contains(wrong, title) {
				wrong = append(wrong, title)
			}
			continue
		}
		field.Set(fresh.Elem())
	}
	if len(wrong) > 0 {
		return fieldError(wrong...)
	}
	return nil
}

// fieldNamed finds the field that encoding/json would fill for a name.
func fieldNamed(v reflect.Value, name string) (reflect.Value, string) {
	t := v.Type()
	for n := range t.NumField() {
		if t.Field(n).Anonymous {
			if f, title := fieldNamed(v.Field(n), name); f.IsValid() {
				return f, title
			}
			continue
		}
		title, _, _ := strings.Cut(t.Field(n).Tag.Get("json"), ",")
		if title == "" {
			title = t.Field(n).Name
		}
		if title != "-" && strings.EqualFold(title, name) {
			return v.Field(n), title
		}
	}
	return reflect.Value{}, ""
}

// clearable is a text field in which null is not absence but empties it
// (contract/senders.md §1).
type clearable struct{ text *string }

// UnmarshalJSON reads a string or null.
func (c *clearable) UnmarshalJSON(b []byte) error {
	*c = clearable{}
	var text string
	if string(b) != "null" {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	c.text = &text
	return nil
}

func isAbsent(raw json.RawMessage, t reflect.Type) bool {
	if len(raw) > 16 || t == reflect.TypeFor[clearable]() || t == reflect.TypeFor[wireModel]() || t == reflect.TypeFor[wireAddresses]() {
		return false
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch string(bytes.Join(bytes.Fields(raw), nil)) {
	case "null", "[]":
		return true
	case `""`:
		return t.Kind() != reflect.String
	}
	return false
}

// scanned is what scan learns of a body.
type scanned struct {
	items   int  // elements of the outermost array, 1 when it is empty
	repeats bool // an object at the wanted depth names a list twice
}

// scan bounds a body before it is decoded: bad UTF-8, depth, the number of
// values, the length of names and numbers. It does not check the grammar;
// encoding/json does. depth is where the objects are that may not be merged
// from two lists of the same name, which encoding/json would do.
func scan(body []byte, depth int) (scanned, error) { return scanUpTo(body, depth, maxValues) }

func scanUpTo(body []byte, depth, values int) (scanned, error) {
	s := scanner{scanned: scanned{items: 1}, b: body, at: depth, most: values}
	if !utf8.Valid(body) {
		return s.scanned, errJSON()
	}
	for s.n < len(body) {
		if !s.step() {
			return s.scanned, errJSON()
		}
	}
	return s.scanned, nil
}

type scanner struct {
	scanned
	b             []byte
	n             int
	at            int // depth of the watched objects
	depth, values int
	most          int     // values
	lists         [2]bool // Headers, Attachments seen in the watched object
}

// step passes one character or token; false says that a bound is broken.
func (s *scanner) step() bool {
	switch c := s.b[s.n]; {
	case c == '"':
		return s.text()
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == '[' || c == '{':
		s.depth++
		s.values++
		if s.depth == s.at {
			s.lists = [2]bool{}
		}
	case c == ']' || c == '}':
		s.depth--
	case c == ',':
		s.values++
		if s.depth == 1 {
			s.items++
		}
	}
	s.n++
	return s.depth <= maxDepth && s.values <= s.most
}

// text passes a string, and looks at it when it is a name.
func (s *scanner) text() bool {
	start := s.n
	for n := start + 1; ; n++ {
		end := bytes.IndexByte(s.b[n:], '"')
		if end < 0 {
			return false
		}
		n += end
		slashes := 0
		for s.b[n-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			s.n = n + 1
			break
		}
	}
	if !s.beforeColon() {
		return true
	}
	if s.n-start > maxName {
		return false
	}
	if s.depth == s.at {
		s.name(s.b[start:s.n])
	}
	return true
}

func (s *scanner) beforeColon() bool {
	for _, c := range s.b[s.n:] {
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		}
		return c == ':'
	}
	return false
}

func (s *scanner) name(quoted []byte) {
	name := string(quoted[1 : len(quoted)-1])
	if strings.ContainsRune(name, '\\') && json.Unmarshal(quoted, &name) != nil {
		return
	}
	for n, list := range [...]string{"Headers", "Attachments"} {
		if strings.EqualFold(name, list) {
			s.repeats = s.repeats || s.lists[n]
			s.lists[n] = true
		}
	}
}

func (s *scanner) number() bool {
	start, expo := s.n, -1
	for ; s.n < len(s.b); s.n++ {
		c := s.b[s.n]
		switch {
		case c == 'e' || c == 'E':
			expo = 0
		case '0' <= c && c <= '9':
			if expo >= 0 {
				expo++
			}
		case c != '+' && c != '-' && c != '.':
			return s.n-start <= maxNumber && expo <= maxExpo
		}
	}
	return s.n-start <= maxNumber && expo <= maxExpo
}
