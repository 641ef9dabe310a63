//go:build !race

package deliver

const tarpitMails = 100_000
