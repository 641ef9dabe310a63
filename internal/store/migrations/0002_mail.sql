-- +goose Up

INSERT INTO sequences (name, n) VALUES ('session', 0);

-- One row per process. Jobs that it holds carry its id; when the row has
-- expired they are freed. walked is how far that has come, by job id, since
-- walk_began.
CREATE TABLE sessions (
	id         BIGINT NOT NULL PRIMARY KEY,
	started_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	walked     BIGINT NOT NULL,
	walk_began BIGINT NOT NULL -- 0: not yet
) {{norowid}};

-- Accepted mail without its content. The tree of rows grows at its end on
-- SQLite, and the key's index (UUIDv7) too. checksum covers the row.
CREATE TABLE messages (
	id            {{bytes}} NOT NULL PRIMARY KEY,
	account_id    BIGINT    NOT NULL,
	server_id     BIGINT    NOT NULL,
	stream        TEXT      NOT NULL,
	received_at   BIGINT    NOT NULL,
	source        TEXT      NOT NULL,
	flags         BIGINT    NOT NULL, -- see messages.go
	from_name     TEXT      NOT NULL,
	from_address  TEXT      NOT NULL,
	from_key      TEXT      NOT NULL, -- from_address in lower case
	to_list       TEXT      NOT NULL, -- JSON of [name, address], '' when empty; so the others
	cc_list       TEXT      NOT NULL,
	bcc_list      TEXT      NOT NULL,
	reply_to      TEXT      NOT NULL,
	subject       TEXT      NOT NULL,
	tag           TEXT      NOT NULL,
	metadata      TEXT      NOT NULL, -- JSON object, '' when empty
	attachments   TEXT      NOT NULL, -- JSON list of file names, '' when empty
	track_links   TEXT      NOT NULL,
	header_id     TEXT      NOT NULL,
	sign_domain   TEXT      NOT NULL,
	return_domain TEXT      NOT NULL,
	deliver_by    BIGINT    NOT NULL,
	size          BIGINT    NOT NULL,
	recipients    BIGINT    NOT NULL,
	checksum      BIGINT    NOT NULL
);

CREATE INDEX messages_stream ON messages (server_id, stream, received_at, id);

-- The rendered message: as it is signed, without what differs per recipient.
CREATE TABLE contents (
	message_id {{bytes}} NOT NULL PRIMARY KEY,
	content    {{bytes}} NOT NULL,
	checksum   BIGINT    NOT NULL
);

-- DKIM-Signature fields made at the first attempt, of messages that need more.
CREATE TABLE signatures (
	message_id {{bytes}} NOT NULL PRIMARY KEY,
	fields     {{bytes}} NOT NULL,
	checksum   BIGINT    NOT NULL
);

-- checksum covers what does not change, see recipients.go.
CREATE TABLE recipients (
	message_id {{bytes}} NOT NULL,
	n          BIGINT    NOT NULL,
	server_id  BIGINT    NOT NULL,
	day        BIGINT    NOT NULL, -- of acceptance (UTC), since 1970
	address    TEXT      NOT NULL,
	address_no BIGINT    NOT NULL, -- hash of the address in lower case, for search
	job_id     BIGINT    NOT NULL, -- its delivery job; 0: never had one
	state      SMALLINT  NOT NULL,
	attempts   BIGINT    NOT NULL,
	next_at    BIGINT    NOT NULL,
	rule       TEXT      NOT NULL,
	reply      TEXT      NOT NULL,
	changed_at BIGINT    NOT NULL,
	held_us    BIGINT    NOT NULL,
	checksum   BIGINT    NOT NULL,
	PRIMARY KEY (message_id, n)
) {{norowid}};

CREATE INDEX recipients_address ON recipients (server_id, day, address_no, message_id);

CREATE TABLE attempts (
	message_id   {{bytes}} NOT NULL,
	n            BIGINT    NOT NULL,
	no           BIGINT    NOT NULL,
	started_at   BIGINT    NOT NULL,
	outcome      SMALLINT  NOT NULL,
	phase        TEXT      NOT NULL,
	host         TEXT      NOT NULL,
	ip           TEXT      NOT NULL,
	code         BIGINT    NOT NULL,
	enhanced     TEXT      NOT NULL,
	reply        TEXT      NOT NULL,
	rule         TEXT      NOT NULL,
	tls          TEXT      NOT NULL,
	tls_note     TEXT      NOT NULL,
	ambiguous    SMALLINT  NOT NULL,
	reused       SMALLINT  NOT NULL,
	took_us      BIGINT    NOT NULL,
	phases       TEXT      NOT NULL, -- "dns 120, connect 3400" in microseconds
	conversation TEXT      NOT NULL,
	PRIMARY KEY (message_id, n, no)
);

