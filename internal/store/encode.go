package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pennypost"
)

var errEncoding = errors.New("list in a column is malformed")

// mailboxText is how a list of mailboxes is stored: JSON of [name, address]
// pairs, "" for the empty list.
func mailboxText(list []pennypost.Mailbox) string {
	if len(list) == 0 {
		return ""
	}
	pairs := make([][2]string, len(list))
	for i, m := range list {
		pairs[i] = [2]string{m.Name, string(m.Address)}
	}
	return jsonText(pairs)
}

func mailboxesOf(text string) ([]pennypost.Mailbox, error) {
	if text == "" {
		return nil, nil
	}
	var pairs [][2]string
	if err := json.Unmarshal([]byte(text), &pairs); err != nil {
		return nil, fmt.Errorf("%w: %w", errEncoding, err)
	}
	list := make([]pennypost.Mailbox, len(pairs))
	for i, p := range pairs {
		list[i] = pennypost.Mailbox{Name: p[0], Address: pennypost.Address(p[1])}
	}
	return list, nil
}

func mapText(m map[string]string) string {
	if len(m) == 0 {
		return ""
	}
	return jsonText(m)
}

// plainMap does plain for all values.
func plainMap(m map[string]string) map[string]string {
	p := make(map[string]string, len(m))
	for k, v := range m {
		p[k] = plain(v)
	}
	return p
}

func mapOf(text string) (map[string]string, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // an empty map
	}
	var m map[string]string
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return nil, fmt.Errorf("%w: %w", errEncoding, err)
	}
	return m, nil
}

func namesText(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return jsonText(list)
}

func namesOf(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("%w: %w", errEncoding, err)
	}
	return list, nil
}

// jsonText encodes strings and collections of them, which cannot fail.
func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// phasesText is how the phases of an attempt are stored: "dns 120, connect
// 3400" in microseconds.
func phasesText(list []pennypost.PhaseTime) string {
	var b []byte
	for i, p := range list {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, p.Phase...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, p.Took.Microseconds(), 10)
	}
	return string(b)
}

func phasesOf(text string) ([]pennypost.PhaseTime, error) {
	if text == "" {
		return nil, nil
	}
	var list []pennypost.PhaseTime
	for part := range strings.SplitSeq(text, ", ") {
		phase, took, _ := strings.Cut(part, " ")
		us, err := strconv.ParseInt(took, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errEncoding, err)
		}
		list = append(list, pennypost.PhaseTime{Phase: phase, Took: time.Duration(us) * time.Microsecond})
	}
	return list, nil
}

// plain makes text that every database takes: PostgreSQL has no NUL and no
// invalid UTF-8 in it.
func plain(s string) string {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
