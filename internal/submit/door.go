package submit

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/deliver"
	"pennypost/internal/eml"
	"pennypost/internal/metrics"
	"pennypost/internal/queue"
	"pennypost/internal/shed"
	"pennypost/internal/store"
	"pennypost/internal/track"
)

// Config is what a Door works with. Store, Check, Hostname and BounceDomain
// must be set; the rest works at its zero value.
type Config struct {
	Store *store.Store
	// Queue takes the jobs of accepted messages at once. Nil: they wait in the
	// store.
	Queue *queue.Queue
	// Check is asked in every accepting transaction whether the caller may
	// still send, and for the state of its server; a *pennypost.Error refuses.
	Check func(ctx context.Context, tx *store.Tx, c pennypost.Caller) (*pennypost.ServerState, error)

	Hostname        string // stands in Received
	BounceDomain    string // of the Return-Path without a domain of the customer's; our own mail comes from it
	MessageIDDomain string // right side of Message-Id [Hostname]
	Complaints      string // address in X-Complaints-To [abuse@BounceDomain]

	// Disk is where the store is; new mail is refused while it is short. Nil: it
	// never is.
	Disk *shed.Disk
	// MaxWait is how long a message may have to wait for its commit: new mail is
	// refused when it would be longer [5 s].
	MaxWait time.Duration
	// Work is what the messages may take that are being made ready for the store,
	// each workFactor times its size; the others wait. Nil has no end.
	Work *shed.Memory

	// Dress makes pixels, tracked links and unsubscribe links. Nil: there are none.
	Dress *track.Signer
	// TrackBase is what their URLs begin with where the customer has no domain for
	// them: "https://track.example.com". It goes with Dress.
	TrackBase string

	Now     func() time.Time
	Rand    io.Reader // of message ids; used by many goroutines at once
	Log     *slog.Logger
	Metrics *metrics.Set
}

// Door is the one way in.
type Door struct {
	conf     Config
	log      *slog.Logger
	accepted *metrics.Counter
	refused  *metrics.Counter
	turned   *metrics.Counter
	opening  opening
	names    deliver.TestNames
	seen     seen

	templates *templateCache
}

// New makes a door. An error names the setting that is missing or wrong.
func New(c Config) (*Door, error) {
	if c.Store == nil || c.Check == nil {
		return nil, errors.New("submit: Store and Check must be set")
	}
	var err error
	if c.BounceDomain, err = eml.CanonicalDomain(c.BounceDomain); err != nil {
		return nil, fmt.Errorf("submit: BounceDomain %q: %w", c.BounceDomain, err)
	}
	if c.MessageIDDomain == "" {
		c.MessageIDDomain = c.Hostname
	}
	if c.Complaints == "" {
		c.Complaints = "abuse@" + c.BounceDomain
	}
	for name, value := range map[string]string{
		"Hostname": c.Hostname, "MessageIDDomain": c.MessageIDDomain, "Complaints": c.Complaints,
	} {
		if !isWord(value) {
			return nil, fmt.Errorf("submit: %s %q cannot stand in a header", name, value)
		}
	}
	if (c.Dress == nil) != (c.TrackBase == "") {
		return nil, errors.New("submit: Dress and TrackBase go together")
	}
	if c.MaxWait <= 0 {
		c.MaxWait = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Door{
		conf: c, log: c.Log, names: deliver.NewTestNames(c.Hostname), templates: newTemplateCache(maxTemplates),
		accepted: c.Metrics.Counter("submit_accepted_recipients", "Recipients of accepted messages that are to be delivered, by edge.", "source"),
		refused:  c.Metrics.Counter("submit_refused_messages", "Messages refused, by edge and code of the contract.", "source", "code"),
		turned:   c.Metrics.Counter("submit_turned_away", "Messages that were not let in, by reason: disk, delay, memory.", "reason"),
	}, nil
}

// isWord tells whether a setting can stand in a header field as it is.
func isWord(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte("()<>;,", s[i]) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= 255
}

// Accept checks, renders and stores one message of the HTTP API with a job per
// recipient; when it returns nil the message is on stable storage. A refusal is
// a *pennypost.Error.
func (d *Door) Accept(ctx context.Context, c pennypost.Caller, s *Submission) (*Accepted, error) {
	if before := acceptedBefore(c, s); before != nil {
		return before, nil
	}
	room, err := d.letIn(ctx, s.size())
	if err != nil {
		return nil, err
	}
	defer room.close()
	coming := d.conf.Store.Expect()
	e, err := d.enter(ctx, c, s, room)
	d.conf.Store.Met(&coming)
	switch {
	case err != nil:
		err = d.streamFirst(ctx, c, s, err)
	case c.Kind == pennypost.CallerTest:
		return e.testAccepted(), nil
	default:
		err = d.store(ctx, c, e, room)
	}
	if err != nil {
		d.count(pennypost.SourceHTTP, err)
		return nil, err
	}
	return e.result(), nil
}

// Expect announces a message that is being received; met tells that it is here,
// or will not come. Messages that are expected share a sync of the disk more
// often.
func (d *Door) Expect() (met func()) {
	coming := d.conf.Store.Expect()
	return func() { d.conf.Store.Met(&coming) }
}

// enter makes a draft of a submission, fills it from its template, dresses and
// renders it.
func (d *Door) enter(ctx context.Context, c pennypost.Caller, s *Submission, room *share) (*entry, error) {
	dr, err := d.draft(c, s)
	if err != nil {
		return nil, err
	}
	e := &entry{draft: dr, submission: s, item: s.Item, answer: s.Answer}
	if c.Kind == pennypost.CallerTest {
		return e, nil
	}
	if err := d.finish(ctx, dr, s, d.expected(dr), room); err != nil {
		return nil, err
	}
	return e, nil
}

// finish makes the message of a draft: filled from its template, if it is of a
// submission that names one, dressed and rendered.
func (d *Door) finish(ctx context.Context, dr *draft, s *Submission, by settings, room *share) error {
	if s != nil && s.Template != nil {
		if err := d.fillIn(ctx, dr, s, room); err != nil {
			return err
		}
	}
	if err := d.dress(ctx, dr, by, room); err != nil {
		return err
	}
	return d.render(dr)
}

// count keeps the figure of refusals.
func (d *Door) count(from pennypost.Source, err error) {
	var refusal *pennypost.Error
	if errors.As(err, &refusal) {
		d.refused.Add(1, string(from), codeLabel(refusal.Code))
	}
}

// codeLabel is a closed set: all codes are constants.
func codeLabel(c pennypost.Code) string { return fmt.Sprintf("%d", int(c)) }

// newID makes a UUIDv7 (RFC 9562 §5.7), so that messages sort by time.
func (d *Door) newID(now time.Time) (pennypost.MessageID, error) {
	var id pennypost.MessageID
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(id[:6], ms[2:])
	if _, err := io.ReadFull(d.conf.Rand, id[6:]); err != nil {
		return id, fmt.Errorf("make message id: %w", err)
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id, nil
}
