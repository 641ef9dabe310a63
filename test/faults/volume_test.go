//go:build !race

package faults

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// volume is an ext4 file system in a file, mounted through a loop device.
type volume struct {
	t       *testing.T
	image   string
	dir     string
	mounted bool
}

// newVolume makes and mounts a file system of so many MiB. Nothing is written to
// it before somebody syncs: its journal commits every ten minutes.
func newVolume(t *testing.T, size int) *volume {
	t.Helper()
	base := t.TempDir()
	v := &volume{t: t, image: filepath.Join(base, "image"), dir: filepath.Join(base, "mnt")}
	if err := os.Mkdir(v.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(v.image)
	if err == nil {
		err = f.Truncate(int64(size) << 20)
		_ = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", v.image)
	v.mount()
	t.Cleanup(v.unmount)
	return v
}

func (v *volume) mount() {
	v.t.Helper()
	run(v.t, "mount", "-t", "ext4", "-o", "loop,commit=600,errors=remount-ro", v.image, v.dir)
	v.mounted = true
}

func (v *volume) unmount() {
	if !v.mounted {
		return
	}
	run(v.t, "umount", v.dir)
	v.mounted = false
}

// cut copies the file as it is, without any sync: what a disk holds after a
// power cut at this moment. The writer must be stopped. The file system is then
// that of the copy.
func (v *volume) cut() (change func()) {
	v.t.Helper()
	after := v.image + "-cut"
	run(v.t, "cp", "--sparse=always", v.image, after)
	return func() {
		v.t.Helper()
		v.unmount() // writes the rest, into a file that nobody looks at again
		if err := os.Rename(after, v.image); err != nil {
			v.t.Fatal(err)
		}
		v.mount()
	}
}

// device names the loop device.
func (v *volume) device() string {
	v.t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		v.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if f[4] != v.dir {
			continue
		}
		if i := strings.Index(line, " - "); i >= 0 {
			return filepath.Base(strings.Fields(line[i:])[2])
		}
	}
	v.t.Fatalf("%s is not mounted", v.dir)
	return ""
}

// fill takes all room but so many KiB, and gives it back.
func (v *volume) fill(leave int) (empty func()) {
	v.t.Helper()
	f, err := os.Create(filepath.Join(v.dir, "filler"))
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	size := int64(0)
	for step := int64(16 << 20); step >= 4<<10; step /= 4 {
		for unix.Fallocate(int(f.Fd()), 0, size, step) == nil {
			size += step
		}
	}
	if err := f.Truncate(max(size-int64(leave)<<10, 0)); err != nil {
		v.t.Fatal(err)
	}
	return func() {
		if err := os.Remove(f.Name()); err != nil {
			v.t.Error(err)
		}
	}
}

// run runs a tool that only root may use with effect.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	var exit *exec.ExitError
	if name == "e2fsck" && errors.As(err, &exit) && exit.ExitCode() == 1 {
		err = nil // repaired
	}
	if err != nil {
		t.Fatalf("%s %v: %v: %s\nThe faults of the disk need root, loop devices and ext4.", name, args, err, out)
	}
}
