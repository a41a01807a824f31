//! Records on their way in: a batch is begun, gets its items a few at a time, and is released when it is whole.

use std::time::Duration;

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::jobs::{IdempotencyKey, remember};
use super::super::{Conn, Db, DbError};
use crate::id::{ApiId, BatchId, ContentId, JobId, PrincipalId};

/// A batch that is asked for.
#[derive(Debug)]
pub struct NewBatch {
    /// Its id.
    pub id: BatchId,
    /// Who asks.
    pub owner: PrincipalId,
    /// The service.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What its items run.
    pub content: ContentId,
    /// How many items may be queued or running.
    pub parallel: i32,
}

/// A record that has arrived.
#[derive(Debug)]
pub struct NewItem {
    /// The job.
    pub job: JobId,
    /// What exactly, JSON.
    pub request: Vec<u8>,
}

/// Begins a batch of which nobody knows yet how many items it has.
pub async fn begin(db: &Db, new: &NewBatch) -> Result<(), DbError> {
    const SQL: &str = "-- batches::begin
        INSERT INTO batches (id, owner_id, name, version, parallel, content_id) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (id) DO NOTHING";
    let params: &[&(dyn ToSql + Sync)] = &[
        &new.id.uuid(),
        &new.owner.uuid(),
        &new.name,
        &new.version,
        &new.parallel,
        &new.content.uuid(),
    ];
    let mut conn = db.conn().await?;
    conn.execute("batches::begin", SQL, params).await.map(drop)
}

/// Adds items behind those that are there, the first of them as number `first`. Adding the same again changes nothing. False
/// when the batch was abandoned meanwhile.
pub async fn add_items(
    db: &Db,
    api: ApiId,
    batch: BatchId,
    first: i32,
    items: &[NewItem],
    traceparent: &str,
) -> Result<bool, DbError> {
    const SQL: &str = "-- batches::add_items
        WITH batch AS (
            UPDATE batches SET touched_at = now() WHERE id = $1 AND items IS NULL AND deleted_at IS NULL RETURNING id, owner_id
        ), input AS (
            SELECT * FROM unnest($2::uuid[], $3::bytea[]) WITH ORDINALITY AS i (job_id, request, nth)
        ), added AS (
            INSERT INTO jobs (id, kind, state, owner_id, api_id, request, traceparent, batch_id, item)
            SELECT i.job_id, 'batch_item', 'waiting', b.owner_id, $4, i.request, $5, b.id, $6 + i.nth::int - 1
              FROM batch b CROSS JOIN input i
            ON CONFLICT DO NOTHING
        )
        SELECT id FROM batch";
    let jobs: Vec<Uuid> = items.iter().map(|item| item.job.uuid()).collect();
    let requests: Vec<&[u8]> = items.iter().map(|item| item.request.as_slice()).collect();
    let params: &[&(dyn ToSql + Sync)] = &[
        &batch.uuid(),
        &jobs,
        &requests,
        &api.uuid(),
        &traceparent,
        &first,
    ];
    let mut conn = db.conn().await?;
    let rows = conn.query("batches::add_items", SQL, params).await?;
    Ok(!rows.is_empty())
}

/// What became of a batch that is whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrived {
    /// Its first items are queued: these.
    Released(Vec<JobId>),
    /// It was abandoned meanwhile.
    Abandoned,
    /// The idempotency key is that of another batch.
    KeyHeld,
}

/// Releases the first items of a batch that has `items` of them. `key` is tied to its first item.
pub async fn release(
    db: &Db,
    batch: BatchId,
    items: i32,
    key: Option<(&IdempotencyKey, JobId)>,
) -> Result<Arrived, DbError> {
    let mut tx = db.conn().await?.begin("batches::release").await?;
    let Some(jobs) = release_in(&mut tx, batch, items).await? else {
        tx.roll_back("batches::release").await?;
        return Ok(Arrived::Abandoned);
    };
    if let Some((key, first)) = key
        && !remember(&mut tx, key, first).await?
    {
        tx.roll_back("batches::release").await?;
        return Ok(Arrived::KeyHeld);
    }
    tx.commit("batches::release").await?;
    Ok(Arrived::Released(jobs))
}

async fn release_in(
    tx: &mut Conn,
    batch: BatchId,
    items: i32,
) -> Result<Option<Vec<JobId>>, DbError> {
    const WHOLE: &str = "-- batches::whole
        UPDATE batches
           SET items = $2, released = least(parallel, $2), finished_at = CASE WHEN $2 = 0 THEN now() END
         WHERE id = $1 AND items IS NULL AND deleted_at IS NULL RETURNING released";
    const RELEASE: &str = "-- batches::release_first
        UPDATE jobs SET state = 'queued', noticed_at = now()
         WHERE batch_id = $1 AND item < $2 AND state = 'waiting' RETURNING id";
    let rows = tx
        .query("batches::whole", WHOLE, &[&batch.uuid(), &items])
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let released: i32 = row.get("released");
    let rows = tx
        .query(
            "batches::release_first",
            RELEASE,
            &[&batch.uuid(), &released],
        )
        .await?;
    Ok(Some(
        rows.iter()
            .map(|row| JobId::from_uuid(row.get("id")))
            .collect(),
    ))
}

/// Whether a batch was released: for a caller whose answer from [`release`] was lost.
pub async fn is_released(db: &Db, batch: BatchId) -> Result<bool, DbError> {
    const SQL: &str = "-- batches::is_released
        SELECT id FROM batches WHERE id = $1 AND items IS NOT NULL";
    let mut conn = db.conn().await?;
    let rows = conn
        .query("batches::is_released", SQL, &[&batch.uuid()])
        .await?;
    Ok(!rows.is_empty())
}

/// Forgets a batch whose records did not all arrive, and what has of them. The batch goes last, so that it is found again should this
/// come to nothing half-way.
pub async fn abandon(db: &Db, batch: BatchId) -> Result<(), DbError> {
    const MARK: &str = "-- batches::abandon
        UPDATE batches SET deleted_at = coalesce(deleted_at, now()) WHERE id = $1 AND items IS NULL";
    const ITEMS: &str = "-- batches::forget_items
        DELETE FROM jobs WHERE id IN (
            SELECT id FROM jobs WHERE batch_id = $1 AND state = 'waiting' LIMIT 1000)";
    const BATCH: &str = "-- batches::forget
        DELETE FROM batches WHERE id = $1 AND items IS NULL";
    let mut conn = db.conn().await?;
    let id = batch.uuid();
    if conn.execute("batches::abandon", MARK, &[&id]).await? == 0 {
        return Ok(());
    }
    while conn.execute("batches::forget_items", ITEMS, &[&id]).await? > 0 {}
    conn.execute("batches::forget", BATCH, &[&id])
        .await
        .map(drop)
}

/// Forgets batches of which nothing has arrived for so long: their node is gone.
pub async fn abandon_stale(db: &Db, silent: Duration) -> Result<(), DbError> {
    const SQL: &str = "-- batches::stale
        SELECT id FROM batches WHERE items IS NULL AND touched_at < now() - $1 * interval '1 second' LIMIT 100";
    let mut conn = db.conn().await?;
    let rows = conn
        .query("batches::stale", SQL, &[&silent.as_secs_f64()])
        .await?;
    drop(conn);
    for row in rows {
        abandon(db, BatchId::from_uuid(row.get("id"))).await?;
    }
    Ok(())
}
