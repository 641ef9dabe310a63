package procs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Disk is the block device below a directory. Its counts are those of the
// whole machine: what others write is in them.
type Disk struct{ name string }

// DiskCount is what a device did since the machine started.
type DiskCount struct {
	Sectors int64 // of 512 octets, written
	Flushes int64 // requests to make its cache durable
}

// Sub is what was done between two readings.
func (c DiskCount) Sub(o DiskCount) DiskCount {
	return DiskCount{Sectors: c.Sectors - o.Sectors, Flushes: c.Flushes - o.Flushes}
}

// ErrNoDisk says that a directory is on no block device that can be told, as
// it is with network, memory and some other file systems.
var ErrNoDisk = errors.New("no block device found below the directory")

// DiskOf finds the device. Flushes are counted at whole disks, not at
// partitions, and below device mappers.
func DiskOf(dir string) (Disk, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return Disk{}, err
	}
	major := st.Dev>>8&0xfff | st.Dev>>32&^uint64(0xfff)
	minor := st.Dev&0xff | st.Dev>>12&^uint64(0xff)
	at, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", major, minor))
	if errors.Is(err, fs.ErrNotExist) {
		return Disk{}, ErrNoDisk
	}
	if err != nil {
		return Disk{}, err
	}
	for range 8 {
		if _, err := os.Stat(filepath.Join(at, "partition")); err == nil {
			at = filepath.Dir(at)
			continue
		}
		below, err := os.ReadDir(filepath.Join(at, "slaves"))
		if err != nil || len(below) == 0 {
			break
		}
		if at, err = filepath.EvalSymlinks(filepath.Join(at, "slaves", below[0].Name())); err != nil {
			return Disk{}, err
		}
	}
	d := Disk{name: filepath.Base(at)}
	_, err = d.Count()
	return d, err
}

// Name is that of the device, such as sda.
func (d Disk) Name() string { return d.name }

// Count reads the counts of the device.
func (d Disk) Count() (DiskCount, error) {
	if d.name == "" {
		return DiskCount{}, ErrNoDisk
	}
	b, err := os.ReadFile("/proc/diskstats")
	if err != nil {
		return DiskCount{}, err
	}
	return diskCount(string(b), d.name)
}

func diskCount(text, name string) (c DiskCount, err error) {
	// Documentation/admin-guide/iostats.rst of Linux; flushes since 5.5.
	const device, sectors, flushes = 2, 9, 18
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) <= device || f[device] != name {
			continue
		}
		if len(f) <= flushes {
			return c, errors.New("this kernel does not count flushes")
		}
		var errFlush error
		c.Sectors, err = strconv.ParseInt(f[sectors], 10, 64)
		c.Flushes, errFlush = strconv.ParseInt(f[flushes], 10, 64)
		return c, errors.Join(err, errFlush)
	}
	return c, fmt.Errorf("/proc/diskstats has no %s", name)
}
