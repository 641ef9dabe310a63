package api

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pennypost/internal/shed"
	"pennypost/internal/submit"
)

// C-020: while the disk is nearly full mail is refused for now, before its body
// is looked at; everything else is served.
func TestClosedForDisk(t *testing.T) {
	r, c := newShop(t)
	free := uint64(1)
	disk := shed.NewDisk(shed.DiskConfig{Reserve: 50, Statfs: func(_ string, st *unix.Statfs_t) error {
		st.Bsize, st.Blocks, st.Bavail = 1, 1000, free
		return nil
	}})
	open := r.api.conf.Door
	closed, err := submit.New(submit.Config{
		Store: r.st, Check: r.api.conf.Auth.CheckAccept, Hostname: "mail.test.example", BounceDomain: bounceDomain, Disk: disk,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.api.conf.Door = closed
	const text = "The service is not available at the moment. Please try again later."
	for path, body := range map[string]string{"/email": message(""), "/email/batch": "[" + message("") + "]"} {
		for _, body := range []string{body, "no JSON"} { // it is not read
			a := r.call(t, c.server, post, path, body)
			a.refused(http.StatusServiceUnavailable, 100, text)
			if got := a.header.Get("Retry-After"); got == "" {
				t.Errorf("%s: no Retry-After", path)
			}
		}
	}
	if a := r.call(t, server("00000000-0000-4000-8000-000000000000"), post, "/email", message("")); a.status != http.StatusUnauthorized {
		t.Errorf("whoever may not send: %d", a.status)
	}
	r.call(t, c.server, get, "/server", "").ok()
	r.call(t, c.server, get, "/messages/outbound?count=10&offset=0", "").ok()
	if log := r.log.String(); strings.Contains(log, "level=WARN") && strings.Contains(log, "request refused") {
		t.Errorf("each refusal is a warning: %s", log)
	}
	r.api.conf.Door = open
	r.call(t, c.server, post, "/email", message("")).ok()
}
