//! Removing what is too old: a few rows a statement, each short, so that nobody waits for it.
//!
//! Ids are made in the order of time, so what is old is found by walking the primary key, without an index of its own on a table
//! that is written all the time. A walk steps over what is old and must stay, and the next step begins behind it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Conn, Db, DbError};
use crate::id::{JobId, SnapshotId};

/// Rows that one statement looks at, and removes at most.
const STEP: i64 = 500;
/// Console chunks that one statement removes at most; they may be 1 MiB each, but most are a line or two.
const CHUNKS: i64 = 500;

/// How far a walk along a table has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    behind: Option<Uuid>,
}

/// What one step of a walk did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Rows that were removed.
    pub removed: u64,
    /// Where the next step begins; none when this was the last.
    pub next: Option<Walk>,
}

/// The connection of one step: a statement that takes long, or waits for somebody, is given up and tried at another time.
async fn step(db: &Db, op: &'static str) -> Result<Conn, DbError> {
    let mut tx = db.conn().await?.begin(op).await?;
    tx.batch(
        "retention::limits",
        "SET LOCAL statement_timeout = '3s'; SET LOCAL lock_timeout = '200ms'",
    )
    .await?;
    Ok(tx)
}

/// The ids that are older than `keep` lie before this one. By the clock of this node; the rows themselves are judged by the
/// clock of the database.
fn before(keep: Duration) -> Uuid {
    let keep = TimeDelta::from_std(keep).unwrap_or(TimeDelta::MAX);
    let at = Utc::now()
        .checked_sub_signed(keep)
        .unwrap_or(DateTime::UNIX_EPOCH);
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    JobId::earliest_at(millis).uuid()
}

/// What a step answers: how many rows it removed, how many it looked at, and the last of those.
const TOLD: &str =
    "SELECT (SELECT count(*) FROM removed) AS removed, (SELECT count(*) FROM old) AS seen,
               (SELECT id FROM old ORDER BY id DESC LIMIT 1) AS last";

/// Runs one step of a walk. `sql` is what stands before [`TOLD`]: it looks at rows as `old` and removes some as `removed`; it
/// takes where to begin, where to end, how long to keep in seconds, and how many rows to look at.
async fn walk(
    db: &Db,
    op: &'static str,
    sql: &str,
    at: Walk,
    keep: Duration,
) -> Result<Step, DbError> {
    let sql = format!("{sql}\n{TOLD}");
    let mut tx = step(db, op).await?;
    let begin = at.behind.unwrap_or_default();
    let rows = tx
        .query(
            op,
            &sql,
            &[&begin, &before(keep), &keep.as_secs_f64(), &STEP],
        )
        .await?;
    tx.commit(op).await?;
    let row = rows
        .first()
        .ok_or_else(|| DbError::bad_row(op, "no count came back"))?;
    let removed: i64 = row.get("removed");
    let is_full = row.get::<_, i64>("seen") == STEP;
    Ok(Step {
        removed: u64::try_from(removed).unwrap_or_default(),
        next: is_full.then(|| Walk {
            behind: row.get("last"),
        }),
    })
}

/// Removes console chunks of jobs that ended longer than `keep` ago, but for the last run of a session that lives.
///
/// A step that removes as many chunks as one may is taken again: more of the same jobs may be left.
pub async fn console_chunks(db: &Db, at: Walk, keep: Duration) -> Result<Step, DbError> {
    let sql = format!(
        "-- retention::console_chunks
        WITH {OLD_TEXT}, removed AS (
            DELETE FROM console_chunks c
             USING (SELECT c.job_id, c.seq FROM old o JOIN console_chunks c ON c.job_id = o.id
                     WHERE o.goes LIMIT {CHUNKS}) gone
             WHERE c.job_id = gone.job_id AND c.seq = gone.seq RETURNING 1
        )"
    );
    let step = walk(db, "retention::console_chunks", &sql, at, keep).await?;
    let is_full = step.removed >= CHUNKS.unsigned_abs();
    Ok(Step {
        next: if is_full { Some(at) } else { step.next },
        ..step
    })
}

/// Removes the text behind the chunks of the same jobs, from rows that stay longer than their text.
pub async fn console_tails(db: &Db, at: Walk, keep: Duration) -> Result<Step, DbError> {
    let sql = format!(
        "-- retention::console_tails
        WITH {OLD_TEXT}, removed AS (
            UPDATE jobs j SET console_tail = NULL FROM old o
             WHERE j.id = o.id AND o.goes AND length(j.console_tail) > 0 RETURNING 1
        )"
    );
    walk(db, "retention::console_tails", &sql, at, keep).await
}

/// The jobs that a step looks at, and whether their text goes: they ended long enough ago, and are not the last run of a
/// session that lives.
const OLD_TEXT: &str = "old AS (
            SELECT j.id,
                   j.finished_at < now() - $3 * interval '1 second'
                   AND (s.id IS NULL OR s.ended_at IS NOT NULL
                        OR j.id IS DISTINCT FROM (SELECT l.id FROM jobs l
                                                   WHERE l.session_id = s.id AND l.kind = 'execute'
                                                     AND l.started_at IS NOT NULL
                                                   ORDER BY l.seq DESC LIMIT 1)) AS goes
              FROM jobs j LEFT JOIN sessions s ON s.id = j.session_id
             WHERE j.id > $1 AND j.id < $2 ORDER BY j.id LIMIT $4
        )";

