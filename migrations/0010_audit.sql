-- What was done and refused, by whom, from where.

CREATE TABLE audit (
    id           uuid PRIMARY KEY,
    at           timestamptz NOT NULL,
    event        text NOT NULL,
    outcome      text NOT NULL,
    status       smallint,
    principal_id uuid,
    name         text,
    target       text,
    address      text,
    request_id   text
);
COMMENT ON TABLE audit IS 'Sign-ins, refusals, and changes of sessions, services, snapshots, batches and users. Never code, tokens or values.';
COMMENT ON COLUMN audit.id IS 'UUID v7.';
COMMENT ON COLUMN audit.at IS 'When it was answered, by the clock of the node.';
COMMENT ON COLUMN audit.event IS 'What it was about; see AuditEvent in common/src/model/audit.rs.';
COMMENT ON COLUMN audit.outcome IS 'done, accepted (202: a job will do it), refused or failed.';
COMMENT ON COLUMN audit.status IS 'Status of the answer; null for what an operator did on the command line.';
COMMENT ON COLUMN audit.principal_id IS 'Who did it; null when nobody known did. No reference: records outlive what they are about.';
COMMENT ON COLUMN audit.name IS 'The name of who did it.';
COMMENT ON COLUMN audit.target IS 'What it was done to: a path, or an id or name that is not in the path. Without query.';
COMMENT ON COLUMN audit.address IS 'The address of the client.';
COMMENT ON COLUMN audit.request_id IS 'The id of the request, as in its answer and in the log.';
