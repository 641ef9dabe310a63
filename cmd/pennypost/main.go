// Command pennypost is the service and everything that is done with it on the
// machine that it runs on.
//
// Here settings are read and the parts are put together; there is no other
// logic. `serve` runs the service (service.go says how it starts and stops),
// `dev` runs it on loopback with a pretend internet, `demo` does the same,
// sends through it as users would and checks what arrived.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	_ "time/tzdata" // dates in queries are US Eastern, also where the system has no zones

	"github.com/alecthomas/kong"
)

// Exit codes, the same for all commands.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotAllowed  = 3
	exitNotFound    = 4
	exitUnreachable = 7
	exitInterrupted = 130
)

func main() {
	// What we write is nobody else's: the database has all mail.
	syscall.Umask(0o077)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	a := &app{
		args: os.Args[1:], env: os.Environ(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		reload: reload,
	}
	os.Exit(a.run(ctx))
}

// app is what a command works with: nothing else of the process is touched.
type app struct {
	args, env      []string
	stdin          io.Reader
	stdout, stderr io.Writer
	reload         <-chan os.Signal
}

// cli declares the commands.
type cli struct {
	Serve   serveCmd   `cmd:"" help:"Run the service."`
	Dev     devCmd     `cmd:"" help:"Run everything on this machine with a pretend internet, ready to try."`
	Demo    demoCmd    `cmd:"" help:"Send through a service with a pretend internet, and check what arrives."`
	Migrate migrateCmd `cmd:"" help:"Bring the database's schema up to date, and end."`
	Doctor  doctorCmd  `cmd:"" help:"Say which DNS records are needed, and check them and the rest."`
	Admin   adminCmd   `cmd:"" help:"Do what the operator does: suspend, reactivate, limits, queue."`
	Version versionCmd `cmd:"" help:"Say which version this is."`
}

// configured is what the commands that read the settings of the service share.
type configured struct {
	Config   string   `name:"config" placeholder:"FILE" help:"File with settings (TOML), each by its name with underscores. [PENNYPOST_CONFIG]"`
	Settings settings `embed:""`
}

// exitError ends a command with a code. What it says goes to standard error.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// helpAsked ends parsing after --help was printed.
type helpAsked struct{}

func (a *app) run(ctx context.Context) (code int) {
	defer func() {
		// kong ends by its Exit function, which may not return.
		if r := recover(); r != nil {
			if _, ok := r.(helpAsked); !ok {
				panic(r)
			}
			code = exitOK
		}
	}()
	var c cli
	parser, err := kong.New(
		&c, kong.Name("pennypost"),
		kong.Description("A transactional e-mail service of your own."),
		kong.Writers(a.stdout, a.stderr),
		kong.Exit(func(int) { panic(helpAsked{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ValueFormatter(settingHelp),
		kong.ExplicitGroups([]kong.Group{
			{Key: "listeners", Title: "Listeners (several are separated by commas, off switches one off):"},
			{Key: "names", Title: "Names:"},
			{Key: "data", Title: "Data and secrets:"},
			{Key: "delivery", Title: "Delivery:"},
			{Key: "tracking", Title: "Tracking:"},
			{Key: "operation", Title: "Operation:"},
		}),
	)
	if err != nil {
		return a.complain(exitFailed, err)
	}
	args := a.args
	if len(args) == 0 {
		args = []string{"--help"}
	}
	args, unknown := a.split(args)
	k, err := parser.Parse(args)
	if err != nil && len(unknown) == 0 {
		return a.complain(exitUsage, err)
	}
	if len(unknown) > 0 {
		return a.complain(exitUsage, a.allFaults(c.configured(args[0]), unknown))
	}
	k.BindTo(ctx, (*context.Context)(nil))
	if err := k.Run(a); err != nil {
		return a.end(ctx, err)
	}
	return exitOK
}

// end tells why a command failed, and with which code.
func (a *app) end(ctx context.Context, err error) int {
	var exit *exitError
	var wrong *settingsError
	switch {
	case errors.As(err, &exit):
		return a.complain(exit.code, exit.err)
	case errors.As(err, &wrong):
		return a.complain(exitUsage, err)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return a.complain(exitInterrupted, errors.New("interrupted"))
	}
	return a.complain(exitFailed, err)
}

func (a *app) complain(code int, err error) int {
	if err != nil {
		_, _ = fmt.Fprintln(a.stderr, "pennypost:", err)
	}
	return code
}

// split takes unknown flags of the commands with settings out of the
// arguments, so that they are told together with all else that is wrong.
func (a *app) split(args []string) (known, unknown []string) {
	if new(cli).configured(args[0]) == nil {
		return args, nil
	}
	names := []string{"help", "config", "json", "strict", "database"}
	for _, d := range declarations() {
		names = append(names, d.name)
	}
	for i := 0; i < len(args); i++ {
		name, isFlag := strings.CutPrefix(args[i], "--")
		name, _, hasValue := strings.Cut(name, "=")
		if !isFlag || slices.Contains(names, name) {
			known = append(known, args[i])
			continue
		}
		unknown = append(unknown, "--"+name+": unknown setting"+meant(name, names))
		if !hasValue && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			i++
		}
	}
	return known, unknown
}

// configured gives what a command has of settings; nil when it has none.
func (c *cli) configured(command string) *configured {
	switch command {
	case "serve":
		return &c.Serve.configured
	case "migrate":
		return &c.Migrate.configured
	case "doctor":
		return &c.Doctor.configured
	}
	return nil
}

// allFaults joins unknown flags with what else is wrong.
func (a *app) allFaults(with *configured, unknown []string) error {
	_, err := loadConfig(&with.Settings, a.env, with.Config)
	var more *settingsError
	if errors.As(err, &more) {
		unknown = append(unknown, more.faults...)
	}
	return &settingsError{unknown}
}
