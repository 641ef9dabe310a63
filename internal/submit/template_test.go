package submit

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pennypost"
	"pennypost/internal/shed"
	"pennypost/internal/store"
)

// addTemplate stores a template of the fixture's server.
func (f *fixture) addTemplate(tb testing.TB, t *pennypost.Template) *pennypost.Template {
	tb.Helper()
	f.update(tb, func(tx *store.Tx) (err error) {
		t.ServerID = f.server.ID
		if t.Type == "" {
			t.Type = pennypost.TemplateStandard
		}
		if t.ID, err = tx.NextTemplateID(tb.Context()); err != nil {
			return err
		}
		return tx.AddTemplate(tb.Context(), t)
	})
	return t
}

func (f *fixture) setTemplate(tb testing.TB, t *pennypost.Template) {
	tb.Helper()
	f.update(tb, func(tx *store.Tx) error { return tx.SetTemplate(tb.Context(), t) })
}

// templated is a submission with a template.
func templated(t *Template) *Submission {
	return &Submission{From: "ann@acme.example", To: "bob@shop.example", Template: t}
}

// sent accepts a submission and gives what was stored.
func (f *fixture) sent(t *testing.T, s *Submission) *stored {
	t.Helper()
	a, err := f.door.Accept(t.Context(), f.api, s)
	if err != nil {
		t.Fatal(err)
	}
	return f.load(t, a.ID)
}

// body is what follows the head.
func (s *stored) body() string {
	_, body, _ := strings.Cut(s.content, "\r\n\r\n")
	return body
}

func wantRefusal(t *testing.T, err error, code pennypost.Code, text string) {
	t.Helper()
	var refusal *pennypost.Error
	if !errors.As(err, &refusal) || refusal.Code != code || refusal.Text != text {
		t.Errorf("got %v, want %d %s", err, code, text)
	}
}

const (
	noID    = "The 'TemplateId' associated with this request is not valid or was not found."
	noAlias = "The Template's 'Alias' associated with this request is not valid or was not found."
)

// contract/templates.md B6: values are escaped in the HTML alone; what a model
// holds is never parsed.
func TestTemplateRendersParts(t *testing.T) {
	f := setup(t)
	tpl := f.addTemplate(t, &pennypost.Template{
		Name: "Hi", Alias: "hi", Subject: "Hi {{name}}", HTMLBody: "<p>{{name}} {{{raw}}}</p>", TextBody: "{{name}} {{n}} {{gone}}.",
	})
	model := json.RawMessage(`{"name":"Zoë & \"Al\" {{raw}}","raw":"<b>x</b>","n":12.50,"unused":[1]}`)
	for name, tt := range map[string]*Template{
		"by id": {ID: tpl.ID, Model: model}, "by alias": {Alias: "Hi", Model: model},
		"id wins": {ID: tpl.ID, Alias: "other", Model: model},
	} {
		got := f.sent(t, templated(tt))
		if want := `Hi Zoë & "Al" {{raw}}`; got.Subject != want {
			t.Errorf("%s: subject %q, want %q", name, got.Subject, want)
		}
		for _, want := range []string{`<p>Zo&#235; &amp; &quot;Al&quot; {{raw}} <b>x</b></p>`, "Zo=C3=AB & \"Al\" {{raw}} 12.5 ."} {
			if !strings.Contains(got.content, want) {
				t.Errorf("%s: %q is not in\n%s", name, want, got.content)
			}
		}
		if len(got.jobs) != 1 || got.recipients[0].State != pennypost.Queued {
			t.Errorf("%s: jobs %v, recipient %v", name, got.jobs, got.recipients[0].State)
		}
	}
}

// An edit of the template or of its layout counts for the next message, and a
// deleted template sends nothing, though its parsed form is kept.
func TestTemplateEditsCount(t *testing.T) {
	f := setup(t)
	layout := f.addTemplate(t, &pennypost.Template{Alias: "l", Type: pennypost.TemplateLayout, TextBody: "[{{{ @content }}}]"})
	tpl := f.addTemplate(t, &pennypost.Template{Alias: "t", Subject: "s", TextBody: "one {{x}}", Layout: layout.ID})
	send := func() string {
		t.Helper()
		return f.sent(t, templated(&Template{ID: tpl.ID, Model: json.RawMessage(`{"x":1}`)})).body()
	}
	want := func(step, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: body %q, want %q", step, got, want)
		}
	}
	want("first", send(), "[one 1]\r\n")
	want("again", send(), "[one 1]\r\n")
	tpl.TextBody = "two {{x}}"
	f.setTemplate(t, tpl)
	want("edited", send(), "[two 1]\r\n")
	layout.TextBody = "({{{ @content }}})"
	f.setTemplate(t, layout)
	want("layout edited", send(), "(two 1)\r\n")
	tpl.Layout = 0
	f.setTemplate(t, tpl)
	want("layout gone", send(), "two 1\r\n")
	f.update(t, func(tx *store.Tx) error { return tx.DeleteTemplate(t.Context(), f.server.ID, tpl.ID) })
	_, err := f.door.Accept(t.Context(), f.api, templated(&Template{ID: tpl.ID, Model: json.RawMessage(`{}`)}))
	wantRefusal(t, err, 1101, noID)
}

