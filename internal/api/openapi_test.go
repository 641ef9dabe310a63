package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/google/go-cmp/cmp"

	"pennypost/internal/web"
)

// description is openapi.json as all tests hold their calls against it. Answers
// are closed in it: a field that is not described is a mistake, while in the
// published form answers may grow.
var description = sync.OnceValues(func() (*openapi3.T, error) {
	var doc map[string]any
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		return nil, err
	}
	schemas := inside(doc, "components", "schemas")
	answers := map[string]bool{}
	for _, responses := range responsesOf(doc) {
		refsIn(responses, schemas, answers)
	}
	for name := range answers {
		closeObjects(schemas[name])
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	openapi3filter.RegisterBodyDecoder("text/csv", openapi3filter.FileBodyDecoder) // its own is stricter than the API
	return openapi3.NewLoader().LoadFromData(b)
})

func inside(v map[string]any, path ...string) map[string]any {
	for _, name := range path {
		v, _ = v[name].(map[string]any)
	}
	return v
}

func responsesOf(doc map[string]any) []any {
	list := []any{inside(doc, "components", "responses")}
	for path := range inside(doc, "paths") {
		for method := range inside(doc, "paths", path) {
			list = append(list, inside(doc, "paths", path, method, "responses"))
		}
	}
	return list
}

// refsIn collects the schemas that something is made of.
func refsIn(v any, schemas map[string]any, found map[string]bool) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			refsIn(e, schemas, found)
		}
	case map[string]any:
		for _, e := range v {
			refsIn(e, schemas, found)
		}
		ref, _ := v["$ref"].(string)
		if name, ok := strings.CutPrefix(ref, "#/components/schemas/"); ok && !found[name] {
			found[name] = true
			refsIn(schemas[name], schemas, found)
		}
	}
}

func closeObjects(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			closeObjects(e)
		}
	case map[string]any:
		for _, e := range v {
			closeObjects(e)
		}
		if _, ok := v["properties"].(map[string]any); ok && v["type"] == "object" {
			v["additionalProperties"] = false
		}
	}
}

// described holds a call against the description: the answer, and the request
// that got what it wanted.
func (r *rig) described(t *testing.T, req *http.Request, a answer) {
	t.Helper()
	rt, ids, err := newTree(r.api.routes()).find(req.URL, req.Method)
	if err != nil || req.Method == http.MethodHead {
		return // no call of the table
	}
	doc, err := description()
	if err != nil {
		t.Fatal(err)
	}
	item := doc.Paths.Value(rt.path)
	if item == nil || item.GetOperation(rt.method) == nil {
		t.Fatalf("%s %s is not described", rt.method, rt.path)
	}
	op := item.GetOperation(rt.method)
	in := &openapi3filter.RequestValidationInput{
		Request: req, QueryParams: url.Values{}, PathParams: map[string]string{},
		Route:   &routers.Route{Spec: doc, Path: rt.path, PathItem: item, Method: rt.method, Operation: op},
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, SkipSettingDefaults: true},
	}
	for seg := range strings.SplitSeq(rt.path, "/") {
		if name, ok := strings.CutPrefix(seg, "{"); ok {
			in.PathParams[strings.TrimSuffix(name, "}")], ids = ids[0], ids[1:]
		}
	}
	for name, values := range req.URL.Query() {
		in.QueryParams[describedParameter(op, name)] = values
	}
	if a.status == http.StatusOK && !r.lenient && !hasRefusal(a.body) {
		req.Body, req.GetBody = describedNames(t, req), nil
		if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil {
			t.Errorf("%s: the request is not as described: %v", a.what, err)
		}
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: a.status, Header: a.header, Options: in.Options,
		Body: io.NopCloser(strings.NewReader(a.plain(t))),
	}
	if err := openapi3filter.ValidateResponse(t.Context(), out); err != nil {
		t.Errorf("%s: the answer %d is not as described: %v", a.what, a.status, err)
	}
}

// describedParameter gives the name of a parameter of the query in the letter
// case of the description; the API takes any (contract/common.md §1).
func describedParameter(op *openapi3.Operation, name string) string {
	for _, p := range op.Parameters {
		if p.Value.In == openapi3.ParameterInQuery && strings.EqualFold(p.Value.Name, name) {
			return p.Value.Name
		}
	}
	return name
}

