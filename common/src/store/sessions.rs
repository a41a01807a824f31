//! Table `sessions`.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use super::jobs::Completion;
use super::{Conn, Db, DbError, storable};
use crate::id::{ApiId, JobId, PrincipalId, SessionId, WorkerId};
use crate::model::{CancelOutcome, JobState, OpenRequest, SessionState, WorkerIdentity};

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

/// Stores a session that is opening and the job that opens it.
///
/// Storing the same ids again changes nothing, so that a caller in doubt whether it was stored may simply repeat.
pub async fn store_opening(conn: &mut Conn, new: &NewSession<'_>) -> Result<(), DbError> {
    const SQL: &str = "-- sessions::store_opening
        WITH session AS (
            INSERT INTO sessions (id, owner_id, name, state) VALUES ($1, $2, $3, 'opening')
            ON CONFLICT (id) DO NOTHING RETURNING id
        )
        INSERT INTO jobs (id, kind, state, owner_id, session_id, api_id, request, traceparent)
        SELECT $4, 'open_session', 'queued', $2, id, $5, $6, $7 FROM session";
    let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[
        &new.session.uuid(),
        &new.owner.uuid(),
        &new.name,
        &new.job.uuid(),
        &new.api.uuid(),
        &new.request,
        &new.traceparent,
    ];
    conn.execute("sessions::store_opening", SQL, params)
        .await
        .map(drop)
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
/// [`super::jobs::claim_opening`] and completed by [`complete_opening`].
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

/// A session as its owner sees it.
#[derive(Debug)]
pub struct Session {
    /// Which.
    pub id: SessionId,
    /// The owner's label.
    pub name: Option<String>,
    /// Where it stands.
    pub state: SessionState,
    /// Why it ended.
    pub reason: Option<String>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The worker that holds it, or held it last.
    pub worker: Option<WorkerId>,
}

fn session(row: &Row) -> Result<Session, DbError> {
    let state: &str = row.get("state");
    Ok(Session {
        id: SessionId::from_uuid(row.get("id")),
        name: row.get("name"),
        state: state
            .parse()
            .map_err(|problem| DbError::bad_row("sessions", problem))?,
        reason: row.get("state_reason"),
        ended_at: row.get("ended_at"),
        worker: row
            .get::<_, Option<uuid::Uuid>>("worker_id")
            .map(WorkerId::from_uuid),
    })
}

/// The owner's sessions that are opening or open, oldest first.
pub async fn live(db: &Db, owner: PrincipalId) -> Result<Vec<Session>, DbError> {
    const SQL: &str = "-- sessions::live
        SELECT id, name, state, state_reason, ended_at, worker_id FROM sessions
         WHERE owner_id = $1 AND state IN ('opening', 'open') ORDER BY id";
    let rows = db
        .conn()
        .await?
        .query("sessions::live", SQL, &[&owner.uuid()])
        .await?;
    rows.iter().map(session).collect()
}

/// One session, if it is the owner's.
pub async fn find(db: &Db, owner: PrincipalId, id: SessionId) -> Result<Option<Session>, DbError> {
    const SQL: &str = "-- sessions::find
        SELECT id, name, state, state_reason, ended_at, worker_id FROM sessions WHERE id = $1 AND owner_id = $2";
    let rows = db
        .conn()
        .await?
        .query("sessions::find", SQL, &[&id.uuid(), &owner.uuid()])
        .await?;
    rows.first().map(session).transpose()
}

/// What asking to close a session found.
#[derive(Debug)]
pub enum Closing {
    /// It is closing now, or closed while it was being opened; this worker has to be told.
    AskedOf(WorkerId),
    /// No worker held it: it is closed.
    AtOnce,
    /// It had ended, or was closing already.
    Over(Session),
    /// There is no such session of this owner.
    Unknown,
}

/// Asks to close a session: its waiting jobs end cancelled, the worker is told by the caller.
pub async fn close(db: &Db, owner: PrincipalId, id: SessionId) -> Result<Closing, DbError> {
    const SQL: &str = "-- sessions::close
        WITH asked AS (
            UPDATE sessions
               SET state = CASE WHEN state = 'open' THEN 'closing' ELSE 'closed' END,
                   ended_at = CASE WHEN state = 'open' THEN NULL ELSE now() END,
                   state_reason = 'it was closed by its owner', last_activity_at = now()
             WHERE id = $1 AND owner_id = $2 AND state IN ('opening', 'open')
            RETURNING id, state, worker_id
        ), cancelled AS (
            UPDATE jobs j SET state = 'cancelled', finished_at = now(), reason = 'its session was closed'
              FROM asked a WHERE j.session_id = a.id AND j.state = 'queued'
        )
        SELECT state, worker_id FROM asked";
    let mut tries = 0;
    let rows = loop {
        // An opening that commits at this moment takes the same two locks the other way round.
        match db
            .conn()
            .await?
            .query("sessions::close", SQL, &[&id.uuid(), &owner.uuid()])
            .await
        {
            Err(error) if error.may_retry() && tries < 3 => tries += 1,
            settled => break settled?,
        }
    };
    match rows.first() {
        // One that is being opened from a snapshot is closed, but its worker need not go on.
        Some(row) => match row.get::<_, Option<uuid::Uuid>>("worker_id") {
            Some(worker) => Ok(Closing::AskedOf(WorkerId::from_uuid(worker))),
            None => Ok(Closing::AtOnce),
        },
        None => Ok(find(db, owner, id)
            .await?
            .map_or(Closing::Unknown, Closing::Over)),
    }
}

/// Ends a session that this worker holds, with everything that still waits or runs in it; false when it is not its any more.
///
/// A session that was closing ends closed whatever `state` says.
pub async fn end(
    db: &Db,
    me: WorkerIdentity,
    id: SessionId,
    state: SessionState,
    reason: &str,
) -> Result<bool, DbError> {
    const SQL: &str = "-- sessions::end
        WITH ended AS (
            UPDATE sessions s
               SET state = CASE WHEN s.state = 'closing' THEN 'closed' ELSE $4 END,
                   state_reason = CASE WHEN s.state = 'closing' THEN s.state_reason ELSE $5 END,
                   ended_at = now()
              FROM workers w
             WHERE s.id = $3 AND s.worker_id = $1 AND s.epoch = $2 AND s.state IN ('open', 'closing')
               AND w.id = $1 AND w.epoch = $2 AND w.state IN ('alive', 'draining')
            RETURNING s.id, s.state
        ), waiting_jobs AS (
            UPDATE jobs j
               SET state = CASE WHEN e.state = 'closed' THEN 'cancelled' ELSE 'lost' END,
                   reason = CASE WHEN e.state = 'closed' THEN 'its session was closed' ELSE $5 END,
                   finished_at = now()
              FROM ended e WHERE j.session_id = e.id AND j.state = 'queued'
        ), running_job AS (
            UPDATE jobs j
               SET state = CASE WHEN e.state = 'closed' THEN 'cancelled' ELSE 'lost' END,
                   reason = CASE WHEN e.state = 'closed' THEN 'its session was closed' ELSE $5 END,
                   finished_at = now()
              FROM ended e WHERE j.session_id = e.id AND j.state = 'running' AND j.lane = 'ordered'
        ), running_aside AS (
            UPDATE jobs j
               SET state = CASE WHEN e.state = 'closed' THEN 'cancelled' ELSE 'lost' END,
                   reason = CASE WHEN e.state = 'closed' THEN 'its session was closed' ELSE $5 END,
                   finished_at = now()
              FROM ended e
             WHERE j.worker_id = $1 AND j.state = 'running' AND j.attempt > 0
               AND j.session_id = e.id AND j.lane = 'aside'
        )
        SELECT id FROM ended";
    let reason = storable(reason);
    let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&me.id.uuid(), &me.epoch, &id.uuid(), &state.word(), &reason];
    Ok(!db
        .conn()
        .await?
        .query("sessions::end", SQL, params)
        .await?
        .is_empty())
}