// A content that is parsed once serves many messages, each with its model.
func TestSharedContent(t *testing.T) {
	f := setup(t)
	c, err := ParseContent("Hi {{n}}", "<style>b{color:red}</style><b>{{n}}</b>", "")
	if err != nil {
		t.Fatal(err)
	}
	no := false
	var list []*Submission
	for _, tpl := range []*Template{
		{Content: c, Model: json.RawMessage(`{"n":"<1>"}`)}, {Content: c, Model: json.RawMessage(`{"n":2}`), InlineCSS: &no}, {Content: c},
	} {
		list = append(list, templated(tpl))
	}
	wantBody := []string{
		"<b style=3D\"color: red;\">&lt;1&gt;</b>\r\n", "<style>b{color:red}</style><b>2</b>\r\n", "<b style=3D\"color: red;\"></b>\r\n",
	}
	for n, r := range f.door.AcceptBatch(t.Context(), f.api, list) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		s := f.load(t, r.Accepted.ID)
		if got := strings.ReplaceAll(s.body(), "=3D", "="); got != strings.ReplaceAll(wantBody[n], "=3D", "=") {
			t.Errorf("message %d: body %q, want %q", n, got, wantBody[n])
		}
	}
}

func TestParseContentNamesTheField(t *testing.T) {
	for field, parts := range map[string][3]string{
		"Subject": {"{{#a}}", "x", "x"}, "HtmlBody": {"x", "{{a b}}", "{{"}, "TextBody": {"x", "", "{{/a}}"},
	} {
		_, err := ParseContent(parts[0], parts[1], parts[2])
		wantRefusal(t, err, 1122, "The '"+field+"' could not be parsed.")
	}
}

