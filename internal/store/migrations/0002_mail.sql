-- +goose Up

INSERT INTO sequences (name, n) VALUES ('session', 0), ('bounce', 0);

-- One row per process. Its jobs carry its number; past expires_at others free
-- them. walked is how far they have looked through the jobs.
CREATE TABLE sessions (
	id         BIGINT NOT NULL PRIMARY KEY,
	expires_at BIGINT NOT NULL,
	walked     BIGINT NOT NULL
) {{norowid}};

-- Accepted messages. What a search looks at has columns of its own; the rest is
-- JSON in envelope. Ids are UUIDv7, so that their order is that of acceptance.
CREATE TABLE messages (
	id          {{bytes}} NOT NULL PRIMARY KEY,
	server_id   BIGINT    NOT NULL,
	stream      TEXT      NOT NULL,
	from_key    TEXT      NOT NULL,
	tag         TEXT      NOT NULL,
	subject_key TEXT      NOT NULL, -- in lower case
	metadata    TEXT      NOT NULL, -- JSON object, keys in lower case, sorted
	received_at BIGINT    NOT NULL,
	envelope    TEXT      NOT NULL,
	checksum    BIGINT    NOT NULL  -- CRC-32C of id and envelope
) {{norowid}};

CREATE INDEX messages_stream ON messages (server_id, stream, id);

-- The canonical MIME of a message, as it is signed.
CREATE TABLE contents (
	message_id {{bytes}} NOT NULL PRIMARY KEY,
	checksum   BIGINT    NOT NULL, -- CRC-32C of raw
	raw        {{bytes}} NOT NULL
) {{norowid}};

-- DKIM-Signature fields of messages that are tried again.
CREATE TABLE signatures (
	message_id {{bytes}} NOT NULL PRIMARY KEY,
	fields     {{bytes}} NOT NULL
) {{norowid}};

CREATE TABLE recipients (
	message_id  {{bytes}} NOT NULL,
	n           BIGINT    NOT NULL, -- position in the message
	server_id   BIGINT    NOT NULL,
	address     TEXT      NOT NULL,
	address_key TEXT      NOT NULL,
	state       SMALLINT  NOT NULL, -- pennypost.RecipientState
	attempts    BIGINT    NOT NULL,
	next_at     BIGINT    NOT NULL,
	rule        TEXT      NOT NULL,
	reply       TEXT      NOT NULL,
	changed_at  BIGINT    NOT NULL,
	held_for    BIGINT    NOT NULL, -- microseconds
	checksum    BIGINT    NOT NULL, -- CRC-32C of message_id, n and address
	PRIMARY KEY (message_id, n)
) {{norowid}};

CREATE INDEX recipients_address ON recipients (server_id, address_key, message_id);

CREATE TABLE attempts (
	message_id   {{bytes}} NOT NULL,
	n            BIGINT    NOT NULL,
	no           BIGINT    NOT NULL, -- from 1
	started_at   BIGINT    NOT NULL,
	outcome      SMALLINT  NOT NULL, -- pennypost.Outcome
	took         BIGINT    NOT NULL, -- microseconds
	code         BIGINT    NOT NULL,
	ambiguous    SMALLINT  NOT NULL,
	facts        TEXT      NOT NULL, -- JSON: host, replies, TLS, phases
	conversation TEXT      NOT NULL,
	PRIMARY KEY (message_id, n, no)
) {{norowid}};

CREATE TABLE events (
	id         BIGINT    NOT NULL PRIMARY KEY, -- grows with time
	at         BIGINT    NOT NULL,
	account_id BIGINT    NOT NULL,
	server_id  BIGINT    NOT NULL,
	stream     TEXT      NOT NULL,
	message_id {{bytes}} NOT NULL,
	n          BIGINT    NOT NULL,
	recipient  TEXT      NOT NULL,
	type       TEXT      NOT NULL,
	tag        TEXT      NOT NULL,
	details    TEXT      NOT NULL, -- JSON object of strings
	bounce_id  BIGINT    NOT NULL  -- 0: none
) {{norowid}};

CREATE INDEX events_message ON events (message_id, id);

