//! Reading jobs, for those who wait and those who list.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use uuid::Uuid;

use super::super::{Db, DbError};
use crate::id::{JobId, PrincipalId, SessionId};
use crate::model::{CancelOutcome, JobKind, JobState, UnknownWord};

/// A job as its owner sees it, without its request, result and console text.
#[derive(Debug, Clone)]
pub struct Job {
    /// Which.
    pub id: JobId,
    /// What it does; an error when a later version made it.
    pub kind: Result<JobKind, UnknownWord>,
    /// Where it stands.
    pub state: JobState,
    /// Its session.
    pub session: Option<SessionId>,
    /// How often it was claimed.
    pub attempt: i32,
    /// Why it ended, where the result does not say.
    pub reason: Option<String>,
    /// When cancelling was asked for.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// What became of that.
    pub cancel: Option<CancelOutcome>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When its last attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it became final.
    pub finished_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str =
    "j.id, j.kind, j.state, j.session_id, j.attempt, j.reason, j.cancel_requested_at, j.cancel,
    j.created_at, j.started_at, j.finished_at";

fn job(row: &Row) -> Result<Job, DbError> {
    let bad = |problem: UnknownWord| DbError::bad_row("jobs", problem);
    Ok(Job {
        id: JobId::from_uuid(row.get("id")),
        kind: row.get::<_, &str>("kind").parse(),
        state: row.get::<_, &str>("state").parse().map_err(bad)?,
        session: row
            .get::<_, Option<Uuid>>("session_id")
            .map(SessionId::from_uuid),
        attempt: row.get("attempt"),
        reason: row.get("reason"),
        cancel_requested_at: row.get("cancel_requested_at"),
        cancel: row
            .get::<_, Option<&str>>("cancel")
            .map(str::parse)
            .transpose()
            .map_err(bad)?,
        created_at: row.get("created_at"),
        started_at: row.get("started_at"),
        finished_at: row.get("finished_at"),
    })
}

/// One job, if it is the owner's.
pub async fn find(db: &Db, owner: PrincipalId, id: JobId) -> Result<Option<Job>, DbError> {
    let sql =
        format!("-- jobs::find\nSELECT {COLUMNS} FROM jobs j WHERE j.id = $1 AND j.owner_id = $2");
    let rows = db
        .conn()
        .await?
        .query("jobs::find", &sql, &[&id.uuid(), &owner.uuid()])
        .await?;
    rows.first().map(job).transpose()
}

/// What a list of jobs is narrowed to.
#[derive(Debug, Default, Clone, Copy)]
pub struct ListFilter {
    /// Only these.
    pub state: Option<JobState>,
    /// Only these.
    pub kind: Option<JobKind>,
    /// Only of this session.
    pub session: Option<SessionId>,
    /// Only those accepted before this one.
    pub before: Option<JobId>,
}

/// The owner's jobs, newest first.
///
/// Owner and id are compared as one: asked for an owner alone, Postgres reads everybody's jobs by id and leaves out those of
/// others, which are a million when the owner is not among the busy ones.
pub async fn list(
    db: &Db,
    owner: PrincipalId,
    filter: ListFilter,
    limit: i64,
) -> Result<Vec<Job>, DbError> {
    let sql = format!(
        "-- jobs::list
        SELECT {COLUMNS} FROM jobs j
         WHERE (j.owner_id, j.id) >= ($1, '00000000-0000-0000-0000-000000000000'::uuid)
           AND (j.owner_id, j.id) < ($1, coalesce($5, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid))
           AND ($2::text IS NULL OR j.state = $2) AND ($3::text IS NULL OR j.kind = $3)
           AND ($4::uuid IS NULL OR j.session_id = $4)
         ORDER BY j.owner_id DESC, j.id DESC LIMIT $6"
    );
    let state = filter.state.map(JobState::word);
    let kind = filter.kind.map(JobKind::word);
    let session = filter.session.map(SessionId::uuid);
    let before = filter.before.map(JobId::uuid);
    let rows = db
        .conn()
        .await?
        .query(
            "jobs::list",
            &sql,
            &[&owner.uuid(), &state, &kind, &session, &before, &limit],
        )
        .await?;
    rows.iter().map(job).collect()
}

/// A job that is final, with what it left.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The job.
    pub job: Job,
    /// What came out, JSON; without the console text.
    pub result: Option<Vec<u8>>,
    /// All of the console text.
    pub console: Vec<u8>,
}

/// Those of these jobs that are final.
pub async fn ended(db: &Db, ids: &[JobId]) -> Result<Vec<Ended>, DbError> {
    let sql = format!(
        "-- jobs::ended
        SELECT {COLUMNS}, j.result,
               coalesce((SELECT string_agg(c.text, ''::bytea ORDER BY c.seq) FROM console_chunks c
                          WHERE c.job_id = j.id), ''::bytea) || coalesce(j.console_tail, ''::bytea) AS console
          FROM jobs j WHERE j.id = ANY ($1) AND j.finished_at IS NOT NULL"
    );
    let wanted: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = db
        .conn()
        .await?
        .query("jobs::ended", &sql, &[&wanted])
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Ended {
                job: job(row)?,
                result: row.get("result"),
                console: row.get("console"),
            })
        })
        .collect()
}

/// A line of a session's history.
#[derive(Debug)]
pub struct HistoryEntry {
    /// The run.
    pub job: Job,
    /// The stored request, JSON.
    pub request: Vec<u8>,
    /// What a run that did not succeed left, JSON, if it is at most 64 KiB.
    pub failure: Option<Vec<u8>>,
}

/// What was executed in a session, oldest first; jobs that never began are left out, and so are the oldest when there are
/// more than `limit`, or more than 64 MiB of requests.
pub async fn history(
    db: &Db,
    session: SessionId,
    limit: i64,
) -> Result<Vec<HistoryEntry>, DbError> {
    let sql = format!(
        "-- jobs::history
        SELECT {COLUMNS}, j.request,
               CASE WHEN j.state <> 'succeeded' AND length(j.result) <= 65536 THEN j.result END AS failure
          FROM (SELECT id, seq, sum(length(request)) OVER (ORDER BY seq DESC) AS bytes FROM jobs
                 WHERE session_id = $1 AND kind = 'execute' AND started_at IS NOT NULL
                 ORDER BY seq DESC LIMIT $2) newest
          JOIN jobs j ON j.id = newest.id
         WHERE newest.bytes <= 67108864 ORDER BY newest.seq"
    );
    let rows = db
        .conn()
        .await?
        .query("jobs::history", &sql, &[&session.uuid(), &limit])
        .await?;
    rows.iter()
        .map(|row| {
            Ok(HistoryEntry {
                job: job(row)?,
                request: row.get("request"),
                failure: row.get("failure"),
            })
        })
        .collect()
}

/// How many jobs of each kind are queued, and the age of the oldest in seconds; kinds of a later version are left out.
pub async fn queued_by_kind(db: &Db) -> Result<Vec<(JobKind, i64, f64)>, DbError> {
    const SQL: &str = "-- jobs::queued_by_kind
        SELECT kind, count(*) AS jobs, extract(epoch FROM now() - min(created_at))::float8 AS oldest
          FROM jobs WHERE state = 'queued' AND notices > 0 GROUP BY kind";
    let rows = db
        .conn()
        .await?
        .query("jobs::queued_by_kind", SQL, &[])
        .await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            let kind = row.get::<_, &str>("kind").parse().ok()?;
            Some((kind, row.get("jobs"), row.get("oldest")))
        })
        .collect())
}
