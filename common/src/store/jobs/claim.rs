//! Taking jobs: the one statement by which a worker becomes the owner of an attempt.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::{Db, DbError};
use crate::id::{ApiId, JobId, PrincipalId, SessionId};
use crate::model::{JobKind, OpenRequest, UnknownWord, WorkerIdentity};

/// A job that this worker may run now.
#[derive(Debug)]
pub struct Claimed {
    /// Which.
    pub job: JobId,
    /// Of which session; none for calls and publications.
    pub session: Option<SessionId>,
    /// Whose it is.
    pub owner: PrincipalId,
    /// What it does; an error when a later version made it.
    pub kind: Result<JobKind, UnknownWord>,
    /// Which attempt this is, from 1.
    pub attempt: i32,
    /// The node that waits.
    pub api: ApiId,
    /// What is asked, JSON.
    pub request: Vec<u8>,
    /// Trace context of the request.
    pub traceparent: Option<String>,
    /// Cancelling was asked for before it was claimed.
    pub cancel_requested: bool,
}

/// Claims the head of each of these sessions: the lowest `seq`, and only where none of the session runs.
///
/// The attempt is that of the head as it was seen, so a claim whose connection was given up and that commits late takes
/// nothing a second time. A job that was cancelled at this very moment is told by `finished_at`, not by `state`: naming the state would let the
/// planner reach the row by way of a partial index instead of its key.
pub async fn claim(
    db: &Db,
    me: WorkerIdentity,
    sessions: &[SessionId],
) -> Result<Vec<Claimed>, DbError> {
    const SQL: &str = "-- jobs::claim
        WITH head AS (
            SELECT q.id, q.attempt FROM sessions s
             CROSS JOIN LATERAL (
                SELECT j.id, j.attempt FROM jobs j
                 WHERE j.session_id = s.id AND j.state = 'queued' AND j.lane = 'ordered'
                 ORDER BY j.seq LIMIT 1
             ) q
             WHERE s.id = ANY ($3) AND s.worker_id = $1 AND s.epoch = $2 AND s.state = 'open'
               AND NOT EXISTS (SELECT FROM jobs r
                                WHERE r.session_id = s.id AND r.state = 'running' AND r.lane = 'ordered')
        )
        UPDATE jobs j
           SET state = 'running', attempt = j.attempt + 1, worker_id = $1, epoch = $2, started_at = now()
          FROM head h, workers w
         WHERE j.id = h.id AND j.attempt = h.attempt AND j.finished_at IS NULL
           AND w.id = $1 AND w.epoch = $2 AND w.state IN ('alive', 'draining')
        RETURNING j.id, j.session_id, j.owner_id, j.kind, j.attempt, j.api_id, j.request, j.traceparent,
                  j.cancel_requested_at IS NOT NULL AS cancel_requested";
    let wanted: Vec<Uuid> = sessions.iter().map(|session| session.uuid()).collect();
    let rows = db
        .conn()
        .await?
        .query("jobs::claim", SQL, &[&me.id.uuid(), &me.epoch, &wanted])
        .await?;
    Ok(rows.iter().map(claimed).collect())
}

/// Claims jobs of a session that need no R, in the order they were accepted: up to `brief` that move no bytes of files, and up
/// to `transfers` of the others. Those are claimed durably: nothing but the row remembers them.
pub async fn claim_aside(
    db: &Db,
    me: WorkerIdentity,
    session: SessionId,
    brief: i64,
    transfers: i64,
) -> Result<Vec<Claimed>, DbError> {
    const SQL: &str = "-- jobs::claim_aside
        WITH next AS (
            SELECT q.id, q.attempt FROM sessions s
             CROSS JOIN LATERAL (
                (SELECT j.id, j.attempt FROM jobs j
                  WHERE j.session_id = s.id AND j.state = 'queued' AND j.lane = 'aside'
                    AND j.kind IN ('list_files', 'delete_file')
                  ORDER BY j.seq LIMIT $4)
                 UNION ALL
                (SELECT j.id, j.attempt FROM jobs j
                  WHERE j.session_id = s.id AND j.state = 'queued' AND j.lane = 'aside'
                    AND j.kind NOT IN ('list_files', 'delete_file')
                  ORDER BY j.seq LIMIT $5)
             ) q
             WHERE s.id = $3 AND s.worker_id = $1 AND s.epoch = $2 AND s.state = 'open'
        )
        UPDATE jobs j
           SET state = 'running', attempt = j.attempt + 1, worker_id = $1, epoch = $2, started_at = now()
          FROM next n, workers w
         WHERE j.id = n.id AND j.attempt = n.attempt AND j.finished_at IS NULL
           AND w.id = $1 AND w.epoch = $2 AND w.state IN ('alive', 'draining')
        RETURNING j.id, j.session_id, j.owner_id, j.kind, j.attempt, j.api_id, j.request, j.traceparent,
                  j.cancel_requested_at IS NOT NULL AS cancel_requested";
    let params: &[&(dyn ToSql + Sync)] = &[
        &me.id.uuid(),
        &me.epoch,
        &session.uuid(),
        &brief,
        &transfers,
    ];
    let mut conn = db.conn().await?;
    let rows = conn.query("jobs::claim_aside", SQL, params).await?;
    Ok(rows.iter().map(claimed).collect())
}

