package track

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"pennypost"
	"pennypost/internal/event"
	"pennypost/internal/store"
	"pennypost/internal/web"
)

// maxForm bounds what is read of a POST.
const maxForm = 8 << 10

// unsubscribe shows the page of an unsubscribe link and does what its buttons
// say. A GET changes nothing, since link scanners follow every link; a POST is
// meant. That of a mail program has no page behind it (RFC 8058 §3.1) and may
// come in any form: nobody who wants out stays in for the want of a field.
func (s *Server) unsubscribe(w http.ResponseWriter, r *http.Request, path string) {
	var id pennypost.MessageID
	var n int
	found := false
	for _, signer := range s.conf.Signers {
		if id, n, found = signer.ReadUnsubscribe(path); found {
			break
		}
	}
	if !found {
		s.gone(w, r, kindUnsubscribe)
		return
	}
	if n == Copy {
		s.asked.Add(1, kindUnsubscribe, "copy")
		s.page.write(w, r, http.StatusOK, view{Copy: true})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.conf.Work)
	defer cancel()
	var v view
	var err error
	answer := "shown"
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		v, err = s.subscription(ctx, id, n)
	case http.MethodPost:
		again := wantsAgain(r)
		answer = map[bool]string{false: "off", true: "on"}[again]
		v, err = s.subscribe(ctx, id, n, again)
	default:
		s.asked.Add(1, kindUnsubscribe, "method")
		w.Header().Set("Allow", "GET, HEAD, POST")
		s.page.write(w, r, http.StatusMethodNotAllowed, view{Gone: true})
		return
	}
	switch {
	case err == nil:
		s.asked.Add(1, kindUnsubscribe, answer)
		s.page.write(w, r, http.StatusOK, v)
	case errors.Is(err, store.ErrNotFound):
		s.gone(w, r, kindUnsubscribe)
	default:
		s.asked.Add(1, kindUnsubscribe, "failed")
		status := s.json.Fails(r, err)
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5")
		}
		s.page.write(w, r, status, view{Fault: true, RequestID: web.RequestID(r.Context())})
	}
}

// wantsAgain tells whether a POST is that of the button which undoes.
func wantsAgain(r *http.Request) bool {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm))
	if err != nil {
		return false
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return false // the page sends this type and no other
	}
	form, err := url.ParseQuery(string(body))
	return err == nil && form.Get("subscription") == "again" && form.Get("List-Unsubscribe") == ""
}

// subject is the message and the recipient that a link is about.
func subject(ctx context.Context, tx *store.Tx, id pennypost.MessageID, n int) (*pennypost.Message, *pennypost.Recipient, error) {
	m, err := tx.AnyMessage(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	to, err := tx.Recipient(ctx, id, n)
	return m, to, err
}

func viewOf(m *pennypost.Message, to *pennypost.Recipient) view {
	v := view{Sender: m.From.Name, Address: to.Address}
	if strings.TrimSpace(v.Sender) == "" {
		v.Sender = string(m.From.Address)
	}
	return v
}

// subscription tells where a recipient stands.
func (s *Server) subscription(ctx context.Context, id pennypost.MessageID, n int) (v view, err error) {
	err = s.conf.Store.View(ctx, func(tx *store.Tx) error {
		m, to, err := subject(ctx, tx, id, n)
		if err != nil {
			return err
		}
		v = viewOf(m, to)
		return stands(ctx, tx, m, to, &v)
	})
	v.Ask = !v.Off
	return v, err
}

// stands sets whether a recipient is off the stream, and whether he may undo it.
func stands(ctx context.Context, tx *store.Tx, m *pennypost.Message, to *pennypost.Recipient, v *view) error {
	entry, err := tx.Suppression(ctx, m.ServerID, m.Stream, to.Address)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	v.Off, v.Again = true, event.OwnWish(entry)
	return nil
}

// subscribe takes a recipient off the stream, or back on.
func (s *Server) subscribe(ctx context.Context, id pennypost.MessageID, n int, again bool) (v view, err error) {
	err = s.conf.Store.Update(ctx, func(tx *store.Tx) error {
		m, to, err := subject(ctx, tx, id, n)
		if err != nil {
			return err
		}
		v = viewOf(m, to)
		if again {
			_, err = event.Resubscribe(ctx, tx, m, to)
		} else {
			_, err = event.Unsubscribe(ctx, tx, m, to)
		}
		if err != nil {
			return err
		}
		return stands(ctx, tx, m, to, &v)
	})
	v.Back = !v.Off
	return v, err
}
