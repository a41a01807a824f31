//! Tables `principals` and `local_users`.

mod change;

use chrono::{DateTime, Utc};
use tokio_postgres::Row;

pub use change::{Change, Changed, allow, change_local_user};

use super::tokens::ReadTo;
use super::{Db, DbError};
use crate::id::PrincipalId;
use crate::model::Role;

/// Source of principals whose password Warren keeps.
pub const LOCAL: &str = "local";
/// Source of principals whose password a directory checks.
pub const LDAP: &str = "ldap";
/// Source of principals whose tokens come from an `OpenID` provider; a colon and the name of the provider follow.
pub const OPENID: &str = "openid";

/// A local user as signing in needs it.
#[derive(Debug)]
pub struct LocalUser {
    /// Who it is.
    pub id: PrincipalId,
    /// Argon2id, PHC string.
    pub password_hash: String,
    /// Signing in is refused.
    pub disabled: bool,
}

/// The local user of that name, if there is one.
pub async fn local_user(db: &Db, name: &str) -> Result<Option<LocalUser>, DbError> {
    const SQL: &str = "-- principals::local_user
        SELECT p.id, u.password_hash, p.disabled_at IS NOT NULL AS disabled
          FROM principals p JOIN local_users u ON u.principal_id = p.id
         WHERE p.source = $1 AND p.subject = $2";
    let rows = db
        .conn()
        .await?
        .query("principals::local_user", SQL, &[&LOCAL, &name])
        .await?;
    Ok(rows.first().map(|row| LocalUser {
        id: PrincipalId::from_uuid(row.get("id")),
        password_hash: row.get("password_hash"),
        disabled: row.get("disabled"),
    }))
}

/// Adds a local user; false when the name is taken.
pub async fn add_local_user(
    db: &Db,
    name: &str,
    password_hash: &str,
    role: Role,
) -> Result<bool, DbError> {
    const SQL: &str = "-- principals::add_local_user
        WITH principal AS (
            INSERT INTO principals (id, source, subject, role) VALUES ($1, $2, $3, $5)
            ON CONFLICT (source, subject) DO NOTHING RETURNING id
        )
        INSERT INTO local_users (principal_id, password_hash) SELECT id, $4 FROM principal";
    let id = PrincipalId::new().uuid();
    let added = db
        .conn()
        .await?
        .execute(
            "principals::add_local_user",
            SQL,
            &[&id, &LOCAL, &name, &password_hash, &role.word()],
        )
        .await?;
    Ok(added == 1)
}

/// A user, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUser {
    /// Name.
    pub name: String,
    /// Since when.
    pub created_at: DateTime<Utc>,
    /// When the password was last set; none where others keep it.
    pub password_changed_at: Option<DateTime<Utc>>,
    /// Signing in is refused.
    pub disabled: bool,
    /// What it may do.
    pub role: Role,
}

/// Every user for whom `source` vouches by name, or the one of that name. Of local users those that were deleted are left out.
pub async fn users(db: &Db, source: &str, name: Option<&str>) -> Result<Vec<ListedUser>, DbError> {
    const SQL: &str = "-- principals::users
        SELECT p.subject, p.created_at, u.password_changed_at, p.disabled_at IS NOT NULL AS disabled, p.role
          FROM principals p LEFT JOIN local_users u ON u.principal_id = p.id
         WHERE p.source = $1 AND ($2::text IS NULL OR p.subject = $2)
           AND (u.principal_id IS NOT NULL OR p.source <> $3)
         ORDER BY p.subject";
    let mut conn = db.conn().await?;
    let rows = conn
        .query("principals::users", SQL, &[&source, &name, &LOCAL])
        .await?;
    let user = |row: &Row| {
        Ok(ListedUser {
            name: row.get("subject"),
            created_at: row.get("created_at"),
            password_changed_at: row.get("password_changed_at"),
            disabled: row.get("disabled"),
            role: role(row)?,
        })
    };
    rows.iter().map(user).collect()
}

