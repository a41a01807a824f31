//! Accepting jobs of sessions.

use tokio_postgres::Row;
use uuid::Uuid;

use super::super::{Conn, Db, DbError};
use crate::id::{ApiId, JobId, PrincipalId, SessionId, WorkerId};
use crate::model::{JobKind, Lane, SessionState};

/// A job of a session.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id, chosen by the caller so that it can be asked for when the answer of the database is lost.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Where.
    pub session: SessionId,
    /// Who asks; must own the session.
    pub owner: PrincipalId,
    /// What exactly, JSON.
    pub request: Vec<u8>,
    /// Trace context of the request.
    pub traceparent: String,
}

/// What became of a job that was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Stored. The worker that has to be told, once the session has one.
    Accepted(Option<WorkerId>),
    /// There is no such session of this owner.
    UnknownSession,
    /// The session has ended or is closing, and why.
    SessionOver(SessionState, Option<String>),
    /// As many jobs wait in this session as may.
    QueueFull,
}

/// Accepts a group of jobs in one statement and one commit; verdicts come in the order of `jobs`.
///
/// Session rows are locked in the order of their ids, so that groups never wait for each other in a circle. The limit is one
/// for each lane: a file is not refused because much code waits. What other groups added since this statement's snapshot was
/// taken is known from `next_seq` of the locked row, though not in which lane, so the limit is never exceeded, however many
/// nodes submit.
pub async fn submit(
    conn: &mut Conn,
    api: ApiId,
    waiting_limit: i64,
    jobs: &[NewJob],
) -> Result<Vec<Verdict>, DbError> {
    const SQL: &str = "-- jobs::submit
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::bytea[], $6::text[], $9::text[])
                WITH ORDINALITY AS i (job_id, kind, session_id, owner_id, request, traceparent, lane, nth)
        ), locked AS (
            SELECT id, owner_id, state, state_reason, worker_id, next_seq FROM sessions
             WHERE id = ANY ($3) ORDER BY id FOR NO KEY UPDATE
        ), seen AS (
            SELECT s.id, s.next_seq, waiting.*
              FROM sessions s
             CROSS JOIN LATERAL (
                SELECT count(*) FILTER (WHERE q.lane = 'ordered') AS ordered,
                       count(*) FILTER (WHERE q.lane = 'aside') AS aside
                  FROM jobs q WHERE q.session_id = s.id AND q.state = 'queued'
             ) waiting
             WHERE s.id = ANY ($3)
        ), fitting AS (
            SELECT i.*, l.next_seq,
                   CASE WHEN i.lane = 'aside' THEN seen.aside ELSE seen.ordered END
                       + l.next_seq - seen.next_seq
                       + row_number() OVER (PARTITION BY i.session_id, i.lane ORDER BY i.nth) <= $7 AS fits
              FROM input i
              JOIN locked l ON l.id = i.session_id AND l.owner_id = i.owner_id
              JOIN seen ON seen.id = i.session_id
             WHERE l.state IN ('opening', 'open')
        ), accepted AS (
            SELECT f.*, row_number() OVER (PARTITION BY f.session_id ORDER BY f.nth) AS place
              FROM fitting f WHERE f.fits
        ), bumped AS (
            UPDATE sessions s SET next_seq = s.next_seq + a.jobs, last_activity_at = now()
              FROM (SELECT session_id, count(*) AS jobs FROM accepted GROUP BY session_id) a
             WHERE s.id = a.session_id
        ), stored AS (
            INSERT INTO jobs (id, kind, lane, state, owner_id, session_id, seq, api_id, request, traceparent)
            SELECT job_id, kind, lane, 'queued', owner_id, session_id, next_seq + place - 1, $8, request, traceparent
              FROM accepted
        )
        SELECT l.id IS NOT NULL AS known, l.state, l.state_reason, l.worker_id, a.job_id IS NOT NULL AS accepted
          FROM input i
          LEFT JOIN locked l ON l.id = i.session_id AND l.owner_id = i.owner_id
          LEFT JOIN accepted a ON a.job_id = i.job_id
         ORDER BY i.nth";
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.id.uuid()).collect();
    let kinds: Vec<&str> = jobs.iter().map(|job| job.kind.word()).collect();
    let lanes: Vec<Option<&str>> = jobs
        .iter()
        .map(|job| job.kind.lane().map(Lane::word))
        .collect();
    let sessions: Vec<Uuid> = jobs.iter().map(|job| job.session.uuid()).collect();
    let owners: Vec<Uuid> = jobs.iter().map(|job| job.owner.uuid()).collect();
    let requests: Vec<&[u8]> = jobs.iter().map(|job| job.request.as_slice()).collect();
    let traces: Vec<&str> = jobs.iter().map(|job| job.traceparent.as_str()).collect();
    let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[
        &ids,
        &kinds,
        &sessions,
        &owners,
        &requests,
        &traces,
        &waiting_limit,
        &api.uuid(),
        &lanes,
    ];
    let rows = conn.query("jobs::submit", SQL, params).await?;
    rows.iter().map(verdict).collect()
}

fn verdict(row: &Row) -> Result<Verdict, DbError> {
    if !row.get::<_, bool>("known") {
        return Ok(Verdict::UnknownSession);
    }
    if row.get("accepted") {
        return Ok(Verdict::Accepted(
            row.get::<_, Option<Uuid>>("worker_id")
                .map(WorkerId::from_uuid),
        ));
    }
    let state: SessionState = row
        .get::<_, &str>("state")
        .parse()
        .map_err(|problem| DbError::bad_row("jobs::submit", problem))?;
    match state {
        SessionState::Opening | SessionState::Open => Ok(Verdict::QueueFull),
        SessionState::Closing | SessionState::Closed | SessionState::Lost => {
            Ok(Verdict::SessionOver(state, row.get("state_reason")))
        }
    }
}

/// Whether a job is stored, and the worker of its session: for a caller whose answer from [`submit`] was lost.
pub async fn is_stored(db: &Db, id: JobId) -> Result<Option<Option<WorkerId>>, DbError> {
    const SQL: &str = "-- jobs::is_stored
        SELECT s.worker_id FROM jobs j LEFT JOIN sessions s ON s.id = j.session_id WHERE j.id = $1";
    let rows = db
        .conn()
        .await?
        .query("jobs::is_stored", SQL, &[&id.uuid()])
        .await?;
    Ok(rows.first().map(|row| {
        row.get::<_, Option<Uuid>>("worker_id")
            .map(WorkerId::from_uuid)
    }))
}
