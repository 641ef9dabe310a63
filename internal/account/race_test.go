//go:build race

package account

// raceFactor: the race detector makes everything slower.
const raceFactor = 10
