//! Batches that are deleted by their owner, or too old.

use std::time::Duration;

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::{Db, DbError};
use super::STOP;
use crate::id::{BatchId, JobId, PrincipalId, WorkerId};

/// What deleting a batch left to be done.
#[derive(Debug, Default)]
pub struct Deleted {
    /// Items that run, and where: their workers have to be told.
    pub running: Vec<(JobId, WorkerId)>,
}

/// Hides a batch from now on and cancels those of its items that run or are about to; `None` when the owner has no such batch, or,
/// without an owner, nobody has. What has not been released is cancelled by sweepers, a few at a time: there may be very many.
pub async fn delete(
    db: &Db,
    owner: Option<PrincipalId>,
    (name, version): (&str, &str),
    id: BatchId,
) -> Result<Option<Deleted>, DbError> {
    const HIDE: &str = "-- batches::hide
        UPDATE batches SET deleted_at = now(), recount = true
         WHERE id = $1 AND ($2::uuid IS NULL OR owner_id = $2) AND name = $3 AND version = $4 AND items IS NOT NULL AND deleted_at IS NULL";
    let cancel = format!(
        "-- batches::cancel_released
        WITH going AS (
            SELECT j.id FROM batches b JOIN jobs j ON j.batch_id = b.id AND j.item < b.released
             WHERE b.id = $1 AND j.finished_at IS NULL AND j.state IN ('queued', 'running')
             ORDER BY j.id LIMIT 1000 FOR UPDATE OF j SKIP LOCKED
        )
        UPDATE jobs j
           SET {STOP}
          FROM going g WHERE j.id = g.id
        RETURNING j.id, j.state, j.worker_id"
    );
    let owner = owner.map(PrincipalId::uuid);
    let params: &[&(dyn ToSql + Sync)] = &[&id.uuid(), &owner, &name, &version];
    let mut conn = db.conn().await?;
    if conn.execute("batches::hide", HIDE, params).await? == 0 {
        return Ok(None);
    }
    let rows = conn
        .query("batches::cancel_released", &cancel, &[&id.uuid()])
        .await?;
    let running = rows.iter().filter_map(|row| {
        let is_running = row.get::<_, &str>("state") == "running";
        let worker: Option<Uuid> = row.get("worker_id");
        let worker = worker.filter(|_worker| is_running)?;
        Some((JobId::from_uuid(row.get("id")), WorkerId::from_uuid(worker)))
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
