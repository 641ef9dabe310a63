package measure

import (
	"bench/internal/load"
	"bench/internal/mailgen"
)

// A group is one kind of load and who it is put on.
type group struct {
	key, title string
	set        func(*load.Config)
	on         []entry
	// half sends at half of the end-to-end rate that the server reached with
	// `signed` in the same round, in an open loop.
	half bool
	// busy lets delivery work at full speed meanwhile.
	busy bool
}

// An entry is a server in a group.
type entry struct {
	server string
	way    way
}

// Keys of the groups that goals speak of.
const (
	keySigned = "signed"
	keyAccept = "accept"
	keySingle = "single"
	keyBatch  = "batch"
	keyHalf   = "half"
	keyBusy   = "busy"
	keyLarge  = "1m"
)

func groups() []group {
	smtp := func(perConn, size int) func(*load.Config) {
		return func(c *load.Config) {
			c.Proto, c.StartTLS, c.Auth, c.PerConn = "smtp", true, "plain", perConn
			c.Sizes = []mailgen.Size{{Bytes: size, Weight: 1}}
		}
	}
	web := func(batch, conns int) func(*load.Config) {
		return func(c *load.Config) { c.Proto, c.Batch, c.Conns = "http", batch, min(c.Conns, conns) }
	}
	ours := func(w way) entry { return entry{pennypost, w} }
	theirs := func(w way) entry { return entry{postfixMTA, w} }
	const kib = 1 << 10
	return []group{
		{key: keySigned, title: "SMTP, 4 KiB, 100 messages per connection", set: smtp(100, 4*kib), on: []entry{ours(signed), theirs(signed), theirs(unsigned)}},
		{key: keyHalf, title: "SMTP, 4 KiB, open loop at half of its own rate", set: smtp(100, 4*kib), half: true, on: []entry{ours(signed), theirs(signed)}},
		{key: keyBusy, title: "SMTP, 4 KiB, open loop at half of its own rate while it delivers at full speed", set: smtp(100, 4*kib), half: true, busy: true, on: []entry{ours(signed)}},
		{key: keyAccept, title: "SMTP, 4 KiB, accepted and thrown away", set: smtp(100, 4*kib), on: []entry{ours(nowhere), theirs(nowhere)}},
		{key: keySingle, title: "SMTP, 4 KiB, 1 message per connection, accepted and thrown away", set: smtp(1, 4*kib), on: []entry{ours(nowhere), theirs(nowhere)}},
		{key: "50k", title: "SMTP, 50 KiB, 100 messages per connection", set: smtp(100, 50*kib), on: []entry{ours(signed), theirs(signed)}},
		{key: keyLarge, title: "SMTP, 1 MiB, 100 messages per connection", set: smtp(100, 1024*kib), on: []entry{ours(signed), theirs(signed)}},
		{key: "http", title: "HTTP, 4 KiB, POST /email", set: web(0, 20), on: []entry{ours(signed)}},
		{key: keyBatch, title: "HTTP, 4 KiB, POST /email/batch of 500, 4 connections", set: web(500, 4), on: []entry{ours(signed)}},
	}
}
