package inline

import (
	"context"
	"fmt"
)

// Limits bound one call. A zero field means its default.
type Limits struct {
	HTML      int // bytes of source, 5 MB
	Tags      int // of the source, 200,000
	CSS       int // bytes of all style elements, 1 MB
	Selectors int // 20,000
	Depth     int // of brackets in CSS, 32; elements may nest 512 deep
	Work      int // comparisons and copied declarations, 10,000,000
	Output    int // bytes of result, 10 MB
}

// LimitError says that a bound was met: the source is not at fault as such,
// and may be sent as it is.
type LimitError struct {
	What  string // html, tags, css, selectors, depth, elements, work, output
	Limit int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("inline: more than %d of %s", e.Limit, e.What)
}

// SyntaxError says that a stylesheet cannot be parsed: CSS recovers from most
// errors, but not from a comment or string that runs to the end.
type SyntaxError struct {
	Offset int // in the HTML
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("inline: stylesheet at byte %d: %s", e.Offset, e.Reason)
}

// budget is what is left of a call's work; canceled is its context's Err, kept
// as a function because only that is wanted.
type budget struct {
	limits   Limits
	canceled func() error
	spent    int
	asked    int // value of spent when the context was last asked
}

const askEvery = 1 << 13

func newBudget(ctx context.Context, l Limits) *budget {
	or := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	or(&l.HTML, 5<<20)
	or(&l.Tags, 200_000)
	or(&l.CSS, 1<<20)
	or(&l.Selectors, 20_000)
	or(&l.Depth, 32)
	or(&l.Work, 10_000_000)
	or(&l.Output, 10<<20)
	return &budget{limits: l, canceled: ctx.Err}
}

func (b *budget) check(what string, n, limit int) error {
	if n > limit {
		return &LimitError{What: what, Limit: limit}
	}
	return b.alive()
}

func (b *budget) spend(n int) error {
	b.spent += n
	if b.spent > b.limits.Work {
		return &LimitError{What: "work", Limit: b.limits.Work}
	}
	if b.spent-b.asked >= askEvery {
		b.asked = b.spent
		return b.alive()
	}
	return nil
}

func (b *budget) alive() error {
	if err := b.canceled(); err != nil {
		return fmt.Errorf("inline: %w", err)
	}
	return nil
}
