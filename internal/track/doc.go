// Package track counts opens and clicks and lets recipients unsubscribe.
package track
