-- Whoever guesses passwords is slowed down, by all nodes together.

CREATE TABLE login_failures (
    key      bytea PRIMARY KEY,
    failures integer NOT NULL,
    last_at  timestamptz NOT NULL,
    free_at  timestamptz NOT NULL
);
CREATE INDEX login_failures_last ON login_failures (last_at);
COMMENT ON TABLE login_failures IS 'Sign-ins that failed; gone with a success, or after a quarter of an hour without a failure.';
COMMENT ON COLUMN login_failures.key IS 'SHA-256 of user name and address.';
COMMENT ON COLUMN login_failures.failures IS 'How many in a row.';
COMMENT ON COLUMN login_failures.last_at IS 'When the last one was.';
COMMENT ON COLUMN login_failures.free_at IS 'When the attempt is checked that was promised the last place in time.';
