-- Upkeep: how many sessions an owner may have, work that one node at a time does now and then, and what finds old tokens.

ALTER TABLE principals ADD COLUMN sessions_opened bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN principals.sessions_opened IS 'How many sessions it ever asked for; tells an opening that waited for this row what was added since its snapshot.';

CREATE TABLE chores (
    name   text PRIMARY KEY,
    due_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO chores (name) VALUES ('idle'), ('retention'), ('blobs');
COMMENT ON TABLE chores IS 'Work that the API nodes share: whoever moves due_at does it this time.';
COMMENT ON COLUMN chores.name IS 'What is to be done.';
COMMENT ON COLUMN chores.due_at IS 'When it is due next.';

CREATE INDEX token_families_expiry ON token_families (expires_at);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);
