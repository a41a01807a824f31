//! Removing versions, what is left of publications that came to nothing, and contents that nobody runs any more.

use std::time::Duration;

use uuid::Uuid;

use super::super::{Conn, Db, DbError};
use super::name::{Name, Publisher, lock_name};
use crate::id::{ContentId, SnapshotId};

/// What became of the wish to delete a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is gone. Calls that were accepted before are run.
    Yes,
    /// It belongs to somebody else.
    NotYours,
    /// There is no such version.
    Unknown,
}

/// Deletes a version, and with the last one its name is free.
pub async fn remove(
    db: &Db,
    publisher: Publisher,
    name: &str,
    version: &str,
) -> Result<Removed, DbError> {
    const REMOVE: &str = "-- services::remove
        WITH gone AS (
            DELETE FROM service_versions WHERE name = $1 AND version = $2 RETURNING id
        ), over AS (
            UPDATE service_contents c SET over_at = now() FROM gone g
             WHERE c.version_id = g.id AND c.over_at IS NULL AND c.pinned_at IS NOT NULL
        )
        SELECT id FROM gone";
    let mut tx = db.conn().await?.begin("services::remove").await?;
    let verdict = match lock_name(&mut tx, name, publisher).await? {
        Name::Unknown => Removed::Unknown,
        Name::Mine | Name::NotYours if !exists(&mut tx, name, version).await? => Removed::Unknown,
        Name::NotYours => Removed::NotYours,
        Name::Mine => {
            tx.query("services::remove", REMOVE, &[&name, &version])
                .await?;
            free(&mut tx, &[], &[name.to_owned()]).await?;
            Removed::Yes
        }
    };
    tx.commit("services::remove").await?;
    Ok(verdict)
}

/// Whether a version can be called; one that is only reserved is nobody's business yet.
async fn exists(tx: &mut Conn, name: &str, version: &str) -> Result<bool, DbError> {
    const SQL: &str = "-- services::exists
        SELECT id FROM service_versions WHERE name = $1 AND version = $2 AND content_id IS NOT NULL";
    let rows = tx
        .query("services::exists", SQL, &[&name, &version])
        .await?;
    Ok(!rows.is_empty())
}

/// Forgets contents that were not pinned, then versions of these names that were only reserved and names without a version. The
/// names are locked.
pub(super) async fn free(
    tx: &mut Conn,
    contents: &[ContentId],
    names: &[String],
) -> Result<(), DbError> {
    const CONTENTS: &str = "-- services::free_contents
        DELETE FROM service_contents WHERE id = ANY ($1) AND pinned_at IS NULL";
    const VERSIONS: &str = "-- services::free_versions
        DELETE FROM service_versions v
         WHERE v.name = ANY ($1) AND v.content_id IS NULL
           AND NOT EXISTS (SELECT FROM service_contents c WHERE c.version_id = v.id)";
    const NAMES: &str = "-- services::free_names
        DELETE FROM services s
         WHERE s.name = ANY ($1) AND NOT EXISTS (SELECT FROM service_versions v WHERE v.name = s.name)";
    let ids: Vec<Uuid> = contents.iter().map(|id| id.uuid()).collect();
    tx.execute("services::free_contents", CONTENTS, &[&ids])
        .await?;
    tx.execute("services::free_versions", VERSIONS, &[&names])
        .await?;
    tx.execute("services::free_names", NAMES, &[&names])
        .await
        .map(drop)
}

