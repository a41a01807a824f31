//! Opening sessions.

use tokio_postgres::Row;

use super::super::jobs::Completion;
use super::super::{Conn, Db, DbError, storable};
use crate::id::{ApiId, JobId, PrincipalId, SessionId};
use crate::model::{CancelOutcome, JobState, OpenRequest, WorkerIdentity};

/// A session to be opened, with the job that opens it.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// The session.
    pub session: SessionId,
    /// The job that opens it.
    pub job: JobId,
    /// Whose it is.
    pub owner: PrincipalId,
    /// A label of the owner.
    pub name: Option<&'a str>,
    /// The job's request, JSON.
    pub request: &'a [u8],
    /// The node that waits.
    pub api: ApiId,
    /// Trace context of the request.
    pub traceparent: &'a str,
}

/// What became of an opening that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is stored.
    Yes,
    /// The owner has this many live sessions already, as many as may be.
    QuotaReached(i64),
}

/// Stores a session that is opening and the job that opens it, unless its owner has `quota` live sessions already (0: however
/// many).
///
/// Openings of one owner wait for each other at the owner's row. What was added since this statement's snapshot was taken is known
/// from `sessions_opened` of the locked row, so the quota is never exceeded, however many nodes open.
///
/// Storing the same ids again changes nothing, so that a caller in doubt whether it was stored may simply repeat.
pub async fn store_opening(
    conn: &mut Conn,
    new: &NewSession<'_>,
    quota: i64,
) -> Result<Stored, DbError> {
    const SQL: &str = "-- sessions::store_opening
        WITH locked AS (
            SELECT id, sessions_opened FROM principals WHERE id = $2 FOR NO KEY UPDATE
        ), room AS (
            SELECT l.id, seen.live + l.sessions_opened - seen.sessions_opened AS live
              FROM locked l
             CROSS JOIN LATERAL (
                SELECT p.sessions_opened,
                       (SELECT count(*) FROM sessions s
                         WHERE s.owner_id = p.id AND s.state IN ('opening', 'open', 'closing')) AS live
                  FROM principals p WHERE p.id = $2
             ) seen
        ), session AS (
            INSERT INTO sessions (id, owner_id, name, state)
            SELECT $1, id, $3, 'opening' FROM room WHERE live < $8 OR $8 = 0
            ON CONFLICT (id) DO NOTHING RETURNING id, owner_id
        ), counted AS (
            UPDATE principals p SET sessions_opened = p.sessions_opened + 1 FROM session s WHERE p.id = s.owner_id
        ), job AS (
            INSERT INTO jobs (id, kind, state, owner_id, session_id, api_id, request, traceparent)
            SELECT $4, 'open_session', 'queued', $2, id, $5, $6, $7 FROM session
        )
        SELECT live, live < $8 OR $8 = 0 AS fits FROM room";
    let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[
        &new.session.uuid(),
        &new.owner.uuid(),
        &new.name,
        &new.job.uuid(),
        &new.api.uuid(),
        &new.request,
        &new.traceparent,
        &quota,
    ];
    let rows = conn.query("sessions::store_opening", SQL, params).await?;
    let row = rows
        .first()
        .ok_or_else(|| DbError::bad_row("sessions::store_opening", "there is no such owner"))?;
    Ok(if row.get("fits") {
        Stored::Yes
    } else {
        Stored::QuotaReached(row.get("live"))
    })
}

/// A session that a worker has just opened.
#[derive(Debug)]
pub struct Opened {
    /// The job that asked for it.
    pub job: JobId,
    /// The session.
    pub session: SessionId,
    /// The node that waits.
    pub api: ApiId,
    /// Jobs were submitted to it already.
    pub more: bool,
}

/// Claims and completes opening jobs in one durable statement: their R processes are ready, so nothing lies between.
/// Jobs that another worker is taking are left out, and those that ask for a snapshot to begin with: these are claimed by
/// [`super::super::jobs::claim_opening`] and completed by [`complete_opening`].
pub async fn open(db: &Db, me: WorkerIdentity, jobs: &[JobId]) -> Result<Vec<Opened>, DbError> {
    const SQL: &str = "-- sessions::open
        WITH taken AS (
            SELECT j.id FROM jobs j, workers w
             WHERE j.id = ANY ($3) AND j.kind = 'open_session' AND j.finished_at IS NULL AND j.request = $4
               AND w.id = $1 AND w.epoch = $2 AND w.state = 'alive'
             ORDER BY j.id FOR UPDATE OF j SKIP LOCKED
        ), done AS (
            UPDATE jobs j
               SET state = 'succeeded', attempt = j.attempt + 1, worker_id = $1, epoch = $2,
                   started_at = now(), finished_at = now()
              FROM taken t WHERE j.id = t.id
            RETURNING j.id, j.session_id, j.api_id
        ), opened AS (
            UPDATE sessions s SET state = 'open', worker_id = $1, epoch = $2, last_activity_at = now()
              FROM done d WHERE s.id = d.session_id AND s.state = 'opening'
            RETURNING s.id, s.next_seq > 1 AS more
        )
        SELECT d.id, d.session_id, d.api_id, o.more FROM done d JOIN opened o ON o.id = d.session_id";
    let wanted: Vec<uuid::Uuid> = jobs.iter().map(|job| job.uuid()).collect();
    let rows = db
        .conn()
        .await?
        .query(
            "sessions::open",
            SQL,
            &[&me.id.uuid(), &me.epoch, &wanted, &OpenRequest::PLAIN],
        )
        .await?;
    Ok(rows.iter().map(opened).collect())
}

