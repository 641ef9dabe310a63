-- +goose Up

-- What an API token may do: full, send-only, read-only.
ALTER TABLE tokens ADD COLUMN scope TEXT NOT NULL DEFAULT 'full';

-- Addresses and CIDRs, separated by commas, from which a server sends over
-- HTTP; '' when from any.
ALTER TABLE servers ADD COLUMN allowed_ips TEXT NOT NULL DEFAULT '';

-- Requests that their clients may repeat (Idempotency-Key), kept for a day. A
-- row is written with the first message that is accepted for the request, or
-- with its answer.
CREATE TABLE requests (
	server_id BIGINT    NOT NULL,
	key       TEXT      NOT NULL,
	hash      {{bytes}} NOT NULL, -- of what was asked for
	begun_at  BIGINT    NOT NULL,
	turn      BIGINT    NOT NULL, -- grows with every transaction that accepts for it
	items     TEXT      NOT NULL, -- what was accepted, a JSON object a line
	status    SMALLINT  NOT NULL, -- of the answer; 0: not answered yet
	answer    {{bytes}} NOT NULL,
	PRIMARY KEY (server_id, key)
);

CREATE INDEX requests_begun ON requests (begun_at);
