//! Table `login_failures`: sign-ins that failed, by user name and address.

use std::time::Duration;

use super::{Db, DbError};

/// After so many failures attempts have to wait.
const FREE: i32 = 5;
/// Failures count for so long.
const WINDOW: &str = "interval '15 minutes'";
/// Attempts are never further apart than this, in seconds.
const LONGEST_GAP: i32 = 30;

/// Gives an attempt its place in time, behind those that have one already: how long it has to wait. With up to five failures that is
/// nothing; after that places are a second apart, and twice as far after each further failure, up to half a minute.
pub async fn place(db: &Db, key: &[u8]) -> Result<Duration, DbError> {
    let sql = format!(
        "-- login_failures::place
        UPDATE login_failures
           SET free_at = greatest(free_at, now())
                         + least({LONGEST_GAP}, power(2, least(failures - {FREE}, 10))) * interval '1 second'
         WHERE key = $1 AND failures >= {FREE} AND last_at > now() - {WINDOW}
        RETURNING extract(epoch FROM free_at - now())::float8 AS seconds"
    );
    let mut conn = db.conn().await?;
    let rows = conn.query("login_failures::place", &sql, &[&key]).await?;
    let seconds = rows.first().map_or(0.0, |row| row.get("seconds"));
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// An attempt failed.
pub async fn count(db: &Db, key: &[u8]) -> Result<(), DbError> {
    let sql = format!(
        "-- login_failures::count
        INSERT INTO login_failures AS l (key, failures, last_at, free_at) VALUES ($1, 1, now(), now())
        ON CONFLICT (key) DO UPDATE
           SET failures = CASE WHEN l.last_at > now() - {WINDOW} THEN least(l.failures + 1, 1000) ELSE 1 END,
               last_at = now()"
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

/// Removes what does not count any more.
pub async fn remove_old(db: &Db) -> Result<u64, DbError> {
    let sql = format!(
        "-- login_failures::remove_old
        DELETE FROM login_failures WHERE key IN (
            SELECT key FROM login_failures WHERE last_at < now() - {WINDOW} ORDER BY last_at LIMIT 5000)"
    );
    let mut conn = db.conn().await?;
    conn.execute("login_failures::remove_old", &sql, &[]).await
}
