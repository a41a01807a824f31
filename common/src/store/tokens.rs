//! Tables `token_families` and `refresh_tokens`: sign-ins, and what became of their tokens.
//!
//! A family is one sign-in with all that descends from it. Each renewal begins its next generation; access tokens of an earlier one
//! are not accepted any more. So a node needs to know two things of a family to judge any of its tokens, however often it was renewed.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Conn, Db, DbError, principals};
use crate::id::{FamilyId, PrincipalId};
use crate::model::Role;

/// How long the tokens of a sign-in live.
#[derive(Debug, Clone, Copy)]
pub struct Lives {
    /// The whole family.
    pub family: Duration,
    /// One refresh token.
    pub refresh: Duration,
    /// One access token.
    pub access: Duration,
}

/// What an access token may be issued for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who signed in.
    pub principal: PrincipalId,
    /// Shown as owner.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// At which revision of the principal that is.
    pub revision: i32,
    /// The sign-in.
    pub family: FamilyId,
    /// How often it was renewed.
    pub generation: i32,
    /// How long the access token may live, in seconds: not beyond its family.
    pub access_seconds: i64,
}

/// What is known of a family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FamilyState {
    /// Access tokens of this generation are accepted; none when none are.
    pub accepted: Option<i32>,
    /// How many seconds from now on there may be access tokens of it that have not expired.
    pub relevant_seconds: f64,
}

const GRANTED: &str =
    "principal_id, subject, role, revision, family_id, generation, access_seconds";

/// What somebody has shown who signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof<'a> {
    /// The password of which this is the hash, as it was read before.
    Password(&'a str),
    /// A directory has checked it a moment ago.
    Directory,
}

/// Starts a family with its first refresh token. None when the user was disabled, or has another password by now.
pub async fn start_family(
    db: &Db,
    principal: PrincipalId,
    proof: Proof<'_>,
    refresh_hash: &[u8],
    lives: Lives,
) -> Result<Option<Grant>, DbError> {
    // The lock has a change of the user wait for this family, which it then revokes with the others.
    let (password, owner) = match proof {
        Proof::Password(hash) => (
            hash,
            "principals p JOIN local_users u ON u.principal_id = p.id
             WHERE p.id = $1 AND p.disabled_at IS NULL AND u.password_hash = $2 FOR SHARE OF p, u",
        ),
        Proof::Directory => (
            "",
            "principals p WHERE p.id = $1 AND p.disabled_at IS NULL AND $2::text = '' FOR SHARE OF p",
        ),
    };
    let sql = format!(
        "-- tokens::start_family
        WITH owner AS (
            SELECT p.id, p.subject, p.role, p.revision FROM {owner}
        ), family AS (
            INSERT INTO token_families (id, principal_id, expires_at, access_until)
            SELECT $3, id, now() + $5 * interval '1 second', now() + least($5, $7) * interval '1 second' FROM owner
            RETURNING id AS family_id, principal_id, generation, expires_at,
                      floor(extract(epoch FROM access_until - now()))::int8 AS access_seconds
        ), token AS (
            INSERT INTO refresh_tokens (hash, family_id, expires_at)
            SELECT $4, family_id, least(expires_at, now() + $6 * interval '1 second') FROM family
        )
        SELECT {GRANTED} FROM family, owner"
    );
    let params: &[&(dyn ToSql + Sync)] = &[
        &principal.uuid(),
        &password,
        &FamilyId::new().uuid(),
        &refresh_hash,
        &lives.family.as_secs_f64(),
        &lives.refresh.as_secs_f64(),
        &lives.access.as_secs_f64(),
    ];
    let mut conn = db.conn().await?;
    let rows = conn.query("tokens::start_family", &sql, params).await?;
    rows.first().map(grant).transpose()
}

