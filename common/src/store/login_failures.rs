//! Table `login_failures`: sign-ins that failed, by user name and address.

use std::time::Duration;

use super::{Db, DbError};

/// After so many failures attempts have to wait.
const FREE: i32 = 5;
/// Failures count for so long.
const WINDOW: &str = "interval '15 minutes'";
/// No attempt waits longer, in seconds.
const LONGEST_WAIT: i32 = 30;
/// Attempts are never further apart than this, in seconds.
const LONGEST_GAP: i32 = 15;
/// Rows that are removed at once.
pub const STEP: u64 = 5000;

/// Gives an attempt its place in time, behind those that have one already, and tells how long it has to wait for it; `None` when too
/// many have one. With up to five failures there is no wait; after that places are a second apart and twice as far after each further
/// failure, and with each attempt that waits already.
pub async fn place(db: &Db, key: &[u8]) -> Result<Option<Duration>, DbError> {
    let sql = format!(
        "-- login_failures::place
        WITH held AS (
            SELECT key, failures, greatest(free_at, now()) AS free_at FROM login_failures
             WHERE key = $1 AND failures >= {FREE} AND last_at > now() - {WINDOW} FOR UPDATE
        ), next AS (
            SELECT key, free_at + least({LONGEST_GAP}, greatest(power(2, least(failures - {FREE}, 10)),
                                                                extract(epoch FROM free_at - now())::float8))
                                  * interval '1 second' AS free_at
              FROM held
        ), placed AS (
            UPDATE login_failures l SET free_at = n.free_at FROM next n
             WHERE l.key = n.key AND n.free_at <= now() + {LONGEST_WAIT} * interval '1 second'
            RETURNING l.key
        )
        SELECT extract(epoch FROM n.free_at - now())::float8 AS seconds, p.key IS NOT NULL AS placed
          FROM next n LEFT JOIN placed p ON p.key = n.key"
    );
    let mut conn = db.conn().await?;
    let rows = conn.query("login_failures::place", &sql, &[&key]).await?;
    let Some(row) = rows.first() else {
        return Ok(Some(Duration::ZERO));
    };
    let wait = Duration::try_from_secs_f64(row.get("seconds")).unwrap_or_default();
    Ok(row.get::<_, bool>("placed").then_some(wait))
}

/// An attempt failed.
pub async fn count(db: &Db, key: &[u8]) -> Result<(), DbError> {
    let sql = format!(
        "-- login_failures::count
        INSERT INTO login_failures AS l (key, failures, last_at, free_at) VALUES ($1, 1, now(), now())
        ON CONFLICT (key) DO UPDATE
           SET failures = CASE WHEN l.last_at > now() - {WINDOW} THEN least(l.failures + 1, 1000) ELSE 1 END,
               free_at = CASE WHEN l.last_at > now() - {WINDOW} THEN l.free_at ELSE now() END, last_at = now()"
    );
    let mut conn = db.conn().await?;
    conn.execute("login_failures::count", &sql, &[&key])
        .await
        .map(drop)
}

/// An attempt succeeded: the failures before it are forgotten.
pub async fn forget(db: &Db, key: &[u8]) -> Result<(), DbError> {
    const SQL: &str = "-- login_failures::forget\nDELETE FROM login_failures WHERE key = $1";
    let mut conn = db.conn().await?;
    conn.execute("login_failures::forget", SQL, &[&key])
        .await
        .map(drop)
}

/// Removes what does not count any more, up to [`STEP`] of it.
pub async fn remove_old(db: &Db) -> Result<u64, DbError> {
    let sql = format!(
        "-- login_failures::remove_old
        DELETE FROM login_failures WHERE key IN (
            SELECT key FROM login_failures WHERE last_at < now() - {WINDOW} ORDER BY last_at LIMIT {STEP})"
    );
    let mut conn = db.conn().await?;
    conn.execute("login_failures::remove_old", &sql, &[]).await
}