// hasRefusal tells whether a message of a batch was refused.
func hasRefusal(body string) bool {
	var list []web.ErrorBody
	return json.Unmarshal([]byte(body), &list) == nil &&
		slices.ContainsFunc(list, func(e web.ErrorBody) bool { return e.ErrorCode != 0 })
}

// requestNames are the names of fields by their lower-case form.
var requestNames = sync.OnceValue(func() map[string]string {
	doc, err := description()
	if err != nil {
		return nil
	}
	names := map[string]string{}
	for title, schema := range doc.Components.Schemas {
		if title == "BulkStatus" || title == "BulkTaken" {
			continue // Id beside ID, in answers alone
		}
		for name := range schema.Value.Properties {
			names[strings.ToLower(name)] = name
		}
	}
	return names
})

// describedNames gives the body of a request with its names in the letter case
// of the description.
func describedNames(t *testing.T, req *http.Request) io.ReadCloser {
	t.Helper()
	if req.GetBody == nil {
		return http.NoBody
	}
	again, err := req.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(again)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return io.NopCloser(bytes.NewReader(body)) // no JSON
	}
	if body, err = json.Marshal(renamed(v, requestNames())); err != nil {
		t.Fatal(err)
	}
	return io.NopCloser(bytes.NewReader(body))
}

func renamed(v any, names map[string]string) any {
	switch v := v.(type) {
	case []any:
		for n := range v {
			v[n] = renamed(v[n], names)
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, value := range v {
			if described, ok := names[strings.ToLower(name)]; ok {
				name = described
			}
			out[name] = renamed(value, names)
		}
		return out
	}
	return v
}

// plain is the body as it was before it was compressed.
func (a answer) plain(t *testing.T) string {
	t.Helper()
	if a.header.Get("Content-Encoding") != "gzip" {
		return a.body
	}
	zr, err := gzip.NewReader(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDescriptionIsOpenAPI(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	if !doc.IsOpenAPI31OrLater() {
		t.Errorf("openapi = %q, want 3.1", doc.OpenAPI)
	}
}

func TestEveryRouteIsDescribed(t *testing.T) {
	doc, err := description()
	if err != nil {
		t.Fatal(err)
	}
	var have, want []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			have = append(have, method+" "+path)
		}
	}
	for _, r := range new(API).routes() {
		want = append(want, r.method+" "+r.path)
	}
	slices.Sort(have)
	slices.Sort(want)
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("routes (-) and description (+) differ:\n%s", d)
	}
}

// TestDescribedTokens compares who may call what.
func TestDescribedTokens(t *testing.T) {
	doc, err := description()
	if err != nil {
		t.Fatal(err)
	}
	names := map[opener]string{byServer: "serverToken", byAccount: "accountToken"}
	for _, r := range (&API{conf: Config{BodyLimit: 1, BatchLimit: 1}}).routes() {
		op := doc.Paths.Value(r.path).GetOperation(r.method)
		if op.Security == nil || len(*op.Security) != 1 {
			t.Fatalf("%s %s: want one kind of token", r.method, r.path)
		}
		got := slices.Collect(maps.Keys((*op.Security)[0]))
		if len(got) != 1 || got[0] != names[r.opener] {
			t.Errorf("%s %s is opened by %v, want %s", r.method, r.path, got, names[r.opener])
		}
		if (op.RequestBody != nil) != (r.limit > 0) {
			t.Errorf("%s %s: a body is described: %t, taken: %t", r.method, r.path, op.RequestBody != nil, r.limit > 0)
		}
		key := op.Parameters.GetByInAndName("header", keyHeader) != nil
		if key != r.mail {
			t.Errorf("%s %s: %s is described: %t, taken: %t", r.method, r.path, keyHeader, key, r.mail)
		}
	}
}

