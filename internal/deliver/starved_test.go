package deliver

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"pennypost"
)

// Catalogue C-021: when this machine has no sockets left that is no attempt of
// any mail server, and mail goes out as soon as there are some again.
func TestStarved(t *testing.T) {
	for _, want := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.EADDRNOTAVAIL} {
		t.Run(want.Error(), func(t *testing.T) {
			inBubble(t, func(x *world) {
				t := x.t
				began := time.Now()
				x.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if time.Since(began) < time.Minute {
						return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("socket", want)}
					}
					return x.net.Dial(ctx, network, addr)
				}
				x.run()
				var list []string
				for i := range 40 {
					list = append(list, fmt.Sprintf("ann@d%d.test", i))
				}
				m := x.mail(list...)
				time.Sleep(50 * time.Second)
				for n := range list {
					s := x.want(m, n, pennypost.Queued, 0)
					if s.Reply != "" {
						t.Errorf("recipient %d: %q", n, s.Reply)
					}
				}
				// 1, 2, 4, 8, then every 10 s: no more than that, whatever waits.
				pauses := strings.Count(x.log.String(), "this machine has no sockets left")
				if metric := x.metric("delivery_starved_total"); pauses < 5 || pauses > 9 || int(metric) != pauses {
					t.Errorf("%d lines, %v counted", pauses, metric)
				}
				if got := x.dialled(); got > 9*64 {
					t.Errorf("%d connections tried in 50 s", got)
				}
				time.Sleep(30 * time.Second)
				for n := range list {
					x.want(m, n, pennypost.Delivered, 1, delivered)
				}
			})
		})
	}
}
