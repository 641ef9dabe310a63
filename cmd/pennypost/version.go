package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"pennypost/internal/dkim"
)

// version is that of the build: a tag, or the revision that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && v == "(devel)" {
			v += " " + s.Value[:12]
		}
	}
	return v
}

// versionCmd says which version this is.
type versionCmd struct{}

// Run is called by kong.
func (versionCmd) Run(a *app) error {
	_, err := fmt.Fprintf(a.stdout, "pennypost %s\n%s %s/%s, RSA by %s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, dkim.Backend())
	return err
}