// TestDescribedCodes compares the codes that a refusal of a call can have with
// those that its description explains, and demands those that every call has.
func TestDescribedCodes(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	listed := regexp.MustCompile("(?m)^- `(\\d+)`: .")
	for path := range inside(doc, "paths") {
		for method := range inside(doc, "paths", path) {
			responses := inside(doc, "paths", path, method, "responses")
			for _, status := range []string{"401", "415", "429", "500", "503"} {
				if responses[status] == nil {
					t.Errorf("%s %s has no answer %s", method, path, status)
				}
			}
			for status := range responses {
				r := inside(responses, status)
				text, _ := r["description"].(string)
				if r["$ref"] != nil || status == "200" {
					continue
				}
				want := map[int]bool{}
				for _, m := range listed.FindAllStringSubmatch(text, -1) {
					n, err := strconv.Atoi(m[1])
					if err != nil {
						t.Fatal(err)
					}
					want[n] = true
				}
				have := map[int]bool{}
				codesIn(inside(r, "content", "application/json", "schema"), inside(doc, "components", "schemas"), have)
				if d := cmp.Diff(have, want); d != "" || len(have) == 0 {
					t.Errorf("%s %s, %s: codes of the schema (-) and of the text (+):\n%s", method, path, status, d)
				}
			}
		}
	}
}

// codesIn collects the values that a schema allows for ErrorCode.
func codesIn(v any, schemas map[string]any, found map[int]bool) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			codesIn(e, schemas, found)
		}
	case map[string]any:
		code := inside(v, "properties", "ErrorCode")
		list, _ := code["enum"].([]any)
		if one, ok := code["const"]; ok {
			list = append(list, one)
		}
		for _, c := range list {
			if n, ok := c.(float64); ok {
				found[int(n)] = true
			}
		}
		codesIn(v["anyOf"], schemas, found)
		ref, _ := v["$ref"].(string)
		if name, ok := strings.CutPrefix(ref, "#/components/schemas/"); ok {
			codesIn(schemas[name], schemas, found)
		}
	}
}

// TestNothingIsDescribedInVain finds components that no call refers to.
func TestNothingIsDescribedInVain(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	for kind, list := range inside(doc, "components") {
		for name := range list.(map[string]any) {
			if kind != "securitySchemes" && !strings.Contains(string(openAPI), `"#/components/`+kind+`/`+name+`"`) {
				t.Errorf("components/%s/%s is not referred to", kind, name)
			}
		}
	}
}

func TestDescriptionIsServed(t *testing.T) {
	r := newRig(t)
	a := r.call(t, who{}, get, "/OpenAPI.json/", "")
	if a.ok()["openapi"] == nil || a.body != string(openAPI) {
		t.Errorf("GET %s gave %.80s", openAPIPath, a.body)
	}
	if a := r.call(t, who{}, http.MethodHead, openAPIPath, ""); a.status != http.StatusOK || a.body != "" {
		t.Errorf("HEAD gave %d with %d octets, want 200 without any", a.status, len(a.body))
	}
	a = r.call(t, who{}, post, openAPIPath, "{}")
	a.refused(http.StatusMethodNotAllowed, 404, "The method is not allowed here. Allowed: GET.")
	if got := a.header.Get("Allow"); got != get {
		t.Errorf("Allow = %q, want GET", got)
	}
}

// TestDescriptionFindsMistakes keeps the checks of all other tests from passing
// whatever they are shown.
func TestDescriptionFindsMistakes(t *testing.T) {
	doc, err := description()
	if err != nil {
		t.Fatal(err)
	}
	op := doc.Paths.Value("/email").Post
	schema := func(status string) *openapi3.Schema {
		return op.Responses.Value(status).Value.Content.Get("application/json").Schema.Value
	}
	good := map[string]any{"To": "a@b.test", "SubmittedAt": "2026-07-04T11:05:57Z", "MessageID": "01a2101f-48c8-7b9b-bbe8-db61da65c8a1", "ErrorCode": 0.0, "Message": "OK"}
	if err := schema("200").VisitJSON(good, openapi3.EnableJSONSchema2020()); err != nil {
		t.Error(err)
	}
	for name, value := range map[string]any{"Cc": "x@y.test", "messageID": "x", "MessageID": nil, "ErrorCode": 300.0} {
		bad := maps.Clone(good)
		bad[name] = value
		var wrong *openapi3.SchemaError
		if err := schema("200").VisitJSON(bad, openapi3.EnableJSONSchema2020()); !errors.As(err, &wrong) {
			t.Errorf("%s = %v: got %v, want a mistake", name, value, err)
		}
	}
	if err := schema("422").VisitJSON(map[string]any{"ErrorCode": 600.0, "Message": "x"}, openapi3.EnableJSONSchema2020()); err == nil {
		t.Error("code 600 is none of POST /email")
	}
}