-- Appended once. Those of one message lie together.
CREATE TABLE events (
	message_id {{bytes}} NOT NULL,
	id         BIGINT    NOT NULL,
	at         BIGINT    NOT NULL,
	account_id BIGINT    NOT NULL,
	server_id  BIGINT    NOT NULL,
	stream     TEXT      NOT NULL,
	n          BIGINT    NOT NULL,
	recipient  TEXT      NOT NULL,
	type       TEXT      NOT NULL,
	tag        TEXT      NOT NULL,
	details    TEXT      NOT NULL, -- JSON object, '' when empty
	bounce_id  BIGINT    NOT NULL, -- 0: none
	PRIMARY KEY (message_id, id)
) {{norowid}};

CREATE TABLE bounces (
	id         BIGINT    NOT NULL PRIMARY KEY,
	type       TEXT      NOT NULL,
	type_code  BIGINT    NOT NULL,
	account_id BIGINT    NOT NULL,
	server_id  BIGINT    NOT NULL,
	stream     TEXT      NOT NULL,
	message_id {{bytes}} NOT NULL,
	n          BIGINT    NOT NULL,
	recipient  TEXT      NOT NULL,
	sender     TEXT      NOT NULL,
	subject    TEXT      NOT NULL,
	tag        TEXT      NOT NULL,
	details    TEXT      NOT NULL,
	rule       TEXT      NOT NULL,
	dump       TEXT      NOT NULL,
	inactive   SMALLINT  NOT NULL,
	at         BIGINT    NOT NULL
);

CREATE INDEX bounces_stream ON bounces (server_id, stream, id);

-- Counters of an hour (UTC). slot spreads the row of a busy server, as in
-- usage_monthly.
CREATE TABLE stats_hourly (
	server_id   BIGINT NOT NULL,
	stream      TEXT   NOT NULL,
	hour        BIGINT NOT NULL, -- its beginning
	tag         TEXT   NOT NULL,
	slot        BIGINT NOT NULL,
	sent        BIGINT NOT NULL,
	delivered   BIGINT NOT NULL,
	deferred    BIGINT NOT NULL,
	bounced     BIGINT NOT NULL,
	smtp_errors BIGINT NOT NULL,
	PRIMARY KEY (server_id, stream, hour, tag, slot)
) {{norowid}};

-- A job that is born leased is in no index but its key's. checksum covers what
-- does not change with a lease, see jobs.go.
CREATE TABLE jobs (
	id       BIGINT    NOT NULL PRIMARY KEY,
	kind     SMALLINT  NOT NULL,
	dest     TEXT      NOT NULL,
	tenant   BIGINT    NOT NULL,
	priority SMALLINT  NOT NULL,
	run_at   BIGINT    NOT NULL,
	attempt  BIGINT    NOT NULL,
	lease    BIGINT    NOT NULL, -- session that holds it; 0: free
	held     SMALLINT  NOT NULL, -- 1: waits for its tenant's release; 2: damaged, waits for a person
	ref      {{bytes}} NOT NULL,
	checksum BIGINT    NOT NULL
) {{norowid}};

CREATE INDEX jobs_due ON jobs (kind, dest, priority, run_at) WHERE lease = 0 AND held = 0;
CREATE INDEX jobs_held ON jobs (tenant, id) WHERE held = 1;

-- Dests that have free jobs, and when the earliest of them is due.
CREATE TABLE dests (
	kind    SMALLINT NOT NULL,
	dest    TEXT     NOT NULL,
	next_at BIGINT   NOT NULL,
	PRIMARY KEY (kind, dest)
) {{norowid}};

CREATE INDEX dests_next ON dests (kind, next_at);

-- Mail addressed to us, as it came.
CREATE TABLE inbound_mails (
	id          {{bytes}} NOT NULL PRIMARY KEY,
	received_at BIGINT    NOT NULL,
	sender      TEXT      NOT NULL, -- '' for the null path
	helo        TEXT      NOT NULL,
	ip          TEXT      NOT NULL,
	tls         SMALLINT  NOT NULL,
	content     {{bytes}} NOT NULL,
	checksum    BIGINT    NOT NULL
);

CREATE INDEX inbound_mails_received ON inbound_mails (received_at, id);

-- message_id and recipient name what a return path proves; '' and 0 otherwise.
CREATE TABLE inbound_recipients (
	mail_id    {{bytes}} NOT NULL,
	n          BIGINT    NOT NULL,
	address    TEXT      NOT NULL,
	kind       TEXT      NOT NULL,
	message_id {{bytes}} NOT NULL,
	recipient  BIGINT    NOT NULL,
	PRIMARY KEY (mail_id, n)
) {{norowid}};

CREATE INDEX domains_return_path ON domains (return_path) WHERE return_path_verified = 1;
