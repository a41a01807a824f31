//! Batches that are deleted by their owner, or too old.

use std::time::Duration;

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::{Db, DbError};
use crate::id::{BatchId, JobId, PrincipalId, WorkerId};

/// What deleting a batch left to be done.
#[derive(Debug, Default)]
pub struct Deleted {
    /// Items that run, and where: their workers have to be told.
    pub running: Vec<(JobId, WorkerId)>,
}

/// Cancels what of a batch has not ended, and hides it from then on; `None` when the owner has no such batch.
///
/// The jobs come first, as wherever both tables are written: so nobody waits for each other in a circle.
pub async fn delete(
    db: &Db,
    owner: PrincipalId,
    (name, version): (&str, &str),
    id: BatchId,
) -> Result<Option<Deleted>, DbError> {
    const SQL: &str = "-- batches::delete
        WITH batch AS (
            SELECT id FROM batches
             WHERE id = $1 AND owner_id = $2 AND name = $3 AND version = $4 AND items IS NOT NULL AND deleted_at IS NULL
        ), asked AS (
            UPDATE jobs j
               SET state = CASE WHEN j.state = 'running' THEN j.state ELSE 'cancelled' END,
                   finished_at = CASE WHEN j.state = 'running' THEN NULL ELSE now() END,
                   reason = CASE WHEN j.state = 'running' THEN j.reason ELSE 'its batch was deleted' END,
                   cancel_requested_at = coalesce(j.cancel_requested_at, now())
              FROM batch b
             WHERE j.batch_id = b.id AND j.state IN ('waiting', 'queued', 'running')
            RETURNING j.id, j.state, j.worker_id
        )
        SELECT b.id AS batch, a.id, a.worker_id
          FROM batch b LEFT JOIN asked a ON a.state = 'running'";
    const HIDE: &str = "-- batches::hide
        UPDATE batches SET deleted_at = now(), recount = true WHERE id = $1";
    let params: &[&(dyn ToSql + Sync)] = &[&id.uuid(), &owner.uuid(), &name, &version];
    let mut tx = db.conn().await?.begin("batches::delete").await?;
    let rows = tx.query("batches::delete", SQL, params).await?;
    if rows.is_empty() {
        tx.roll_back("batches::delete").await?;
        return Ok(None);
    }
    tx.execute("batches::hide", HIDE, &[&id.uuid()]).await?;
    tx.commit("batches::delete").await?;
    let running = rows.iter().filter_map(|row| {
        let job: Option<Uuid> = row.get("id");
        let worker: Option<Uuid> = row.get("worker_id");
        Some((JobId::from_uuid(job?), WorkerId::from_uuid(worker?)))
    });
    Ok(Some(Deleted {
        running: running.collect(),
    }))
}

/// Forgets batches that were finished or deleted longer than `keep` ago; their items go like any job.
pub async fn remove_old(db: &Db, keep: Duration, limit: i64) -> Result<u64, DbError> {
    const SQL: &str = "-- batches::remove_old
        DELETE FROM batches WHERE id IN (
            SELECT id FROM batches
             WHERE finished_at IS NOT NULL
               AND least(coalesce(deleted_at, finished_at), finished_at) < now() - $1 * interval '1 second'
             LIMIT $2)";
    let mut conn = db.conn().await?;
    conn.execute("batches::remove_old", SQL, &[&keep.as_secs_f64(), &limit])
        .await
}
