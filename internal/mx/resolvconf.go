package mx

import (
	"net"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// resolvConf knows the system's DNS servers. They may be set only after we
// start, or change with the network.
type resolvConf struct {
	path string

	mu      sync.Mutex
	looked  time.Time
	changed time.Time // of the file that was read
	list    []string
}

// lookAgain is how long what was read is not compared with the file.
const lookAgain = 5 * time.Second

// servers gives at least one. Without a file, or with none in it, that is the
// one on this machine (resolv.conf(5)).
func (c *resolvConf) servers(now time.Time) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.list != nil && now.Sub(c.looked) < lookAgain {
		return c.list
	}
	c.looked = now
	info, err := os.Stat(c.path)
	if err == nil && c.list != nil && info.ModTime().Equal(c.changed) {
		return c.list
	}
	if read := readServers(c.path); len(read) > 0 {
		c.list = read
		if err == nil {
			c.changed = info.ModTime()
		}
	}
	if c.list == nil {
		c.list = []string{"127.0.0.1:53"}
	}
	return c.list
}

func readServers(path string) []string {
	conf, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil
	}
	var list []string
	for _, s := range conf.Servers {
		list = append(list, net.JoinHostPort(s, conf.Port))
	}
	return list
}
