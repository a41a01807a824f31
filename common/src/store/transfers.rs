//! Table `transfers`.

use std::time::Duration;

use uuid::Uuid;

use super::{Db, DbError};
use crate::id::{PrincipalId, TransferId};

/// Notes bytes that are whole in the object store, and how long they stay there. Noting them twice changes nothing.
pub async fn insert(
    db: &Db,
    id: TransferId,
    owner: PrincipalId,
    bytes: u64,
    kept: Duration,
) -> Result<(), DbError> {
    const SQL: &str = "-- transfers::insert
        INSERT INTO transfers (id, owner_id, bytes, expires_at)
        VALUES ($1, $2, $3, now() + $4 * interval '1 second') ON CONFLICT (id) DO NOTHING";
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    db.conn()
        .await?
        .execute(
            "transfers::insert",
            SQL,
            &[&id.uuid(), &owner.uuid(), &bytes, &kept.as_secs_f64()],
        )
        .await
        .map(drop)
}

/// Forgets transfers; their blobs may go after this.
pub async fn remove(db: &Db, ids: &[TransferId]) -> Result<(), DbError> {
    const SQL: &str = "-- transfers::remove
        DELETE FROM transfers WHERE id = ANY ($1)";
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    db.conn()
        .await?
        .execute("transfers::remove", SQL, &[&ids])
        .await
        .map(drop)
}

/// Forgets up to `limit` transfers whose time is over, the oldest first; their blobs may go after this.
pub async fn remove_expired(db: &Db, limit: i64) -> Result<Vec<TransferId>, DbError> {
    const SQL: &str = "-- transfers::remove_expired
        DELETE FROM transfers WHERE id IN (
            SELECT id FROM transfers WHERE expires_at < now()
             ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)
        RETURNING id";
    let mut conn = db.conn().await?;
    let rows = conn
        .query("transfers::remove_expired", SQL, &[&limit])
        .await?;
    Ok(rows
        .iter()
        .map(|row| TransferId::from_uuid(row.get("id")))
        .collect())
}

/// Those of `ids` that a row points at.
pub async fn known(db: &Db, ids: &[TransferId]) -> Result<Vec<TransferId>, DbError> {
    const SQL: &str = "-- transfers::known
        SELECT id FROM transfers WHERE id = ANY ($1)";
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let mut conn = db.conn().await?;
    let rows = conn.query("transfers::known", SQL, &[&ids]).await?;
    Ok(rows
        .iter()
        .map(|row| TransferId::from_uuid(row.get("id")))
        .collect())
}
