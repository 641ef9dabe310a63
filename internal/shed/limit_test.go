package shed

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	const (
		meminfo = "MemTotal:       32000 kB\nMemFree:        1000 kB\nMemAvailable:   20000 kB\n"
		without = "9223372036854771712\n" // how version 1 says that there is none
	)
	for _, tt := range []struct {
		name  string
		files map[string]string
		limit int64
		from  string
	}{
		{"nothing is known", nil, 0, ""},
		{"the machine's", map[string]string{"proc/meminfo": meminfo}, 20000 << 10, "machine"},
		{"version 2", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/system.slice/pennypost.service\n",
			"sys/fs/cgroup/system.slice/pennypost.service/memory.max": "268435456\n",
			"sys/fs/cgroup/system.slice/memory.max":                   "max\n",
		}, 256 << 20, "control group"},
		{"version 2, the group above it", map[string]string{
			"proc/self/cgroup":             "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "max\n",
			"sys/fs/cgroup/a/memory.max":   "1000\n",
		}, 1000, "control group"},
		{"version 2 in a container, with the path outside", map[string]string{
			"proc/self/cgroup": "0::/docker/0123\n", "sys/fs/cgroup/memory.max": "5000\n",
		}, 5000, "control group"},
		{"version 1", map[string]string{
			"proc/self/cgroup": "9:name=systemd:/x\n4:cpu,memory:/docker/1\n0::/x\n",
			"sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "7000\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":          without,
		}, 7000, "control group"},
		{"version 1 without a limit", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": without,
		}, 20000 << 10, "machine"},
		{"nonsense", map[string]string{
			"proc/meminfo": "MemAvailable: lots\n", "proc/self/cgroup": "::\nx\n0::/\n", "sys/fs/cgroup/memory.max": "-5\n",
		}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range tt.files {
				file := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if limit, from := MemoryLimit(root); limit != tt.limit || from != tt.from {
				t.Errorf("got %d of %q, want %d of %q", limit, from, tt.limit, tt.from)
			}
		})
	}
}
