//go:build race

package deliver

// tarpitMails are fewer where each costs ten times as much.
const tarpitMails = 10_000
