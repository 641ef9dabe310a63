package mustache

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// isInteger tells a number written without fraction and exponent, which stays
// what it is, from one that is a binary double.
func isInteger(n json.Number) bool {
	return !strings.ContainsAny(string(n), ".eE")
}

// trueNumber: every integer is true, 0 too; 0.0 is not (contract B4).
func trueNumber(n json.Number) bool {
	if isInteger(n) {
		return n != ""
	}
	f, err := n.Float64()
	return err != nil || f != 0
}

func numberText(n json.Number) string {
	if n == "-0" {
		return "0"
	}
	if isInteger(n) {
		return string(n)
	}
	f, err := n.Float64()
	if err != nil {
		return string(n)
	}
	return floatText(f)
}

// floatText writes a double as .NET does for no particular culture: the
// shortest digits that give it back, with an exponent from 1E+15 on and from
// 1E-05 down (contract clients.md §9).
func floatText(f float64) string {
	size := math.Abs(f)
	switch {
	case f == 0:
		return "0"
	case math.IsNaN(f), math.IsInf(f, 0):
		return "" // no JSON value
	case size < 1e-4, size >= 1e15:
		return strconv.FormatFloat(f, 'E', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}
