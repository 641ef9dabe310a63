-- +goose Up

-- 1: streams of the account may not handle unsubscribing themselves (code 1238).
ALTER TABLE accounts ADD COLUMN no_custom_unsubscribe SMALLINT NOT NULL DEFAULT 0;

CREATE INDEX streams_archived ON streams (archived_at) WHERE archived_at <> 0;

-- recipient in lower case: an address that is taken off the list is no longer
-- inactive in the records of its bounces.
ALTER TABLE bounces ADD COLUMN recipient_key TEXT NOT NULL DEFAULT '';
UPDATE bounces SET recipient_key = lower(recipient);
CREATE INDEX bounces_inactive ON bounces (server_id, stream, recipient_key, id) WHERE inactive = 1;

INSERT INTO sequences (name, n) VALUES ('import', 0);

-- Imports of suppressions. The entries not dealt with yet are in import_parts.
CREATE TABLE imports (
	id          BIGINT NOT NULL PRIMARY KEY,
	server_id   BIGINT NOT NULL,
	stream      TEXT   NOT NULL,
	status      TEXT   NOT NULL, -- Receiving (parts are still being stored), Waiting, Processing, Completed
	total       BIGINT NOT NULL,
	processed   BIGINT NOT NULL,
	added       BIGINT NOT NULL,
	failed      BIGINT NOT NULL,
	errors      TEXT   NOT NULL, -- JSON of [line, address, text], the first hundred
	created_at  BIGINT NOT NULL,
	finished_at BIGINT NOT NULL
) {{norowid}};

CREATE INDEX imports_stream ON imports (server_id, stream, id);
CREATE INDEX imports_open ON imports (id) WHERE finished_at = 0;

CREATE TABLE import_parts (
	import_id BIGINT    NOT NULL,
	n         BIGINT    NOT NULL,
	entries   {{bytes}} NOT NULL, -- JSON of [line, address, reason, origin, time, fault]
	checksum  BIGINT    NOT NULL,
	PRIMARY KEY (import_id, n)
);
