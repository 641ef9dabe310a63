-- +goose Up

-- The first open of a recipient's copy; later ones are counted in it. machine
-- is 1 where no person opened it: both are kept, so that the one does not hide
-- the other. Recipient and tag stand here too, since opens are searched by them.
CREATE TABLE opens (
	message_id     {{bytes}} NOT NULL,
	n              BIGINT    NOT NULL,
	machine        SMALLINT  NOT NULL,
	rule           TEXT      NOT NULL, -- by which it was a machine
	id             BIGINT    NOT NULL, -- grows with time
	at             BIGINT    NOT NULL,
	count          BIGINT    NOT NULL,
	last_at        BIGINT    NOT NULL,
	account_id     BIGINT    NOT NULL,
	server_id      BIGINT    NOT NULL,
	stream         TEXT      NOT NULL,
	recipient      TEXT      NOT NULL,
	recipient_key  TEXT      NOT NULL, -- recipient in lower case
	tag            TEXT      NOT NULL,
	user_agent     TEXT      NOT NULL,
	client_name    TEXT      NOT NULL,
	client_company TEXT      NOT NULL,
	client_family  TEXT      NOT NULL,
	os_name        TEXT      NOT NULL,
	os_company     TEXT      NOT NULL,
	os_family      TEXT      NOT NULL,
	platform       TEXT      NOT NULL,
	country_code   TEXT      NOT NULL,
	country        TEXT      NOT NULL,
	region_code    TEXT      NOT NULL,
	region         TEXT      NOT NULL,
	city           TEXT      NOT NULL,
	zip            TEXT      NOT NULL,
	coords         TEXT      NOT NULL,
	ip             TEXT      NOT NULL,
	PRIMARY KEY (message_id, n, machine)
);

CREATE INDEX opens_stream ON opens (server_id, stream, id) WHERE machine = 0;

-- The first click of a recipient on a link of a message, in the same way.
CREATE TABLE clicks (
	message_id     {{bytes}} NOT NULL,
	n              BIGINT    NOT NULL,
	link           BIGINT    NOT NULL, -- its number in the message, from 1
	machine        SMALLINT  NOT NULL,
	rule           TEXT      NOT NULL,
	location       TEXT      NOT NULL, -- HTML, Text
	target         TEXT      NOT NULL,
	id             BIGINT    NOT NULL,
	at             BIGINT    NOT NULL,
	count          BIGINT    NOT NULL,
	last_at        BIGINT    NOT NULL,
	account_id     BIGINT    NOT NULL,
	server_id      BIGINT    NOT NULL,
	stream         TEXT      NOT NULL,
	recipient      TEXT      NOT NULL,
	recipient_key  TEXT      NOT NULL,
	tag            TEXT      NOT NULL,
	user_agent     TEXT      NOT NULL,
	client_name    TEXT      NOT NULL,
	client_company TEXT      NOT NULL,
	client_family  TEXT      NOT NULL,
	os_name        TEXT      NOT NULL,
	os_company     TEXT      NOT NULL,
	os_family      TEXT      NOT NULL,
	platform       TEXT      NOT NULL,
	country_code   TEXT      NOT NULL,
	country        TEXT      NOT NULL,
	region_code    TEXT      NOT NULL,
	region         TEXT      NOT NULL,
	city           TEXT      NOT NULL,
	zip            TEXT      NOT NULL,
	coords         TEXT      NOT NULL,
	ip             TEXT      NOT NULL,
	PRIMARY KEY (message_id, n, link, machine)
);

CREATE INDEX clicks_stream ON clicks (server_id, stream, id) WHERE machine = 0;

-- Counters of contract/stats.md §2: recipients of mail with open and with link
-- tracking and with either, links in their copies, and what came of it.
ALTER TABLE stats_hourly ADD COLUMN tracked BIGINT NOT NULL DEFAULT 0;
ALTER TABLE stats_hourly ADD COLUMN tracked_opens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE stats_hourly ADD COLUMN tracked_links BIGINT NOT NULL DEFAULT 0;
ALTER TABLE stats_hourly ADD COLUMN links_sent BIGINT NOT NULL DEFAULT 0;
ALTER TABLE stats_hourly ADD COLUMN opens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE stats_hourly ADD COLUMN unique_opens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE stats_hourly ADD COLUMN clicks BIGINT NOT NULL DEFAULT 0;
ALTER TABLE stats_hourly ADD COLUMN unique_clicks BIGINT NOT NULL DEFAULT 0;
ALTER TABLE stats_hourly ADD COLUMN machine_opens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE stats_hourly ADD COLUMN machine_clicks BIGINT NOT NULL DEFAULT 0;

-- First opens and first clicks of an hour by client, platform, browser and
-- location (contract/stats.md §3): statistics stay when the opens are gone.
CREATE TABLE stats_readings (
	server_id BIGINT NOT NULL,
	stream    TEXT   NOT NULL,
	hour      BIGINT NOT NULL,
	tag       TEXT   NOT NULL,
	kind      TEXT   NOT NULL, -- see stats_readings.go
	name      TEXT   NOT NULL,
	slot      BIGINT NOT NULL,
	n         BIGINT NOT NULL,
	PRIMARY KEY (server_id, stream, hour, tag, kind, name, slot)
) {{norowid}};
