//! The rows of the floor: one durable INSERT and one durable UPDATE a job, alone or grouped.

use std::sync::Arc;

use uuid::Uuid;
use warren_common::group::Group;
use warren_common::id::{JobId, SessionId};
use warren_common::store::{Db, DbError};

use super::Mode;
use crate::bench::BenchError;

/// What is asked for, as a row holds it.
const REQUEST: &[u8] = br#"{"code":"1+1"}"#;
/// What came out.
pub(super) const RESULT: &str = r#"{"success":true,"outputs":[]}"#;
/// The largest group: that of the product.
const LARGEST: usize = 128;

/// A row to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) job: JobId,
    pub(super) session: SessionId,
}

type Grouped<I> = Group<I, Result<(), Arc<DbError>>>;

/// How rows get written.
pub(super) enum Rows {
    ByRow(Db),
    Grouped {
        inserts: Grouped<Row>,
        finishes: Grouped<JobId>,
    },
}

/// The table: what the product keeps of a job, without the rest and without any index but the key's.
pub(super) async fn create_table(db: &Db) -> Result<(), DbError> {
    const SQL: &str = "-- floor::create_table
        CREATE TABLE jobs (
            id          uuid PRIMARY KEY,
            session     uuid NOT NULL,
            state       text NOT NULL,
            request     bytea NOT NULL,
            result      bytea,
            created_at  timestamptz NOT NULL DEFAULT now(),
            finished_at timestamptz
        ) WITH (fillfactor = 80)";
    db.conn().await?.batch("floor::create_table", SQL).await
}

impl Rows {
    pub(super) fn start(mode: Mode, db: Db) -> Self {
        if mode == Mode::ByRow {
            return Self::ByRow(db);
        }
        let inserting = db.clone();
        Self::Grouped {
            inserts: Group::start(LARGEST, move |rows| {
                let db = inserting.clone();
                async move { for_each(rows.len(), insert_all(&db, &rows).await) }
            }),
            finishes: Group::start(LARGEST, move |jobs| {
                let db = db.clone();
                async move { for_each(jobs.len(), finish_all(&db, &jobs).await) }
            }),
        }
    }

    pub(super) async fn insert(&self, row: Row) -> Result<(), BenchError> {
        match self {
            Self::ByRow(db) => Ok(insert(db, row).await?),
            Self::Grouped { inserts, .. } => Ok(inserts.submit(row).await??),
        }
    }

    pub(super) async fn finish(&self, job: JobId) -> Result<(), BenchError> {
        match self {
            Self::ByRow(db) => Ok(finish(db, job).await?),
            Self::Grouped { finishes, .. } => Ok(finishes.submit(job).await??),
        }
    }
}

/// What became of a group, for each of its items.
fn for_each(items: usize, outcome: Result<(), DbError>) -> Vec<Result<(), Arc<DbError>>> {
    vec![outcome.map_err(Arc::new); items]
}

async fn insert(db: &Db, row: Row) -> Result<(), DbError> {
    const SQL: &str = "-- floor::insert
        INSERT INTO jobs (id, session, state, request) VALUES ($1, $2, 'queued', $3)";
    let (job, session) = (row.job.uuid(), row.session.uuid());
    let mut conn = db.conn().await?;
    conn.execute("floor::insert", SQL, &[&job, &session, &REQUEST])
        .await
        .map(drop)
}

async fn insert_all(db: &Db, rows: &[Row]) -> Result<(), DbError> {
    const SQL: &str = "-- floor::insert_all
        INSERT INTO jobs (id, session, state, request)
        SELECT id, session, 'queued', request FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS i (id, session, request)";
    let jobs: Vec<Uuid> = rows.iter().map(|row| row.job.uuid()).collect();
    let sessions: Vec<Uuid> = rows.iter().map(|row| row.session.uuid()).collect();
    let requests = vec![REQUEST; rows.len()];
    let mut conn = db.conn().await?;
    conn.execute("floor::insert_all", SQL, &[&jobs, &sessions, &requests])
        .await
        .map(drop)
}

async fn finish(db: &Db, job: JobId) -> Result<(), DbError> {
    const SQL: &str = "-- floor::finish
        UPDATE jobs SET state = 'succeeded', result = $2, finished_at = now() WHERE id = $1";
    let mut conn = db.conn().await?;
    conn.execute("floor::finish", SQL, &[&job.uuid(), &RESULT.as_bytes()])
        .await
        .map(drop)
}

async fn finish_all(db: &Db, jobs: &[JobId]) -> Result<(), DbError> {
    const SQL: &str = "-- floor::finish_all
        UPDATE jobs j SET state = 'succeeded', result = i.result, finished_at = now()
          FROM unnest($1::uuid[], $2::bytea[]) AS i (id, result) WHERE j.id = i.id";
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.uuid()).collect();
    let results = vec![RESULT.as_bytes(); jobs.len()];
    let mut conn = db.conn().await?;
    conn.execute("floor::finish_all", SQL, &[&ids, &results])
        .await
        .map(drop)
}
