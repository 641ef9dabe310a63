// Package procs measures what a program costs while it works: processor time,
// octets written and memory of a process with all its descendants, and what
// the disk below it did.
//
// Children that end are not lost: when a parent waits for a child, Linux adds
// the child's processor time and octets written to the parent's (utime and
// stime to cutime and cstime, /proc/PID/io to the parent's own). The sum over
// a living tree therefore only grows. Daemons whose parent ended are found no
// more: the roots must be the masters themselves.
package procs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Cost is what a tree of processes took since it began, and its memory now.
type Cost struct {
	CPU        time.Duration // user and system
	WriteBytes int64         // made dirty in files, as the kernel counts by process
	Anon       int64         // anonymous memory now
	Resident   int64         // with the shared pages of files
	Processes  int
}

// Sub is the cost between two readings; memory is that of the later one.
func (c Cost) Sub(o Cost) Cost {
	c.CPU -= o.CPU
	c.WriteBytes -= o.WriteBytes
	return c
}

// Tree is a set of processes with all their descendants.
type Tree struct{ Roots []int }

// pids gives the roots and their descendants that live now.
func (t Tree) pids() []int {
	list := append([]int(nil), t.Roots...)
	for i := 0; i < len(list); i++ {
		list = append(list, children(list[i])...)
	}
	return list
}

// children gives those of all threads of a process.
func children(pid int) []int {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var list []int
	for _, t := range tasks {
		b, err := os.ReadFile(dir + "/" + t.Name() + "/children")
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(f); err == nil {
				list = append(list, n)
			}
		}
	}
	return list
}

// ended tells whether an error says that a process is gone.
func ended(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// Cost reads the whole tree. A root that is gone is an error.
func (t Tree) Cost() (Cost, error) {
	var sum Cost
	for i, pid := range t.pids() {
		c, err := cost(pid)
		if ended(err) && i >= len(t.Roots) {
			continue // a child that ended meanwhile: its parent has what it took
		}
		if err != nil {
			return sum, fmt.Errorf("process %d: %w", pid, err)
		}
		sum.CPU += c.CPU
		sum.WriteBytes += c.WriteBytes
		sum.Anon += c.Anon
		sum.Resident += c.Resident
		sum.Processes++
	}
	return sum, nil
}

func cost(pid int) (c Cost, err error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return c, err
	}
	if c.CPU, err = cpuOf(stat); err != nil {
		return c, err
	}
	io, err := os.ReadFile(dir + "/io")
	if err != nil {
		return c, err
	}
	if c.WriteBytes, err = field(io, "write_bytes:"); err != nil {
		return c, err
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return c, err
	}
	// A zombie has no memory, and no such lines.
	if anon, err := field(status, "RssAnon:"); err == nil {
		c.Anon = anon << 10
	}
	if rss, err := field(status, "VmRSS:"); err == nil {
		c.Resident = rss << 10
	}
	return c, nil
}

// cpuOf sums utime, stime, cutime and cstime of /proc/PID/stat.
func cpuOf(stat []byte) (time.Duration, error) {
	// Fields after the name, which is in parentheses and may hold blanks.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const utime, cstime = 11, 14
	if len(f) <= cstime {
		return 0, errors.New("short /proc/PID/stat")
	}
	var ticks int64
	for _, s := range f[utime : cstime+1] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on Linux
	return time.Duration(ticks) * tick, nil
}

// field finds a number in a file of "name: value" lines.
func field(b []byte, name string) (int64, error) {
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name); ok {
			if f := strings.Fields(v); len(f) > 0 {
				return strconv.ParseInt(f[0], 10, 64)
			}
		}
	}
	return 0, fmt.Errorf("no %s", name)
}

// anon is the anonymous memory of the tree now. It is read often and therefore
// reads little.
func (t Tree) anon() int64 {
	var sum int64
	for _, pid := range t.pids() {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		if err != nil {
			continue
		}
		if n, err := field(b, "RssAnon:"); err == nil {
			sum += n << 10
		}
	}
	return sum
}
