//! Calls and publications: jobs that belong to no session, so that any worker may take them, and another one when it is lost.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::{Conn, Db, DbError};
use super::claim::{Claimed, claimed};
use crate::id::{ApiId, ContentId, JobId, PrincipalId, VersionId};
use crate::model::{JobKind, WorkerIdentity};

/// Queued jobs among which a worker chooses fairly.
const SEEN: i64 = 1024;

/// A call.
#[derive(Debug, Clone)]
pub struct NewCall {
    /// Its id, chosen by the caller so that it can be asked for when the answer of the database is lost.
    pub id: JobId,
    /// Who calls.
    pub owner: PrincipalId,
    /// What is called.
    pub version: VersionId,
    /// What that consisted of when the inputs were looked at.
    pub content: ContentId,
    /// What exactly, JSON.
    pub request: Vec<u8>,
    /// Trace context of the request.
    pub traceparent: String,
}

/// Accepts a group of calls in one statement and one commit. False, in the order of `calls`, for those whose version has another
/// content by now, or is no more.
pub async fn submit_calls(
    conn: &mut Conn,
    api: ApiId,
    calls: &[NewCall],
) -> Result<Vec<bool>, DbError> {
    const SQL: &str = "-- jobs::submit_calls
        WITH input AS (
            SELECT * FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::bytea[], $7::text[])
                WITH ORDINALITY AS i (job_id, owner_id, version_id, content_id, request, traceparent, nth)
        ), stored AS (
            INSERT INTO jobs (id, kind, state, owner_id, api_id, request, traceparent)
            SELECT i.job_id, 'call', 'queued', i.owner_id, $1, i.request, i.traceparent
              FROM input i JOIN service_versions v ON v.id = i.version_id AND v.content_id = i.content_id
            RETURNING id
        )
        SELECT s.id IS NOT NULL AS accepted
          FROM input i LEFT JOIN stored s ON s.id = i.job_id ORDER BY i.nth";
    let ids: Vec<Uuid> = calls.iter().map(|call| call.id.uuid()).collect();
    let owners: Vec<Uuid> = calls.iter().map(|call| call.owner.uuid()).collect();
    let versions: Vec<Uuid> = calls.iter().map(|call| call.version.uuid()).collect();
    let contents: Vec<Uuid> = calls.iter().map(|call| call.content.uuid()).collect();
    let requests: Vec<&[u8]> = calls.iter().map(|call| call.request.as_slice()).collect();
    let traces: Vec<&str> = calls.iter().map(|call| call.traceparent.as_str()).collect();
    let params: &[&(dyn ToSql + Sync)] = &[
        &api.uuid(),
        &ids,
        &owners,
        &versions,
        &contents,
        &requests,
        &traces,
    ];
    let rows = conn.query("jobs::submit_calls", SQL, params).await?;
    Ok(rows.iter().map(|row| row.get("accepted")).collect())
}

/// Whether a publication may be claimed: those of one version go one after another, in the order they were accepted.
const ITS_TURN: &str = "(j.kind <> 'publish' OR NOT EXISTS (
                SELECT FROM service_contents own
                  JOIN service_contents other ON other.version_id = own.version_id AND other.job_id < own.job_id
                  JOIN jobs earlier ON earlier.id = other.job_id AND earlier.finished_at IS NULL
                 WHERE own.job_id = j.id))";

const TOLD: &str =
    "j.id, j.session_id, j.owner_id, j.kind, j.attempt, j.api_id, j.request, j.traceparent,
                  j.cancel_requested_at IS NOT NULL AS cancel_requested";

/// Claims these jobs, but for those that another worker has or is taking. Claimed durably: a call may be run again, and so it must
/// be known how often it was.
pub async fn claim_calls(
    db: &Db,
    me: WorkerIdentity,
    jobs: &[JobId],
) -> Result<Vec<Claimed>, DbError> {
    let sql = format!(
        "-- jobs::claim_calls
        WITH next AS (
            SELECT j.id FROM jobs j
             WHERE j.id = ANY ($3) AND j.kind IN ('call', 'publish', 'batch_item') AND j.state = 'queued' AND {ITS_TURN}
             ORDER BY j.id FOR UPDATE OF j SKIP LOCKED
        )
        UPDATE jobs j
           SET state = 'running', attempt = j.attempt + 1, worker_id = $1, epoch = $2, started_at = now()
          FROM next n, workers w
         WHERE j.id = n.id AND w.id = $1 AND w.epoch = $2 AND w.state = 'alive'
        RETURNING {TOLD}"
    );
    let wanted: Vec<Uuid> = jobs.iter().map(|job| job.uuid()).collect();
    let mut conn = db.conn().await?;
    let params: &[&(dyn ToSql + Sync)] = &[&me.id.uuid(), &me.epoch, &wanted];
    let rows = conn.query("jobs::claim_calls", &sql, params).await?;
    Ok(rows.iter().map(claimed).collect())
}