CREATE TABLE bounces (
	id         BIGINT    NOT NULL PRIMARY KEY,
	type_code  BIGINT    NOT NULL,
	account_id BIGINT    NOT NULL,
	server_id  BIGINT    NOT NULL,
	stream     TEXT      NOT NULL,
	message_id {{bytes}} NOT NULL,
	n          BIGINT    NOT NULL, -- -1: the message was never stored
	recipient  TEXT      NOT NULL,
	sender     TEXT      NOT NULL,
	subject    TEXT      NOT NULL,
	tag        TEXT      NOT NULL,
	details    TEXT      NOT NULL,
	rule       TEXT      NOT NULL,
	dump       TEXT      NOT NULL,
	inactive   SMALLINT  NOT NULL,
	at         BIGINT    NOT NULL,
	type       TEXT      NOT NULL
) {{norowid}};

CREATE INDEX bounces_stream ON bounces (server_id, stream, id);

-- Counters per hour (UTC). slot spreads a busy row on PostgreSQL.
CREATE TABLE stats_hourly (
	server_id   BIGINT NOT NULL,
	stream      TEXT   NOT NULL,
	hour        BIGINT NOT NULL, -- hours since 1970
	tag         TEXT   NOT NULL,
	slot        BIGINT NOT NULL,
	sent        BIGINT NOT NULL,
	delivered   BIGINT NOT NULL,
	deferred    BIGINT NOT NULL,
	bounced     BIGINT NOT NULL,
	smtp_errors BIGINT NOT NULL,
	PRIMARY KEY (server_id, stream, hour, tag, slot)
) {{norowid}};

-- Durable work. A job that a process holds is in no index but its key.
CREATE TABLE jobs (
	id       BIGINT    NOT NULL PRIMARY KEY,
	kind     SMALLINT  NOT NULL,
	dest     TEXT      NOT NULL,
	tenant   BIGINT    NOT NULL,
	priority SMALLINT  NOT NULL,
	run_at   BIGINT    NOT NULL,
	attempt  BIGINT    NOT NULL,
	lease    BIGINT    NOT NULL, -- number of the session that holds it; 0: free
	held     SMALLINT  NOT NULL, -- 1: its server is suspended
	ref      {{bytes}} NOT NULL,
	checksum BIGINT    NOT NULL  -- CRC-32C of kind, dest, tenant and ref
) {{norowid}};

CREATE INDEX jobs_due ON jobs (kind, dest, priority, run_at) WHERE lease = 0 AND held = 0;
CREATE INDEX jobs_held ON jobs (tenant, id) WHERE held = 1;

-- Destinations with free jobs, and the earliest time of these.
CREATE TABLE dests (
	kind    SMALLINT NOT NULL,
	dest    TEXT     NOT NULL,
	next_at BIGINT   NOT NULL,
	PRIMARY KEY (kind, dest)
) {{norowid}};

CREATE INDEX dests_next ON dests (kind, next_at);

-- Mail addressed to us, raw; one row per recipient, which are handled alone.
CREATE TABLE inbound_mail (
	id          {{bytes}} NOT NULL PRIMARY KEY,
	sender      TEXT      NOT NULL,
	helo        TEXT      NOT NULL,
	ip          TEXT      NOT NULL,
	tls         SMALLINT  NOT NULL,
	received_at BIGINT    NOT NULL,
	checksum    BIGINT    NOT NULL,
	raw         {{bytes}} NOT NULL
) {{norowid}};

CREATE TABLE inbound_recipients (
	mail_id    {{bytes}} NOT NULL,
	pos        BIGINT    NOT NULL,
	address    TEXT      NOT NULL,
	kind       TEXT      NOT NULL, -- return, letter, unverified
	message_id {{bytes}} NOT NULL, -- the message that a return is about
	n          BIGINT    NOT NULL,
	handled_at BIGINT    NOT NULL, -- 0: waits for its reader
	PRIMARY KEY (mail_id, pos)
) {{norowid}};

CREATE INDEX inbound_waiting ON inbound_recipients (mail_id, pos) WHERE handled_at = 0;