/// Exchanges a refresh token for the next one. None when it is not valid, or not any more, or when another source vouched for its owner.
pub async fn renew(
    db: &Db,
    source: &str,
    spent_hash: &[u8],
    fresh_hash: &[u8],
    lives: Lives,
) -> Result<Option<Grant>, DbError> {
    // The lock is that of [`start_family`]: a change of the user sees either this renewal, or is seen by it.
    let sql = format!(
        "-- tokens::renew
        WITH owner AS (
            SELECT f.id AS family_id, p.subject, p.role, p.revision
              FROM refresh_tokens t
              JOIN token_families f ON f.id = t.family_id
              JOIN principals p ON p.id = f.principal_id
             WHERE t.hash = $1 AND t.spent_at IS NULL AND t.expires_at > now()
               AND f.revoked_at IS NULL AND f.expires_at > now()
               AND p.source = $5 AND p.disabled_at IS NULL AND f.created_at >= coalesce(p.sign_ins_from, '-infinity')
               FOR SHARE OF p
        ), spent AS (
            UPDATE refresh_tokens t SET spent_at = now() FROM owner o
             WHERE t.hash = $1 AND t.spent_at IS NULL RETURNING o.family_id, o.subject, o.role, o.revision
        ), family AS (
            UPDATE token_families f
               SET generation = f.generation + 1, changed = pg_current_xact_id(),
                   access_until = greatest(coalesce(f.access_until, f.expires_at),
                                           least(f.expires_at, now() + $4 * interval '1 second'))
              FROM spent s WHERE f.id = s.family_id AND f.revoked_at IS NULL
            RETURNING f.id AS family_id, f.principal_id, s.subject, s.role, s.revision, f.generation, f.expires_at,
                      floor(extract(epoch FROM least(f.expires_at - now(), $4 * interval '1 second')))::int8
                          AS access_seconds
        ), token AS (
            INSERT INTO refresh_tokens (hash, family_id, expires_at)
            SELECT $2, family_id, least(expires_at, now() + $3 * interval '1 second') FROM family
        )
        SELECT {GRANTED} FROM family"
    );
    let params: &[&(dyn ToSql + Sync)] = &[
        &spent_hash,
        &fresh_hash,
        &lives.refresh.as_secs_f64(),
        &lives.access.as_secs_f64(),
        &source,
    ];
    let mut conn = db.conn().await?;
    let rows = conn.query("tokens::renew", &sql, params).await?;
    rows.first().map(grant).transpose()
}

fn grant(row: &Row) -> Result<Grant, DbError> {
    Ok(Grant {
        principal: PrincipalId::from_uuid(row.get("principal_id")),
        name: row.get("subject"),
        role: principals::role(row)?,
        revision: row.get("revision"),
        family: FamilyId::from_uuid(row.get("family_id")),
        generation: row.get("generation"),
        access_seconds: row.get("access_seconds"),
    })
}

/// Whose sign-in a refresh token renews that has not been spent: its source and its subject there. For whoever has to ask that
/// source first.
pub async fn holder(db: &Db, refresh_hash: &[u8]) -> Result<Option<(String, String)>, DbError> {
    const SQL: &str = "-- tokens::holder
        SELECT p.source, p.subject
          FROM refresh_tokens t
          JOIN token_families f ON f.id = t.family_id
          JOIN principals p ON p.id = f.principal_id
         WHERE t.hash = $1 AND t.spent_at IS NULL AND t.expires_at > now() AND f.revoked_at IS NULL";
    let mut conn = db.conn().await?;
    let rows = conn.query("tokens::holder", SQL, &[&refresh_hash]).await?;
    Ok(rows
        .first()
        .map(|row| (row.get("source"), row.get("subject"))))
}

/// A family that was revoked by one of its refresh tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Which.
    pub family: FamilyId,
    /// Whose it was.
    pub principal: PrincipalId,
    /// And its name.
    pub name: String,
    /// The token could still have been exchanged. If not, somebody has used it before.
    pub by_live_token: bool,
}

/// Revokes the family of a refresh token; `None` when that is unknown or expired, or the family was revoked before.
///
/// `only_spent`: leaves a token alone that has not been exchanged. One that comes a second time was copied, and nobody can tell which
/// of the two is its owner.
pub async fn revoke(
    db: &Db,
    refresh_hash: &[u8],
    only_spent: bool,
) -> Result<Option<Revoked>, DbError> {
    const SQL: &str = "-- tokens::revoke
        UPDATE token_families f SET revoked_at = now(), changed = pg_current_xact_id()
          FROM refresh_tokens t, principals p
         WHERE p.id = f.principal_id
           AND t.hash = $1 AND t.expires_at > now() AND (t.spent_at IS NOT NULL OR NOT $2)
           AND f.id = t.family_id AND f.revoked_at IS NULL AND f.expires_at > now()
        RETURNING f.id, t.spent_at IS NULL AS by_live_token, p.id AS principal_id, p.subject";
    let mut conn = db.conn().await?;
    let rows = conn
        .query("tokens::revoke", SQL, &[&refresh_hash, &only_spent])
        .await?;
    Ok(rows.first().map(|row| Revoked {
        family: FamilyId::from_uuid(row.get("id")),
        principal: PrincipalId::from_uuid(row.get("principal_id")),
        name: row.get("subject"),
        by_live_token: row.get("by_live_token"),
    }))
}

