-- +goose Up

-- What the instance knows of itself: fingerprints of the master keys, the
-- operator's token. Values are text; secrets among them are sealed, in base64.
CREATE TABLE meta (
	key   TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
) {{norowid}};

-- Numbers handed out in the creating transaction. "auth" is no id: it grows
-- with every change that may end a credential's validity.
CREATE TABLE sequences (
	name TEXT   NOT NULL PRIMARY KEY,
	n    BIGINT NOT NULL
) {{norowid}};

INSERT INTO sequences (name, n) VALUES
	('account', 0), ('server', 0), ('token', 0), ('domain', 0), ('dkim', 0), ('sender', 0), ('auth', 1);

CREATE TABLE accounts (
	id             BIGINT   NOT NULL PRIMARY KEY,
	name           TEXT     NOT NULL,
	plan           TEXT     NOT NULL,
	monthly_limit  BIGINT   NOT NULL, -- recipients a month; 0: none
	pending        SMALLINT NOT NULL, -- 1: not approved yet (contract/account.md §3)
	no_deletes     SMALLINT NOT NULL, -- 1: may not delete servers
	suspended_at   BIGINT   NOT NULL,
	suspend_reason TEXT     NOT NULL,
	created_at     BIGINT   NOT NULL
) {{norowid}};

CREATE TABLE servers (
	id                     BIGINT   NOT NULL PRIMARY KEY,
	account_id             BIGINT   NOT NULL,
	name                   TEXT     NOT NULL,
	name_key               TEXT     NOT NULL, -- name in lower case
	color                  TEXT     NOT NULL,
	sandbox                SMALLINT NOT NULL,
	smtp_activated         SMALLINT NOT NULL,
	smtp_api_token_auth    SMALLINT NOT NULL,
	smtp_rejection         TEXT     NOT NULL,
	raw_email              SMALLINT NOT NULL,
	inbound_hash           TEXT     NOT NULL,
	inbound_domain         TEXT     NOT NULL,
	inbound_hook_url       TEXT     NOT NULL,
	inbound_spam_threshold BIGINT   NOT NULL,
	bounce_hook_url        TEXT     NOT NULL,
	open_hook_url          TEXT     NOT NULL,
	delivery_hook_url      TEXT     NOT NULL,
	click_hook_url         TEXT     NOT NULL,
	post_first_open_only   SMALLINT NOT NULL,
	track_opens            SMALLINT NOT NULL,
	track_links            TEXT     NOT NULL,
	bounce_content_in_hook SMALLINT NOT NULL,
	smtp_error_hooks       SMALLINT NOT NULL,
	monthly_limit          BIGINT   NOT NULL, -- recipients a month; 0: none
	suspended_at           BIGINT   NOT NULL,
	suspend_reason         TEXT     NOT NULL,
	release_due            SMALLINT NOT NULL, -- 1: reactivated, held mail not released yet
	created_at             BIGINT   NOT NULL,
	deleted_at             BIGINT   NOT NULL  -- the row stays, since mail is kept that names it
) {{norowid}};

CREATE UNIQUE INDEX servers_name ON servers (account_id, name_key) WHERE deleted_at = 0;
CREATE UNIQUE INDEX servers_inbound_hash ON servers (inbound_hash);
CREATE UNIQUE INDEX servers_inbound_domain ON servers (inbound_domain) WHERE inbound_domain <> '' AND deleted_at = 0;
CREATE INDEX servers_suspended ON servers (id) WHERE suspended_at <> 0;
CREATE INDEX servers_release_due ON servers (id) WHERE release_due <> 0;

-- API tokens of servers and accounts, and SMTP tokens. hash is NULL for SMTP
-- tokens, whose secrets are in smtp_secrets; access_key is NULL for the others.
CREATE TABLE tokens (
	id           BIGINT   NOT NULL PRIMARY KEY,
	kind         SMALLINT NOT NULL, -- 1 server, 2 account, 3 SMTP
	account_id   BIGINT   NOT NULL,
	server_id    BIGINT   NOT NULL, -- 0 for account tokens
	stream       TEXT     NOT NULL, -- '' when bound to none
	label        TEXT     NOT NULL,
	hash         {{bytes}},
	sealed       {{bytes}},
	access_key   TEXT,
	created_at   BIGINT   NOT NULL,
	last_used_at BIGINT   NOT NULL,
	last_used_ip TEXT     NOT NULL,
	revoked_at   BIGINT   NOT NULL
) {{norowid}};

CREATE UNIQUE INDEX tokens_hash ON tokens (hash) WHERE hash IS NOT NULL;
CREATE UNIQUE INDEX tokens_access_key ON tokens (access_key) WHERE access_key IS NOT NULL;
CREATE INDEX tokens_server ON tokens (server_id, kind, id);
CREATE INDEX tokens_account ON tokens (account_id, kind, id);

CREATE TABLE smtp_secrets (
	hash       {{bytes}} NOT NULL PRIMARY KEY,
	token_id   BIGINT    NOT NULL,
	created_at BIGINT    NOT NULL,
	expires_at BIGINT    NOT NULL -- 0: with its token
) {{norowid}};

