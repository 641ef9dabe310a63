-- +goose Up

-- Step 4 filled recipient_key with lower(), which on SQLite leaves what is not
-- ASCII as it is, and on PostgreSQL does what the database's locale says. Such
-- rows are written again as we compare addresses: see migrate.go.