// contract/templates.md A3: a body that the layout has not stands alone.
func TestLayoutOfOneBody(t *testing.T) {
	f := setup(t)
	layout := f.addTemplate(t, &pennypost.Template{Alias: "l", Type: pennypost.TemplateLayout, HTMLBody: "<i>{{{ @content }}}</i>"})
	f.addTemplate(t, &pennypost.Template{Alias: "t", Subject: "s", TextBody: "text", HTMLBody: "html", Layout: layout.ID})
	got := f.sent(t, templated(&Template{Alias: "t", Model: json.RawMessage(`{}`)})).content
	for _, want := range []string{"\r\ntext\r\n", "\r\n<i>html</i>\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

// What cannot be rendered is taken and bounces for those who would have got it
// (contract/sending.md §12): no job, no use of the limit, no suppression.
func TestUnrendered(t *testing.T) {
	f := setup(t)
	f.suppress(t, "gone@shop.example")
	f.addTemplate(t, &pennypost.Template{Alias: "t", Subject: "Hi {{x}}", HTMLBody: "a\n {{#each items}}{{/each}}", TextBody: "b"})
	for name, tt := range map[string]struct{ model, why string }{
		"loop over an object": {`{"items":{"a":1}}`, "HtmlBody, line 2, character 2: 'items' is used like an array by the template, but is a scalar value or object in your model."},
		"loop over a number":  {`{"items":5}`, "HtmlBody, line 2, character 2: 'items' is used like an array by the template, but is a scalar value or object in your model."},
	} {
		t.Run(name, func(t *testing.T) {
			before, used := len(f.bounces(t, pennypost.StreamOutbound)), f.used(t)
			s := templated(&Template{Alias: "t", Model: json.RawMessage(tt.model)})
			s.To, s.Cc, s.Tag = "bob@shop.example, gone@shop.example", "cy@shop.example", "tag"
			a, err := f.door.Accept(t.Context(), f.api, s)
			if err != nil {
				t.Fatal(err)
			}
			if !a.Unrendered || len(a.Inactive) != 1 {
				t.Errorf("accepted as %+v", a)
			}
			got := f.load(t, a.ID)
			if got.Subject != "Hi {{x}}" || got.body() != "\r\n" && got.body() != "" || len(got.jobs) != 0 {
				t.Errorf("subject %q, body %q, jobs %v", got.Subject, got.body(), got.jobs)
			}
			for n, want := range []pennypost.RecipientState{pennypost.Bounced, pennypost.Suppressed, pennypost.Bounced} {
				if r := got.recipients[n]; r.State != want || want == pennypost.Bounced && (r.Reply != tt.why || r.Rule != RuleTemplate || !r.NextAt.IsZero()) {
					t.Errorf("recipient %d is %+v, want %v", n, r, want)
				}
			}
			list := f.bounces(t, pennypost.StreamOutbound)[before:]
			if len(list) != 2 {
				t.Fatalf("%d bounces, want 2", len(list))
			}
			for n, want := range []pennypost.Address{"bob@shop.example", "cy@shop.example"} {
				b := list[n]
				if b.TypeCode != 100010 || b.Recipient != want || b.N != 2*n || b.MessageID != a.ID || b.Details != tt.why || b.Inactive || b.Tag != "tag" {
					t.Errorf("bounce %+v", b)
				}
			}
			if got := f.used(t); got != used {
				t.Errorf("%d recipients counted, want none", got-used)
			}
		})
	}
	s := templated(&Template{Alias: "t", Model: json.RawMessage(`{"items":5}`)})
	s.To = "gone@shop.example"
	_, err := f.door.Accept(t.Context(), f.api, s)
	var refusal *pennypost.Error
	if !errors.As(err, &refusal) || refusal.Code != pennypost.CodeInactive {
		t.Errorf("to a suppressed address alone: %v", err)
	}
}

// A batch takes the message that cannot be rendered beside the others.
func TestUnrenderedInBatch(t *testing.T) {
	f := setup(t)
	f.addTemplate(t, &pennypost.Template{Alias: "t", Subject: "s", TextBody: "{{#each a}}x{{/each}}"})
	var list []*Submission
	for _, model := range []string{`{"a":[1]}`, `{"a":1}`, `{}`} {
		list = append(list, templated(&Template{Alias: "t", Model: json.RawMessage(model)}))
	}
	list = append(list, templated(&Template{Alias: "nobody", Model: json.RawMessage(`{}`)}))
	got := f.door.AcceptBatch(t.Context(), f.api, list)
	wantRefusal(t, got[3].Err, 1101, noAlias)
	for n, unrendered := range []bool{false, true, false} {
		if got[n].Err != nil || got[n].Accepted.Unrendered != unrendered {
			t.Errorf("message %d: %+v, %v", n, got[n].Accepted, got[n].Err)
		}
	}
	if body := f.load(t, got[2].Accepted.ID).body(); strings.TrimSpace(body) != "" {
		t.Errorf("empty text is %q", body)
	}
	if n := len(f.bounces(t, pennypost.StreamOutbound)); n != 1 {
		t.Errorf("%d bounces, want 1", n)
	}
}

// The bounds of a message are those of what was rendered.
func TestRenderedBounds(t *testing.T) {
	f := setup(t)
	f.addTemplate(t, &pennypost.Template{Alias: "t", Subject: "{{s}}", TextBody: "{{#each a}}{{../../b}}{{/each}}"})
	model := func(m map[string]any) json.RawMessage {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	_, err := f.door.Accept(t.Context(), f.api, templated(&Template{Alias: "t", Model: model(map[string]any{"s": strings.Repeat("x", 2001)})}))
	wantRefusal(t, err, 300, "Invalid 'Subject' value. It is limited to 2000 characters.")
	got := f.sent(t, templated(&Template{Alias: "t", Model: json.RawMessage(`{"s": " two\r\nlines "}`)}))
	if got.Subject != "two lines" {
		t.Errorf("subject %q", got.Subject)
	}
	many := model(map[string]any{"a": make([]int, 60), "b": strings.Repeat("y", 100_000)})
	a, err := f.door.Accept(t.Context(), f.api, templated(&Template{Alias: "t", Model: many}))
	if err != nil || !a.Unrendered {
		t.Fatalf("6 MB of text: %+v, %v; want it unrendered", a, err)
	}
	if why := f.load(t, a.ID).recipients[0].Reply; !strings.Contains(why, "larger than 5242880 bytes") {
		t.Errorf("reason %q", why)
	}
	s := templated(&Template{Alias: "t", Model: model(map[string]any{"a": make([]int, 40), "b": strings.Repeat("y", 100_000)})})
	s.Attachments = []Attachment{{Name: "a.pdf", Content: make([]byte, 5<<20)}}
	_, err = f.door.Accept(t.Context(), f.api, s)
	wantRefusal(t, err, 300, errTooBig().Text)
}

// A file is inline when the rendered HTML refers to it.
func TestTemplateWithFiles(t *testing.T) {
	f := setup(t)
	f.addTemplate(t, &pennypost.Template{Alias: "t", Subject: "s", HTMLBody: `<img src="cid:{{logo}}">`})
	s := templated(&Template{Alias: "t", Model: json.RawMessage(`{"logo":"logo.png"}`)})
	s.Attachments = []Attachment{{Name: "logo.png", ContentType: "image/png", ContentID: "cid:logo.png", Content: []byte("png")}, {Name: "a.txt", Content: []byte("a")}}
	got := f.sent(t, s)
	if !strings.Contains(got.content, "Content-ID: <logo.png>") || !strings.Contains(got.content, "multipart/related") {
		t.Errorf("the logo is not inline in\n%s", got.content)
	}
	if strings.Join(got.Attachments, " ") != "a.txt logo.png" && strings.Join(got.Attachments, " ") != "logo.png a.txt" {
		t.Errorf("attachments are %v", got.Attachments)
	}
}

// The placeholder for unsubscribing is text to the language and to the CSS
// (contract/templates.md B1): what sends the message puts links in.
func TestUnsubscribePlaceholderStays(t *testing.T) {
	c, err := ParseContent("s", `<style>a{color:red}</style><a href="{{{ pm:unsubscribe }}}">{{x}}</a>{{{pm:unsubscribe}}}`, `{{{ pm:unsubscribe label="Stop, please" }}} {{{pm:unsubscribe_url}}}`)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Render(t.Context(), map[string]any{"x": "y"}, true)
	if err != nil {
		t.Fatal(err)
	}
	if want := `<a style="color: red;" href="{{{ pm:unsubscribe }}}">y</a>{{{pm:unsubscribe}}}`; r.HTML != want {
		t.Errorf("HTML %q, want %q", r.HTML, want)
	}
	if want := `{{{ pm:unsubscribe label="Stop, please" }}} {{{pm:unsubscribe_url}}}`; r.Text != want {
		t.Errorf("text %q, want %q", r.Text, want)
	}
}

// The cache is bounded by what it holds; the least used go.
func TestTemplateCache(t *testing.T) {
	one, err := ParseContent("", "", strings.Repeat("x", 1000))
	if err != nil {
		t.Fatal(err)
	}
	c := newTemplateCache(3 * one.cost)
	ref := func(n int64) store.TemplateRef { return store.TemplateRef{ID: pennypost.TemplateID(n), Version: 1} }
	for n := range int64(3) {
		c.put(ref(n), one)
	}
	c.get(ref(0))
	c.put(ref(3), one)
	c.put(ref(3), one)
	for n, want := range []bool{true, false, true, true} {
		if got := c.get(ref(int64(n))) != nil; got != want {
			t.Errorf("template %d is kept: %v, want %v", n, got, want)
		}
	}
	if c.held != 3*one.cost {
		t.Errorf("%d octets held, want %d", c.held, 3*one.cost)
	}
	large, err := ParseContent("", "", strings.Repeat("x", 5000))
	if err != nil {
		t.Fatal(err)
	}
	if c.put(ref(9), large); c.get(ref(9)) != nil || c.get(ref(0)) == nil {
		t.Error("a template that is too large was kept, or drove others out")
	}
	tags, err := ParseContent("", "", strings.Repeat("{{x}}", 100))
	if err != nil || tags.cost < 100*tagCost {
		t.Errorf("tags cost %d, %v", tags.cost, err)
	}
}

// What is rendered is counted in the memory of messages while it is made ready,
// and given back whatever comes of it.
func TestRenderedMemory(t *testing.T) {
	f := setup(t)
	work := shed.NewMemory(64<<20, nil)
	f.door.conf.Work = work
	f.addTemplate(t, &pennypost.Template{Alias: "t", Subject: "s", TextBody: strings.Repeat("x", 1<<20) + "{{#each a}}{{/each}}"})
	var most int64
	check := f.door.conf.Check
	f.door.conf.Check = func(ctx context.Context, tx *store.Tx, c pennypost.Caller) (*pennypost.ServerState, error) {
		most = max(most, work.Held())
		return check(ctx, tx, c)
	}
	for _, model := range []string{`{}`, `{"a":1}`} {
		if _, err := f.door.Accept(t.Context(), f.api, templated(&Template{Alias: "t", Model: json.RawMessage(model)})); err != nil {
			t.Fatal(err)
		}
	}
	if most < workFactor<<20 {
		t.Errorf("%d octets were held, want at least %d", most, workFactor<<20)
	}
	s := templated(&Template{Alias: "t", Model: json.RawMessage(`{}`)})
	s.From = "x@elsewhere.example"
	if _, err := f.door.Accept(t.Context(), f.api, s); err == nil {
		t.Error("an unknown sender was taken")
	}
	f.door.AcceptBatch(t.Context(), f.api, []*Submission{s, templated(&Template{Alias: "t", Model: json.RawMessage(`{}`)}), s})
	if got := work.Held(); got != 0 {
		t.Errorf("%d octets were not given back", got)
	}
}

func TestDecodeModel(t *testing.T) {
	for _, raw := range []string{`[1]`, `5`, `"x"`, `{`, `[`, `true`} {
		_, err := DecodeModel(json.RawMessage(raw))
		wantRefusal(t, err, 403, "Invalid request field(s): 'TemplateModel'.")
	}
	for _, raw := range []string{``, `{}`, ` [ ] `} {
		if m, err := DecodeModel(json.RawMessage(raw)); err != nil || m == nil || len(m) != 0 {
			t.Errorf("%q: %v, %v", raw, m, err)
		}
	}
	m, err := DecodeModel(json.RawMessage(`{"n": 0, "big": 18446744073709551615}`))
	if err != nil || m["n"] != json.Number("0") || m["big"] != json.Number("18446744073709551615") {
		t.Errorf("numbers are %v, %v", m, err)
	}
}

// Many senders and an editor at once: each message is of one version, and of
// none that is older than the latest one that was stored before it was sent.
func TestTemplatesInParallel(t *testing.T) {
	f := setup(t)
	tpl := f.addTemplate(t, &pennypost.Template{Alias: "t", Subject: "1", HTMLBody: "<style>b{color:red}</style><b>{{x}}</b>", TextBody: "1 {{x}}"})
	var latest atomic.Int64
	latest.Store(1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := int64(2); n <= 20; n++ {
			tpl.Subject, tpl.TextBody = strconv.FormatInt(n, 10), strconv.FormatInt(n, 10)+" {{x}}"
			if err := f.store.Update(t.Context(), func(tx *store.Tx) error { return tx.SetTemplate(t.Context(), tpl) }); err != nil {
				t.Error(err)
				return
			}
			latest.Store(n)
		}
	})
	type sent struct {
		least int64 // the version that was the latest before
		id    pennypost.MessageID
	}
	lists := make([][]sent, 4)
	for i := range lists {
		wg.Go(func() {
			for range 25 {
				least := latest.Load()
				a, err := f.door.Accept(t.Context(), f.api, templated(&Template{Alias: "t", Model: json.RawMessage(`{"x":"y"}`)}))
				if err != nil {
					t.Error(err)
					return
				}
				lists[i] = append(lists[i], sent{least, a.ID})
			}
		})
	}
	wg.Wait()
	for _, m := range slices.Concat(lists...) {
		s := f.load(t, m.id)
		if n, err := strconv.ParseInt(s.Subject, 10, 64); err != nil || n < m.least || !strings.Contains(s.content, "\r\n"+s.Subject+" y\r\n") {
			t.Errorf("after version %d was stored: subject %q of\n%s", m.least, s.Subject, s.content)
		}
	}
}

// contract/templates.md part C: a stylesheet that cannot be read is an error; what
// is too much for the inliner goes as it is.
func TestStylesThatCannotBeInlined(t *testing.T) {
	c, err := ParseContent("", "<style>/* never ends {{x}}", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Render(t.Context(), nil, true)
	var failed *RenderError
	if !errors.As(err, &failed) || failed.Part != "HtmlBody" {
		t.Errorf("a comment without an end: %v", err)
	}
	if r, err := c.Render(t.Context(), nil, false); err != nil || r.HTML != "<style>/* never ends " {
		t.Errorf("not to be inlined: %+v, %v", r, err)
	}
	many := "<style>b{color:red}</style>" + strings.Repeat("<b>", 200_001)
	if c, err = ParseContent("", many, ""); err != nil {
		t.Fatal(err)
	}
	if r, err := c.Render(t.Context(), nil, true); err != nil || r.HTML != many {
		t.Errorf("200,001 tags: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Render(ended, nil, true); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that went: %v", err)
	}
}
