//! Table `signing_keys`.

use std::time::Duration;

use super::{Db, DbError};

/// A key of access tokens.
#[derive(Clone)]
pub struct SigningKey {
    /// Key id in the header of a token.
    pub kid: String,
    /// PKCS 8 document.
    pub private_der: Vec<u8>,
    /// Public point, x, base64url.
    pub public_x: String,
    /// Public point, y, base64url.
    pub public_y: String,
}

/// Every key that may verify, the one that signs first.
pub async fn all(db: &Db) -> Result<Vec<SigningKey>, DbError> {
    const SQL: &str = "-- keys::all
        SELECT kid, private_der, public_x, public_y FROM signing_keys
         ORDER BY retired_at IS NOT NULL, created_at DESC";
    let rows = db.conn().await?.query("keys::all", SQL, &[]).await?;
    let key = |row: &tokio_postgres::Row| SigningKey {
        kid: row.get("kid"),
        private_der: row.get("private_der"),
        public_x: row.get("public_x"),
        public_y: row.get("public_y"),
    };
    Ok(rows.iter().map(key).collect())
}

/// Stores the first key; does nothing when another node was faster.
pub async fn add_first(db: &Db, key: &SigningKey) -> Result<(), DbError> {
    const SQL: &str = "-- keys::add_first
        INSERT INTO signing_keys (kid, algorithm, private_der, public_x, public_y)
        SELECT $1, 'ES256', $2, $3, $4 WHERE NOT EXISTS (SELECT FROM signing_keys)";
    let mut tx = db.conn().await?.begin("keys::add_first").await?;
    tx.batch("keys::lock", "LOCK TABLE signing_keys IN EXCLUSIVE MODE")
        .await?;
    tx.execute(
        "keys::add_first",
        SQL,
        &[&key.kid, &key.private_der, &key.public_x, &key.public_y],
    )
    .await?;
    tx.commit("keys::add_first").await
}

/// Makes a key the one that signs, and retires those that did. Whoever holds tokens of theirs goes on with them.
pub async fn rotate(db: &Db, key: &SigningKey) -> Result<(), DbError> {
    const SQL: &str = "-- keys::rotate
        WITH retired AS (
            UPDATE signing_keys SET retired_at = now() WHERE retired_at IS NULL
        )
        INSERT INTO signing_keys (kid, algorithm, private_der, public_x, public_y) VALUES ($1, 'ES256', $2, $3, $4)";
    let mut conn = db.conn().await?;
    conn.execute(
        "keys::rotate",
        SQL,
        &[&key.kid, &key.private_der, &key.public_x, &key.public_y],
    )
    .await
    .map(drop)
}

/// Removes keys that were retired longer than `keep` ago.
pub async fn remove_retired(db: &Db, keep: Duration) -> Result<u64, DbError> {
    const SQL: &str = "-- keys::remove_retired
        DELETE FROM signing_keys WHERE retired_at < now() - $1 * interval '1 second'";
    let mut conn = db.conn().await?;
    conn.execute("keys::remove_retired", SQL, &[&keep.as_secs_f64()])
        .await
}