pub(super) fn role(row: &Row) -> Result<Role, DbError> {
    let word: &str = row.get("role");
    word.parse()
        .map_err(|unknown| DbError::bad_row("principals::role", unknown))
}

/// Somebody whom a directory or a provider vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// Owns what its requests make.
    pub id: PrincipalId,
    /// What is known of it.
    pub standing: Standing,
    /// What has just become different; nothing when it was known like that before.
    pub news: Option<News>,
}

/// What became different of somebody whose role comes from groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It was not known before.
    Added,
    /// Its role is another.
    Role,
}

/// What of a principal decides whether and how far it is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// It is refused.
    pub disabled: bool,
    /// What it may do.
    pub role: Role,
    /// Counts the changes of the other two.
    pub revision: i32,
}

/// The principal that `source` calls `subject`, made at first sight, with the role that its groups give it now.
pub async fn seen(db: &Db, source: &str, subject: &str, role: Role) -> Result<Principal, DbError> {
    const SQL: &str = "-- principals::seen
        INSERT INTO principals AS p (id, source, subject, role) VALUES ($1, $2, $3, $4)
        ON CONFLICT (source, subject) DO UPDATE
           SET role = excluded.role,
               revision = CASE WHEN p.role = excluded.role THEN p.revision ELSE p.revision + 1 END,
               changed = CASE WHEN p.role = excluded.role THEN p.changed ELSE pg_current_xact_id() END
        RETURNING id, disabled_at IS NOT NULL AS disabled, role, revision,
                  id = $1 AS added, coalesce(changed = pg_current_xact_id(), false) AS changed";
    let id = PrincipalId::new().uuid();
    let mut conn = db.conn().await?;
    let rows = conn
        .query(
            "principals::seen",
            SQL,
            &[&id, &source, &subject, &role.word()],
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| DbError::bad_row("principals::seen", "no row came back"))?;
    Ok(Principal {
        id: PrincipalId::from_uuid(row.get("id")),
        standing: standing(row)?,
        news: match (row.get("added"), row.get("changed")) {
            (true, _) => Some(News::Added),
            (false, true) => Some(News::Role),
            (false, false) => None,
        },
    })
}

/// Whose role changed, or who was disabled or enabled, by transactions that had not ended when `behind` was given out; everybody of
/// whom that was ever true at the first look. Some of it is told twice, nothing is missed, however long a transaction took.
pub async fn changed(
    db: &Db,
    behind: &ReadTo,
) -> Result<(Vec<(PrincipalId, Standing)>, ReadTo), DbError> {
    const SQL: &str = "-- principals::changed
        SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS read_to,
               p.id, p.disabled_at IS NOT NULL AS disabled, p.role, p.revision
          FROM (VALUES (1)) one
          LEFT JOIN principals p ON p.changed IS NOT NULL AND p.changed >= coalesce($1::text, '0')::xid8";
    let mut conn = db.conn().await?;
    let rows = conn
        .query("principals::changed", SQL, &[&behind.text()])
        .await?;
    let read_to = ReadTo::of(rows.first());
    let mut changed = Vec::new();
    for row in &rows {
        if let Some(id) = row.get("id") {
            changed.push((PrincipalId::from_uuid(id), standing(row)?));
        }
    }
    Ok((changed, read_to))
}

/// What is known of a principal now; none of one that is not there.
pub async fn standing_of(db: &Db, id: PrincipalId) -> Result<Option<Standing>, DbError> {
    const SQL: &str = "-- principals::standing_of
        SELECT disabled_at IS NOT NULL AS disabled, role, revision FROM principals WHERE id = $1";
    let mut conn = db.conn().await?;
    let rows = conn
        .query("principals::standing_of", SQL, &[&id.uuid()])
        .await?;
    rows.first().map(standing).transpose()
}

fn standing(row: &Row) -> Result<Standing, DbError> {
    Ok(Standing {
        disabled: row.get("disabled"),
        role: role(row)?,
        revision: row.get("revision"),
    })
}
