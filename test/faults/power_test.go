//go:build !race

package faults

func writer(string) int { return 1 }