/// Something that a worker must know about a session it holds, after it could not hear for a while.
#[derive(Debug)]
pub struct Held {
    /// Which session.
    pub session: SessionId,
    /// Its owner asked to close it.
    pub closing: bool,
    /// Its running jobs for which cancelling was asked.
    pub cancels: Vec<JobId>,
    /// Jobs that take turns wait in it.
    pub more: bool,
    /// Jobs that need no R wait in it.
    pub aside: bool,
}

/// The catch-up query of a worker: every session it holds that wants something.
pub async fn held(db: &Db, me: WorkerIdentity) -> Result<Vec<Held>, DbError> {
    const SQL: &str = "-- sessions::held
        SELECT * FROM (
            SELECT s.id, s.state = 'closing' AS closing,
                   ARRAY(SELECT r.id FROM jobs r
                          WHERE r.worker_id = $1 AND r.state = 'running' AND r.attempt > 0
                            AND r.session_id = s.id AND r.cancel_requested_at IS NOT NULL) AS cancels,
                   EXISTS (SELECT FROM jobs q
                            WHERE q.session_id = s.id AND q.state = 'queued' AND q.lane = 'ordered') AS more,
                   EXISTS (SELECT FROM jobs q
                            WHERE q.session_id = s.id AND q.state = 'queued' AND q.lane = 'aside') AS aside
              FROM sessions s
             WHERE s.worker_id = $1 AND s.epoch = $2 AND s.state IN ('open', 'closing')
        ) held WHERE closing OR cancels <> '{}' OR more OR aside";
    let rows = db
        .conn()
        .await?
        .query("sessions::held", SQL, &[&me.id.uuid(), &me.epoch])
        .await?;
    let held = |row: &Row| Held {
        session: SessionId::from_uuid(row.get("id")),
        closing: row.get("closing"),
        cancels: row
            .get::<_, Vec<uuid::Uuid>>("cancels")
            .into_iter()
            .map(JobId::from_uuid)
            .collect(),
        more: row.get("more"),
        aside: row.get("aside"),
    };
    Ok(rows.iter().map(held).collect())
}
