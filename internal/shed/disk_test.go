package shed

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	mib = 1 << 20
	gib = 1 << 30
)

func TestReserve(t *testing.T) {
	for _, tt := range []struct{ size, want int64 }{
		{96 * mib, 24 * mib},
		{160 * mib, 40 * mib},
		{256 * mib, 64 * mib},
		{gib, 64 * mib},
		{10 * gib, 512 * mib},
		{40 * gib, 2 * gib},
		{4000 * gib, 2 * gib},
	} {
		if got := reserve(tt.size); got != tt.want {
			t.Errorf("of %d MiB: %d MiB, want %d", tt.size/mib, got/mib, tt.want/mib)
		}
	}
}

// Below the reserve a disk is short, and until there is an eighth more.
func TestDisk(t *testing.T) {
	now, free, looks := time.Unix(1_800_000_000, 0), int64(100), 0
	var fault error
	var told []bool
	d := NewDisk(DiskConfig{
		Dir: "/data", Reserve: 40 * mib, Now: func() time.Time { return now },
		Changed: func(short bool, _, _ int64) { told = append(told, short) },
		Statfs: func(dir string, st *unix.Statfs_t) error {
			if dir != "/data" {
				t.Errorf("looked at %s", dir)
			}
			looks++
			st.Bsize, st.Blocks, st.Bavail = 4096, 160*mib/4096, uint64(free*mib/4096)
			return fault
		},
	})
	want := func(short bool) {
		t.Helper()
		if d.Short() != short {
			t.Errorf("short is %v with %d MiB", !short, free)
		}
	}
	want(false)
	free = 39
	want(false) // not looked at again yet
	now = now.Add(time.Second)
	want(true)
	free = 44
	now = now.Add(time.Second)
	want(true)
	free = 45
	want(true)
	d.Doubt()
	want(false)
	free, fault = 1, errors.New("stale handle")
	now = now.Add(time.Hour)
	want(false) // what cannot be looked at
	fault = nil
	now = now.Add(-24 * time.Hour) // a clock set back does not blind it
	want(true)
	if len(told) != 3 || !told[0] || told[1] || !told[2] {
		t.Errorf("told %v", told)
	}
	if looks != 6 {
		t.Errorf("looked %d times, want 6", looks)
	}
	if f, r := d.Room(); f != mib || r != 40*mib {
		t.Errorf("Room gives %d, %d", f, r)
	}
}

func TestNoDisk(t *testing.T) {
	var d *Disk
	d.Doubt()
	if free, reserve := d.Room(); d.Short() || free != 0 || reserve != 0 {
		t.Error("no disk is short")
	}
}

func TestRealDisk(t *testing.T) {
	d := NewDisk(DiskConfig{Dir: t.TempDir()})
	if free, reserve := d.Room(); free <= 0 || reserve <= 0 || d.Short() != (free < reserve) {
		t.Errorf("%d free, %d reserved, short: %v", free, reserve, d.Short())
	}
}
