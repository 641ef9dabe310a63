package bulk

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

// A pagination key is where the next page begins, and a proof that we made it for
// this server.
const (
	placeSize = 8 + 16
	proofSize = 16
)

// Page gives up to n bulk requests of a server, the newest first, from where key
// says, and the key of the next page; "" both are the beginning and the end.
func (r *Requests) Page(ctx context.Context, server pennypost.ServerID, key string, n int) ([]pennypost.BulkRequest, string, error) {
	var after *store.BulkPlace
	if key != "" {
		if after = r.place(server, key); after == nil {
			return nil, "", pennypost.Refuse(codePage, "The pagination key is invalid.")
		}
	}
	var list []pennypost.BulkRequest
	err := r.conf.Store.View(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.Bulks(ctx, server, after, n+1)
		return err
	})
	if err != nil || len(list) <= n {
		return list, "", err
	}
	list = list[:n]
	last := &list[n-1]
	place := binary.BigEndian.AppendUint64(nil, uint64(last.SubmittedAt.UnixMicro()))
	place = append(place, last.ID[:]...)
	return list, base64.RawURLEncoding.EncodeToString(append(place, prove(r.conf.Keys.Derive(purposePage), server, place)...)), nil
}

// purposePage is that of the key which proves pagination keys.
const purposePage = "bulk pagination"

func prove(secret []byte, server pennypost.ServerID, place []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(server))) //nolint:gosec // a bit pattern
	h.Write(place)
	return h.Sum(nil)[:proofSize]
}

// place reads a pagination key; nil: it is none of ours.
func (r *Requests) place(server pennypost.ServerID, key string) *store.BulkPlace {
	b, err := base64.RawURLEncoding.Strict().DecodeString(key)
	if err != nil || len(b) != placeSize+proofSize {
		return nil
	}
	place, proof := b[:placeSize], b[placeSize:]
	for _, secret := range r.conf.Keys.DeriveAll(purposePage) {
		if hmac.Equal(proof, prove(secret, server, place)) {
			at := time.UnixMicro(int64(binary.BigEndian.Uint64(place))).UTC() //nolint:gosec // we wrote it
			return &store.BulkPlace{At: at, ID: pennypost.BulkID(place[8:])}
		}
	}
	return nil
}
