package main

import (
	"context"
	"errors"

	"pennypost/internal/mx"
)

// names asks DNS for what account wants to know of customers' domains.
type names struct{ *mx.Resolver }

// noRecordError is mx's word that there is no such record, as account reads it.
type noRecordError struct{ error }

func (noRecordError) IsNotFound() bool { return true }
func (n noRecordError) Unwrap() error  { return n.error }

func isAbsent(err error) bool {
	var e *mx.Error
	return errors.As(err, &e) && (e.Kind == mx.NoName || e.Kind == mx.NoRecord)
}

func absent(err error) error {
	if isAbsent(err) {
		return noRecordError{err}
	}
	return err
}

// TXT gives the records of a name.
func (n names) TXT(ctx context.Context, name string) ([]string, error) {
	list, err := n.Resolver.TXT(ctx, name)
	return list, absent(err)
}

// CNAME gives what a name is an alias of.
func (n names) CNAME(ctx context.Context, name string) (string, error) {
	target, err := n.Resolver.CNAME(ctx, name)
	return target, absent(err)
}

// MXHosts gives the mail servers of a domain.
func (n names) MXHosts(ctx context.Context, domain string) ([]string, error) {
	list, err := n.MX(ctx, domain)
	if err != nil {
		return nil, absent(err)
	}
	hosts := make([]string, 0, len(list))
	for _, h := range list {
		hosts = append(hosts, h.Name)
	}
	return hosts, nil
}