/// Which jobs of a session that need no R this worker is running according to the database: for a worker whose answer from
/// [`claim_aside`] was lost.
pub async fn aside_running_here(
    db: &Db,
    me: WorkerIdentity,
    session: SessionId,
) -> Result<Vec<Claimed>, DbError> {
    const SQL: &str = "-- jobs::aside_running_here
        SELECT j.id, j.session_id, j.owner_id, j.kind, j.attempt, j.api_id, j.request, j.traceparent,
               j.cancel_requested_at IS NOT NULL AS cancel_requested
          FROM jobs j
         WHERE j.worker_id = $1 AND j.state = 'running' AND j.attempt > 0
           AND j.epoch = $2 AND j.session_id = $3 AND j.lane = 'aside'";
    let params: &[&(dyn ToSql + Sync)] = &[&me.id.uuid(), &me.epoch, &session.uuid()];
    let mut conn = db.conn().await?;
    let rows = conn.query("jobs::aside_running_here", SQL, params).await?;
    Ok(rows.iter().map(claimed).collect())
}

/// Claims the opening of a session that begins with a snapshot; `None` when another worker has it, or when it asks for none.
/// One that this worker claimed already is told again, for an answer that was lost. Claimed durably: what follows may run
/// code of the user's.
pub async fn claim_opening(
    db: &Db,
    me: WorkerIdentity,
    job: JobId,
) -> Result<Option<Claimed>, DbError> {
    const SQL: &str = "-- jobs::claim_opening
        WITH taken AS (
            UPDATE jobs j
               SET state = 'running', worker_id = $1, epoch = $2, started_at = now(),
                   attempt = CASE WHEN j.state = 'queued' THEN j.attempt + 1 ELSE j.attempt END
              FROM workers w
             WHERE j.id = $3 AND j.kind = 'open_session' AND j.finished_at IS NULL AND j.request <> $4
               AND (j.state = 'queued' OR j.worker_id = $1 AND j.epoch = $2)
               AND w.id = $1 AND w.epoch = $2 AND w.state = 'alive'
            RETURNING j.id, j.session_id, j.owner_id, j.kind, j.attempt, j.api_id, j.request, j.traceparent,
                      j.cancel_requested_at IS NOT NULL AS cancel_requested
        ), held AS (
            UPDATE sessions s SET worker_id = $1, epoch = $2 FROM taken t WHERE s.id = t.session_id AND s.state = 'opening'
        )
        SELECT * FROM taken";
    let params: &[&(dyn ToSql + Sync)] =
        &[&me.id.uuid(), &me.epoch, &job.uuid(), &OpenRequest::PLAIN];
    let mut conn = db.conn().await?;
    let rows = conn.query("jobs::claim_opening", SQL, params).await?;
    Ok(rows.first().map(claimed))
}

pub(super) fn claimed(row: &Row) -> Claimed {
    Claimed {
        job: JobId::from_uuid(row.get("id")),
        session: row
            .get::<_, Option<Uuid>>("session_id")
            .map(SessionId::from_uuid),
        owner: PrincipalId::from_uuid(row.get("owner_id")),
        kind: row.get::<_, &str>("kind").parse(),
        attempt: row.get("attempt"),
        api: ApiId::from_uuid(row.get("api_id")),
        request: row.get("request"),
        traceparent: row.get("traceparent"),
        cancel_requested: row.get("cancel_requested"),
    }
}

/// What of these sessions this worker is running according to the database: for a worker whose answer from [`claim`] was
/// lost.
pub async fn running_here(
    db: &Db,
    me: WorkerIdentity,
    sessions: &[SessionId],
) -> Result<Vec<Claimed>, DbError> {
    const SQL: &str = "-- jobs::running_here
        SELECT j.id, j.session_id, j.owner_id, j.kind, j.attempt, j.api_id, j.request, j.traceparent,
               j.cancel_requested_at IS NOT NULL AS cancel_requested
          FROM jobs j
         WHERE j.session_id = ANY ($3) AND j.state = 'running' AND j.lane = 'ordered'
           AND j.worker_id = $1 AND j.epoch = $2";
    let wanted: Vec<Uuid> = sessions.iter().map(|session| session.uuid()).collect();
    let rows = db
        .conn()
        .await?
        .query(
            "jobs::running_here",
            SQL,
            &[&me.id.uuid(), &me.epoch, &wanted],
        )
        .await?;
    Ok(rows.iter().map(claimed).collect())
}
