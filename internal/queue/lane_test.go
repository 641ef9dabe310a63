package queue

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
)

func task(id int64, p pennypost.Priority, tenant pennypost.ServerID, attempt int) *Task {
	return &Task{Job: pennypost.Job{ID: id, Priority: p, Tenant: tenant, Attempt: attempt}}
}

func order(l *lane) []int64 {
	var ids []int64
	for t := l.take(); t != nil; t = l.take() {
		ids = append(ids, t.Job.ID)
	}
	return ids
}

func TestLaneOrder(t *testing.T) {
	const trans, bulk = pennypost.PriorityTransactional, pennypost.PriorityBulk
	tests := []struct {
		name  string
		tasks []*Task
		want  []int64
	}{
		{"arrival", []*Task{task(1, trans, 1, 0), task(2, trans, 1, 0), task(3, trans, 1, 0)}, []int64{1, 2, 3}},
		{
			"transactional before broadcast",
			[]*Task{task(1, bulk, 1, 0), task(2, trans, 1, 0), task(3, pennypost.PrioritySystem, 2, 0)},
			[]int64{3, 2, 1},
		},
		{
			"tenants in turn",
			[]*Task{task(1, trans, 1, 0), task(2, trans, 1, 0), task(3, trans, 1, 0), task(4, trans, 2, 0), task(5, trans, 3, 0)},
			[]int64{1, 4, 5, 2, 3},
		},
		{
			"new mail before retries, one of four for these",
			[]*Task{
				task(1, trans, 1, 1), task(2, trans, 1, 2), task(3, trans, 1, 0), task(4, trans, 1, 0),
				task(5, trans, 1, 0), task(6, trans, 1, 0), task(7, trans, 1, 0),
			},
			[]int64{3, 4, 5, 1, 6, 7, 2},
		},
		{
			"retries before broadcast",
			[]*Task{task(1, bulk, 1, 0), task(2, trans, 1, 3)},
			[]int64{2, 1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := &lane{}
			for _, x := range tt.tasks {
				l.add(x, false)
			}
			if diff := cmp.Diff(tt.want, order(l)); diff != "" {
				t.Error(diff)
			}
			if l.waiting != 0 {
				t.Errorf("%d tasks are left", l.waiting)
			}
		})
	}
}

func TestLaneTenantWithManyTasksDoesNotDelayAnother(t *testing.T) {
	l := &lane{}
	for i := range 10_000 {
		l.add(task(int64(i), pennypost.PriorityTransactional, 1, 0), false)
	}
	l.take()
	l.add(task(99_999, pennypost.PriorityTransactional, 2, 0), false)
	for n := 1; ; n++ {
		if l.take().Job.ID == 99_999 {
			if n > 2 {
				t.Errorf("the other tenant's task came as number %d", n)
			}
			return
		}
	}
}

func TestLaneFront(t *testing.T) {
	l := &lane{}
	for i := range 200 {
		l.add(task(int64(i), 10, 1, 0), false)
	}
	for range 150 {
		l.take()
	}
	l.add(task(1000, 10, 1, 0), true)
	if got := l.take().Job.ID; got != 1000 {
		t.Errorf("got %d first, want the one put at the head", got)
	}
	if got := l.take().Job.ID; got != 150 {
		t.Errorf("got %d next, want 150", got)
	}
	if got := l.waitingOf(1); got != 49 {
		t.Errorf("%d tasks of the tenant wait, want 49", got)
	}
}

func TestDueHeap(t *testing.T) {
	h := newDueHeap(3)
	t0 := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	h.add("b.example", t0.Add(2*time.Second))
	h.add("a.example", t0.Add(time.Second))
	h.add("a.example", t0.Add(time.Second-time.Millisecond)) // the same step
	h.add("c.example", t0.Add(3*time.Second))
	h.add("d.example", t0) // does not fit
	if at, _ := h.next(); !at.Equal(t0.Add(time.Second)) {
		t.Errorf("first is due at %v", at)
	}
	var got []string
	for {
		a, ok := h.pop(t0.Add(2 * time.Second))
		if !ok {
			break
		}
		got = append(got, fmt.Sprintf("%s %v", a.dest, a.at.Sub(t0)))
	}
	if diff := cmp.Diff([]string{"a.example 1s", "b.example 2s"}, got); diff != "" {
		t.Error(diff)
	}
	h.add("a.example", t0.Add(time.Second))
	if len(h.list) != 2 || len(h.seen) != 2 {
		t.Errorf("%d alarms, %d keys; want 2 and 2", len(h.list), len(h.seen))
	}
}
