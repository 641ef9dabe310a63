package mx

import "container/list"

// lru keeps what was used last, within bounds of number and size. It is not
// safe for concurrent use.
type lru[K comparable, V any] struct {
	max, maxSize int
	size         int
	byKey        map[K]*list.Element
	order        *list.List // of *item[K, V], used last in front
}

type item[K comparable, V any] struct {
	key   K
	value V
	size  int
}

func newLRU[K comparable, V any](entries, size int) *lru[K, V] {
	return &lru[K, V]{max: entries, maxSize: size, byKey: make(map[K]*list.Element), order: list.New()}
}

func (l *lru[K, V]) get(k K) (V, bool) {
	e, ok := l.byKey[k]
	if !ok {
		var none V
		return none, false
	}
	l.order.MoveToFront(e)
	return of[K, V](e).value, true
}

func (l *lru[K, V]) put(k K, v V, size int) {
	if e, ok := l.byKey[k]; ok {
		l.drop(e)
	}
	l.byKey[k] = l.order.PushFront(&item[K, V]{k, v, size})
	l.size += size
	for l.order.Len() > l.max || l.size > l.maxSize {
		l.drop(l.order.Back())
	}
}

func (l *lru[K, V]) drop(e *list.Element) {
	i := of[K, V](e)
	l.order.Remove(e)
	delete(l.byKey, i.key)
	l.size -= i.size
}

func of[K comparable, V any](e *list.Element) *item[K, V] {
	i, ok := e.Value.(*item[K, V])
	if !ok {
		panic("mx: list of something else")
	}
	return i
}
