package submit

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/track"
)

// settings are what server, account, stream and sender say about how a message
// is dressed (package track). They are read in the accepting transaction, but a
// message is rendered before it: it is dressed by those that were found last
// time, and rendered again when they turn out to be others.
type settings struct {
	opens       bool
	links       pennypost.TrackLinks
	pending     bool   // no links are rewritten (contract/account.md §3)
	unsubscribe bool   // we handle it (contract/sending.md §14)
	domain      string // a tracking domain of the customer's, or ""
}

func (in *intake) settings(stream *pennypost.Stream, sender *pennypost.SenderMatch) settings {
	return settings{
		opens: in.state.TrackOpens, links: in.state.TrackLinks, pending: in.state.Pending,
		unsubscribe: stream.Unsubscribe == pennypost.UnsubscribePostmark, domain: sender.TrackDomain,
	}
}

// opensOf tells whether a message's opens are tracked: the server's true wins
// over the message's false (contract/tracking.md §1).
func (s *settings) opensOf(dr *draft) bool { return dr.trackOpens || s.opens }

// linksOf tells which links of a message are tracked: the message's word wins
// over the server's, both ways (contract/tracking.md §1).
func (s *settings) linksOf(dr *draft) pennypost.TrackLinks {
	switch {
	case s.pending:
		return pennypost.TrackNone
	case dr.trackLinks != "":
		return dr.trackLinks
	case s.links != "":
		return s.links
	}
	return pennypost.TrackNone
}

// wardrobe is how a draft is dressed, and what there is of it to dress.
type wardrobe struct {
	html, text  bool // it has such a body
	placeholder bool // one of them asks for an unsubscribe link
	dress       track.Dress
	unsubscribe string // URL in List-Unsubscribe; "": the client's own stands
	personal    bool   // it has the copy's token
	links       int    // unique links that are tracked
}

// dressFor gives the dress of a draft under some settings; its zero value when
// there is nothing to do.
func (d *Door) dressFor(dr *draft, s settings) track.Dress {
	if d.conf.Dress == nil {
		return track.Dress{}
	}
	dress := track.Dress{Opens: dr.html && s.opensOf(dr), Unsubscribe: s.unsubscribe}
	switch links := s.linksOf(dr); links {
	case pennypost.TrackNone:
	case pennypost.TrackHTMLAndText:
		dress.Links = links
	case pennypost.TrackHTMLOnly:
		if dr.html {
			dress.Links = links
		}
	case pennypost.TrackTextOnly:
		if dr.text {
			dress.Links = links
		}
	}
	if dress == (track.Dress{}) && !dr.placeholder {
		return dress
	}
	dress.Base = d.conf.TrackBase
	if s.domain != "" {
		dress.Base = "https://" + s.domain
	}
	return dress
}

// dress puts pixel, tracked links and unsubscribe links into a draft that is to
// be rendered. Signed and encrypted parts stay as they are.
func (d *Door) dress(ctx context.Context, dr *draft, s settings, room *share) error {
	if d.conf.Dress == nil {
		return nil
	}
	html, text := dressable(dr.root.HTMLBody()), dressable(dr.root.TextBody())
	dr.html, dr.text = html != nil, text != nil
	dr.placeholder = asks(html) || asks(text)
	dr.dress = d.dressFor(dr, s)
	if dr.dress == (track.Dress{}) {
		return nil
	}
	was := track.Dressed{HTML: bodyOf(html), Text: bodyOf(text)}
	is := d.conf.Dress.Apply(dr.id, dr.dress, was.HTML, was.Text)
	if err := room.grow(ctx, dr, int64(len(is.HTML)+len(is.Text)-len(was.HTML)-len(was.Text))); err != nil {
		return err
	}
	if is.HTML != was.HTML {
		html.Content = []byte(is.HTML)
	}
	if is.Text != was.Text {
		text.Content = []byte(is.Text)
	}
	dr.personal, dr.links = is.Personal, is.Links
	if dr.dress.Unsubscribe {
		dr.unsubscribe, dr.personal = d.conf.Dress.UnsubscribeURL(dr.dress.Base, dr.id), true
	}
	return nil
}

func dressable(p *eml.Part) *eml.Part {
	if p == nil || p.Preserved() || len(p.Content) == 0 {
		return nil
	}
	return p
}

// asks tells whether a body may have a placeholder of contract/sending.md §14.
func asks(p *eml.Part) bool {
	return p != nil && bytes.Contains(p.Content, []byte("pm:unsubscribe"))
}

// bodyOf gives the text of a body. Where we do not know its charset it is taken
// for one in which ASCII is itself, as nearly all are.
func bodyOf(p *eml.Part) string {
	if p == nil {
		return ""
	}
	return string(p.Content)
}

// errStale says that a message was dressed by settings that are no longer true.
var errStale = errors.New("rendered by old settings")

// maxStale bounds how often a message is rendered: each time somebody must have
// changed the settings between its rendering and its transaction.
const maxStale = 5

// fitting refuses an entry that is to be dressed in another way.
func (in *intake) fitting(e *entry, s settings) error {
	if in.door.dressFor(e.draft, s) == e.dress {
		return nil
	}
	e.found = s
	return errStale
}

// redo renders an entry again, by the settings that its transaction found.
func (d *Door) redo(ctx context.Context, c pennypost.Caller, e *entry, room *share) error {
	d.seen.put(wearerOf(e.draft), e.found)
	room.shrink(e.draft)
	e.content = nil
	var dr *draft
	var err error
	if e.raw != nil {
		dr, err = d.draftRaw(c, e.raw)
	} else {
		dr, err = d.draft(c, e.submission)
	}
	if err != nil {
		return err
	}
	if err := d.finish(ctx, dr, e.submission, e.found, room); err != nil {
		return err
	}
	e.draft = dr
	return nil
}

// wearer is whose settings they are.
type wearer struct {
	server pennypost.ServerID
	stream pennypost.StreamID
	domain string // of From
}

func wearerOf(dr *draft) wearer { return wearer{dr.server, dr.stream, dr.from.Domain} }

// seen are settings as they were found last, where they made a difference. Of
// most senders there is nothing to remember: nothing is tracked.
type seen struct {
	mu  sync.RWMutex
	all map[wearer]settings
}

// expected are the settings that a draft will find, most likely.
func (d *Door) expected(dr *draft) settings { return d.seen.get(wearerOf(dr)) }

// maxSeen bounds them.
const maxSeen = 10_000

// get gives settings, or those under which nothing is done.
func (k *seen) get(w wearer) settings {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.all[w]
}

func (k *seen) put(w wearer, s settings) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s == (settings{}) {
		delete(k.all, w)
		return
	}
	if k.all == nil {
		k.all = make(map[wearer]settings)
	}
	for old := range k.all {
		if len(k.all) < maxSeen {
			break
		}
		delete(k.all, old)
	}
	k.all[w] = s
}
