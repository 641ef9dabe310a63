//go:build race

package account

// importAddresses are fewer where each costs ten times as much.
const importAddresses = 10_000
