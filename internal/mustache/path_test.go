package mustache_test

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pennypost/internal/mustache"
)

// templates.md B2, first table.
func TestPaths(t *testing.T) {
	check(t, []example{
		{template: "{{cust.addr.city}}", want: "Oslo"},
		{template: "{{#each tags}}{{.}};{{/each}}", want: "a;&lt;b&gt;;"},
		{template: "{{#cust}}{{../shop}}{{/cust}}", want: "Ann &amp; Sons"},
		{template: "{{#cust.addr}}{{../../shop}}{{/cust.addr}}", want: "Ann &amp; Sons"},
		{template: "{{../../../first}}", want: "Al"},
		{template: "{{First}}{{FIRST}}{{#Cust}}x{{/Cust}}{{cust.Name}}", want: ""},
		{template: "[{{items.0.t}}]", want: "[]"},
		{template: "[{{#cust}}{{shop}}{{/cust}}]", want: "[]"},
	})
	check(t, []example{{template: "{{first.}}{{.first}}{{.cust.name.}}", want: "AlAlZo&#235;"}})
	check(t, []example{{template: "{{größe}} {{名前}} {{नाम}} {{a_1}} {{_}}", want: "1 2 3 4 5", model: `{"größe":1,"名前":2,"नाम":3,"a_1":4,"_":5}`}})
}

// templates.md B2: every dotted key is a level of its own.
func TestEveryKeyIsALevel(t *testing.T) {
	check(t, []example{
		{template: "{{#cust}}{{name}} of {{../shop}}{{/cust}}", want: "Zo&#235; of Ann &amp; Sons"},
		{template: "{{#cust.addr}}{{city}}, {{../name}}, {{../../shop}}{{/cust.addr}}", want: "Oslo, Zo&#235;, Ann &amp; Sons"},
		{template: "{{#cust.addr.city}}{{../../name}} {{../city}}{{/cust.addr.city}}", want: "Zo&#235; Oslo"},
		{template: "{{gone.and.gone}}{{#cust}}{{../first}}{{addr../name}}{{/cust}}", want: "AlZo&#235;"},
	})
}

// templates.md B2: invalid paths.
func TestInvalidPaths(t *testing.T) {
	for _, path := range []string{
		"first name", "first-name", "@index", "$x", "a/b", "./a", "..", "a..b", "#x",
		"...", "a...b", ".../a", "..a", "a..", "a/", "../a/b", "..//a", "//", "a.../b", "[0]", "a[0]", "a(b)", "~", "%", "a=1", `"a"`, "a\\b",
		"this.@x", "a|b", "a,b", "€", "a\nb", "@root.a",
	} {
		wantErrors(t, "{{ "+path+" }}", "1:1 "+badPath(path))
	}
	for _, path := range []string{"this", "a.b", "../a", "../../a.b", ".", "../", "../../", "else"} {
		if _, err := mustache.Parse("{{"+path+"}}", mustache.Options{}); err != nil {
			t.Errorf("path %q: %v", path, err)
		}
	}
}

// Only members of the model can be reached: no property, method or key of the
// language's own values.
func TestOnlyTheModelIsReachable(t *testing.T) {
	check(t, []example{{
		template: "{{first.Length}}{{first.length}}{{items.Count}}{{constructor}}{{__proto__}}{{cust.Len}}{{price.String}}{{ok.ToString}}",
		want:     "",
	}})
	type secret struct{ Key string }
	got, err := parse(t, "[{{s.Key}}{{s}}{{#s}}x{{/s}}{{f}}]").Render(
		map[string]any{"s": secret{Key: "k"}, "f": strings.ToUpper}, mustache.EscapeHTML)
	if err != nil || got != "[]" {
		t.Errorf("a Go value renders as %q, %v; want []", got, err)
	}
}

// engineBadPath and engineSegment are the engine's expressions, the first
// without its look-behind.
var (
	engineBadPath = regexp.MustCompile(`[.]{3,}|[^\w./_]+|(^|^.|[^.].|.[^.])/|[.]{2,}($|[^/])`)
	engineSegment = regexp.MustCompile(`[.][.]/|[^.]+`)
)

// templates.md B2: all paths of up to nine characters from "a./", judged and
// walked as the engine does. Level n of the model has n as v.
func TestPathsAgreeWithExpressions(t *testing.T) {
	levels := model(t, `{"v":0}`)
	for n := 12; n >= 0; n-- {
		levels = map[string]any{"v": json.Number(strconv.Itoa(n)), "a": levels, "b": levels}
	}
	valid := 0
	for _, path := range allTexts("a./", 9) {
		tpl, err := mustache.Parse("{{#b.a}}{{#"+path+" }}{{v}}{{/"+path+" }}{{/b.a}}", mustache.Options{})
		if bad := engineBadPath.MatchString(path); bad != (err != nil) {
			t.Fatalf("path %q: %v, the engine's expression says %v", path, err, bad)
		}
		if err != nil || strings.Contains(path, "aa") {
			continue
		}
		valid++
		got, err := tpl.Render(levels, mustache.EscapeHTML)
		if want := strconv.Itoa(engineLevel(path)); err != nil || got != want {
			t.Fatalf("path %q from level 2 leads to level %s, %v; want %s", path, got, err, want)
		}
	}
	if valid < 50 {
		t.Errorf("only %d paths were walked", valid)
	}
}

func engineLevel(path string) int {
	level := 2
	for _, segment := range engineSegment.FindAllString(path, -1) {
		if segment == "../" {
			level = max(0, level-1)
			continue
		}
		level++
	}
	return level
}

func allTexts(alphabet string, longest int) []string {
	texts := []string{""}
	for done := 0; len(texts[done]) < longest; done++ {
		for _, c := range alphabet {
			texts = append(texts, texts[done]+string(c))
		}
	}
	return texts
}
