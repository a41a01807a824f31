//! Reading services, for those who list, call and run them.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use uuid::Uuid;

use super::super::{Db, DbError};
use crate::id::{ContentId, PrincipalId, VersionId};
use crate::model::Definition;

/// A version that can be called.
#[derive(Debug)]
pub struct Service {
    /// Of which service.
    pub name: String,
    /// Which version.
    pub version: String,
    /// Whose name it is.
    pub owner: PrincipalId,
    /// What callers read as its owner.
    pub owner_name: String,
    /// Who published this version.
    pub publisher_name: String,
    /// When it was first asked for.
    pub created_at: DateTime<Utc>,
    /// What it consists of.
    pub definition: Definition,
}

/// Versions that can be called, oldest first: all, those of a name, or one of them.
pub async fn list(
    db: &Db,
    name: Option<&str>,
    version: Option<&str>,
) -> Result<Vec<Service>, DbError> {
    const SQL: &str = "-- services::list
        SELECT v.name, v.version, s.owner_id, p.subject, by.subject AS publisher, v.created_at, c.definition
          FROM service_versions v
          JOIN services s ON s.name = v.name
          JOIN principals p ON p.id = s.owner_id
          JOIN principals by ON by.id = coalesce(v.published_by, s.owner_id)
          JOIN service_contents c ON c.id = v.content_id
         WHERE ($1::text IS NULL OR v.name = $1) AND ($2::text IS NULL OR v.version = $2)
         ORDER BY v.id";
    let mut conn = db.conn().await?;
    let rows = conn
        .query("services::list", SQL, &[&name, &version])
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Service {
                name: row.get("name"),
                version: row.get("version"),
                owner: PrincipalId::from_uuid(row.get("owner_id")),
                owner_name: row.get("subject"),
                publisher_name: row.get("publisher"),
                created_at: row.get("created_at"),
                definition: definition(row)?,
            })
        })
        .collect()
}

/// What a call of a version runs that is accepted now.
#[derive(Debug)]
pub struct Target {
    /// The version.
    pub version: VersionId,
    /// Its content.
    pub content: ContentId,
    /// What that is.
    pub definition: Definition,
}

/// Looks a version up for a call; `None` when there is none that can be called.
pub async fn target(db: &Db, name: &str, version: &str) -> Result<Option<Target>, DbError> {
    const SQL: &str = "-- services::target
        SELECT v.id, v.content_id, c.definition
          FROM service_versions v JOIN service_contents c ON c.id = v.content_id
         WHERE v.name = $1 AND v.version = $2";
    let mut conn = db.conn().await?;
    let rows = conn
        .query("services::target", SQL, &[&name, &version])
        .await?;
    let target = |row: &Row| {
        Ok(Target {
            version: VersionId::from_uuid(row.get("id")),
            content: ContentId::from_uuid(row.get("content_id")),
            definition: definition(row)?,
        })
    };
    rows.first().map(target).transpose()
}

/// What was published last and can be called, newest first.
pub async fn newest(db: &Db, most: u32) -> Result<Vec<ContentId>, DbError> {
    const SQL: &str = "-- services::newest
        SELECT content_id FROM service_versions WHERE content_id IS NOT NULL ORDER BY content_id DESC LIMIT $1";
    let mut conn = db.conn().await?;
    let rows = conn
        .query("services::newest", SQL, &[&i64::from(most)])
        .await?;
    Ok(rows
        .iter()
        .map(|row| ContentId::from_uuid(row.get("content_id")))
        .collect())
}

/// What a worker runs.
#[derive(Debug, Clone)]
pub struct Content {
    /// Code and parameters.
    pub definition: Definition,
    /// Names the copy of the snapshot, if there is one.
    pub pinned: Option<ContentId>,
}

/// What a call was accepted for; `None` when it is no more.
pub async fn content(db: &Db, id: ContentId) -> Result<Option<Content>, DbError> {
    const SQL: &str = "-- services::content
        SELECT definition, pinned_id FROM service_contents WHERE id = $1 AND pinned_at IS NOT NULL";
    let mut conn = db.conn().await?;
    let rows = conn.query("services::content", SQL, &[&id.uuid()]).await?;
    rows.first().map(read_content).transpose()
}

pub(super) fn read_content(row: &Row) -> Result<Content, DbError> {
    let pinned: Option<Uuid> = row.get("pinned_id");
    Ok(Content {
        definition: definition(row)?,
        pinned: pinned.map(ContentId::from_uuid),
    })
}

fn definition(row: &Row) -> Result<Definition, DbError> {
    // Without serde's own text, which may repeat what the publisher wrote.
    serde_json::from_slice(row.get("definition")).map_err(|error| {
        DbError::bad_row(
            "service_contents",
            format!("a definition cannot be read (column {})", error.column()),
        )
    })
}
