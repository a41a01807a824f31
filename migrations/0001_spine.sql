-- The spine: who may sign in, which workers live, sessions, jobs and what they printed.
-- From here on only additive changes: old and new code run side by side during a deploy.

CREATE TABLE principals (
    id          uuid PRIMARY KEY,
    source      text NOT NULL,
    subject     text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz,
    CONSTRAINT principals_one_per_subject UNIQUE (source, subject)
);
COMMENT ON TABLE principals IS 'Whoever owns things. Made at first sight for every way of signing in; never deleted, only disabled.';
COMMENT ON COLUMN principals.id IS 'UUID v7.';
COMMENT ON COLUMN principals.source IS 'Who vouches for the subject: local for a user of Warren itself.';
COMMENT ON COLUMN principals.subject IS 'The name within the source; shown to callers as owner.';
COMMENT ON COLUMN principals.created_at IS 'First seen.';
COMMENT ON COLUMN principals.disabled_at IS 'Since when signing in is refused; null while allowed.';

CREATE TABLE local_users (
    principal_id        uuid PRIMARY KEY REFERENCES principals (id),
    password_hash       text NOT NULL,
    password_changed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE local_users IS 'Passwords of principals whose source is local.';
COMMENT ON COLUMN local_users.principal_id IS 'Whose password.';
COMMENT ON COLUMN local_users.password_hash IS 'Argon2id in PHC string form.';
COMMENT ON COLUMN local_users.password_changed_at IS 'When it was last set.';

CREATE TABLE signing_keys (
    kid         text PRIMARY KEY,
    algorithm   text NOT NULL CHECK (algorithm IN ('ES256')),
    private_der bytea NOT NULL,
    public_x    text NOT NULL,
    public_y    text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    retired_at  timestamptz
);
COMMENT ON TABLE signing_keys IS 'Keys of access tokens, shared by every API node.';
COMMENT ON COLUMN signing_keys.kid IS 'Key id in the header of a token.';
COMMENT ON COLUMN signing_keys.algorithm IS 'JWS algorithm.';
COMMENT ON COLUMN signing_keys.private_der IS 'PKCS 8 document.';
COMMENT ON COLUMN signing_keys.public_x IS 'Public point, x, base64url.';
COMMENT ON COLUMN signing_keys.public_y IS 'Public point, y, base64url.';
COMMENT ON COLUMN signing_keys.created_at IS 'The newest key that is not retired signs.';
COMMENT ON COLUMN signing_keys.retired_at IS 'Since when it signs nothing more; it verifies until its last token ran out.';

CREATE TABLE token_families (
    id           uuid PRIMARY KEY,
    principal_id uuid NOT NULL REFERENCES principals (id),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz
);
CREATE INDEX token_families_principal ON token_families (principal_id);
COMMENT ON TABLE token_families IS 'One sign-in and every token that descends from it.';
COMMENT ON COLUMN token_families.id IS 'The sid claim of its access tokens.';
COMMENT ON COLUMN token_families.principal_id IS 'Who signed in.';
COMMENT ON COLUMN token_families.created_at IS 'When.';
COMMENT ON COLUMN token_families.expires_at IS 'No renewal beyond this.';
COMMENT ON COLUMN token_families.revoked_at IS 'Since when none of its tokens is accepted; null while valid.';

CREATE TABLE refresh_tokens (
    hash       bytea PRIMARY KEY,
    family_id  uuid NOT NULL REFERENCES token_families (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    spent_at   timestamptz
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family_id);
COMMENT ON TABLE refresh_tokens IS 'Refresh tokens, by hash only.';
COMMENT ON COLUMN refresh_tokens.hash IS 'SHA-256 of the token.';
COMMENT ON COLUMN refresh_tokens.family_id IS 'The sign-in it descends from.';
COMMENT ON COLUMN refresh_tokens.created_at IS 'When it was issued.';
COMMENT ON COLUMN refresh_tokens.expires_at IS 'When it stops working.';
COMMENT ON COLUMN refresh_tokens.spent_at IS 'When it was exchanged; it works once.';

CREATE TABLE workers (
    id               uuid PRIMARY KEY,
    epoch            bigint GENERATED ALWAYS AS IDENTITY,
    name             text NOT NULL,
    state            text NOT NULL CHECK (state IN ('alive', 'draining', 'left', 'dead')),
    session_slots    integer NOT NULL,
    sessions         integer NOT NULL DEFAULT 0,
    r_version        text NOT NULL,
    started_at       timestamptz NOT NULL DEFAULT now(),
    lease_expires_at timestamptz NOT NULL,
    ended_at         timestamptz
);
CREATE INDEX workers_living ON workers (lease_expires_at) WHERE state IN ('alive', 'draining');
COMMENT ON TABLE workers IS 'Fleet members. A new row at every start of a worker process.';
COMMENT ON COLUMN workers.id IS 'New at every start.';
COMMENT ON COLUMN workers.epoch IS 'Named by every write of the worker; a write with another epoch, or of a worker that is not alive or draining, changes no row.';
COMMENT ON COLUMN workers.name IS 'Host name and process id, for people.';
COMMENT ON COLUMN workers.state IS 'alive; draining: takes no more; left: by itself; dead: declared by a sweeper.';
COMMENT ON COLUMN workers.session_slots IS 'Sessions it can hold.';
COMMENT ON COLUMN workers.sessions IS 'Sessions it held at its last heartbeat.';
COMMENT ON COLUMN workers.r_version IS 'Version of its R.';
COMMENT ON COLUMN workers.started_at IS 'When it registered.';
COMMENT ON COLUMN workers.lease_expires_at IS 'Renewed by heartbeat, by the clock of the database.';
COMMENT ON COLUMN workers.ended_at IS 'When it left or was declared dead.';

CREATE TABLE sessions (
    id               uuid PRIMARY KEY,
    owner_id         uuid NOT NULL REFERENCES principals (id),
    name             text,
    state            text NOT NULL CHECK (state IN ('opening', 'open', 'closing', 'closed', 'lost')),
    state_reason     text,
    worker_id        uuid,
    epoch            bigint,
    next_seq         bigint NOT NULL DEFAULT 1,
    created_at       timestamptz NOT NULL DEFAULT now(),
    last_activity_at timestamptz NOT NULL DEFAULT now(),
    ended_at         timestamptz,
    CONSTRAINT sessions_open_has_worker CHECK (state <> 'open' OR (worker_id IS NOT NULL AND epoch IS NOT NULL)),
    CONSTRAINT sessions_ended_has_time CHECK ((state IN ('closed', 'lost')) = (ended_at IS NOT NULL))
);
CREATE INDEX sessions_owner_live ON sessions (owner_id) WHERE state IN ('opening', 'open', 'closing');
CREATE INDEX sessions_worker_live ON sessions (worker_id) WHERE state IN ('opening', 'open', 'closing');
COMMENT ON TABLE sessions IS 'One private R process of one owner each. A row outlives its last job.';
COMMENT ON COLUMN sessions.id IS 'UUID v7.';
COMMENT ON COLUMN sessions.owner_id IS 'The only one who sees it.';
COMMENT ON COLUMN sessions.name IS 'A label of the owner; not unique.';
COMMENT ON COLUMN sessions.state IS 'See docs/STATES.md.';
COMMENT ON COLUMN sessions.state_reason IS 'Why it ended, for the 410 of its owner.';
COMMENT ON COLUMN sessions.worker_id IS 'The worker that holds its R process; null until opened. No foreign key: worker rows may be removed earlier.';
COMMENT ON COLUMN sessions.epoch IS 'The epoch of that worker.';
COMMENT ON COLUMN sessions.next_seq IS 'The place of the next job that takes its turn.';
COMMENT ON COLUMN sessions.created_at IS 'When it was asked for.';
COMMENT ON COLUMN sessions.last_activity_at IS 'The last call of its owner.';
COMMENT ON COLUMN sessions.ended_at IS 'When it closed or was lost.';

CREATE TABLE jobs (
    id                  uuid PRIMARY KEY,
    kind                text NOT NULL CHECK (kind IN ('open_session', 'execute')),
    lane                text CHECK (lane IN ('ordered', 'aside')),
    state               text NOT NULL CHECK (state IN ('waiting', 'queued', 'running', 'succeeded', 'failed', 'cancelled', 'timed_out', 'lost')),
    owner_id            uuid NOT NULL,
    session_id          uuid REFERENCES sessions (id),
    seq                 bigint,
    attempt             integer NOT NULL DEFAULT 0,
    worker_id           uuid,
    epoch               bigint,
    api_id              uuid NOT NULL,
    request             bytea NOT NULL,
    result              bytea,
    console_tail        bytea,
    reason              text,
    cancel_requested_at timestamptz,
    cancel              text CHECK (cancel IN ('confirmed', 'forced')),
    traceparent         text,
    created_at          timestamptz NOT NULL DEFAULT now(),
    started_at          timestamptz,
    finished_at         timestamptz,
    noticed_at          timestamptz NOT NULL DEFAULT now(),
    notices             integer NOT NULL DEFAULT 1,
    CONSTRAINT jobs_final_has_time CHECK ((state IN ('succeeded', 'failed', 'cancelled', 'timed_out', 'lost')) = (finished_at IS NOT NULL)),
    CONSTRAINT jobs_running_has_worker CHECK (state <> 'running' OR (worker_id IS NOT NULL AND epoch IS NOT NULL AND started_at IS NOT NULL)),
    CONSTRAINT jobs_ordered_has_place CHECK (lane IS DISTINCT FROM 'ordered' OR (session_id IS NOT NULL AND seq IS NOT NULL))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX jobs_one_running ON jobs (session_id) WHERE state = 'running' AND lane = 'ordered';
CREATE INDEX jobs_head ON jobs (session_id, seq) WHERE state = 'queued';
CREATE INDEX jobs_history ON jobs (session_id, seq);
CREATE INDEX jobs_owner ON jobs (owner_id, id);
CREATE INDEX jobs_opens ON jobs (id) WHERE state = 'queued' AND kind = 'open_session';
-- The last two predicates hold for every such row. They keep these indexes, which are full of dead entries between two
-- vacuums, out of the plans of the hot statements: only the sweeper says them.
CREATE INDEX jobs_running ON jobs (worker_id) WHERE state = 'running' AND attempt > 0;
CREATE INDEX jobs_silent ON jobs (noticed_at) WHERE state = 'queued' AND notices > 0;
COMMENT ON TABLE jobs IS 'Every piece of R work and how it ended.';
COMMENT ON COLUMN jobs.id IS 'UUID v7, so the order of ids is the order of acceptance.';
COMMENT ON COLUMN jobs.kind IS 'What is to be done.';
COMMENT ON COLUMN jobs.lane IS 'ordered: one at a time by seq; aside: without R, at once; null: not of an open session.';
COMMENT ON COLUMN jobs.state IS 'See docs/STATES.md.';
COMMENT ON COLUMN jobs.owner_id IS 'Who asked. No foreign key: its row lock would be shared by every job of an owner.';
COMMENT ON COLUMN jobs.session_id IS 'The session it belongs to, or that it opens.';
COMMENT ON COLUMN jobs.seq IS 'Its turn within the session, from sessions.next_seq.';
COMMENT ON COLUMN jobs.attempt IS 'How often a worker claimed it.';
COMMENT ON COLUMN jobs.worker_id IS 'Who claimed it last.';
COMMENT ON COLUMN jobs.epoch IS 'The epoch of that claim.';
COMMENT ON COLUMN jobs.api_id IS 'The API node that accepted it: the completion event goes there.';
COMMENT ON COLUMN jobs.request IS 'What was asked, as exact bytes of JSON.';
COMMENT ON COLUMN jobs.result IS 'What came out, as exact bytes of JSON, without the console text; null while not final and when R gave none.';
COMMENT ON COLUMN jobs.console_tail IS 'Console text after the last row of console_chunks, UTF-8.';
COMMENT ON COLUMN jobs.reason IS 'Why it ended lost, cancelled, failed without R, or timed out.';
COMMENT ON COLUMN jobs.cancel_requested_at IS 'When somebody asked to cancel it.';
COMMENT ON COLUMN jobs.cancel IS 'confirmed: R unwound and the session lives; forced: the process was killed.';
COMMENT ON COLUMN jobs.traceparent IS 'W3C trace context of the request, so that the worker continues its trace.';
COMMENT ON COLUMN jobs.created_at IS 'When it was accepted.';
COMMENT ON COLUMN jobs.started_at IS 'When its last attempt was claimed.';
COMMENT ON COLUMN jobs.finished_at IS 'When it became final.';
COMMENT ON COLUMN jobs.noticed_at IS 'When a notice about it was last sent.';
COMMENT ON COLUMN jobs.notices IS 'How many notices were sent about it.';

CREATE TABLE console_chunks (
    job_id uuid NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    seq    integer NOT NULL,
    text   bytea NOT NULL,
    PRIMARY KEY (job_id, seq)
);
COMMENT ON TABLE console_chunks IS 'Console output of running jobs in the order it was written.';
COMMENT ON COLUMN console_chunks.job_id IS 'Whose output.';
COMMENT ON COLUMN console_chunks.seq IS 'From 0, without gaps.';
COMMENT ON COLUMN console_chunks.text IS 'Whole UTF-8 characters; bytea because R may print NUL.';

CREATE TABLE idempotency_keys (
    owner_id   uuid NOT NULL REFERENCES principals (id),
    key        text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    body_hash  bytea NOT NULL,
    job_id     uuid NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, key)
);
CREATE INDEX idempotency_keys_job ON idempotency_keys (job_id);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
COMMENT ON TABLE idempotency_keys IS 'Idempotency-Key headers of the last 24 hours.';
COMMENT ON COLUMN idempotency_keys.owner_id IS 'Whose key.';
COMMENT ON COLUMN idempotency_keys.key IS 'As it was sent.';
COMMENT ON COLUMN idempotency_keys.body_hash IS 'SHA-256 over method, path and body of the first request.';
COMMENT ON COLUMN idempotency_keys.job_id IS 'The job that the first request made.';
COMMENT ON COLUMN idempotency_keys.created_at IS 'When; a key is free again after 24 hours.';
