package auth

// bounded is a map that forgets what was longest unused once it is full. It
// has two halves: what is used goes to the young one; when that is full it
// becomes the old one, and the old one is dropped. It is not safe for several
// goroutines.
type bounded[K comparable, V any] struct {
	half       int
	young, old map[K]V
}

func newBounded[K comparable, V any](most int) *bounded[K, V] {
	return &bounded[K, V]{half: max(1, most/2), young: make(map[K]V)}
}

func (b *bounded[K, V]) get(k K) (V, bool) {
	if v, ok := b.young[k]; ok {
		return v, true
	}
	v, ok := b.old[k]
	if ok {
		delete(b.old, k)
		b.put(k, v)
	}
	return v, ok
}

func (b *bounded[K, V]) put(k K, v V) {
	if _, ok := b.young[k]; !ok && len(b.young) >= b.half {
		b.old, b.young = b.young, make(map[K]V)
	}
	delete(b.old, k)
	b.young[k] = v
}

func (b *bounded[K, V]) remove(k K) {
	delete(b.young, k)
	delete(b.old, k)
}

func (b *bounded[K, V]) clear() { b.young, b.old = make(map[K]V), nil }

func (b *bounded[K, V]) len() int { return len(b.young) + len(b.old) }
