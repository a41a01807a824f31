-- Published services: names and who owns them, versions, what each version consists of, and the jobs that publish and call.

ALTER TABLE jobs
    DROP CONSTRAINT jobs_kind_check,
    ADD CONSTRAINT jobs_kind_check CHECK (kind = ANY (
        '{open_session,execute,list_objects,get_object,put_object,delete_object,list_files,get_file,put_files,delete_file,create_snapshot,load_snapshot,publish,call}'));

CREATE INDEX jobs_calls ON jobs (id) WHERE state = 'queued' AND kind = ANY ('{publish,call}');

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
