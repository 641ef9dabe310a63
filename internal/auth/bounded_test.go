package auth

import "testing"

func TestBoundedForgetsTheLongestUnused(t *testing.T) {
	b := newBounded[int, int](10)
	for n := range 1000 {
		b.put(n, n)
		if _, ok := b.get(0); !ok && n > 0 {
			t.Fatalf("0, used all the time, is gone after %d", n)
		}
		if b.len() > 10 {
			t.Fatalf("%d entries after %d, bound is 10", b.len(), n)
		}
	}
	if v, ok := b.get(999); !ok || v != 999 {
		t.Errorf("newest: %d, %v", v, ok)
	}
	if _, ok := b.get(500); ok {
		t.Error("one long unused is still there")
	}
	b.remove(999)
	if _, ok := b.get(999); ok {
		t.Error("removed one is still there")
	}
	b.clear()
	if b.len() != 0 {
		t.Errorf("%d entries after clear", b.len())
	}
}
