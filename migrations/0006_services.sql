-- Published services: names and who owns them, versions, what each version consists of, batches, and the jobs of all of these.

ALTER TABLE jobs
    DROP CONSTRAINT jobs_kind_check,
    ADD CONSTRAINT jobs_kind_check CHECK (kind = ANY (
        '{open_session,execute,list_objects,get_object,put_object,delete_object,list_files,get_file,put_files,delete_file,create_snapshot,load_snapshot,publish,call,batch_item}')),
    ADD COLUMN batch_id uuid,
    ADD COLUMN item integer;
COMMENT ON COLUMN jobs.batch_id IS 'The batch that it is an item of.';
COMMENT ON COLUMN jobs.item IS 'Its place among the records of the batch, from 0.';

CREATE INDEX jobs_calls ON jobs (id) WHERE state = 'queued' AND kind = ANY ('{publish,call,batch_item}');
CREATE UNIQUE INDEX jobs_items ON jobs (batch_id, item) WHERE batch_id IS NOT NULL;

CREATE TABLE services (
    name       text PRIMARY KEY,
    owner_id   uuid NOT NULL REFERENCES principals (id),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE services IS 'Names of services. Whoever publishes or deletes under a name locks its row first; it goes with its last version.';
COMMENT ON COLUMN services.name IS 'Case-sensitive.';
COMMENT ON COLUMN services.owner_id IS 'The only one who may publish under the name.';
COMMENT ON COLUMN services.created_at IS 'When it was first asked for.';

CREATE TABLE service_versions (
    id         uuid PRIMARY KEY,
    name       text NOT NULL REFERENCES services (name),
    version    text NOT NULL,
    content_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT service_versions_one_per_name UNIQUE (name, version)
);
COMMENT ON TABLE service_versions IS 'Versions of services. One without content is reserved: its first publication is under way.';
COMMENT ON COLUMN service_versions.id IS 'UUID v7. Another one when the same version is published again after it was deleted.';
COMMENT ON COLUMN service_versions.name IS 'Of which service.';
COMMENT ON COLUMN service_versions.version IS 'Case-sensitive.';
COMMENT ON COLUMN service_versions.content_id IS 'What a call runs that is accepted now; null while nothing was published successfully.';
COMMENT ON COLUMN service_versions.created_at IS 'When it was first asked for.';

CREATE TABLE service_contents (
    id          uuid PRIMARY KEY,
    version_id  uuid NOT NULL,
    job_id      uuid NOT NULL,
    snapshot_id uuid,
    pinned_id   uuid,
    definition  bytea,
    pinned_at   timestamptz,
    over_at     timestamptz
);
CREATE INDEX service_contents_version ON service_contents (version_id);
CREATE INDEX service_contents_snapshot ON service_contents (snapshot_id) WHERE pinned_at IS NULL;
CREATE INDEX service_contents_pinned ON service_contents (pinned_id);
CREATE INDEX service_contents_over ON service_contents (over_at);
COMMENT ON TABLE service_contents IS 'What versions consist of. A row never changes once it is pinned; a call runs the content that was current when it was accepted.';
COMMENT ON COLUMN service_contents.id IS 'UUID v7.';
COMMENT ON COLUMN service_contents.version_id IS 'Of which version. No foreign key: calls that run may outlive it.';
COMMENT ON COLUMN service_contents.job_id IS 'The job that publishes it.';
COMMENT ON COLUMN service_contents.snapshot_id IS 'The snapshot whose content is copied; not to be removed from the store before pinned_at.';
COMMENT ON COLUMN service_contents.pinned_id IS 'Names the copy of the snapshot, services/{pinned_id}.zip: its own id, or that of an earlier content; null without one.';
COMMENT ON COLUMN service_contents.definition IS 'Code and parameters, as exact bytes of JSON; null until pinned.';
COMMENT ON COLUMN service_contents.pinned_at IS 'When it was published.';
COMMENT ON COLUMN service_contents.over_at IS 'When another took its place, or its version was deleted; some time later it is removed.';

CREATE TABLE batches (
    id          uuid PRIMARY KEY,
    owner_id    uuid NOT NULL REFERENCES principals (id),
    name        text NOT NULL,
    version     text NOT NULL,
    content_id  uuid NOT NULL,
    parallel    integer NOT NULL,
    items       integer,
    released    integer NOT NULL DEFAULT 0,
    done        integer NOT NULL DEFAULT 0,
    recount     boolean NOT NULL DEFAULT false,
    touched_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    deleted_at  timestamptz
);
CREATE INDEX batches_owner ON batches (owner_id, id);
CREATE INDEX batches_arriving ON batches (touched_at) WHERE items IS NULL;
CREATE INDEX batches_recount ON batches (id) WHERE recount;
CREATE INDEX batches_unfinished ON batches (content_id) WHERE finished_at IS NULL;
COMMENT ON TABLE batches IS 'Calls of one service that were sent together. Each record is a job.';
COMMENT ON COLUMN batches.id IS 'UUID v7; callers know it as the id of a batch execution.';
COMMENT ON COLUMN batches.owner_id IS 'The only one who sees it.';
COMMENT ON COLUMN batches.name IS 'The service; it may be gone.';
COMMENT ON COLUMN batches.version IS 'Its version.';
COMMENT ON COLUMN batches.content_id IS 'What its items run: kept as long as one of them may.';
COMMENT ON COLUMN batches.parallel IS 'How many of its items may be queued or running.';
COMMENT ON COLUMN batches.items IS 'How many there are; null while they arrive.';
COMMENT ON COLUMN batches.released IS 'Items before this place have been queued, but for those that were cancelled before. May be beyond the last.';
COMMENT ON COLUMN batches.done IS 'How many are final.';
COMMENT ON COLUMN batches.recount IS 'An item ended otherwise than by its worker: a sweeper counts anew.';
COMMENT ON COLUMN batches.touched_at IS 'When records last arrived.';
COMMENT ON COLUMN batches.finished_at IS 'When the last item became final.';
COMMENT ON COLUMN batches.deleted_at IS 'When its owner deleted it, or its records stopped arriving; nobody sees it from then on, and no more of it begins.';
