//go:build !race

package faults

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// binary is the program that all tests boot.
var binary string

// long takes as many rounds as the catalogue wants.
var long = os.Getenv("PENNYPOST_FAULTS") == "long"

// rounds gives how often something is done.
func rounds(short, full int) int {
	if long {
		return full
	}
	return short
}

const (
	envInside = "PENNYPOST_FAULTS_INSIDE" // in a mount namespace of our own
	envWriter = "PENNYPOST_FAULTS_WRITER" // be the writer of power_test.go
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(envWriter); mode != "" {
		os.Exit(writer(mode))
	}
	// File systems that are mounted in a namespace of our own go with it,
	// however we end. Who may not make one may not mount either: the tests that
	// need it say so.
	if unshare, err := exec.LookPath("unshare"); err == nil && os.Geteuid() == 0 && os.Getenv(envInside) == "" {
		if self, err := os.Executable(); err == nil {
			args := append([]string{"unshare", "--mount", "--propagation", "private", self}, os.Args[1:]...)
			err = syscall.Exec(unshare, args, append(os.Environ(), envInside+"=1"))
			fmt.Fprintln(os.Stderr, "unshare:", err)
		}
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pennypost-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "pennypost")
	cmd := exec.Command("go", "build", "-o", binary, "pennypost/cmd/pennypost")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	// Each test waits most of the time, for a program of its own.
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
