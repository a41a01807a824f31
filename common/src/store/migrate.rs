//! The schema: numbered SQL files, embedded, each applied once.

use super::{Db, DbError};

/// Every migration, in order. The number in the name is the version.
const MIGRATIONS: &[(i32, &str, &str)] = &[
    (
        1,
        "0001_spine",
        include_str!("../../../migrations/0001_spine.sql"),
    ),
    (
        2,
        "0002_protections",
        include_str!("../../../migrations/0002_protections.sql"),
    ),
    (
        3,
        "0003_sessions_whole",
        include_str!("../../../migrations/0003_sessions_whole.sql"),
    ),
    (
        4,
        "0004_hot_path",
        include_str!("../../../migrations/0004_hot_path.sql"),
    ),
    (
        5,
        "0005_upkeep",
        include_str!("../../../migrations/0005_upkeep.sql"),
    ),
    (
        6,
        "0006_services",
        include_str!("../../../migrations/0006_services.sql"),
    ),
    (
        7,
        "0007_tokens",
        include_str!("../../../migrations/0007_tokens.sql"),
    ),
    (
        8,
        "0008_login_failures",
        include_str!("../../../migrations/0008_login_failures.sql"),
    ),
    (
        9,
        "0009_roles",
        include_str!("../../../migrations/0009_roles.sql"),
    ),
    (
        10,
        "0010_audit",
        include_str!("../../../migrations/0010_audit.sql"),
    ),
];

/// Held while migrating, so that API nodes that start together take turns.
const LOCK: i64 = 0x57_41_52_52_45_4e;

/// Brings the schema up to this version, under an advisory lock; returns what was applied.
///
/// A newer schema than this code knows is left alone: changes are additive, and old and new code run together during a
/// deploy.
pub async fn migrate(db: &Db) -> Result<Vec<&'static str>, DbError> {
    let mut tx = db.conn().await?.begin("migrate").await?;
    tx.execute(
        "migrate::lock",
        "-- migrate::lock\nSELECT pg_advisory_xact_lock($1)",
        &[&LOCK],
    )
    .await?;
    tx.batch(
        "migrate::table",
        "SET LOCAL client_min_messages = warning;
         CREATE TABLE IF NOT EXISTS schema_migrations (
             version    integer PRIMARY KEY,
             name       text NOT NULL,
             applied_at timestamptz NOT NULL DEFAULT now()
         );
         COMMENT ON TABLE schema_migrations IS 'Which files of migrations/ were applied.';
         COMMENT ON COLUMN schema_migrations.version IS 'The number in the file name.';
         COMMENT ON COLUMN schema_migrations.name IS 'The file name without its ending.';
         COMMENT ON COLUMN schema_migrations.applied_at IS 'When.';",
    )
    .await?;
    let rows = tx
        .query(
            "migrate::applied",
            "-- migrate::applied\nSELECT version FROM schema_migrations",
            &[],
        )
        .await?;
    let done: Vec<i32> = rows.iter().map(|row| row.get("version")).collect();
    let mut applied = Vec::new();
    for (version, name, sql) in MIGRATIONS
        .iter()
        .filter(|(version, ..)| !done.contains(version))
    {
        tx.batch("migrate::apply", sql).await?;
        tx.execute(
            "migrate::record",
            "-- migrate::record\nINSERT INTO schema_migrations (version, name) VALUES ($1, $2)",
            &[version, name],
        )
        .await?;
        applied.push(*name);
    }
    tx.commit("migrate").await?;
    Ok(applied)
}

/// True when every migration that this code needs is applied.
pub async fn is_current(db: &Db) -> Result<bool, DbError> {
    const SQL: &str = "-- migrate::is_current
        SELECT coalesce(max(version), 0) AS version FROM schema_migrations";
    let newest = MIGRATIONS.last().map_or(0, |(version, ..)| *version);
    match db
        .conn()
        .await?
        .query("migrate::is_current", SQL, &[])
        .await
    {
        Ok(rows) => Ok(rows
            .iter()
            .any(|row| row.get::<_, i32>("version") >= newest)),
        Err(DbError::Refused { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
