//! Asking a job to stop.

use uuid::Uuid;

use super::super::{Db, DbError};
use crate::id::{JobId, PrincipalId, SessionId, WorkerId};

/// What asking found.
#[derive(Debug, PartialEq, Eq)]
pub enum CancelVerdict {
    /// It had not begun: it is cancelled.
    AtOnce,
    /// It runs: this worker has to be told.
    AskedOf(WorkerId, Option<SessionId>),
    /// It was final already.
    Over,
    /// There is no such job of this owner.
    Unknown,
}

/// Asks for a job to be cancelled. The wish is a row first; the notice that the caller sends only speeds it up.
pub async fn request_cancel(
    db: &Db,
    owner: PrincipalId,
    id: JobId,
) -> Result<CancelVerdict, DbError> {
    cancel(db, owner, id, true).await
}

/// Cancels a job if no worker has begun it; else it is [`CancelVerdict::Over`] or runs on.
pub async fn withdraw(db: &Db, owner: PrincipalId, id: JobId) -> Result<CancelVerdict, DbError> {
    cancel(db, owner, id, false).await
}

async fn cancel(
    db: &Db,
    owner: PrincipalId,
    id: JobId,
    also_running: bool,
) -> Result<CancelVerdict, DbError> {
    const SQL: &str = "-- jobs::request_cancel
        WITH asked AS (
            UPDATE jobs
               SET state = CASE WHEN state = 'running' THEN state ELSE 'cancelled' END,
                   finished_at = CASE WHEN state = 'running' THEN NULL ELSE now() END,
                   reason = CASE WHEN state = 'running' THEN reason ELSE 'it was cancelled before it began' END,
                   cancel_requested_at = coalesce(cancel_requested_at, now())
             WHERE id = $1 AND owner_id = $2 AND (state IN ('waiting', 'queued') OR state = 'running' AND $3)
            RETURNING kind, state, session_id, worker_id, batch_id
        ), batch AS (
            UPDATE batches b SET recount = true FROM asked a WHERE b.id = a.batch_id AND a.state = 'cancelled'
        ), closed AS (
            UPDATE sessions s SET state = 'closed', ended_at = now(), state_reason = 'its opening was cancelled'
              FROM asked a WHERE s.id = a.session_id AND a.kind = 'open_session' AND a.state = 'cancelled'
               AND s.state = 'opening'
        )
        SELECT asked.state = 'running' AS running, asked.session_id, asked.worker_id, true AS asked
          FROM asked
         UNION ALL
        SELECT false, NULL, NULL, false
         WHERE EXISTS (SELECT FROM jobs WHERE id = $1 AND owner_id = $2)";
    let mut tries = 0;
    let rows = loop {
        // Closing the session of an opening takes the same two locks the other way round.
        match db
            .conn()
            .await?
            .query(
                "jobs::request_cancel",
                SQL,
                &[&id.uuid(), &owner.uuid(), &also_running],
            )
            .await
        {
            Err(error) if error.may_retry() && tries < 3 => tries += 1,
            settled => break settled?,
        }
    };
    let Some(row) = rows.first() else {
        return Ok(CancelVerdict::Unknown);
    };
    if !row.get::<_, bool>("asked") {
        return Ok(CancelVerdict::Over);
    }
    match row.get::<_, Option<Uuid>>("worker_id") {
        Some(worker) if row.get("running") => Ok(CancelVerdict::AskedOf(
            WorkerId::from_uuid(worker),
            row.get::<_, Option<Uuid>>("session_id")
                .map(SessionId::from_uuid),
        )),
        _ => Ok(CancelVerdict::AtOnce),
    }
}

/// The job whose turn it is in a session of this owner: the one that runs, or else the one that is to run next.
pub async fn current_of(
    db: &Db,
    owner: PrincipalId,
    session: SessionId,
) -> Result<Option<JobId>, DbError> {
    const SQL: &str = "-- jobs::current_of
        SELECT id FROM (
            (SELECT id, 1 AS turn FROM jobs
              WHERE session_id = $1 AND owner_id = $2 AND state = 'running' AND lane = 'ordered')
             UNION ALL
            (SELECT id, 2 FROM jobs
              WHERE session_id = $1 AND owner_id = $2 AND state = 'queued' AND lane = 'ordered'
              ORDER BY seq LIMIT 1)
        ) current ORDER BY turn LIMIT 1";
    let rows = db
        .conn()
        .await?
        .query("jobs::current_of", SQL, &[&session.uuid(), &owner.uuid()])
        .await?;
    Ok(rows.first().map(|row| JobId::from_uuid(row.get("id"))))
}
