//go:build race

package test

// raceDetector: the program is built with it too.
const raceDetector = true
