package api

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// clientForm is how a client writes its requests.
type clientForm struct {
	header   map[string]string // on every request, beside the token
	bodyless string            // body of calls that take none
}

// clientCall is a call of a client, and what the client makes of the answer:
// names are compared with their case, types are strict (contract/clients.md
// 1.15). Later rows may use what earlier ones saved, as {name}.
type clientCall struct {
	fact         string // paragraphs of contract/clients.md, and what is tried
	by           who    // empty: the server
	method, path string
	body         string
	status       int               // 0: 200, and nothing else is success (1.11)
	want         map[string]any    // by path, as Templates.0.Alias; # is the length of a list
	save         map[string]string // name: path
	then         func(t *testing.T, got any)
}

// replay makes the calls one after the other.
func (f clientForm) replay(t *testing.T, r *rig, c *tenant, calls []clientCall) {
	t.Helper()
	saved := map[string]string{"server": c.id}
	fill := func(s string) string {
		for name, v := range saved {
			s = strings.ReplaceAll(s, "{"+name+"}", v)
		}
		return s
	}
	for _, tt := range calls {
		by := tt.by
		if by.header == "" {
			by = c.server
		}
		by.token = fill(by.token)
		t.Run(tt.fact, func(t *testing.T) {
			got := f.send(t, r, by, tt.method, fill(tt.path), fill(tt.body), max(tt.status, http.StatusOK))
			want := tt.want
			if tt.status >= http.StatusBadRequest { // 1.12
				f := map[string]any{"ErrorCode": isInt32, "Message": isText}
				for path, w := range want {
					f[path] = w
				}
				want = f
			}
			for path, w := range want {
				if text, ok := w.(string); ok {
					w = fill(text)
					if n, err := strconv.Atoi(fill(text)); err == nil && text[0] == '{' {
						w = n // an id that was saved
					}
				}
				if why := mismatch(at(got, path), w); why != "" {
					t.Errorf("%s %s in %v", path, why, got)
				}
			}
			for name, path := range tt.save {
				v := at(got, path)
				if v == (noValue{}) {
					t.Fatalf("%s is absent from %v", path, got)
				}
				saved[name] = fmt.Sprint(v)
			}
			if tt.then != nil {
				tt.then(t, got)
			}
		})
	}
}

// send makes one call and reads the answer, without following redirects (1.2).
func (f clientForm) send(t *testing.T, r *rig, by who, method, path, body string, status int) any {
	t.Helper()
	if body == "" {
		body = f.bodyless
	}
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	for name, v := range f.header {
		req.Header.Set(name, v)
	}
	req.Header.Set(by.header, by.token)
	stay := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := stay.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != status {
		t.Fatalf("%s %s %s: got %d %s, want %d", method, path, body, res.StatusCode, b, status)
	}
	if got := res.Header.Get("Content-Type"); got != "application/json; charset=utf-8" { // 1.14
		t.Errorf("Content-Type %q", got)
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

// noValue stands for a value that is not there.
type noValue struct{}

// at follows a path of names and indexes.
func at(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			next, ok := in[name]
			if !ok {
				return noValue{}
			}
			v = next
		case []any:
			if name == "#" {
				return json.Number(itoa(len(in)))
			}
			n, err := strconv.Atoi(name)
			if err != nil || n >= len(in) {
				return noValue{}
			}
			v = in[n]
		default:
			return noValue{}
		}
	}
	return v
}

// rule is what a client demands of a value; it says what is wrong.
type rule func(v any) string

func mismatch(got, want any) string {
	switch w := want.(type) {
	case rule:
		return w(got)
	case func(any) string:
		return w(got)
	case int:
		want = json.Number(itoa(w))
	}
	if got != want {
		return fmt.Sprintf("is %#v, want %#v", got, want)
	}
	return ""
}

func isMissing(v any) string {
	if v != (noValue{}) {
		return fmt.Sprintf("is %v, want no such key", v)
	}
	return ""
}