CREATE INDEX smtp_secrets_token ON smtp_secrets (token_id);

CREATE TABLE streams (
	server_id   BIGINT NOT NULL,
	id          TEXT   NOT NULL,
	type        TEXT   NOT NULL, -- Transactional, Broadcasts, Inbound
	name        TEXT   NOT NULL,
	description TEXT   NOT NULL,
	unsubscribe TEXT   NOT NULL, -- None, Postmark, Custom
	retry_hours BIGINT NOT NULL, -- how long delivery is tried
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL,
	archived_at BIGINT NOT NULL,
	PRIMARY KEY (server_id, id)
) {{norowid}};

-- A domain that nobody added but a sender signature needs has listed = 0: it
-- has keys, but does not let any address of it send.
CREATE TABLE domains (
	id                   BIGINT   NOT NULL PRIMARY KEY,
	account_id           BIGINT   NOT NULL,
	name                 TEXT     NOT NULL, -- lower-case A-labels
	listed               SMALLINT NOT NULL,
	spf_verified         SMALLINT NOT NULL,
	dkim_verified_at     BIGINT   NOT NULL,
	missing_since        BIGINT   NOT NULL, -- since when the active record is gone
	return_path          TEXT     NOT NULL,
	return_path_verified SMALLINT NOT NULL,
	tracking             TEXT     NOT NULL,
	tracking_verified    SMALLINT NOT NULL,
	check_at             BIGINT   NOT NULL, -- when DNS is asked next
	checked_at           BIGINT   NOT NULL,
	created_at           BIGINT   NOT NULL
) {{norowid}};

CREATE UNIQUE INDEX domains_name ON domains (account_id, name);
CREATE INDEX domains_check ON domains (check_at);
CREATE INDEX domains_tracking ON domains (tracking) WHERE tracking <> '';

-- The instance's own keys have account_id = 0 and domain_id = 0.
CREATE TABLE dkim_keys (
	id           BIGINT    NOT NULL PRIMARY KEY,
	account_id   BIGINT    NOT NULL,
	domain_id    BIGINT    NOT NULL,
	domain       TEXT      NOT NULL,
	selector     TEXT      NOT NULL,
	algorithm    TEXT      NOT NULL, -- rsa, ed25519
	state        TEXT      NOT NULL, -- pending, active, revoked
	txt          TEXT      NOT NULL, -- value of the DNS record
	sealed       {{bytes}} NOT NULL, -- private key, PKCS #8
	created_at   BIGINT    NOT NULL,
	activated_at BIGINT    NOT NULL,
	revoked_at   BIGINT    NOT NULL
) {{norowid}};

CREATE UNIQUE INDEX dkim_keys_selector ON dkim_keys (domain, selector);
CREATE INDEX dkim_keys_domain ON dkim_keys (domain_id, state);
CREATE INDEX dkim_keys_signing ON dkim_keys (account_id, domain, state);

CREATE TABLE senders (
	id           BIGINT NOT NULL PRIMARY KEY,
	account_id   BIGINT NOT NULL,
	domain_id    BIGINT NOT NULL,
	address      TEXT   NOT NULL,
	address_key  TEXT   NOT NULL,
	name         TEXT   NOT NULL,
	reply_to     TEXT   NOT NULL,
	note         TEXT   NOT NULL,
	confirmed_at BIGINT NOT NULL,
	created_at   BIGINT NOT NULL
) {{norowid}};

CREATE UNIQUE INDEX senders_address ON senders (account_id, address_key);
CREATE INDEX senders_domain ON senders (domain_id);

-- One row per confirmation mail; also what the daily limits count by.
CREATE TABLE confirmations (
	hash        {{bytes}} NOT NULL PRIMARY KEY,
	account_id  BIGINT    NOT NULL,
	sender_id   BIGINT    NOT NULL,
	address_key TEXT      NOT NULL,
	created_at  BIGINT    NOT NULL,
	expires_at  BIGINT    NOT NULL
) {{norowid}};

CREATE INDEX confirmations_address ON confirmations (address_key, created_at);
CREATE INDEX confirmations_account ON confirmations (account_id, created_at);
CREATE INDEX confirmations_created ON confirmations (created_at);

CREATE TABLE suppressions (
	server_id   BIGINT NOT NULL,
	stream      TEXT   NOT NULL,
	address_key TEXT   NOT NULL,
	reason      TEXT   NOT NULL,
	origin      TEXT   NOT NULL,
	created_at  BIGINT NOT NULL,
	PRIMARY KEY (server_id, stream, address_key)
) {{norowid}};

-- Accepted recipients per calendar month (UTC). slot spreads the row of a busy
-- server, so that its transactions do not wait for each other.
CREATE TABLE usage_monthly (
	account_id BIGINT NOT NULL,
	month      BIGINT NOT NULL, -- 202603
	server_id  BIGINT NOT NULL,
	slot       BIGINT NOT NULL,
	n          BIGINT NOT NULL,
	PRIMARY KEY (account_id, month, server_id, slot)
) {{norowid}};
