//! Table `console_chunks`, and the text after it that travels in the rows of `jobs`.

mod page;
mod tail;

use tokio_postgres::types::ToSql;

use super::{Db, DbError};
use crate::id::{JobId, SessionId};
use crate::model::{JobState, WorkerIdentity};

pub use page::{Page, page};

/// Text that a running job printed.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Which job.
    pub job: JobId,
    /// Which attempt.
    pub attempt: i32,
    /// From 0, without gaps.
    pub seq: i32,
    /// Whole UTF-8 characters.
    pub text: Vec<u8>,
}

/// Appends a chunk; false when the job is not this worker's. Appending the same chunk again changes nothing.
pub async fn append(db: &Db, me: WorkerIdentity, chunk: &Chunk) -> Result<bool, DbError> {
    const SQL: &str = "-- console::append
        WITH mine AS (
            SELECT j.id FROM jobs j, workers w
             WHERE j.id = $3 AND w.id = $1 AND w.epoch = $2 AND w.state IN ('alive', 'draining')
               AND j.finished_at IS NULL
               AND (j.attempt = $4 AND j.worker_id = $1 AND j.epoch = $2
                    OR j.attempt = $4 - 1
                       AND EXISTS (SELECT FROM sessions s
                                    WHERE s.id = j.session_id AND s.worker_id = $1 AND s.epoch = $2))
               FOR NO KEY UPDATE OF j
        ), added AS (
            INSERT INTO console_chunks (job_id, seq, text) SELECT id, $5, $6 FROM mine
            ON CONFLICT (job_id, seq) DO NOTHING
        )
        SELECT id FROM mine";
    let params: &[&(dyn ToSql + Sync)] = &[
        &me.id.uuid(),
        &me.epoch,
        &chunk.job.uuid(),
        &chunk.attempt,
        &chunk.seq,
        &chunk.text,
    ];
    Ok(!db
        .conn()
        .await?
        .query("console::append", SQL, params)
        .await?
        .is_empty())
}

/// The whole text of the current or last run of a session; empty when nothing ran yet.
pub async fn of_last_run(db: &Db, session: SessionId) -> Result<Vec<u8>, DbError> {
    const SQL: &str = "-- console::of_last_run
        SELECT coalesce((SELECT string_agg(c.text, ''::bytea ORDER BY c.seq) FROM console_chunks c
                          WHERE c.job_id = j.id), ''::bytea) || coalesce(j.console_tail, ''::bytea) AS text
          FROM jobs j
         WHERE j.session_id = $1 AND j.kind = 'execute' AND j.started_at IS NOT NULL
         ORDER BY j.seq DESC LIMIT 1";
    let rows = db
        .conn()
        .await?
        .query("console::of_last_run", SQL, &[&session.uuid()])
        .await?;
    Ok(rows.first().map(|row| row.get("text")).unwrap_or_default())
}

/// How far a job has come, for those who wait for more of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Which job.
    pub job: JobId,
    /// Where it stands.
    pub state: JobState,
    /// How often it was claimed.
    pub attempt: i32,
    /// How many chunks are written.
    pub chunks: i32,
}

/// How far these jobs have come; those that are gone are left out.
pub async fn heads(db: &Db, jobs: &[JobId]) -> Result<Vec<Head>, DbError> {
    const SQL: &str = "-- console::heads
        SELECT j.id, j.state, j.attempt,
               coalesce((SELECT max(c.seq) + 1 FROM console_chunks c WHERE c.job_id = j.id), 0) AS chunks
          FROM jobs j WHERE j.id = ANY ($1)";
    let wanted: Vec<uuid::Uuid> = jobs.iter().map(|job| job.uuid()).collect();
    let rows = db
        .conn()
        .await?
        .query("console::heads", SQL, &[&wanted])
        .await?;
    let head = |row: &tokio_postgres::Row| {
        Ok(Head {
            job: JobId::from_uuid(row.get("id")),
            state: row
                .get::<_, &str>("state")
                .parse()
                .map_err(|problem| DbError::bad_row("console::heads", problem))?,
            attempt: row.get("attempt"),
            chunks: row.get("chunks"),
        })
    };
    rows.iter().map(head).collect()
}