func isText(v any) string {
	if s, ok := v.(string); !ok || s == "" {
		return fmt.Sprintf("is %#v, want a text", v)
	}
	return ""
}

func isBool(v any) string {
	if _, ok := v.(bool); !ok {
		return fmt.Sprintf("is %#v, want a boolean", v)
	}
	return ""
}

// isInt32 demands what fits a signed 32-bit integer (2.3).
func isInt32(v any) string {
	if n, ok := v.(json.Number); ok {
		if i, err := n.Int64(); err == nil && math.MinInt32 <= i && i <= math.MaxInt32 {
			return ""
		}
	}
	return fmt.Sprintf("is %#v, want a 32-bit integer", v)
}

// isGUID demands the lower-case form with dashes (2.1).
func isGUID(v any) string { return matches(uuid.String())(v) }

// isTime demands UTC with at most seven fractional digits (3.1, 3.2).
func isTime(v any) string { return matches(wireTime.String())(v) }

func isFuture(v any) string {
	if why := isTime(v); why != "" {
		return why
	}
	if at, err := time.Parse(time.RFC3339Nano, v.(string)); err != nil || !at.After(time.Now()) {
		return fmt.Sprintf("is %v, want the future", v)
	}
	return ""
}

// isTextMap demands an object of strings, as .NET's dictionaries (2.4, 2.5).
func isTextMap(v any) string {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Sprintf("is %#v, want an object", v)
	}
	for name, e := range m {
		if _, ok := e.(string); !ok {
			return fmt.Sprintf("has %s: %#v, want a string", name, e)
		}
	}
	return ""
}

func matches(pattern string) rule {
	re := regexp.MustCompile(pattern)
	return func(v any) string {
		if s, ok := v.(string); !ok || !re.MatchString(s) {
			return fmt.Sprintf("is %#v, want %s", v, pattern)
		}
		return ""
	}
}

// finds demands that the first group of a client's pattern is that text.
func finds(pattern, text string) rule {
	re := regexp.MustCompile(pattern)
	return func(v any) string {
		s, ok := v.(string)
		if m := re.FindStringSubmatch(s); !ok || m == nil || m[1] != text {
			return fmt.Sprintf("is %#v, of which %s does not find %q", v, pattern, text)
		}
		return ""
	}
}

// oneOf demands a name of a client's enumeration.
func oneOf(names ...string) rule {
	return func(v any) string {
		if s, ok := v.(string); !ok || !slices.Contains(names, s) {
			return fmt.Sprintf("is %#v, want one of %v", v, names)
		}
		return ""
	}
}

// isPlainCode demands an error code that leads to none of the classes that clients
// have for some (4.16).
func isPlainCode(v any) string {
	if n, ok := v.(json.Number); !ok || n == "0" || n == "300" || n == "406" {
		return fmt.Sprintf("is %#v, want a code other than 0, 300 and 406", v)
	}
	return ""
}

// sentAnswer is what every client reads of a message that was accepted (4.2).
func sentAnswer(to string) map[string]any {
	return map[string]any{"To": to, "SubmittedAt": rule(isTime), "MessageID": rule(isGUID), "ErrorCode": 0, "Message": "OK"}
}

// with adds to a set of wishes.
func with(base map[string]any, more ...any) map[string]any {
	m := map[string]any{}
	for name, v := range base {
		m[name] = v
	}
	for n := 0; n < len(more); n += 2 {
		m[more[n].(string)] = more[n+1]
	}
	return m
}

// newStream is what clients read of a stream right after it was made (11.2).
func newStream(id, typ, unsubscribe string) map[string]any {
	return map[string]any{
		"ID": id, "ServerID": rule(isInt32), "Name": rule(isText), "MessageStreamType": typ, "CreatedAt": rule(isTime), "UpdatedAt": nil, "ArchivedAt": nil,
		"SubscriptionManagementConfiguration.UnsubscribeHandlingType": unsubscribe,
	}
}

const (
	noStream     = "The message stream for the provided 'ID' was not found."
	noSendStream = "The stream provided: 'unknown-stream' does not exist on this server."
)