/// How an opening ended that was claimed before.
#[derive(Debug)]
pub struct OpeningEnd {
    /// Where the job stands: also `queued`, when another worker is to try.
    pub state: JobState,
    /// The node that waits.
    pub api: ApiId,
    /// Jobs were submitted to the session already.
    pub more: bool,
}

/// Completes the opening of a session that begins with a snapshot: the session is open when it succeeded, closed when it did not,
/// and waits for another worker when this one lost it and may not have been the third. An opening whose session was closed
/// meanwhile ends cancelled. `None` when it was not this worker's any more.
pub async fn complete_opening(
    db: &Db,
    me: WorkerIdentity,
    completion: &Completion,
) -> Result<Option<OpeningEnd>, DbError> {
    const SQL: &str = "-- sessions::complete_opening
        WITH locked AS (
            SELECT s.id, s.state FROM sessions s JOIN jobs j ON j.session_id = s.id
             WHERE j.id = $3 FOR UPDATE OF s
        ), verdict AS (
            SELECT l.id, CASE WHEN l.state <> 'opening' THEN 'cancelled'
                              WHEN $5 = 'lost' AND $4 < 3 THEN 'queued' ELSE $5 END AS state,
                   CASE WHEN l.state <> 'opening' THEN 'its session was closed' ELSE $7 END AS reason
              FROM locked l
        ), done AS (
            UPDATE jobs j
               SET state = v.state, reason = v.reason, result = $6, cancel = $8,
                   finished_at = CASE WHEN v.state = 'queued' THEN NULL ELSE now() END,
                   noticed_at = CASE WHEN v.state = 'queued' THEN now() - interval '1 hour' ELSE j.noticed_at END
              FROM verdict v, workers w
             WHERE j.id = $3 AND j.session_id = v.id AND j.attempt = $4 AND j.worker_id = $1 AND j.epoch = $2
               AND j.finished_at IS NULL AND j.state = 'running'
               AND w.id = $1 AND w.epoch = $2 AND w.state IN ('alive', 'draining')
            RETURNING j.session_id, j.api_id, j.state, j.reason
        ), settled AS (
            UPDATE sessions s
               SET state = CASE d.state WHEN 'succeeded' THEN 'open' WHEN 'queued' THEN 'opening' ELSE 'closed' END,
                   ended_at = CASE WHEN d.state IN ('succeeded', 'queued') THEN NULL ELSE now() END,
                   state_reason = CASE WHEN d.state NOT IN ('succeeded', 'queued')
                                       THEN 'it could not be opened: ' || coalesce(d.reason, d.state) END,
                   worker_id = $1, epoch = $2, last_activity_at = now()
              FROM done d WHERE s.id = d.session_id AND s.state = 'opening'
            RETURNING s.next_seq > 1 AS more
        )
        SELECT d.state, d.api_id, coalesce((SELECT more FROM settled), false) AS more FROM done d";
    let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[
        &me.id.uuid(),
        &me.epoch,
        &completion.job.uuid(),
        &completion.attempt,
        &completion.state.word(),
        &completion.result,
        &completion.reason.as_deref().map(storable),
        &completion.cancel.map(CancelOutcome::word),
    ];
    let mut conn = db.conn().await?;
    let rows = conn
        .query("sessions::complete_opening", SQL, params)
        .await?;
    let end = |row: &Row| {
        let state = row.get::<_, &str>("state").parse();
        Ok(OpeningEnd {
            state: state
                .map_err(|problem| DbError::bad_row("sessions::complete_opening", problem))?,
            api: ApiId::from_uuid(row.get("api_id")),
            more: row.get("more"),
        })
    };
    rows.first().map(end).transpose()
}

/// Opening jobs that wait for a worker, oldest first, from behind `after` on.
pub async fn waiting(db: &Db, after: Option<JobId>, limit: usize) -> Result<Vec<JobId>, DbError> {
    const SQL: &str = "-- sessions::waiting
        SELECT id FROM jobs
         WHERE kind = 'open_session' AND state = 'queued' AND id > $1
         ORDER BY id LIMIT $2";
    let after = after.map_or(uuid::Uuid::nil(), JobId::uuid);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = db
        .conn()
        .await?
        .query("sessions::waiting", SQL, &[&after, &limit])
        .await?;
    Ok(rows
        .iter()
        .map(|row| JobId::from_uuid(row.get("id")))
        .collect())
}

fn opened(row: &Row) -> Opened {
    Opened {
        job: JobId::from_uuid(row.get("id")),
        session: SessionId::from_uuid(row.get("session_id")),
        api: ApiId::from_uuid(row.get("api_id")),
        more: row.get("more"),
    }
}

/// Those of these jobs whose sessions this worker holds: for a worker whose answer from [`open`] was lost.
pub async fn opened_here(
    db: &Db,
    me: WorkerIdentity,
    jobs: &[JobId],
) -> Result<Vec<Opened>, DbError> {
    const SQL: &str = "-- sessions::opened_here
        SELECT j.id, j.session_id, j.api_id,
               s.next_seq > 1 AS more
          FROM jobs j JOIN sessions s ON s.id = j.session_id
         WHERE j.id = ANY ($3) AND j.state = 'succeeded' AND j.worker_id = $1 AND j.epoch = $2
           AND s.worker_id = $1 AND s.epoch = $2 AND s.state IN ('open', 'closing')";
    let wanted: Vec<uuid::Uuid> = jobs.iter().map(|job| job.uuid()).collect();
    let rows = db
        .conn()
        .await?
        .query(
            "sessions::opened_here",
            SQL,
            &[&me.id.uuid(), &me.epoch, &wanted],
        )
        .await?;
    Ok(rows.iter().map(opened).collect())
}
