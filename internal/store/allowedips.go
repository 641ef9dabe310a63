package store

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"strings"

	"pennypost"
)

// prefixText is how a list of addresses is stored: CIDRs with commas between
// them.
func prefixText(list []netip.Prefix) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

type prefixDest struct{ list *[]netip.Prefix }

// intoPrefixes reads such a list.
func intoPrefixes(list *[]netip.Prefix) sql.Scanner { return prefixDest{list} }

// Scan implements sql.Scanner.
func (d prefixDest) Scan(v any) error {
	*d.list = nil
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("list of addresses is a %T", v)
	}
	if text == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		p, err := netip.ParsePrefix(part)
		if err != nil {
			return fmt.Errorf("list of addresses: %w", err)
		}
		*d.list = append(*d.list, p)
	}
	return nil
}

type allowDest struct{ list **pennypost.AllowList }

// intoAllowList reads such a list.
func intoAllowList(list **pennypost.AllowList) sql.Scanner { return allowDest{list} }

// Scan implements sql.Scanner.
func (d allowDest) Scan(v any) error {
	var list []netip.Prefix
	err := intoPrefixes(&list).Scan(v)
	*d.list = pennypost.NewAllowList(list)
	return err
}

// setAllowedIPs stores from where a server sends over HTTP.
func (tx *Tx) setAllowedIPs(ctx context.Context, s *pennypost.Server) error {
	_, err := tx.exec(ctx, `UPDATE servers SET allowed_ips = $2 WHERE id = $1`, int64(s.ID), prefixText(s.AllowedIPs))
	if err != nil {
		return fmt.Errorf("set allowed addresses of server %d: %w", s.ID, err)
	}
	return nil
}
