-- +goose Up

-- When a message is sent that was accepted ahead of its time; 0: at once.
ALTER TABLE messages ADD COLUMN send_at BIGINT NOT NULL DEFAULT 0;
