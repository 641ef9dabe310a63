// Package inline writes the rules of a mail's <style> blocks into the style
// attributes of the elements they match, as most mail clients need it
// (contract/templates.md part C, contract/clients.md §10).
//
// # Computed on the tree, spliced into the bytes
//
// The HTML is parsed, but never rendered again: rendering turns <![if !mso]>
// into a comment and loses Outlook's blocks. The tree serves only to decide
// which declarations an element gets. What is written is the source with some
// ranges replaced: values of style attributes, texts of style elements, and
// script elements. All else, conditional comments, doctype, quoting, case,
// entities and white space, stays byte for byte.
//
// # From an element to its tag
//
// Parsers move elements (foster parenting), make them up (tbody), clone them
// (misnested <b>) and merge them (a second <body>), so counting tags along the
// tree finds the wrong one. Instead the parser reads a copy of the source in
// which each start tag has one more attribute, the number of the tag. An
// element says by it from which tag it came, whatever became of it since. The
// attribute's name does not occur in the source, and its value is unquoted, so
// that it cannot change what is a tag where our tokenizer and the parser's
// disagree (CDATA and titles in SVG). Before a splice the tag is read again:
// its name and its present style must be those of the element. An element is
// left alone if
//   - no tag in the source made it (tbody left out, body left out),
//   - one tag made several elements whose styles differ (misnesting),
//   - it is of a formatting kind that the source nests more than three deep:
//     there the parser drops elements with equal attributes, so our own would
//     change the tree,
//   - the tag does not read back as the element.
//
// A rule that matched an element left alone stays in its block as well, inside
// "@media all", where it takes effect without being inlined a second time.
//
// # Cascade
//
// From weak to strong: style attribute, rules by specificity and then order,
// important declarations of the style attribute, important ones of rules. The
// attribute is below the rules because the contract says so; CSS has it above.
// A declaration replaces those of its name and keeps their place unless a
// related one (padding, padding-top) stands behind: then it goes to the end,
// as a shorthand must not be undone by what it overrides. Two declarations of
// one name in one rule are a fallback and both stay.
//
// # What stays in <style>
//
// At-rules (@media, @font-face, @import) unchanged; rules with pseudo-elements
// and pseudo-classes that only a client can judge (:hover, :root), their
// declarations made important since they must beat the attributes; rules with
// selectors or nested rules which we do not understand, unchanged. Rules that
// are inlined, or match nothing, go; a block without rules goes altogether.
// Blocks for other media (print) or of other types are not touched.
//
// Nothing is ever fetched: <link>, @import and url() are text.
//
// # Bounds
//
// Every size has a limit (Limits), work is counted per comparison, so that the
// product of selectors and elements is bounded, and the context ends the rest:
// the caller gives it a deadline. Each such end is an error, after which the
// caller sends the source as it is or refuses it.
package inline
