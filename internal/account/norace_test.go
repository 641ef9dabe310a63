//go:build !race

package account

const raceFactor = 1
