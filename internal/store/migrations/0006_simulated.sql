-- +goose Up

-- Bounces that a test address made say nothing of the sender's mail.
ALTER TABLE bounces ADD COLUMN simulated SMALLINT NOT NULL DEFAULT 0;
