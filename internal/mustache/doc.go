// Package mustache is the template language (contract/templates.md part B):
// the dialect of the Mustachio engine, which is neither Mustache nor
// Handlebars.
//
// # Stages
//
// [Parse] runs a scanner and a parser. The scanner finds tags: two or three
// braces around one or more characters that are no braces; everything else is
// text. The parser names each tag, checks its path and builds a tree of nodes.
// It does not stop at a mistake: [SyntaxErrors] lists all of them in the order
// of the text. A [Template] is immutable and safe for any number of
// goroutines. [Template.Render] walks the tree with a stack of scopes over a
// decoded JSON model. [Template.Wrap] puts a template into a layout. [Suggest]
// infers a model from the paths that templates use, and [Merge] lays a test
// model over it.
//
// # Dialect
//
// A path is keys joined by dots, after any number of "../". Every key is a
// level of its own, so "../" from inside {{#a.b}} leads to a. A name is looked
// up in the current scope alone, never in those around it. A section runs at
// most once and takes its value as scope; only {{#each}} loops, and an element
// is two levels below the holder of its list. An opener with the path of the
// innermost open block closes it first, which gives if/else with one closing
// tag. There are no helpers, partials, indexes or delimiter changes.
//
// # Models
//
// A model is what encoding/json decodes: map[string]any, []any, string,
// [encoding/json.Number] or float64, bool, nil. Decode with UseNumber: only
// then is the integer 0, which is true, told from 0.0, which is false; a
// float64 counts as a number with a fraction. A value of any other Go type is
// as good as absent: no method or field of one can be reached.
//
// # Where the contract is silent
//
//   - A repeated sign counts once ({{##a}} is {{#a}}), and "a../b" is b, as in
//     the published engine.
//   - Positions count UTF-16 units, as the engine and editors in browsers do.
//   - A bad path is reported once per tag. A closing tag reports it again.
//   - Key characters are letters, marks, digits and connectors of any script:
//     without marks names in Hindi or Thai could not be written.
//   - {{a}}{{a.b}} suggests "a_Value" for a, as the engine infers it. The
//     suggested model itself is always an object, whatever {{.}} says.
//   - Merging replaces lists as a whole.
//   - A number too large for a double is printed as it was written.
//   - The layout placeholder is left as it stands when a layout is rendered
//     without content. Parse takes it in any template and counts it
//     ([Template.Placeholders]): the rule how often it may occur is the API's.
//   - {{{ pm:unsubscribe }}} and its variants are text here; what sends the
//     message replaces them (contract/sending.md §14).
//
// # Bounds
//
// [Options] bounds the size of a template, its tags and its depth, and the
// steps and bytes of a rendering. A step is a node rendered, a level of a path
// walked, or 64 bytes of a name or number looked at, so that steps and bytes
// together bound the time; there is no clock, and the same template and model
// always end the same way. Past a bound stands a [LimitError], which tells the
// author of the template what to do.
package mustache
