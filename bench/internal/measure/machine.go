package measure

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"bench/internal/procs"
)

// Machine describes where the figures come from.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryGiB  int    `json:"memory_gib"`
	System     string `json:"system"`
	Kernel     string `json:"kernel"`
	FileSystem string `json:"file_system"`
	Device     string `json:"device"`
	Go         string `json:"go"`
	OpenSSL    string `json:"openssl,omitempty"`
	LoadBefore string `json:"load_before"` // the averages of 1, 5 and 15 minutes
	LoadAfter  string `json:"load_after"`
}

// describe looks at this machine; what cannot be found stays empty.
func describe(dir string, disk procs.Disk) Machine {
	m := Machine{
		Cores: runtime.NumCPU(), Go: runtime.Version(), Device: disk.Name(),
		CPU: valueOf(readText("/proc/cpuinfo"), "model name", ":"), System: strings.Trim(valueOf(readText("/etc/os-release"), "PRETTY_NAME", "="), `"`),
		Kernel: strings.TrimSpace(readText("/proc/sys/kernel/osrelease")), FileSystem: fileSystem(dir), LoadBefore: loadAverage(),
	}
	kib, err := strconv.Atoi(strings.TrimSuffix(valueOf(readText("/proc/meminfo"), "MemTotal", ":"), " kB"))
	if err == nil {
		m.MemoryGiB = (kib + 1<<19) >> 20
	}
	if out, err := exec.Command("openssl", "version").Output(); err == nil {
		if f := strings.Fields(string(out)); len(f) > 1 {
			m.OpenSSL = f[1]
		}
	}
	return m
}

func readText(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return string(b)
}

// valueOf finds the first line "name SEP value".
func valueOf(text, name, sep string) string {
	for line := range strings.Lines(text) {
		k, v, ok := strings.Cut(line, sep)
		if ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// loadAverage is the first three figures of /proc/loadavg.
func loadAverage() string {
	f := strings.Fields(readText("/proc/loadavg"))
	return strings.Join(f[:min(3, len(f))], " ")
}

func fileSystem(dir string) string {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return ""
	}
	switch uint32(st.Type) {
	case 0xef53:
		return "ext4"
	case 0x58465342:
		return "xfs"
	case 0x9123683e:
		return "btrfs"
	case 0x01021994:
		return "tmpfs, which syncs nothing"
	case 0x794c7630:
		return "overlay"
	case 0x2fc12fc1:
		return "zfs"
	}
	return "type " + strconv.FormatInt(int64(st.Type), 16)
}
