-- Renewing and revoking: what every node has to know of a sign-in to refuse tokens that are not valid any more.

ALTER TABLE token_families
    ADD COLUMN generation   integer NOT NULL DEFAULT 0,
    ADD COLUMN changed      xid8,
    ADD COLUMN access_until timestamptz;
CREATE INDEX token_families_changed ON token_families (changed) WHERE changed IS NOT NULL;
CREATE INDEX token_families_relevant ON token_families ((coalesce(access_until, expires_at))) WHERE changed IS NOT NULL;
COMMENT ON COLUMN token_families.generation IS 'Renewals so far. Access tokens of an earlier generation are not accepted.';
COMMENT ON COLUMN token_families.changed IS 'The transaction that last renewed or revoked it; null before the first. Nodes read what changed since they looked.';
COMMENT ON COLUMN token_families.access_until IS 'When the last of its access tokens expires; null for those of a version that did not say so.';

ALTER TABLE principals ADD COLUMN sign_ins_from timestamptz;
COMMENT ON COLUMN principals.sign_ins_from IS 'Sign-ins that began earlier are not renewed; null while all are.';
