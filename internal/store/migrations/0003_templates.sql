-- +goose Up

INSERT INTO sequences (name, n) VALUES ('template', 0);

-- Templates and layouts of servers. What they say is in template_versions; the
-- rest is what their latest version has. A deleted one stays, so that its id
-- still answers.
CREATE TABLE templates (
	id         BIGINT NOT NULL PRIMARY KEY,
	server_id  BIGINT NOT NULL,
	version    BIGINT NOT NULL, -- the latest
	name       TEXT   NOT NULL,
	alias      TEXT   NOT NULL,
	alias_key  TEXT   NOT NULL, -- alias in lower case
	type       TEXT   NOT NULL, -- Standard, Layout
	layout_id  BIGINT NOT NULL, -- 0: none
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	deleted_at BIGINT NOT NULL
) {{norowid}};

CREATE UNIQUE INDEX templates_alias ON templates (server_id, alias_key) WHERE deleted_at = 0;
CREATE INDEX templates_server ON templates (server_id, id) WHERE deleted_at = 0;
CREATE INDEX templates_layout ON templates (layout_id) WHERE layout_id <> 0 AND deleted_at = 0;

-- Each edit adds a row. checksum covers the row.
CREATE TABLE template_versions (
	template_id BIGINT NOT NULL,
	version     BIGINT NOT NULL,
	subject     TEXT   NOT NULL,
	html        TEXT   NOT NULL, -- '' when there is none; so text
	text        TEXT   NOT NULL,
	created_at  BIGINT NOT NULL,
	checksum    BIGINT NOT NULL,
	PRIMARY KEY (template_id, version)
);
