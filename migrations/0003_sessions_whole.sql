-- Sessions whole: workspace objects, files and snapshots as jobs, and where their bytes are.

ALTER TABLE jobs
    DROP CONSTRAINT jobs_kind_check,
    ADD CONSTRAINT jobs_kind_check CHECK (kind IN (
        'open_session', 'execute',
        'list_objects', 'get_object', 'put_object', 'delete_object',
        'list_files', 'get_file', 'put_files', 'delete_file',
        'create_snapshot', 'load_snapshot'));

CREATE TABLE snapshots (
    id           uuid PRIMARY KEY,
    owner_id     uuid NOT NULL REFERENCES principals (id),
    name         text,
    content_size bigint NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX snapshots_owner ON snapshots (owner_id, id);
COMMENT ON TABLE snapshots IS 'Saved R state. A row exists only when its zip is whole in the object store.';
COMMENT ON COLUMN snapshots.id IS 'UUID v7; also names the blob: snapshots/{id}.zip.';
COMMENT ON COLUMN snapshots.owner_id IS 'The only one who sees it.';
COMMENT ON COLUMN snapshots.name IS 'A label of the owner; not unique.';
COMMENT ON COLUMN snapshots.content_size IS 'Bytes of the zip.';
COMMENT ON COLUMN snapshots.created_at IS 'When it was saved.';

CREATE TABLE transfers (
    id         uuid PRIMARY KEY,
    owner_id   uuid NOT NULL,
    bytes      bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX transfers_expiry ON transfers (expires_at);
COMMENT ON TABLE transfers IS 'Bytes on their way between callers and sessions that are too many for a row of jobs.';
COMMENT ON COLUMN transfers.id IS 'UUID v7; also names the blob: transfers/{id}.';
COMMENT ON COLUMN transfers.owner_id IS 'Whose bytes. No foreign key: see jobs.owner_id.';
COMMENT ON COLUMN transfers.bytes IS 'How many.';
COMMENT ON COLUMN transfers.created_at IS 'When they were whole in the object store.';
COMMENT ON COLUMN transfers.expires_at IS 'After this the row and then the blob are removed.';

COMMENT ON COLUMN jobs.seq IS 'Its place among the jobs of its session in the order they were accepted, from sessions.next_seq; in the lane ordered its turn.';
