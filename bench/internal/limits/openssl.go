package limits

import (
	"context"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// openssl is the shortest time that its speed command measures for.
const openssl = time.Second

// measureOpenSSL gives what can be had: nothing without the command, and only
// the figure of most processes in a short run.
func measureOpenSSL(d time.Duration, workers []int) map[string]float64 {
	if d < openssl/2 {
		workers = workers[len(workers)-1:]
	}
	m := map[string]float64{}
	for _, n := range workers {
		if v, ok := signsOfOpenSSL(n, max(d.Round(time.Second), openssl)); ok {
			m[strconv.Itoa(n)] = float64(int64(v))
		}
	}
	return m
}

// signsOfOpenSSL is the rate of RSA-2048 signatures of so many processes of the
// openssl command, if it is there.
func signsOfOpenSSL(processes int, d time.Duration) (float64, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*d+10*time.Second)
	defer cancel()
	args := []string{"speed", "-seconds", strconv.Itoa(int(d.Seconds()))}
	if processes > 1 {
		args = append(args, "-multi", strconv.Itoa(processes))
	}
	out, err := exec.CommandContext(ctx, "openssl", append(args, "rsa2048")...).Output()
	if err != nil {
		return 0, false
	}
	v, err := signRate(string(out))
	return v, err == nil
}

// signRate reads the table that openssl speed ends with:
//
//	                  sign    verify    sign/s verify/s
//	rsa 2048 bits 0.000247s 0.000017s   4041.9  60465.0
//
// Newer versions have columns for encryption behind these.
func signRate(out string) (float64, error) {
	at := -1
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		for i, name := range f {
			if name == "sign/s" {
				at = i
			}
		}
		// The name of the row takes three words.
		if at >= 0 && len(f) > at+3 && f[0] == "rsa" {
			return strconv.ParseFloat(f[at+3], 64)
		}
	}
	return 0, errors.New("no rate of signatures")
}
