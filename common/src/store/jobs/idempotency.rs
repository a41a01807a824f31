//! Table `idempotency_keys`.

use uuid::Uuid;

use super::super::{Conn, Db, DbError};
use crate::id::{JobId, PrincipalId};

/// An `Idempotency-Key` header and the request it came with.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    /// Who sent it; keys of different owners never meet.
    pub owner: PrincipalId,
    /// As it was sent, at most 255 bytes.
    pub key: String,
    /// SHA-256 over method, path and body.
    pub body_hash: Vec<u8>,
}

/// What a key says of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyVerdict {
    /// Not seen within 24 hours.
    New,
    /// The same request made this job.
    SameAs(JobId),
    /// Another request used the key.
    Taken,
}

/// Looks a key up.
pub async fn recall(db: &Db, key: &IdempotencyKey) -> Result<KeyVerdict, DbError> {
    const SQL: &str = "-- idempotency::recall
        SELECT body_hash, job_id FROM idempotency_keys
         WHERE owner_id = $1 AND key = $2 AND created_at > now() - interval '24 hours'";
    let rows = db
        .conn()
        .await?
        .query("idempotency::recall", SQL, &[&key.owner.uuid(), &key.key])
        .await?;
    Ok(rows.first().map_or(KeyVerdict::New, |row| {
        if row.get::<_, &[u8]>("body_hash") == key.body_hash.as_slice() {
            KeyVerdict::SameAs(JobId::from_uuid(row.get::<_, Uuid>("job_id")))
        } else {
            KeyVerdict::Taken
        }
    }))
}

/// Ties a key to the job stored in the same transaction; false when another request holds the key.
///
/// A second transaction with the same key waits here until the first has ended.
pub async fn remember(tx: &mut Conn, key: &IdempotencyKey, job: JobId) -> Result<bool, DbError> {
    const SQL: &str = "-- idempotency::remember
        INSERT INTO idempotency_keys AS k (owner_id, key, body_hash, job_id) VALUES ($1, $2, $3, $4)
        ON CONFLICT (owner_id, key) DO UPDATE
           SET body_hash = excluded.body_hash, job_id = excluded.job_id, created_at = now()
         WHERE k.created_at <= now() - interval '24 hours'";
    let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&key.owner.uuid(), &key.key, &key.body_hash, &job.uuid()];
    Ok(tx.execute("idempotency::remember", SQL, params).await? == 1)
}

/// Frees a key whose job came to nothing, so that the same request may be made again.
pub async fn forget(db: &Db, key: &IdempotencyKey, job: JobId) -> Result<(), DbError> {
    const SQL: &str = "-- idempotency::forget
        DELETE FROM idempotency_keys WHERE owner_id = $1 AND key = $2 AND job_id = $3";
    let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&key.owner.uuid(), &key.key, &job.uuid()];
    db.conn()
        .await?
        .execute("idempotency::forget", SQL, params)
        .await
        .map(drop)
}
