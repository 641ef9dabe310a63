package postfix

import (
	"crypto/tls"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"bench/internal/load"
	"bench/internal/mailgen"
	"bench/internal/sink"
	"bench/internal/synth"
)

// All three ways in work; only the first signs, the last delivers nothing.
func TestWaysIn(t *testing.T) {
	if err := Available(); err != nil {
		t.Fatalf("%v; tools/test-deps installs it", err)
	}
	s, err := sink.Start(t.Context(), sink.Config{
		Listen: []string{"127.0.0.1:0"}, Track: true,
		Plan: synth.Plan{Zone: "test", Base: netip.MustParseAddr("127.0.0.1"), Addrs: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctl := httptest.NewServer(s.Control())
	defer ctl.Close()
	dir, err := os.MkdirTemp("", "bench-postfix-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	in, err := Start(t.Context(), Config{Dir: dir, Relay: s.Addrs()[0], Domain: "shop.test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := in.Stop(); err != nil {
			t.Error(err)
		}
	}()
	for _, tt := range []struct {
		name, addr      string
		arrived, signed int64
	}{
		{"signed", in.Signed, 20, 20},
		{"unsigned", in.Unsigned, 20, 0},
		{"nowhere", in.Nowhere, 0, 0},
	} {
		s.Reset()
		c := load.Config{
			Proto: "smtp", Addr: tt.addr, StartTLS: true, Auth: "plain", User: in.User, Pass: in.Secret,
			Conns: 2, Total: 20, PerConn: 5, Rcpts: 1, Domains: 3, Zone: "test", From: "orders@shop.test",
			Sizes: []mailgen.Size{{Bytes: 4096, Weight: 1}}, Timeout: 10 * time.Second, SinkWait: 10 * time.Second,
			TLSConfig: &tls.Config{InsecureSkipVerify: true},
		}
		if tt.arrived > 0 {
			c.SinkURL = ctl.URL
		}
		rep, err := load.Run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		st := s.Stats()
		if rep.Accepted != 20 || len(rep.Errors) > 0 || st.Unique != tt.arrived || st.DKIMSigned != tt.signed {
			t.Errorf("%s: %+v, %+v\n%s", tt.name, rep, st, in.tail())
		}
	}
	cost, err := in.Tree().Cost()
	if err != nil || cost.Processes < 5 || cost.CPU <= 0 || cost.Anon <= 0 {
		t.Errorf("got %+v, %v", cost, err)
	}
	// A login that is wrong gets nowhere.
	bad := load.Config{
		Proto: "smtp", Addr: in.Signed, StartTLS: true, Auth: "plain", User: in.User, Pass: "x", Conns: 1, Total: 1,
		Rcpts: 1, Domains: 1, Zone: "test", From: "a@shop.test", Sizes: []mailgen.Size{{Bytes: 4096, Weight: 1}}, MaxFails: 1,
		TLSConfig: &tls.Config{InsecureSkipVerify: true},
	}
	rep, err := load.Run(t.Context(), bad)
	if err != nil || rep.Accepted != 0 || rep.Errors["auth_5xx"] != 1 {
		t.Errorf("wrong password: %+v, %v", rep, err)
	}
}

func TestVersion(t *testing.T) {
	if err := Available(); err != nil {
		t.Fatalf("%v; tools/test-deps installs it", err)
	}
	if v := Version(t.Context()); !strings.HasPrefix(v, "Postfix 3.") || !strings.Contains(v, "OpenDKIM 2.") {
		t.Errorf("got %q", v)
	}
}
