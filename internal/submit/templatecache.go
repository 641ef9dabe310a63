package submit

import (
	"container/list"
	"context"
	"runtime"
	"sync"

	"pennypost/internal/store"
)

// templateCache keeps parsed templates, the least used go first. A key names a
// version and so its value never changes; that the version is the current one is
// asked of the store each time.
type templateCache struct {
	turns chan struct{} // one for each that may be parsed or rendered at a time
	limit int64

	mu   sync.Mutex
	held int64
	at   map[store.TemplateRef]*list.Element
	use  *list.List // of *keptTemplate, the latest used in front
}

type keptTemplate struct {
	ref     store.TemplateRef
	content *Content
}

// maxTemplates bounds the memory of parsed templates, about.
const maxTemplates = 64 << 20

func newTemplateCache(limit int64) *templateCache {
	return &templateCache{
		turns: make(chan struct{}, runtime.GOMAXPROCS(0)), limit: limit,
		at: map[store.TemplateRef]*list.Element{}, use: list.New(),
	}
}

// turn waits until there is a processor to parse and render with; done gives it
// back.
func (c *templateCache) turn(ctx context.Context) (done func(), err error) {
	select {
	case c.turns <- struct{}{}:
		return func() { <-c.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *templateCache) get(ref store.TemplateRef) *Content {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.at[ref]
	if e == nil {
		return nil
	}
	c.use.MoveToFront(e)
	return e.Value.(*keptTemplate).content
}

func (c *templateCache) put(ref store.TemplateRef, content *Content) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at[ref] != nil || content.cost > c.limit {
		return
	}
	c.at[ref] = c.use.PushFront(&keptTemplate{ref: ref, content: content})
	for c.held += content.cost; c.held > c.limit; {
		last := c.use.Remove(c.use.Back()).(*keptTemplate)
		delete(c.at, last.ref)
		c.held -= last.content.cost
	}
}
