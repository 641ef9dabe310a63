package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/submit"
)

// refusal gives code and text of an error, or 0 and "" for none.
func refusal(t *testing.T, err error) (pennypost.Code, string) {
	t.Helper()
	if err == nil {
		return 0, ""
	}
	var r *pennypost.Error
	if !errors.As(err, &r) {
		t.Fatalf("error %v is a %T, want a refusal", err, err)
	}
	return r.Code, r.Text
}

const invalidJSON = "Invalid JSON."

func TestDecodeRefuses(t *testing.T) {
	nested := func(n int, open, end string) string { return strings.Repeat(open, n) + strings.Repeat(end, n) }
	tests := []struct {
		name, body string
		code       pennypost.Code
		text       string
	}{
		{"no JSON", `hello`, 402, invalidJSON},
		{"cut off", `{"To": "a@b.example"`, 402, invalidJSON},
		{"cut off in a string", `{"To": "a@b.ex`, 402, invalidJSON},
		{"cut off after a backslash", `{"To": "a\`, 402, invalidJSON},
		{"trailing comma", `{"To": "a",}`, 402, invalidJSON},
		{"trailing garbage", `{"To": "a"} x`, 402, invalidJSON},
		{"two values", `{} {}`, 402, invalidJSON},
		{"single quotes", `{'To': 'a'}`, 402, invalidJSON},
		{"comment", `{"To": "a" /* x */}`, 402, invalidJSON},
		{"byte order mark", "\ufeff{}", 402, invalidJSON},
		{"UTF-16", "\xff\xfe{\x00}\x00", 402, invalidJSON},
		{"invalid UTF-8 in a value", "{\"To\": \"\xff\"}", 402, invalidJSON},
		{"invalid UTF-8 in a name", "{\"T\xc3\": \"a\"}", 402, invalidJSON},
		{"overlong UTF-8", "{\"To\": \"\xc0\xaf\"}", 402, invalidJSON},
		{"NUL between", "{\x00}", 402, invalidJSON},
		{"control character in a string", "{\"To\": \"a\nb\"}", 402, invalidJSON},
		{"10,000 arrays in one another", nested(10_000, "[", "]"), 402, invalidJSON},
		{"10,000 objects in one another", `{"Metadata":` + nested(10_000, `{"a":`, "}") + `}`, 402, invalidJSON},
		{"a million brackets", strings.Repeat("[", 1_000_000), 402, invalidJSON},
		{"a number of a million digits", `{"x": ` + strings.Repeat("9", 1_000_000) + `}`, 402, invalidJSON},
		{"a huge exponent", `{"x": 1e99999}`, 402, invalidJSON},
		{"a name of 10 kB", `{"` + strings.Repeat("a", 10_000) + `": 1}`, 402, invalidJSON},
		{"a million names", `{` + strings.Repeat(`"a":1,`, 1_000_000) + `"a":1}`, 402, invalidJSON},

		{"an array instead of an object", `[]`, 403, "Invalid request body."},
		{"a string instead of an object", `"x"`, 403, "Invalid request body."},
		{"a number instead of an object", `1`, 403, "Invalid request body."},
		{"number for a text", `{"From": 1}`, 403, "Invalid request field(s): 'From'."},
		{"the field is named as documented", `{"htmlbody": 1}`, 403, "Invalid request field(s): 'HtmlBody'."},
		{"object for a text", `{"Subject": {}}`, 403, "Invalid request field(s): 'Subject'."},
		{"boolean for a text", `{"Tag": true}`, 403, "Invalid request field(s): 'Tag'."},
		{"list for a text", `{"To": ["a@b.example"]}`, 403, "Invalid request field(s): 'To'."},
		{"text for a boolean", `{"TrackOpens": "yes"}`, 403, "Invalid request field(s): 'TrackOpens'."},
		{"number for a boolean", `{"TrackOpens": 1}`, 403, "Invalid request field(s): 'TrackOpens'."},
		{"object for a list", `{"Headers": {}}`, 403, "Invalid request field(s): 'Headers'."},
		{"wrong type inside a list", `{"Headers": [{"Name": 1}]}`, 403, "Invalid request field(s): 'Headers'."},
		{"text for a list", `{"Attachments": "x"}`, 403, "Invalid request field(s): 'Attachments'."},
		{"list for metadata", `{"Metadata": ["a"]}`, 403, "Invalid request field(s): 'Metadata'."},
		{"object in metadata", `{"Metadata": {"a": {}}}`, 403, "Invalid request field(s): 'Metadata'."},
		{"text for metadata", `{"Metadata": "a"}`, 403, "Invalid request field(s): 'Metadata'."},
		{"deadline of another form", `{"DeliverBy": "soon"}`, 403, "Invalid request field(s): 'DeliverBy'."},
		{"deadline with a fraction", `{"DeliverBy": 1.5}`, 403, "Invalid request field(s): 'DeliverBy'."},
		{"all wrong fields are named, in order", `{"Tag": 1, "To": "a", "From": 2}`, 403, "Invalid request field(s): 'Tag', 'From'."},
		{"a field that is wrong twice is named once", `{"Tag": 1, "tag": 2}`, 403, "Invalid request field(s): 'Tag'."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			var m wireMessage
			code, text := refusal(t, decode([]byte(tt.body), &m))
			if code != tt.code || text != tt.text {
				t.Errorf("got %d %q, want %d %q", code, text, tt.code, tt.text)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestDecodeReads(t *testing.T) {
	yes := true
	tests := []struct {
		name, body string
		want       wireMessage
	}{
		{"nothing", ``, wireMessage{}},
		{"blanks", " \r\n\t", wireMessage{}},
		{"null", ` null `, wireMessage{}},
		{"empty object", `{}`, wireMessage{}},
		{"names without regard to case", `{"to": "a", "FROM": "b", "htmlBody": "c"}`, wireMessage{To: "a", From: "b", HtmlBody: "c"}},
		{"names written with escapes", `{"\u0054o": "a"}`, wireMessage{To: "a"}},
		{"unknown names are ignored", `{"To": "a", "TemplateModel": {"x": [1, {}]}, "Nope": null}`, wireMessage{To: "a"}},
		{"null is absence", `{"To": null, "TrackOpens": null, "Headers": null, "Metadata": null, "Attachments": null, "DeliverBy": null}`, wireMessage{}},
		{"empty text is absence where the type is another", `{"TrackOpens": "", "Headers": "", "Metadata": "", "DeliverBy": ""}`, wireMessage{}},
		{"empty list is absence", `{"Cc": [], "Metadata": [], "TrackOpens": []}`, wireMessage{}},
		{"of a repeated name the last value counts", `{"To": "a", "to": "b"}`, wireMessage{To: "b"}},
		{"null after a value is absence", `{"To": "a", "To": null}`, wireMessage{To: "a"}},
		{
			"a repeated list is not mixed with the one before",
			`{"Headers": [{"Name": "a", "Value": "1"}, {"Name": "b", "Value": "2"}], "headers": [{"Name": "c"}]}`,
			wireMessage{Headers: []wireHeader{{Name: "c"}}},
		},
		{
			"repeated attachments are not mixed",
			`{"Attachments": [{"Name": "a", "ContentID": "x"}], "\u0041ttachments": [{"Name": "b"}]}`,
			wireMessage{Attachments: []wireAttachment{{Name: "b"}}},
		},
		{"ContentId as .NET and PHP write it", `{"Attachments": [{"ContentId": "cid:x"}]}`, wireMessage{Attachments: []wireAttachment{{ContentID: "cid:x"}}}},
		{
			"numbers and booleans in metadata become text", `{"Metadata": {"n": 6, "f": 1.50, "b": true, "s": "x", "z": null}}`,
			wireMessage{Metadata: wireMetadata{{Key: "n", Value: "6"}, {Key: "f", Value: "1.50"}, {Key: "b", Value: "true"}, {Key: "s", Value: "x"}}},
		},
		{
			"metadata keeps keys that differ in case", `{"Metadata": {"a": "1", "A": "2"}}`,
			wireMessage{Metadata: wireMetadata{{Key: "a", Value: "1"}, {Key: "A", Value: "2"}}},
		},
		{"booleans", `{"TrackOpens": true}`, wireMessage{TrackOpens: &yes}},
		{"a lone surrogate becomes the replacement character", `{"Subject": "a\ud800b"}`, wireMessage{Subject: "a\ufffdb"}},
		{"surrogate pairs", `{"Subject": "\ud83d\udce7"}`, wireMessage{Subject: "📧"}},
		{"an escaped NUL arrives", `{"Subject": "a\u0000b"}`, wireMessage{Subject: "a\x00b"}},
		{"escaped slash", `{"Subject": "a\/b"}`, wireMessage{Subject: "a/b"}},
		{"backslash at the end of a string", `{"Subject": "a\\", "Tag": "b"}`, wireMessage{Subject: `a\`, Tag: "b"}},
		{"depth within bounds in an unknown field", `{"x": ` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, wireMessage{}},
		{"large numbers in unknown fields", `{"x": 1e300, "y": 12345678901234567890}`, wireMessage{}},
		{"seconds as deadline", `{"DeliverBy": 60}`, wireMessage{DeliverBy: wireMoment{seconds: 60}}},
		{
			"a time as deadline", `{"DeliverBy": "2026-07-04T11:00:00+02:00"}`,
			wireMessage{DeliverBy: wireMoment{at: time.Date(2026, 7, 4, 9, 0, 0, 0, time.UTC)}},
		},
	}
	opts := cmp.AllowUnexported(wireMoment{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got wireMessage
			if err := decode([]byte(tt.body), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, opts); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// The quick way through encoding/json and the slow way member by member read
// the same.
func TestDecodeWaysAgree(t *testing.T) {
	body := []byte(`{"From": "a", "to": "b", "To": "c", "Tag": null, "Headers": [{"Name": "x", "Value": "y"}],
		"Attachments": [{"Name": "n", "Content": "aGk=", "ContentId": "c"}], "Metadata": {"k": 1}, "TrackOpens": false, "DeliverBy": 5}`)
	var quick, slow wireMessage
	if err := decode(body, &quick); err != nil {
		t.Fatal(err)
	}
	// An empty text where a list is wanted sends decode the slow way.
	body = append(bytes.TrimSuffix(body, []byte("}")), []byte(`, "MessageStream": "", "Attachments": ""}`)...)
	if err := decode(body, &slow); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(quick, slow, cmp.AllowUnexported(wireMoment{})); diff != "" {
		t.Errorf("-quick +slow:\n%s", diff)
	}
}

func TestClearable(t *testing.T) {
	for body, want := range map[string]string{
		`{}`:                         "left out",
		`{"ReturnPathDomain": null}`: "",
		`{"ReturnPathDomain": ""}`:   "",
		`{"returnpathdomain": "x"}`:  "x",
		`{"ReturnPathDomain": null, "CustomTrackingDomain": ""}`: "",
	} {
		var w struct{ ReturnPathDomain, CustomTrackingDomain clearable }
		if err := decode([]byte(body), &w); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		got := "left out"
		if w.ReturnPathDomain.text != nil {
			got = *w.ReturnPathDomain.text
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
	var w struct{ ReturnPathDomain clearable }
	if code, text := refusal(t, decode([]byte(`{"ReturnPathDomain": 5}`), &w)); code != 403 || text != "Invalid request field(s): 'ReturnPathDomain'." {
		t.Errorf("number: got %d %q", code, text)
	}
}

func TestDecodeBatch(t *testing.T) {
	messages := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(`{"To":"a"},`, n), ",") + "]" }
	tests := []struct {
		name, body string
		items      int
		code       pennypost.Code
		text       string
	}{
		{"empty array", `[]`, 0, 0, ""},
		{"one message", messages(1), 1, 0, ""},
		{"500 messages", messages(500), 500, 0, ""},
		{"501 messages", messages(501), 0, 410, "You may only send up to 500 messages in a single batched request."},
		{"501 messages cut off", messages(501)[:5000], 0, 402, invalidJSON},
		{"500 messages with commas inside", strings.Replace(messages(500), `"a"`, `"a,b,c"`, 1), 500, 0, ""},
		{"no body", ``, 0, 403, "Invalid request body."},
		{"null", `null`, 0, 403, "Invalid request body."},
		{"an object", `{"Messages": []}`, 0, 403, "Invalid request body."},
		{"an object of 600 members", `{` + strings.TrimSuffix(strings.Repeat(`"a":1,`, 600), ",") + `}`, 0, 403, "Invalid request body."},
		{"no JSON", `[{]`, 0, 402, invalidJSON},
		{"trailing comma", `[{},]`, 0, 402, invalidJSON},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			items, err := decodeBatch[wireMessage]([]byte(tt.body))
			code, text := refusal(t, err)
			if len(items) != tt.items || code != tt.code || text != tt.text {
				t.Errorf("got %d items, %d %q; want %d, %d %q", len(items), code, text, tt.items, tt.code, tt.text)
			}
		})
	}
}

// A message that cannot be read fails alone, and one message's fields never
// reach another.
func TestDecodeBatchItems(t *testing.T) {
	items, err := decodeBatch[wireMessage]([]byte(`[{"To": "a", "Tag": "t", "Headers": [{"Name": "h", "Value": "v"}]}, {"To": 5}, "x", null,
		{"To": "b", "Headers": [{"Name": "i"}], "headers": [{"Name": "j"}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	want := []wireMessage{
		{To: "a", Tag: "t", Headers: []wireHeader{{Name: "h", Value: "v"}}},
		{},
		{},
		{},
		{To: "b", Headers: []wireHeader{{Name: "j"}}},
	}
	texts := []string{"", "Invalid request field(s): 'To'.", "Invalid request body.", "", ""}
	if len(items) != len(want) {
		t.Fatalf("%d items, want %d", len(items), len(want))
	}
	for n := range items {
		if diff := cmp.Diff(&want[n], items[n].message.(*wireMessage), cmp.AllowUnexported(wireMoment{})); diff != "" {
			t.Errorf("item %d -want +got:\n%s", n, diff)
		}
		if _, text := refusal(t, items[n].err); text != texts[n] {
			t.Errorf("item %d: refused with %q, want %q", n, text, texts[n])
		}
	}
}

func TestAttachmentContent(t *testing.T) {
	tests := []struct {
		name, content, want string
		ok                  bool
	}{
		{"plain", "aGVsbG8=", "hello", true},
		{"broken at 4 with LF", "aGVs\nbG8=", "hello", true},
		{"broken at 4 with CRLF", "aGVs\r\nbG8=\r\n", "hello", true},
		{"empty", "", "", true},
		{"no base64", "hello!", "", false},
		{"URL alphabet", "_-8=", "", false},
		{"without padding", "aGVsbG8", "", false},
		{"text after the padding", "aGVsbG8=aGVs", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := wireMessage{Attachments: []wireAttachment{{Name: "f", Content: tt.content}}}
			s, err := m.submission(time.Now())
			if !tt.ok {
				if code, text := refusal(t, err); code != 300 || text != "Invalid attachment: the 'Content' of 'f' is not base64." {
					t.Errorf("got %d %q", code, text)
				}
				return
			}
			if err != nil || string(s.Attachments[0].Content) != tt.want {
				t.Errorf("got %v, %v; want %q", s, err, tt.want)
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	now := time.Date(2026, 7, 4, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name, value string
		want        time.Time
		ok          bool
	}{
		{"absent", `null`, time.Time{}, true},
		{"zero seconds count as absent", `""`, time.Time{}, true},
		{"an hour", `3600`, now.Add(time.Hour), true},
		{"a time", `"2026-07-04T12:00:01Z"`, now.Add(time.Second), true},
		{"now", `"2026-07-04T12:00:00Z"`, time.Time{}, false},
		{"past", `"2026-07-04T11:59:59Z"`, time.Time{}, false},
		{"negative", `-1`, time.Time{}, false},
		{"more than a year", `99999999`, time.Time{}, false},
		{"more than any year", `9223372036854775807`, time.Time{}, false},
		{"a time far away", `"9999-01-01T00:00:00Z"`, time.Time{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m wireMessage
			if err := decode([]byte(`{"DeliverBy": `+tt.value+`}`), &m); err != nil {
				t.Fatal(err)
			}
			got, err := m.DeliverBy.deadline(now)
			if !tt.ok {
				if code, text := refusal(t, err); code != 300 || text != "Invalid 'DeliverBy' value." {
					t.Errorf("got %d %q", code, text)
				}
				return
			}
			if err != nil || !got.Equal(tt.want) {
				t.Errorf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

// FuzzDecode: whatever the bytes are, decode gives a value or a refusal of code
// 402 or 403, never takes what is no JSON, and reads the same twice.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		``, `null`, `{}`, `[]`, `{"To": "a", "to": 1}`, `{"Headers": [{"Name": "a"}], "headers": []}`,
		`{"Metadata": {"a": 1e5, "a": null}}`, `{"DeliverBy": "2026-01-01T00:00:00Z"}`, "{\"\xff\": 1}", `{"a\`, `[{"To": 1}, {}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var a, b wireMessage
		before := bytes.Clone(body)
		err := decode(body, &a)
		if !bytes.Equal(before, body) {
			t.Fatal("decode wrote into the body")
		}
		if code, _ := refusal(t, err); code != 0 && code != 402 && code != 403 {
			t.Fatalf("refused with %d", code)
		}
		if err == nil && len(bytes.TrimSpace(body)) > 0 && !json.Valid(body) {
			t.Fatalf("took %q, which is no JSON", body)
		}
		if again := decode(body, &b); (again == nil) != (err == nil) || !cmp.Equal(a, b, cmp.AllowUnexported(wireMoment{})) {
			t.Fatalf("read %+v, then %+v", a, b)
		}
		items, err := decodeBatch[wireMessage](body)
		if code, _ := refusal(t, err); code != 0 && code != 402 && code != 403 && code != 410 {
			t.Fatalf("batch refused with %d", code)
		}
		for n := range items {
			if items[n].err != nil {
				refusal(t, items[n].err)
			}
			var s *submit.Submission
			s, items[n].err = items[n].message.submission(time.Unix(1_800_000_000, 0))
			if items[n].err == nil && s == nil {
				t.Fatal("no submission and no error")
			}
		}
	})
}