/// Removes jobs that ended longer than `keep` ago, but for those of sessions that live and those whose console chunks are still
/// there: a job may have very many, and they are not removed in one statement.
pub async fn jobs(db: &Db, at: Walk, keep: Duration) -> Result<Step, DbError> {
    const SQL: &str = "-- retention::jobs
        WITH old AS (
            SELECT j.id,
                   j.finished_at < now() - $3 * interval '1 second'
                   AND (s.id IS NULL OR s.ended_at IS NOT NULL)
                   AND NOT EXISTS (SELECT FROM batches b WHERE b.id = j.batch_id)
                   AND NOT EXISTS (SELECT FROM console_chunks c WHERE c.job_id = j.id) AS goes
              FROM jobs j LEFT JOIN sessions s ON s.id = j.session_id
             WHERE j.id > $1 AND j.id < $2 ORDER BY j.id LIMIT $4
        ), removed AS (
            DELETE FROM jobs j USING old o WHERE j.id = o.id AND o.goes RETURNING 1
        )";
    walk(db, "retention::jobs", SQL, at, keep).await
}

/// Removes calls of services that ended longer than `keep` ago: there are very many, and hardly anybody asks for one twice.
pub async fn calls(db: &Db, at: Walk, keep: Duration) -> Result<Step, DbError> {
    const SQL: &str = "-- retention::calls
        WITH old AS (
            SELECT j.id,
                   j.kind = 'call' AND j.finished_at < now() - $3 * interval '1 second'
                   AND NOT EXISTS (SELECT FROM console_chunks c WHERE c.job_id = j.id) AS goes
              FROM jobs j WHERE j.id > $1 AND j.id < $2 ORDER BY j.id LIMIT $4
        ), removed AS (
            DELETE FROM jobs j USING old o WHERE j.id = o.id AND o.goes RETURNING 1
        )";
    walk(db, "retention::calls", SQL, at, keep).await
}

/// Removes sessions that ended longer than `keep` ago and of which no job is left.
pub async fn sessions(db: &Db, at: Walk, keep: Duration) -> Result<Step, DbError> {
    const SQL: &str = "-- retention::sessions
        WITH old AS (
            SELECT s.id,
                   s.ended_at < now() - $3 * interval '1 second'
                   AND NOT EXISTS (SELECT FROM jobs j WHERE j.session_id = s.id) AS goes
              FROM sessions s
             WHERE s.id > $1 AND s.id < $2 ORDER BY s.id LIMIT $4
        ), removed AS (
            DELETE FROM sessions s USING old o WHERE s.id = o.id AND o.goes RETURNING 1
        )";
    walk(db, "retention::sessions", SQL, at, keep).await
}

/// Removes workers that left or were declared dead longer than `keep` ago.
pub async fn workers(db: &Db, at: Walk, keep: Duration) -> Result<Step, DbError> {
    const SQL: &str = "-- retention::workers
        WITH old AS (
            SELECT w.id, w.state IN ('left', 'dead') AND w.ended_at < now() - $3 * interval '1 second' AS goes
              FROM workers w
             WHERE w.id > $1 AND w.id < $2 ORDER BY w.id LIMIT $4
        ), removed AS (
            DELETE FROM workers w USING old o WHERE w.id = o.id AND o.goes RETURNING 1
        )";
    walk(db, "retention::workers", SQL, at, keep).await
}

/// Removes records of who did what that are older than `keep`.
pub async fn audit(db: &Db, at: Walk, keep: Duration) -> Result<Step, DbError> {
    const SQL: &str = "-- retention::audit
        WITH old AS (
            SELECT a.id, a.at < now() - $3 * interval '1 second' AS goes
              FROM audit a
             WHERE a.id > $1 AND a.id < $2 ORDER BY a.id LIMIT $4
        ), removed AS (
            DELETE FROM audit a USING old o WHERE a.id = o.id AND o.goes RETURNING 1
        )";
    walk(db, "retention::audit", SQL, at, keep).await
}

/// Removes refresh tokens and sign-ins that expired longer than `keep` ago, those first that expired first: every step begins at
/// the beginning.
pub async fn tokens(db: &Db, keep: Duration) -> Result<Step, DbError> {
    const TOKENS: &str = "-- retention::refresh_tokens
        DELETE FROM refresh_tokens WHERE hash IN (
            SELECT hash FROM refresh_tokens
             WHERE expires_at < now() - $1 * interval '1 second' ORDER BY expires_at LIMIT $2)";
    const FAMILIES: &str = "-- retention::token_families
        DELETE FROM token_families WHERE id IN (
            SELECT f.id FROM token_families f
             WHERE f.expires_at < now() - $1 * interval '1 second'
               AND NOT EXISTS (SELECT FROM refresh_tokens t WHERE t.family_id = f.id)
             ORDER BY f.expires_at LIMIT $2)";
    let mut tx = step(db, "retention::tokens").await?;
    let seconds = keep.as_secs_f64();
    let tokens = tx
        .execute("retention::refresh_tokens", TOKENS, &[&seconds, &STEP])
        .await?;
    let families = tx
        .execute("retention::token_families", FAMILIES, &[&seconds, &STEP])
        .await?;
    tx.commit("retention::tokens").await?;
    let is_full = tokens.max(families) == STEP.unsigned_abs();
    Ok(Step {
        removed: tokens + families,
        next: is_full.then(Walk::default),
    })
}

/// Those of these snapshots that a row names.
pub async fn known_snapshots(db: &Db, ids: &[SnapshotId]) -> Result<Vec<SnapshotId>, DbError> {
    const SQL: &str = "-- retention::known_snapshots
        SELECT id FROM snapshots WHERE id = ANY ($1)";
    let wanted: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = db
        .conn()
        .await?
        .query("retention::known_snapshots", SQL, &[&wanted])
        .await?;
    Ok(rows
        .iter()
        .map(|row| SnapshotId::from_uuid(row.get("id")))
        .collect())
}