/// Ends every sign-in of a user. The caller holds the user's row, so that none begins meanwhile. Those without access tokens are too
/// many to be touched, and need not be: they are not renewed any more.
pub(super) async fn end_sign_ins(tx: &mut Conn, principal: PrincipalId) -> Result<(), DbError> {
    const FROM_NOW: &str = "-- tokens::sign_ins_from
        UPDATE principals SET sign_ins_from = clock_timestamp() WHERE id = $1";
    const REVOKE: &str = "-- tokens::revoke_all
        UPDATE token_families SET revoked_at = now(), changed = pg_current_xact_id()
         WHERE principal_id = $1 AND revoked_at IS NULL AND coalesce(access_until, expires_at) > now()";
    let id = principal.uuid();
    tx.execute("tokens::sign_ins_from", FROM_NOW, &[&id])
        .await?;
    tx.execute("tokens::revoke_all", REVOKE, &[&id])
        .await
        .map(drop)
}

/// How far changes have been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadTo(Option<String>);

impl ReadTo {
    /// What the first row of an answer says of it in its column `read_to`.
    pub(super) fn of(row: Option<&Row>) -> Self {
        Self(row.map(|row| row.get("read_to")))
    }

    /// For the next question; none before the first.
    pub(super) fn text(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

const STATE: &str =
    "CASE WHEN f.revoked_at IS NULL AND f.expires_at > now() THEN f.generation END AS accepted,
               extract(epoch FROM coalesce(f.access_until, f.expires_at) - now())::float8 AS relevant_seconds";

/// What was renewed or revoked by transactions that had not ended when `behind` was given out, with what may still be of interest.
/// Some of it is told twice, nothing is missed, however long a transaction took.
pub async fn changed_families(
    db: &Db,
    behind: &ReadTo,
) -> Result<(Vec<(FamilyId, FamilyState)>, ReadTo), DbError> {
    // The first look goes by what is still of interest, further ones by what is new.
    let which = match behind.0 {
        None => {
            "$1::text IS NULL AND coalesce(f.access_until, f.expires_at) > now() - interval '1 minute'"
        }
        Some(_) => "f.changed >= $1::text::xid8",
    };
    let sql = format!(
        "-- tokens::changed_families
        SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS read_to, f.id, {STATE}
          FROM (VALUES (1)) one LEFT JOIN token_families f ON f.changed IS NOT NULL AND {which}"
    );
    let mut conn = db.conn().await?;
    let rows = conn
        .query("tokens::changed_families", &sql, &[&behind.0])
        .await?;
    let read_to = ReadTo::of(rows.first());
    let changed = rows.iter().filter_map(|row| {
        let family: Option<Uuid> = row.get("id");
        Some((FamilyId::from_uuid(family?), state(row)))
    });
    Ok((changed.collect(), read_to))
}

/// What is known of one family now; a family that is no more accepts nothing.
pub async fn family_state(db: &Db, family: FamilyId) -> Result<FamilyState, DbError> {
    let sql =
        format!("-- tokens::family_state\nSELECT {STATE} FROM token_families f WHERE f.id = $1");
    let mut conn = db.conn().await?;
    let rows = conn
        .query("tokens::family_state", &sql, &[&family.uuid()])
        .await?;
    Ok(rows.first().map_or(
        FamilyState {
            accepted: None,
            relevant_seconds: 0.0,
        },
        state,
    ))
}

fn state(row: &Row) -> FamilyState {
    FamilyState {
        accepted: row.get("accepted"),
        relevant_seconds: row.get("relevant_seconds"),
    }
}
