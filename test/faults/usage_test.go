//go:build !race

package faults

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what the program holds (oracle O7).
type usage struct {
	goroutines, descriptors int
	memory                  int64 // resident, octets
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d MiB", u.goroutines, u.descriptors, u.memory>>20)
}

func (w *world) usage() usage {
	w.t.Helper()
	_, page, err := w.get("/debug/pprof/goroutine?debug=1")
	if err != nil {
		w.t.Fatal(err)
	}
	var u usage
	if _, err := fmt.Sscanf(page, "goroutine profile: total %d", &u.goroutines); err != nil {
		w.t.Fatalf("%v in %.100q", err, page)
	}
	u.descriptors = w.descriptors()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.pid()))
	if err != nil {
		w.t.Fatal(err)
	}
	if _, after, ok := strings.Cut(string(b), "VmRSS:"); ok {
		kib, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
		if err != nil {
			w.t.Fatal(err)
		}
		u.memory = kib << 10
	}
	return u
}

func (w *world) descriptors() int {
	w.t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.pid()))
	if err != nil {
		w.t.Fatal(err)
	}
	return len(list)
}

// processor is how much processor time the program has used.
func (w *world) processor() time.Duration {
	w.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.pid()))
	if err != nil {
		w.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(after) // from the third field of proc(5)
	sum := int64(0)
	for _, s := range f[11:13] { // utime, stime
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			w.t.Fatal(err)
		}
		sum += n
	}
	return time.Duration(sum) * 10 * time.Millisecond // 100 a second, on all of Linux
}

// restored waits until the program holds no more than a base line again, but for
// a twentieth.
func (w *world) restored(base usage, within time.Duration) {
	w.t.Helper()
	var now usage
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		now = w.usage()
		if now.goroutines <= base.goroutines+base.goroutines/20 && now.descriptors <= base.descriptors+base.descriptors/20 {
			break
		}
	}
	w.t.Logf("base line: %v; now: %v", base, now)
	if now.goroutines > base.goroutines+base.goroutines/20 || now.descriptors > base.descriptors+base.descriptors/20 {
		w.t.Errorf("%v later still %v, base line %v", within, now, base)
	}
	if now.memory > base.memory+64<<20 {
		w.t.Errorf("memory grew from %d to %d MiB", base.memory>>20, now.memory>>20)
	}
}
