package main

import "testing"

// Whatever the memory, one message of the largest size can pass at each place,
// and where the limit is a hard one all shares together leave room.
func TestShareMemory(t *testing.T) {
	const largest = 20480000 // over SMTP
	for _, limit := range []int64{0, leastMemory, 256 << 20, 512 << 20, 1 << 30, 8 << 30, 1 << 50} {
		s := shareMemory(limit)
		if s.large < 3*largest/2 || s.http < 2*(10<<20) || s.work < largest || s.smtp <= 0 || s.queue <= 0 || s.batch < 10<<20 {
			t.Errorf("of %d MiB: too little: %+v", limit>>20, s)
		}
		// A message over SMTP may go beyond its share; a request takes up to twice its
		// share when it is a large batch.
		sum := s.smtp + largest + max(s.http, 5*s.batch/2) + s.work + s.large + s.queue
		if limit >= 256<<20 && sum > limit {
			t.Errorf("of %d MiB: %d MiB are shared out: %+v", limit>>20, sum>>20, s)
		}
	}
	if s := shareMemory(0); s.smtp != 256<<20 || s.http != 256<<20 || s.batch != 50<<20 {
		t.Errorf("without a limit: %+v", s)
	}
}