/// Claims up to `limit` of the jobs of these kinds that wait: the oldest of each owner before the second of any, and of the batches
/// of one owner as well.
pub async fn claim_waiting_calls(
    db: &Db,
    me: WorkerIdentity,
    kinds: &[JobKind],
    limit: i64,
) -> Result<Vec<Claimed>, DbError> {
    let sql = format!(
        "-- jobs::claim_waiting_calls
        WITH seen AS (
            SELECT j.id, j.owner_id, j.batch_id FROM jobs j
             WHERE j.state = 'queued' AND j.kind = ANY ('{{publish,call,batch_item}}') AND j.kind = ANY ($4) AND {ITS_TURN}
             ORDER BY j.id LIMIT {SEEN}
        ), in_batch AS (
            SELECT id, owner_id, row_number() OVER (PARTITION BY owner_id, batch_id ORDER BY id) AS turn FROM seen
        ), ranked AS (
            SELECT id, row_number() OVER (PARTITION BY owner_id ORDER BY turn, id) AS turn FROM in_batch
        ), next AS (
            SELECT j.id FROM ranked r JOIN jobs j ON j.id = r.id
             WHERE j.finished_at IS NULL AND j.state = 'queued'
             ORDER BY r.turn, r.id LIMIT $3 FOR UPDATE OF j SKIP LOCKED
        )
        UPDATE jobs j
           SET state = 'running', attempt = j.attempt + 1, worker_id = $1, epoch = $2, started_at = now()
          FROM next n, workers w
         WHERE j.id = n.id AND w.id = $1 AND w.epoch = $2 AND w.state = 'alive'
        RETURNING {TOLD}"
    );
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
    let mut conn = db.conn().await?;
    let params: &[&(dyn ToSql + Sync)] = &[&me.id.uuid(), &me.epoch, &limit, &kinds];
    let rows = conn
        .query("jobs::claim_waiting_calls", &sql, params)
        .await?;
    Ok(rows.iter().map(claimed).collect())
}

/// Which attempts of calls, items and publications this worker is running according to the database.
pub async fn calls_running_here(db: &Db, me: WorkerIdentity) -> Result<Vec<(JobId, i32)>, DbError> {
    const SQL: &str = "-- jobs::calls_running_here
        SELECT j.id, j.attempt FROM jobs j
         WHERE j.worker_id = $1 AND j.state = 'running' AND j.attempt > 0 AND j.epoch = $2
           AND j.kind IN ('call', 'publish', 'batch_item')";
    let mut conn = db.conn().await?;
    let params: &[&(dyn ToSql + Sync)] = &[&me.id.uuid(), &me.epoch];
    let rows = conn.query("jobs::calls_running_here", SQL, params).await?;
    Ok(rows
        .iter()
        .map(|row| (JobId::from_uuid(row.get("id")), row.get("attempt")))
        .collect())
}

/// Gives a job back that came to nothing through no fault of its own, so that it is tried again; one that was to be cancelled is.
/// False when it was not this worker's any more.
pub async fn give_back(
    db: &Db,
    me: WorkerIdentity,
    job: JobId,
    attempt: i32,
) -> Result<bool, DbError> {
    const SQL: &str = "-- jobs::give_back
        WITH back AS (UPDATE jobs j
           SET state = CASE WHEN j.cancel_requested_at IS NULL THEN 'queued' ELSE 'cancelled' END,
               finished_at = CASE WHEN j.cancel_requested_at IS NULL THEN NULL ELSE now() END,
               reason = CASE WHEN j.cancel_requested_at IS NULL THEN NULL ELSE 'it was cancelled' END,
               noticed_at = now() - interval '1 hour'
          FROM workers w
         WHERE j.id = $3 AND j.attempt = $4 AND j.worker_id = $1 AND j.epoch = $2 AND j.state = 'running'
           AND w.id = $1 AND w.epoch = $2 AND w.state IN ('alive', 'draining')
        RETURNING j.id, j.batch_id, j.finished_at
        ), batch AS (
            UPDATE batches b SET recount = true FROM back
             WHERE b.id = back.batch_id AND back.finished_at IS NOT NULL
        )
        SELECT id FROM back";
    let mut conn = db.conn().await?;
    let params: &[&(dyn ToSql + Sync)] = &[&me.id.uuid(), &me.epoch, &job.uuid(), &attempt];
    Ok(!conn.query("jobs::give_back", SQL, params).await?.is_empty())
}
