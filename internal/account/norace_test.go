//go:build !race

package account

const importAddresses = 100_000
