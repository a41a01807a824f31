//! Reading batches, for their owner.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::super::{Db, DbError};
use crate::id::{BatchId, JobId, PrincipalId};
use crate::model::JobState;

/// A batch as its owner sees it.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Which.
    pub id: BatchId,
    /// How many items it has.
    pub items: i32,
    /// How many are final.
    pub done: i32,
    /// An item was claimed.
    pub begun: bool,
    /// All are final.
    pub finished: bool,
}

/// A batch of a version, if it is the owner's; without an owner anybody's.
pub async fn find(
    db: &Db,
    owner: Option<PrincipalId>,
    (name, version): (&str, &str),
    id: BatchId,
) -> Result<Option<Batch>, DbError> {
    const SQL: &str = "-- batches::find
        SELECT b.id, b.items, b.done, b.finished_at IS NOT NULL AS finished,
               EXISTS (SELECT FROM jobs j WHERE j.batch_id = b.id AND j.item < b.parallel AND j.attempt > 0) AS begun
          FROM batches b
         WHERE b.id = $1 AND ($2::uuid IS NULL OR b.owner_id = $2) AND b.name = $3 AND b.version = $4
           AND b.items IS NOT NULL AND b.deleted_at IS NULL";
    let owner = owner.map(PrincipalId::uuid);
    let params: &[&(dyn ToSql + Sync)] = &[&id.uuid(), &owner, &name, &version];
    let mut conn = db.conn().await?;
    let rows = conn.query("batches::find", SQL, params).await?;
    Ok(rows.first().map(|row| Batch {
        id: BatchId::from_uuid(row.get("id")),
        items: row.get("items"),
        done: row.get("done"),
        begun: row.get("begun"),
        finished: row.get("finished"),
    }))
}

/// The owner's batches of a version, oldest first; without an owner everybody's.
pub async fn list(
    db: &Db,
    owner: Option<PrincipalId>,
    (name, version): (&str, &str),
) -> Result<Vec<BatchId>, DbError> {
    // Two statements, since there is an index for the first.
    const OF_OWNER: &str = "-- batches::list
        SELECT id FROM batches
         WHERE owner_id = $1 AND name = $2 AND version = $3 AND items IS NOT NULL AND deleted_at IS NULL
         ORDER BY id";
    const OF_ALL: &str = "-- batches::list_all
        SELECT id FROM batches
         WHERE $1::uuid IS NULL AND name = $2 AND version = $3 AND items IS NOT NULL AND deleted_at IS NULL
         ORDER BY id";
    let mut conn = db.conn().await?;
    let sql = if owner.is_some() { OF_OWNER } else { OF_ALL };
    let owner = owner.map(PrincipalId::uuid);
    let params: &[&(dyn ToSql + Sync)] = &[&owner, &name, &version];
    let rows = conn.query("batches::list", sql, params).await?;
    Ok(rows
        .iter()
        .map(|row| BatchId::from_uuid(row.get("id")))
        .collect())
}

/// The batch that a job is an item of.
pub async fn of_item(db: &Db, job: JobId) -> Result<Option<BatchId>, DbError> {
    const SQL: &str = "-- batches::of_item
        SELECT batch_id FROM jobs WHERE id = $1 AND batch_id IS NOT NULL";
    let mut conn = db.conn().await?;
    let rows = conn.query("batches::of_item", SQL, &[&job.uuid()]).await?;
    Ok(rows
        .first()
        .map(|row| BatchId::from_uuid(row.get("batch_id"))))
}

/// An item, and what it left if it is final.
#[derive(Debug)]
pub struct Item {
    /// Its place among the records.
    pub place: i32,
    /// Its job.
    pub job: JobId,
    /// Where it stands.
    pub state: JobState,
    /// What came out, JSON; without the console text.
    pub result: Option<Vec<u8>>,
    /// All of the console text.
    pub console: Vec<u8>,
    /// Why it ended, where the result does not say.
    pub reason: Option<String>,
}

/// Items from a place on, at most `limit`, in their order; fewer when they are large.
pub async fn page(db: &Db, batch: BatchId, from: i32, limit: i64) -> Result<Vec<Item>, DbError> {
    const SQL: &str = "-- batches::page
        SELECT j.id, j.item, j.state, j.reason, j.result,
               coalesce((SELECT string_agg(c.text, ''::bytea ORDER BY c.seq) FROM console_chunks c
                          WHERE c.job_id = j.id), ''::bytea) || coalesce(j.console_tail, ''::bytea) AS console
          FROM (SELECT id, item, sum(bytes) OVER (ORDER BY item) AS bytes
                  FROM (SELECT id, item,
                               coalesce(length(result), 0) + coalesce(length(console_tail), 0)
                               + coalesce((SELECT sum(length(c.text)) FROM console_chunks c
                                            WHERE c.job_id = jobs.id), 0) AS bytes
                          FROM jobs WHERE batch_id = $1 AND item >= $2 ORDER BY item LIMIT $3) next) sized
          JOIN jobs j ON j.id = sized.id
         WHERE sized.bytes <= 8388608 OR j.item = $2
         ORDER BY j.item";
    let mut conn = db.conn().await?;
    let params: &[&(dyn ToSql + Sync)] = &[&batch.uuid(), &from, &limit];
    let rows = conn.query("batches::page", SQL, params).await?;
    rows.iter().map(item).collect()
}

/// What the item in a place left, if it is there and has left something.
pub async fn result(
    db: &Db,
    batch: BatchId,
    place: i32,
) -> Result<Option<Option<Vec<u8>>>, DbError> {
    const SQL: &str = "-- batches::result
        SELECT result FROM jobs WHERE batch_id = $1 AND item = $2";
    let mut conn = db.conn().await?;
    let rows = conn
        .query("batches::result", SQL, &[&batch.uuid(), &place])
        .await?;
    Ok(rows.first().map(|row| row.get("result")))
}

fn item(row: &Row) -> Result<Item, DbError> {
    let state: &str = row.get("state");
    Ok(Item {
        place: row.get("item"),
        job: JobId::from_uuid(row.get("id")),
        state: state
            .parse()
            .map_err(|problem| DbError::bad_row("batches::page", problem))?,
        result: row.get("result"),
        console: row.get("console"),
        reason: row.get("reason"),
    })
}
