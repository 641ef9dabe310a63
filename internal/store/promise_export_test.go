package store

import (
	"context"
	"strings"
)

// Between runs a function after the first statement of the transaction whose
// text has a part: what another process may do in the meantime.
func (tx *Tx) Between(part string, f func()) { tx.q = &pause{querier: tx.q, part: part, f: f} }

type pause struct {
	querier
	part string
	f    func()
}

func (p *pause) after(query string) {
	if f := p.f; f != nil && strings.Contains(query, p.part) {
		p.f = nil
		f()
	}
}

func (p *pause) exec(ctx context.Context, query string, args []any) (int64, error) {
	defer p.after(query)
	return p.querier.exec(ctx, query, args)
}

func (p *pause) query(ctx context.Context, query string, args []any) (rows, error) {
	defer p.after(query)
	return p.querier.query(ctx, query, args)
}
