-- What callers may do: a role for each, known to every node soon after it changed.

ALTER TABLE principals
    ADD COLUMN role     text NOT NULL DEFAULT 'contributor' CHECK (role IN ('reader', 'contributor', 'owner')),
    ADD COLUMN revision integer NOT NULL DEFAULT 0,
    ADD COLUMN changed  xid8;
CREATE INDEX principals_changed ON principals (changed) WHERE changed IS NOT NULL;
COMMENT ON COLUMN principals.role IS 'What it may do. Set by an operator for local users, by its groups for those of a directory.';
COMMENT ON COLUMN principals.revision IS 'How often its role changed, or it was disabled or enabled. A token says at which revision it was issued.';
COMMENT ON COLUMN principals.changed IS 'The transaction that last raised the revision; null before the first. Nodes read what changed since they looked.';

-- Until now there was one role, and the first user was everybody's administrator.
UPDATE principals SET role = 'owner', revision = 1, changed = pg_current_xact_id() WHERE source = 'local' AND subject = 'admin';

ALTER TABLE service_versions ADD COLUMN published_by uuid REFERENCES principals (id);
COMMENT ON COLUMN service_versions.published_by IS 'Who published it; null when that is the owner of the name.';
COMMENT ON COLUMN services.owner_id IS 'Who may publish under the name, besides those of the role owner.';
COMMENT ON COLUMN batches.owner_id IS 'Who sees it, besides those of the role owner.';
