-- +goose Up

-- When a message is sent that was accepted ahead of its time; 0: at once.
ALTER TABLE messages ADD COLUMN send_at BIGINT NOT NULL DEFAULT 0;

-- 1: may send no bulk requests.
ALTER TABLE accounts ADD COLUMN no_bulk SMALLINT NOT NULL DEFAULT 0;

-- Bulk requests. The first released + failed messages of each were seen to.
CREATE TABLE bulk_requests (
	id           {{bytes}} NOT NULL PRIMARY KEY,
	account_id   BIGINT    NOT NULL,
	server_id    BIGINT    NOT NULL,
	stream       TEXT      NOT NULL,
	subject      TEXT      NOT NULL,
	submitted_at BIGINT    NOT NULL,
	state        SMALLINT  NOT NULL, -- pennypost.BulkState
	total        BIGINT    NOT NULL,
	released     BIGINT    NOT NULL,
	failed       BIGINT    NOT NULL,
	next_at      BIGINT    NOT NULL, -- when it is worked on next
	stored       SMALLINT  NOT NULL  -- 1: it may have rows in the next two tables
) {{norowid}};

CREATE INDEX bulk_requests_server ON bulk_requests (server_id, submitted_at, id) WHERE state <> 0;
CREATE INDEX bulk_requests_open ON bulk_requests (next_at) WHERE state IN (1, 2);
CREATE INDEX bulk_requests_waste ON bulk_requests (id) WHERE state NOT IN (1, 2) AND stored = 1;

-- What all messages of a request have.
CREATE TABLE bulk_shared (
	request_id {{bytes}} NOT NULL PRIMARY KEY,
	content    {{bytes}} NOT NULL,
	checksum   BIGINT    NOT NULL
);

-- What each has of its own, some hundred in a row. They go as they are done.
CREATE TABLE bulk_parts (
	request_id {{bytes}} NOT NULL,
	first      BIGINT    NOT NULL, -- number of its first message
	content    {{bytes}} NOT NULL,
	checksum   BIGINT    NOT NULL,
	PRIMARY KEY (request_id, first)
);
