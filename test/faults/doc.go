// Package faults injects faults into a real instance under load and reconciles
// what was acknowledged with what arrived (docs/faults.md). It holds tests
// alone, which run without the race detector: they measure the program that
// users run.
//
// A world is a pretend internet, the program in it, and a ledger of what the
// submitters were told. The sink notes a mail before it answers, as the
// submitters note an acknowledgement when they have read it, so that both can be
// held against each other after any fault.
//
// PENNYPOST_FAULTS=long takes more rounds.
package faults
