-- +goose Up

-- Of deleted templates the oldest are dropped when there are many, and what
-- they say is kept once (templates.go).
CREATE INDEX templates_deleted ON templates (server_id, deleted_at, id) WHERE deleted_at <> 0;
