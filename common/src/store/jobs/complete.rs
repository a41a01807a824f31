//! Completing jobs, conditional on epoch and attempt.

use std::collections::HashMap;

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::snapshots::{self, NewSnapshot};
use super::super::{Conn, Db, DbError, storable};
use crate::id::{ApiId, JobId};
use crate::model::{CancelOutcome, JobState, WorkerIdentity};

/// How an attempt ended.
#[derive(Debug, Clone)]
pub struct Completion {
    /// Which job.
    pub job: JobId,
    /// Which attempt.
    pub attempt: i32,
    /// A final state.
    pub state: JobState,
    /// What came out, JSON.
    pub result: Option<Vec<u8>>,
    /// Console text that is not written yet.
    pub console_tail: Vec<u8>,
    /// Why, where the result does not say.
    pub reason: Option<String>,
    /// What became of a wish to cancel.
    pub cancel: Option<CancelOutcome>,
    /// A snapshot that is whole in the object store; it exists from the commit of this on.
    pub snapshot: Option<NewSnapshot>,
}

/// Completions as the columns that a statement takes: of jobs, attempts, states, results, console tails, reasons, cancels.
pub(in crate::store) struct Columns<'a> {
    jobs: Vec<Uuid>,
    attempts: Vec<i32>,
    states: Vec<&'static str>,
    results: Vec<Option<&'a [u8]>>,
    tails: Vec<&'a [u8]>,
    reasons: Vec<Option<String>>,
    cancels: Vec<Option<&'static str>>,
}

impl<'a> Columns<'a> {
    pub(in crate::store) fn of(completions: &'a [Completion]) -> Self {
        let all = || completions.iter();
        Self {
            jobs: all().map(|done| done.job.uuid()).collect(),
            attempts: all().map(|done| done.attempt).collect(),
            states: all().map(|done| done.state.word()).collect(),
            results: all().map(|done| done.result.as_deref()).collect(),
            tails: all().map(|done| done.console_tail.as_slice()).collect(),
            reasons: all()
                .map(|done| done.reason.as_deref().map(storable))
                .collect(),
            cancels: all()
                .map(|done| done.cancel.map(CancelOutcome::word))
                .collect(),
        }
    }

    /// The parameters `$3` to `$9`, behind who writes.
    pub(in crate::store) fn behind<'p>(
        &'p self,
        worker: &'p Uuid,
        epoch: &'p i64,
    ) -> [&'p (dyn ToSql + Sync); 9] {
        [
            worker,
            epoch,
            &self.jobs,
            &self.attempts,
            &self.states,
            &self.results,
            &self.tails,
            &self.reasons,
            &self.cancels,
        ]
    }
}

/// What the database said of a completion that it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completed {
    /// The node that waits.
    pub api: ApiId,
    /// More jobs wait in the session.
    pub more: bool,
}

/// Completes a group of jobs in one statement and one commit; jobs that are absent from the answer were not this worker's.
///
/// A row that is not final and carries this attempt, worker and epoch is running here. Its state is not named, so that it is
/// reached by its key and not by way of a partial index. A row may also stand at `queued` with the attempt before: its claim was committed without waiting for the disk, and
/// Postgres has forgotten it (`docs/decisions/0003-asynchronous-claims.md`).
pub async fn complete(
    db: &Db,
    me: WorkerIdentity,
    completions: &[Completion],
) -> Result<HashMap<JobId, Completed>, DbError> {
    complete_on(&mut db.conn().await?, me, completions).await
}

/// Completes the creation of a snapshot and makes its row, both or none.
pub async fn complete_with_snapshot(
    db: &Db,
    me: WorkerIdentity,
    completion: &Completion,
    snapshot: &NewSnapshot,
) -> Result<HashMap<JobId, Completed>, DbError> {
    let mut tx = db
        .conn()
        .await?
        .begin("jobs::complete_with_snapshot")
        .await?;
    let done = complete_on(&mut tx, me, std::slice::from_ref(completion)).await?;
    if done.contains_key(&completion.job) {
        snapshots::insert(&mut tx, completion.job, snapshot).await?;
    }
    tx.commit("jobs::complete_with_snapshot").await?;
    Ok(done)
}

pub(in crate::store) async fn complete_on(
    conn: &mut Conn,
    me: WorkerIdentity,
    completions: &[Completion],
) -> Result<HashMap<JobId, Completed>, DbError> {
    const SQL: &str = "-- jobs::complete
        WITH input AS (
            SELECT * FROM unnest($3::uuid[], $4::int4[], $5::text[], $6::bytea[], $7::bytea[], $8::text[], $9::text[])
                AS i (job_id, attempt, state, result, console_tail, reason, cancel)
        ), done AS (
            UPDATE jobs j
               SET state = i.state, result = i.result, console_tail = i.console_tail, reason = i.reason,
                   cancel = i.cancel, attempt = i.attempt, worker_id = $1, epoch = $2,
                   started_at = coalesce(j.started_at, now()), finished_at = now()
              FROM input i, workers w
             WHERE j.id = i.job_id
               AND w.id = $1 AND w.epoch = $2 AND w.state IN ('alive', 'draining')
               AND j.finished_at IS NULL
               AND (j.attempt = i.attempt AND j.worker_id = $1 AND j.epoch = $2
                    OR j.attempt = i.attempt - 1
                       AND EXISTS (SELECT FROM sessions s
                                    WHERE s.id = j.session_id AND s.worker_id = $1 AND s.epoch = $2))
            RETURNING j.id, j.session_id, j.api_id
        )
        SELECT d.id, d.api_id,
               EXISTS (SELECT FROM jobs q
                        WHERE q.session_id = d.session_id AND q.state = 'queued' AND q.lane = 'ordered'
                          AND q.id <> d.id) AS more
          FROM done d";
    let columns = Columns::of(completions);
    let (worker, epoch) = (me.id.uuid(), me.epoch);
    let params = columns.behind(&worker, &epoch);
    let rows = conn.query("jobs::complete", SQL, &params).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let completed = Completed {
                api: ApiId::from_uuid(row.get("api_id")),
                more: row.get("more"),
            };
            (JobId::from_uuid(row.get("id")), completed)
        })
        .collect())
}

/// True when the row already carries exactly this completion: for a worker whose answer from [`complete`] was lost.
pub async fn settled_by(
    db: &Db,
    me: WorkerIdentity,
    completion: &Completion,
) -> Result<Option<Completed>, DbError> {
    const SQL: &str = "-- jobs::settled_by
        SELECT j.api_id,
               EXISTS (SELECT FROM jobs q
                        WHERE q.session_id = j.session_id AND q.state = 'queued' AND q.lane = 'ordered') AS more
          FROM jobs j
         WHERE j.id = $1 AND j.state = $2 AND j.attempt = $3 AND j.worker_id = $4 AND j.epoch = $5";
    let params: &[&(dyn ToSql + Sync)] = &[
        &completion.job.uuid(),
        &completion.state.word(),
        &completion.attempt,
        &me.id.uuid(),
        &me.epoch,
    ];
    let rows = db
        .conn()
        .await?
        .query("jobs::settled_by", SQL, params)
        .await?;
    Ok(rows.first().map(|row| Completed {
        api: ApiId::from_uuid(row.get("api_id")),
        more: row.get("more"),
    }))
}
