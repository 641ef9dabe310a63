package shed

import (
	"bufio"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// MemoryLimit tells how much memory this process may take, and who says so: the
// least of its control groups' limits (memory.max of version 2,
// memory.limit_in_bytes of version 1), or else what the machine has left
// (MemAvailable). root is "/" but in tests. 0 is unknown.
func MemoryLimit(root string) (limit int64, from string) {
	limit, from = math.MaxInt64, ""
	least := func(n int64, of string) {
		if n > 0 && n < limit {
			limit, from = n, of
		}
	}
	files := os.DirFS(root)
	for _, g := range controlGroups(files) {
		// A group is limited by those above it as well. In a container its path
		// may be that outside: then only the mount's own root is found.
		for dir := g.dir; ; dir = path.Dir(dir) {
			least(number(files, path.Join(g.mount, dir, g.file)), "control group")
			if dir == "/" || dir == "." {
				break
			}
		}
	}
	if from == "" {
		least(available(files), "machine")
	}
	if from == "" {
		return 0, ""
	}
	return limit, from
}

// group is where a control group's limit stands.
type group struct{ mount, dir, file string }

// controlGroups reads /proc/self/cgroup (cgroups(7)).
func controlGroups(files fs.FS) []group {
	b, err := fs.ReadFile(files, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	var list []group
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(f) < 3:
		case f[0] == "0":
			list = append(list,
				group{"sys/fs/cgroup", f[2], "memory.max"}, group{"sys/fs/cgroup/unified", f[2], "memory.max"})
		case strings.Contains(","+f[1]+",", ",memory,"):
			list = append(list, group{"sys/fs/cgroup/memory", f[2], "memory.limit_in_bytes"})
		}
	}
	return list
}

// number reads a file that holds a number; "max" and what is beyond all memory,
// as version 1 says it, are none.
func number(files fs.FS, name string) int64 {
	b, err := fs.ReadFile(files, strings.TrimPrefix(name, "/"))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n >= 1<<60 {
		return 0
	}
	return n
}

// available reads MemAvailable of /proc/meminfo (proc_meminfo(5)).
func available(files fs.FS) int64 {
	f, err := files.Open("proc/meminfo")
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name != "MemAvailable" {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0
		}
		return n << 10
	}
	return 0
}
