package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"pennypost/internal/fakenet"
)

// TestScripts runs the stories of testdata/script. Beside testscript's own
// they have these commands:
//
//	serve              starts the program and waits until it is ready
//	stop               ends it with SIGTERM; it must end by itself, without a fault
//	killed             ends it with SIGKILL
//	seed               makes server, domain and SMTP token: $SERVER_ID, $SERVER_TOKEN, $SMTP_USER, $SMTP_SECRET
//	set NAME VALUE     sets a setting of the program; an empty value takes it away
//	arrived N ADDRESS  waits for N mails and writes the last one to mail.eml; ! arrived 1 waits in vain
//	state STATE ADDR   waits until the recipient's latest message is in a state
//	mode MODE FILE     compares permissions
//	log                writes the program's log to serve.log
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Log("scripts run as well: they take seconds")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup:               setUp,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"serve": cmdServe, "stop": cmdStop, "killed": cmdKilled, "seed": cmdSeed, "set": cmdSet,
			"arrived": cmdArrived, "state": cmdState, "mode": cmdMode, "log": cmdLog,
		},
	})
}

type rigKey struct{}

func setUp(env *testscript.Env) error {
	n, stopNet, err := pretendNet(fakenet.Config{Again: time.Second})
	if err != nil {
		return err
	}
	r, err := newRig(env.WorkDir, n)
	if err != nil {
		return errors.Join(err, stopNet())
	}
	env.Values[rigKey{}] = r
	for k, v := range map[string]string{
		"PATH": binDir + string(os.PathListSeparator) + env.Getenv("PATH"),
		"SMTP": r.smtp, "SMTPS": r.smtps, "HTTP": r.http, "OPERATOR": r.operator, "METRICS": r.metrics,
		"ACCOUNT_TOKEN": r.accountToken, "RESOLVER": n.DNSAddr(),
	} {
		env.Setenv(k, v)
	}
	env.Defer(func() {
		err := errors.Join(r.stop(), stopNet())
		if err != nil {
			env.T().Log("log of the program:\n" + r.log.String())
			env.T().Fatal(err)
		}
	})
	return nil
}

func rigOf(ts *testscript.TestScript) *rig {
	r, ok := ts.Value(rigKey{}).(*rig)
	if !ok {
		ts.Fatalf("no rig")
	}
	return r
}

func usage(ts *testscript.TestScript, neg bool, args []string, n int, text string) {
	if neg || len(args) != n {
		ts.Fatalf("usage: %s", text)
	}
}

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 0, "serve")
	ts.Check(rigOf(ts).start())
}

func cmdStop(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 0, "stop")
	ts.Check(rigOf(ts).stop())
}

func cmdKilled(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 0, "killed")
	ts.Check(rigOf(ts).kill())
}

func cmdSeed(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 0, "seed")
	r := rigOf(ts)
	if token := ts.Getenv("ACCOUNT_TOKEN"); token != "" {
		r.accountToken = token
	}
	ts.Check(r.seed())
	ts.Setenv("SERVER_ID", strconv.FormatInt(r.serverID, 10))
	ts.Setenv("SERVER_TOKEN", r.serverToken)
	ts.Setenv("SMTP_USER", r.user)
	ts.Setenv("SMTP_SECRET", r.secret)
}

func cmdSet(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "set NAME VALUE")
	r := rigOf(ts)
	if args[1] == "" {
		delete(r.settings, args[0])
		return
	}
	r.settings[args[0]] = args[1]
}

// Patience for what must come, and for what must not.
const (
	arriveWithin = 20 * time.Second
	vainFor      = 500 * time.Millisecond
)

func cmdArrived(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, false, args, 2, "arrived N ADDRESS")
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	wait := arriveWithin
	if neg {
		wait = vainFor
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	got, err := rigOf(ts).net.Box().WaitFor(ctx, args[1], n)
	switch {
	case neg && err == nil:
		ts.Fatalf("%d mails to %s arrived", len(got), args[1])
	case neg:
		return
	}
	ts.Check(err)
	if len(got) != n {
		ts.Fatalf("%d mails to %s arrived, want %d", len(got), args[1], n)
	}
	// The format of Unix lets scripts look at lines.
	text := strings.ReplaceAll(string(got[n-1].Data), "\r\n", "\n")
	ts.Check(os.WriteFile(ts.MkAbs("mail.eml"), []byte(text), 0o600))
}

func cmdState(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "state STATE ADDRESS")
	got := ""
	for end := time.Now().Add(arriveWithin); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var err error
		got, err = rigOf(ts).state(args[1])
		ts.Check(err)
		if strings.EqualFold(got, args[0]) {
			return
		}
	}
	ts.Fatalf("the message to %s is %q, want %q", args[1], got, args[0])
}

func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "mode MODE FILE")
	st, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", st.Mode().Perm()); got != args[0] {
		ts.Fatalf("mode of %s is %s, want %s", args[1], got, args[0])
	}
}

func cmdLog(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 0, "log")
	ts.Check(os.WriteFile(ts.MkAbs("serve.log"), []byte(rigOf(ts).log.String()), 0o600))
}
