//! Table `snapshots`. A row exists only when its zip is whole in the object store, and goes before the zip does.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use super::{Conn, Db, DbError};
use crate::id::{JobId, PrincipalId, SnapshotId};

/// A snapshot whose zip is whole in the object store.
#[derive(Debug, Clone)]
pub struct NewSnapshot {
    /// Its id, chosen when it was asked for.
    pub id: SnapshotId,
    /// A label of the owner.
    pub name: Option<String>,
    /// Bytes of the zip.
    pub content_size: u64,
}

/// A snapshot as its owner sees it.
#[derive(Debug)]
pub struct Snapshot {
    /// Which.
    pub id: SnapshotId,
    /// The owner's label.
    pub name: Option<String>,
    /// Bytes of the zip.
    pub content_size: u64,
    /// When it was saved.
    pub created_at: DateTime<Utc>,
}

fn snapshot(row: &Row) -> Snapshot {
    Snapshot {
        id: SnapshotId::from_uuid(row.get("id")),
        name: row.get("name"),
        content_size: u64::try_from(row.get::<_, i64>("content_size")).unwrap_or(0),
        created_at: row.get("created_at"),
    }
}

/// Makes the snapshot of a job that was completed in this transaction; it belongs to the job's owner.
pub(super) async fn insert(tx: &mut Conn, job: JobId, new: &NewSnapshot) -> Result<(), DbError> {
    const SQL: &str = "-- snapshots::insert
        INSERT INTO snapshots (id, owner_id, name, content_size)
        SELECT $2, owner_id, $3, $4 FROM jobs WHERE id = $1";
    let size = i64::try_from(new.content_size).unwrap_or(i64::MAX);
    let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&job.uuid(), &new.id.uuid(), &new.name, &size];
    tx.execute("snapshots::insert", SQL, params).await.map(drop)
}

/// The owner's snapshots, oldest first.
pub async fn list(db: &Db, owner: PrincipalId) -> Result<Vec<Snapshot>, DbError> {
    const SQL: &str = "-- snapshots::list
        SELECT id, name, content_size, created_at FROM snapshots WHERE owner_id = $1 ORDER BY id";
    let mut conn = db.conn().await?;
    let rows = conn.query("snapshots::list", SQL, &[&owner.uuid()]).await?;
    Ok(rows.iter().map(snapshot).collect())
}

/// One snapshot, if it is the owner's.
pub async fn find(
    db: &Db,
    owner: PrincipalId,
    id: SnapshotId,
) -> Result<Option<Snapshot>, DbError> {
    const SQL: &str = "-- snapshots::find
        SELECT id, name, content_size, created_at FROM snapshots WHERE id = $1 AND owner_id = $2";
    let mut conn = db.conn().await?;
    let rows = conn
        .query("snapshots::find", SQL, &[&id.uuid(), &owner.uuid()])
        .await?;
    Ok(rows.first().map(snapshot))
}

/// Removes one, if it is the owner's; its zip may go after this. False when there is none.
pub async fn remove(db: &Db, owner: PrincipalId, id: SnapshotId) -> Result<bool, DbError> {
    const SQL: &str = "-- snapshots::remove
        DELETE FROM snapshots WHERE id = $1 AND owner_id = $2";
    let mut conn = db.conn().await?;
    let removed = conn
        .execute("snapshots::remove", SQL, &[&id.uuid(), &owner.uuid()])
        .await?;
    Ok(removed > 0)
}
