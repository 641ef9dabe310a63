package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Variable names a server to use in place of a temporary one.
const Variable = "PENNYPOST_TEST_PG"

// cluster is the PostgreSQL of this test binary.
type cluster struct {
	admin string    // URL of a database from which others are made
	alive io.Closer // the supervisor's standard input; it is never closed, only kept
	err   error
}

//nolint:gochecknoglobals // one server for all tests of a binary
var (
	theCluster = sync.OnceValue(startCluster)
	databases  struct {
		sync.Mutex
		n int
	}
)

// Postgres gives the URL of a new, empty database, which is dropped after the
// test.
func Postgres(tb testing.TB) string {
	tb.Helper()
	c := theCluster()
	if c.err != nil {
		tb.Fatalf("PostgreSQL cannot be had (%s names a server in place of a temporary one): %v", Variable, c.err)
	}
	databases.Lock()
	databases.n++
	name := fmt.Sprintf("pennypost_%d_%d", os.Getpid(), databases.n)
	databases.Unlock()
	conf, err := pgx.ParseConfig(c.admin)
	if err != nil {
		tb.Fatal(err)
	}
	run(tb, conf, `CREATE DATABASE `+name+` TEMPLATE template0`)
	tb.Cleanup(func() { run(tb, conf, `DROP DATABASE `+name+` WITH (FORCE)`) })
	u, err := url.Parse(c.admin)
	if err != nil {
		tb.Fatal(err)
	}
	q := u.Query()
	q.Set("allow_data_loss", "yes")
	u.Path, u.RawQuery = "/"+name, q.Encode()
	return u.String()
}

func run(tb testing.TB, conf *pgx.ConnConfig, statement string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, conf.Copy())
	if err != nil {
		tb.Fatal(err)
	}
	_, err = conn.Exec(ctx, statement)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		tb.Fatal(err)
	}
}

func startCluster() *cluster {
	if given := os.Getenv(Variable); given != "" { //nolint:forbidigo // tests have no settings
		return &cluster{admin: given}
	}
	c := &cluster{}
	c.err = c.start()
	return c
}

// supervisor runs the server until its standard input ends, which it does with
// the test binary however that ends, and clears up.
const supervisor = `
trap '' INT TERM HUP
"$1/postgres" -D "$2/data" >>"$2/log" 2>&1 </dev/null &
read -r none
kill -QUIT $!
wait $!
rm -rf "$2"
`

func (c *cluster) start() error {
	bin, err := binaries()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("/tmp", "pennypost-pg-") // short, since a socket's path is; open to another user
	if err != nil {
		return err
	}
	as, err := otherUser(dir)
	if err != nil {
		return err
	}
	port, err := initialize(bin, dir, as)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	server := exec.Command("/bin/sh", "-c", supervisor, "sh", bin, dir) //nolint:gosec,noctx // it ends with this process
	server.Dir = dir
	server.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: as}
	if c.alive, err = server.StdinPipe(); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := server.Start(); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	c.admin = fmt.Sprintf("postgres://pennypost@127.0.0.1:%d/postgres?sslmode=disable", port)
	if err := await(c.admin); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log")) //nolint:errcheck,gosec // for the message, from our own directory
		return fmt.Errorf("%w\n%s", err, log)
	}
	return nil
}

// binaries finds the directory of initdb and postgres.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			found = append(found, path)
		}
	}
	for _, path := range slices.Backward(found) {
		dir := filepath.Dir(path)
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("neither /usr/lib/postgresql/*/bin nor the path has postgres and initdb")
}

// otherUser gives the directory to a user that PostgreSQL runs for, since it
// refuses root; nil when we are not root.
func otherUser(dir string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // the process's own
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, int(uid), int(gid))
}

// initialize makes the data directory, with settings for a server whose data
// nobody needs, and chooses its port.
func initialize(bin, dir string, as *syscall.Credential) (port int, err error) {
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "pennypost", "-A", "trust", //nolint:gosec,noctx // bounded by itself
		"-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir = dir
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if out, err := initdb.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return 0, err
	}
	port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return 0, err
	}
	settings := fmt.Sprintf(`
listen_addresses = '127.0.0.1'
port = %d
unix_socket_directories = '%s'
max_connections = 300
shared_buffers = 32MB
fsync = off
full_page_writes = off
log_min_messages = error
deadlock_timeout = 100ms
`, port, dir)
	f, err := os.OpenFile(filepath.Join(dir, "data", "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0) //nolint:gosec // our own
	if err != nil {
		return 0, err
	}
	_, err = f.WriteString(settings)
	return port, errors.Join(err, f.Close())
}

func await(admin string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, admin)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
