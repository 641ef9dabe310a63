package mustache

// scope is a value that names are looked up in, and the index of the scope a
// level up. The root is its own parent, so that too many "../" stop there
// (contract B2).
type scope struct {
	value  any
	parent int
}

// walk follows a path and gives the index of the scope at its end. Each key
// adds a scope, whether there is a value or not; the caller drops them.
func (r *renderer) walk(p *path, at int) (int, error) {
	if err := r.spend(p.cost); err != nil {
		return 0, err
	}
	for range p.up {
		at = r.scopes[at].parent
	}
	for _, key := range p.keys {
		r.scopes = append(r.scopes, scope{value: member(r.scopes[at].value, key), parent: at})
		at = len(r.scopes) - 1
	}
	return at, nil
}