/// Frees what publications reserved that ended without their worker: cancelled before they began, or lost.
pub async fn free_unpublished(tx: &mut Conn) -> Result<(), DbError> {
    const SQL: &str = "-- services::unpublished
        SELECT c.id, v.name
          FROM service_contents c
          LEFT JOIN jobs j ON j.id = c.job_id
          LEFT JOIN service_versions v ON v.id = c.version_id
         WHERE c.pinned_at IS NULL AND (j.id IS NULL OR j.finished_at IS NOT NULL)
         LIMIT 100";
    const LOCK: &str = "-- services::lock_names
        SELECT name FROM services WHERE name = ANY ($1) ORDER BY name FOR UPDATE SKIP LOCKED";
    let rows = tx.query("services::unpublished", SQL, &[]).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = rows.iter().filter_map(|row| row.get("name")).collect();
    let locked = tx.query("services::lock_names", LOCK, &[&named]).await?;
    let locked: Vec<String> = locked.iter().map(|row| row.get("name")).collect();
    let is_ours = |row: &&tokio_postgres::Row| {
        let name: Option<String> = row.get("name");
        name.is_none_or(|name| locked.contains(&name))
    };
    let contents: Vec<ContentId> = rows
        .iter()
        .filter(is_ours)
        .map(|row| ContentId::from_uuid(row.get("id")))
        .collect();
    free(tx, &contents, &locked).await
}

/// What was removed for its age.
#[derive(Debug, Default)]
pub struct OverContents {
    /// How many.
    pub removed: usize,
    /// Copies of snapshots that no content names any more.
    pub copies: Vec<ContentId>,
}

/// Removes contents whose place another took longer than `keep` ago, when every call that was accepted before has begun and no
/// batch of them is unfinished. A call that runs has what it needs in memory.
pub async fn remove_over(db: &Db, keep: Duration, limit: i64) -> Result<OverContents, DbError> {
    const SQL: &str = "-- services::remove_over
        DELETE FROM service_contents WHERE id IN (
            SELECT id FROM service_contents
             WHERE over_at < now() - $1 * interval '1 second'
               AND NOT EXISTS (SELECT FROM batches b
                                WHERE b.content_id = service_contents.id AND b.finished_at IS NULL)
               AND NOT EXISTS (SELECT FROM jobs j
                                WHERE j.state = 'queued' AND j.kind = ANY ('{publish,call,batch_item}')
                                  AND j.created_at <= service_contents.over_at)
             ORDER BY over_at LIMIT $2)
        RETURNING pinned_id";
    let mut conn = db.conn().await?;
    let rows = conn
        .query("services::remove_over", SQL, &[&keep.as_secs_f64(), &limit])
        .await?;
    drop(conn);
    let copies: Vec<ContentId> = rows
        .iter()
        .filter_map(|row| row.get::<_, Option<Uuid>>("pinned_id"))
        .map(ContentId::from_uuid)
        .collect();
    let known = known_copies(db, &copies).await?;
    Ok(OverContents {
        removed: rows.len(),
        copies: copies
            .into_iter()
            .filter(|copy| !known.contains(copy))
            .collect(),
    })
}

/// Those of these copies of snapshots that a content names.
pub async fn known_copies(db: &Db, ids: &[ContentId]) -> Result<Vec<ContentId>, DbError> {
    const SQL: &str = "-- services::known_copies
        SELECT DISTINCT pinned_id FROM service_contents WHERE pinned_id = ANY ($1)";
    let wanted: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let mut conn = db.conn().await?;
    let rows = conn
        .query("services::known_copies", SQL, &[&wanted])
        .await?;
    Ok(rows
        .iter()
        .map(|row| ContentId::from_uuid(row.get("pinned_id")))
        .collect())
}

/// Those of these snapshots that a publication under way is still to copy.
pub async fn wanted_snapshots(db: &Db, ids: &[SnapshotId]) -> Result<Vec<SnapshotId>, DbError> {
    const SQL: &str = "-- services::wanted_snapshots
        SELECT DISTINCT snapshot_id FROM service_contents WHERE snapshot_id = ANY ($1) AND pinned_at IS NULL";
    let wanted: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let mut conn = db.conn().await?;
    let rows = conn
        .query("services::wanted_snapshots", SQL, &[&wanted])
        .await?;
    Ok(rows
        .iter()
        .map(|row| SnapshotId::from_uuid(row.get("snapshot_id")))
        .collect())
}
