package mustache

import "strconv"

// Suggest infers a model from the paths that the parts of a message use
// (contract B7). Parts that are nil are passed over.
func Suggest(parts ...*Template) map[string]any {
	root := &use{}
	for _, t := range parts {
		if t != nil {
			root.nodes(t, t.nodes)
		}
	}
	return root.object()
}

// use records how a place in the model is used. Here an element of a list is
// the same place as the list (contract B7).
type use struct {
	key     string
	parent  *use
	members map[string]*use

	printed, section, list bool
}

func (u *use) nodes(t *Template, nodes []node) {
	for i := range nodes {
		u.node(t, &nodes[i])
	}
}

func (u *use) node(t *Template, n *node) {
	switch n.kind {
	case kindText:
	case kindPlaceholder:
		if t.content != nil {
			u.nodes(t.content, t.content.nodes)
		}
	case kindValue, kindRaw:
		u.walk(&n.path).printed = true
	case kindSection, kindInverted:
		to := u.walk(&n.path)
		to.section = true
		to.nodes(t, n.body)
	case kindEach:
		to := u.walk(&n.path)
		to.list = true
		to.nodes(t, n.body)
	}
}

func (u *use) walk(p *path) *use {
	for i := 0; i < p.up && u.parent != nil; i++ {
		u = u.parent
	}
	for _, key := range p.keys {
		u = u.member(key)
	}
	return u
}

func (u *use) member(key string) *use {
	if m, ok := u.members[key]; ok {
		return m
	}
	if u.members == nil {
		u.members = make(map[string]*use)
	}
	m := &use{key: key, parent: u}
	u.members[key] = m
	return m
}

func (u *use) value() any {
	switch {
	case u.list && len(u.members) > 0:
		return []any{u.object()}
	case u.list:
		return u.three()
	case u.printed && !u.section:
		return u.key + "_Value"
	}
	return u.object()
}

func (u *use) object() map[string]any {
	object := make(map[string]any, len(u.members))
	for key, m := range u.members {
		object[key] = m.value()
	}
	return object
}

func (u *use) three() []any {
	list := make([]any, 3)
	for i := range list {
		list[i] = u.key + "_" + strconv.Itoa(i+1)
	}
	return list
}
