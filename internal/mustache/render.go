package mustache

import "fmt"

// ModelError says that a loop runs over a value that is no list (contract B8).
type ModelError struct {
	Path           string // as the template has it
	Line, Position int
}

func (e *ModelError) Error() string {
	return fmt.Sprintf(textNotList, excerpt(e.Path))
}

// Render fills the template from a model: a decoded JSON value, as the package
// comment has it. The error is a [*ModelError] or a [*LimitError].
func (t *Template) Render(model any, e Escaping) (string, error) {
	r := &renderer{
		template: t,
		options:  t.options,
		escaping: e,
		scopes:   append(make([]scope, 0, 16), scope{value: model}),
		out:      make([]byte, 0, min(len(t.text), t.options.MaxOutput)),
	}
	if err := r.nodes(t.nodes, 0); err != nil {
		return "", err
	}
	return string(r.out), nil
}

type renderer struct {
	template *Template // whose nodes are rendered: a layout or its content
	options  Options
	escaping Escaping
	scopes   []scope
	out      []byte
	steps    int
}

func (r *renderer) nodes(nodes []node, at int) error {
	for i := range nodes {
		if err := r.node(&nodes[i], at); err != nil {
			return err
		}
	}
	return nil
}

// node renders n in the scope at.
func (r *renderer) node(n *node, at int) error {
	if err := r.spend(1); err != nil {
		return err
	}
	switch n.kind {
	case kindText:
		return r.write(n.text, EscapeNone)
	case kindPlaceholder:
		return r.content(n, at)
	case kindValue, kindRaw, kindSection, kindInverted, kindEach:
	}
	mark := len(r.scopes)
	to, err := r.walk(&n.path, at)
	if err != nil {
		return err
	}
	err = r.use(n, to)
	r.scopes = r.scopes[:mark]
	return err
}

// use does with the value at the end of the path what the tag asks for.
func (r *renderer) use(n *node, at int) error {
	value := r.scopes[at].value
	if err := r.spend(weight(value)); err != nil {
		return err
	}
	switch n.kind {
	case kindValue:
		return r.write(text(value), r.escaping)
	case kindRaw:
		return r.write(text(value), EscapeNone)
	case kindSection, kindInverted:
		if exists(value) == (n.kind == kindSection) {
			return r.nodes(n.body, at)
		}
	case kindEach:
		return r.each(n, at)
	case kindText, kindPlaceholder: // have no path
	}
	return nil
}

// each renders the body once per element. The element is a level below the
// list, which is a level below its holder (contract B3).
func (r *renderer) each(n *node, at int) error {
	value := r.scopes[at].value
	if !exists(value) {
		return nil
	}
	list, ok := value.([]any)
	if !ok {
		line, position := newCursor(r.template.text).locate(n.at)
		return &ModelError{Path: n.text, Line: line, Position: position}
	}
	mark := len(r.scopes)
	for _, element := range list {
		if err := r.spend(1); err != nil {
			return err
		}
		r.scopes = append(r.scopes[:mark], scope{value: element, parent: at})
		if err := r.nodes(n.body, mark); err != nil {
			return err
		}
	}
	return nil
}

// content renders what the layout is wrapped around.
func (r *renderer) content(n *node, at int) error {
	layout := r.template
	if layout.content == nil {
		return r.write(n.text, EscapeNone)
	}
	r.template = layout.content
	err := r.nodes(layout.content.nodes, at)
	r.template = layout
	return err
}

func (r *renderer) write(s string, e Escaping) error {
	// Escaping never shortens, so this bounds what is appended to a multiple.
	if len(s) > r.options.MaxOutput-len(r.out) {
		return &LimitError{Limit: LimitOutput, Max: r.options.MaxOutput}
	}
	if e == EscapeNone {
		r.out = append(r.out, s...)
		return nil
	}
	r.out = appendEscaped(r.out, s)
	if len(r.out) > r.options.MaxOutput {
		return &LimitError{Limit: LimitOutput, Max: r.options.MaxOutput}
	}
	return nil
}

func (r *renderer) spend(steps int) error {
	r.steps += steps
	if r.steps > r.options.MaxSteps {
		return &LimitError{Limit: LimitSteps, Max: r.options.MaxSteps}
	}
	return nil
}
