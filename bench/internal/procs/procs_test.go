package procs

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestCPUOf(t *testing.T) {
	got, err := cpuOf([]byte("12 (a (b) c) S 1 1 1 0 -1 4194560 100 0 0 0 11 22 33 44 20 0 1 0 5 6 7"))
	if err != nil || got != 1100*time.Millisecond {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "1 (x) S 1", "1 (x) S 1 1 1 0 -1 0 0 0 0 0 a 2 3 4 5"} {
		if _, err := cpuOf([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestDiskCount(t *testing.T) {
	const text = `   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
 254       0 vda 350709 30235 13992058 416993 1467451 230974 59108064 765750 0 149984 1245510 170326 95 31497152 19480 461445 43285
   8       1 sda1 1 2 3
`
	got, err := diskCount(text, "vda")
	if err != nil || got != (DiskCount{Sectors: 59108064, Flushes: 461445}) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, name := range []string{"sda1", "sdb"} {
		if _, err := diskCount(text, name); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What a child took stays in the sum when it has ended.
func TestTreeKeepsWhatEnded(t *testing.T) {
	// The shell runs a child that writes and burns time, waits for it, and lives
	// on until its input ends.
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", `( i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; dd if=/dev/zero of="$0/f" bs=1024 count=512 conv=fsync 2>/dev/null ); echo done; read x`, dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); cmd.Wait() }()
	m := Meter{Tree: Tree{Roots: []int{cmd.Process.Pid}}}
	r, err := m.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	u, err := r.End()
	if err != nil {
		t.Fatal(err)
	}
	if u.CPU <= 0 || u.Anon <= 0 || u.PeakAnon < u.Anon || u.Resident < u.Anon || u.Processes != 1 || u.Flushes != -1 {
		t.Errorf("got %+v", u)
	}
	// Memory file systems write nothing.
	if _, err := DiskOf(dir); err == nil && u.WriteBytes < 512<<10 {
		t.Errorf("%d octets written", u.WriteBytes)
	}
	if err := m.Tree.Settle(t.Context(), 5*time.Second); err != nil {
		t.Error(err)
	}
}

func TestRootIsGone(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := (Tree{Roots: []int{cmd.Process.Pid}}).Cost(); err == nil {
		t.Error("no error")
	}
}

func TestDiskOf(t *testing.T) {
	d, err := DiskOf(t.TempDir())
	if err != nil {
		t.Fatalf("%v; set TMPDIR to a directory on a disk", err)
	}
	before, err := d.Count()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 3 {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	after, err := d.Count()
	if err != nil {
		t.Fatal(err)
	}
	if got := after.Sub(before); got.Sectors < 24 {
		t.Errorf("%s: got %+v for three writes of 4 KiB", d.Name(), got)
	}
}
