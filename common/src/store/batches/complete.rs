//! Items that ended, and those that may begin in their place.

use super::super::jobs::{Columns, Completion};
use super::super::{Conn, Db, DbError};
use super::STOP;
use crate::id::{BatchId, JobId};
use crate::model::WorkerIdentity;

/// Completes a group of items in one statement and one commit, and releases as many of the same batches. What comes back are the
/// items that were this worker's, and the jobs that were released.
///
/// One that is locked at this moment is being cancelled and is passed over, here and in [`recount`]: whoever holds the row of a
/// batch waits for no item of it.
pub async fn complete_items(
    db: &Db,
    me: WorkerIdentity,
    completions: &[Completion],
) -> Result<(Vec<JobId>, Vec<JobId>), DbError> {
    const SQL: &str = "-- batches::complete_items
        WITH input AS (
            SELECT * FROM unnest($3::uuid[], $4::int4[], $5::text[], $6::bytea[], $7::bytea[], $8::text[], $9::text[])
                AS i (job_id, attempt, state, result, console_tail, reason, cancel)
        ), done AS (
            UPDATE jobs j
               SET state = i.state, result = i.result, console_tail = i.console_tail, reason = i.reason,
                   cancel = i.cancel, finished_at = now()
              FROM input i, workers w
             WHERE j.id = i.job_id AND j.attempt = i.attempt AND j.worker_id = $1 AND j.epoch = $2
               AND j.finished_at IS NULL AND j.state = 'running'
               AND w.id = $1 AND w.epoch = $2 AND w.state IN ('alive', 'draining')
            RETURNING j.id, j.batch_id
        ), ended AS (
            SELECT batch_id, count(*)::int AS jobs FROM done GROUP BY batch_id
        ), moved AS (
            UPDATE batches b
               SET done = b.done + e.jobs, released = b.released + e.jobs,
                   finished_at = CASE WHEN b.done + e.jobs >= b.items THEN now() ELSE b.finished_at END
              FROM ended e WHERE b.id = e.batch_id
            RETURNING b.id, b.released - e.jobs AS from_item, b.released AS to_item, b.deleted_at IS NULL AS goes_on
        ), next AS (
            SELECT j.id FROM moved m JOIN jobs j ON j.batch_id = m.id AND j.item >= m.from_item AND j.item < m.to_item
             WHERE j.state = 'waiting' AND m.goes_on FOR UPDATE OF j SKIP LOCKED
        ), released AS (
            UPDATE jobs j SET state = 'queued', noticed_at = now() FROM next n WHERE j.id = n.id RETURNING j.id
        )
        SELECT id, false AS released FROM done UNION ALL SELECT id, true FROM released";
    let columns = Columns::of(completions);
    let (worker, epoch) = (me.id.uuid(), me.epoch);
    let params = columns.behind(&worker, &epoch);
    let mut conn = db.conn().await?;
    let rows = conn.query("batches::complete_items", SQL, &params).await?;
    let (released, done): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| row.get::<_, bool>("released"));
    let ids = |rows: Vec<&tokio_postgres::Row>| {
        let ids = rows.iter().map(|row| JobId::from_uuid(row.get("id")));
        ids.collect::<Vec<_>>()
    };
    Ok((ids(done), ids(released)))
}

/// Counts the items of one batch anew of which some ended otherwise, and releases what may begin; of one that was deleted, cancels
/// some, and comes back to it until every one is over or asked to stop. Gives the jobs that were released, and whether there was
/// such a batch.
///
/// A transaction of its own, so that a large batch holds up nothing else.
pub async fn recount(db: &Db) -> Result<(Vec<JobId>, bool), DbError> {
    const MARKED: &str = "-- batches::marked
        SELECT id, parallel, deleted_at IS NOT NULL AS deleted FROM batches
         WHERE recount AND items IS NOT NULL ORDER BY touched_at LIMIT 1 FOR UPDATE SKIP LOCKED";
    let mut tx = db.conn().await?.begin("batches::recount").await?;
    let rows = tx.query("batches::marked", MARKED, &[]).await?;
    let Some(row) = rows.first() else {
        tx.roll_back("batches::recount").await?;
        return Ok((Vec::new(), false));
    };
    let batch = BatchId::from_uuid(row.get("id"));
    let released = if row.get("deleted") && goes_on(&mut tx, batch).await? {
        Vec::new()
    } else {
        recount_one(&mut tx, batch, row.get("parallel")).await?
    };
    tx.commit("batches::recount").await?;
    Ok((released, true))
}

/// Cancels items of a deleted batch that have not begun, a few at a time, and asks those to stop that run: the ones that a worker
/// was taking while the batch was deleted. True when there may be more of either.
async fn goes_on(tx: &mut Conn, batch: BatchId) -> Result<bool, DbError> {
    // One that was passed over, because somebody has it locked, is seen here.
    const LEFT: &str = "-- batches::goes_on
        SELECT EXISTS (
            SELECT FROM jobs WHERE batch_id = $1 AND finished_at IS NULL AND cancel_requested_at IS NULL
        ) AS any";
    let cancel = format!(
        "-- batches::cancel_some
        WITH next AS (
            SELECT id FROM jobs
             WHERE batch_id = $1 AND finished_at IS NULL AND cancel_requested_at IS NULL ORDER BY item LIMIT 2000
               FOR UPDATE SKIP LOCKED
        ), touched AS (
            UPDATE batches SET touched_at = now() WHERE id = $1
        )
        UPDATE jobs j
           SET {STOP}
          FROM next n WHERE j.id = n.id"
    );
    let batch = batch.uuid();
    let cancelled = tx
        .execute("batches::cancel_some", &cancel, &[&batch])
        .await?;
    if cancelled > 0 {
        return Ok(true);
    }
    let left = tx.query("batches::goes_on", LEFT, &[&batch]).await?;
    Ok(left.first().is_some_and(|row| row.get("any")))
}

async fn recount_one(tx: &mut Conn, batch: BatchId, parallel: i32) -> Result<Vec<JobId>, DbError> {
    const COUNT: &str = "-- batches::count
        SELECT count(*) FILTER (WHERE finished_at IS NOT NULL)::int AS done,
               count(*) FILTER (WHERE state IN ('queued', 'running'))::int AS going
          FROM jobs WHERE batch_id = $1";
    const RELEASE: &str = "-- batches::release_more
        WITH next AS (
            SELECT id, item FROM jobs WHERE batch_id = $1 AND state = 'waiting' ORDER BY item LIMIT $2
               FOR UPDATE SKIP LOCKED
        ), released AS (
            UPDATE jobs j SET state = 'queued', noticed_at = now() FROM next n
             WHERE j.id = n.id AND j.state = 'waiting' RETURNING j.id
        ), counted AS (
            UPDATE batches b
               SET done = $3, recount = false, touched_at = now(),
                   released = greatest(b.released, coalesce((SELECT max(item) + 1 FROM next), 0)),
                   finished_at = CASE WHEN $3 >= b.items THEN coalesce(b.finished_at, now()) END
             WHERE b.id = $1
        )
        SELECT id FROM released";
    let rows = tx.query("batches::count", COUNT, &[&batch.uuid()]).await?;
    let Some(row) = rows.first() else {
        return Ok(Vec::new());
    };
    let (done, going): (i32, i32) = (row.get("done"), row.get("going"));
    let room = i64::from((parallel - going).max(0));
    let rows = tx
        .query(
            "batches::release_more",
            RELEASE,
            &[&batch.uuid(), &room, &done],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| JobId::from_uuid(row.get("id")))
        .collect())
}
