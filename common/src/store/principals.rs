//! Tables `principals` and `local_users`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Db, DbError, tokens};
use crate::id::PrincipalId;

/// Source of principals whose password Warren keeps.
pub const LOCAL: &str = "local";

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
pub async fn add_local_user(db: &Db, name: &str, password_hash: &str) -> Result<bool, DbError> {
    const SQL: &str = "-- principals::add_local_user
        WITH principal AS (
            INSERT INTO principals (id, source, subject) VALUES ($1, $2, $3)
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
            &[&id, &LOCAL, &name, &password_hash],
        )
        .await?;
    Ok(added == 1)
}

/// A local user, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUser {
    /// Name.
    pub name: String,
    /// Since when.
    pub created_at: DateTime<Utc>,
    /// When the password was last set.
    pub password_changed_at: DateTime<Utc>,
    /// Signing in is refused.
    pub disabled: bool,
}

/// Every local user, by name.
pub async fn local_users(db: &Db) -> Result<Vec<ListedUser>, DbError> {
    const SQL: &str = "-- principals::local_users
        SELECT p.subject, p.created_at, u.password_changed_at, p.disabled_at IS NOT NULL AS disabled
          FROM principals p JOIN local_users u ON u.principal_id = p.id
         WHERE p.source = $1 ORDER BY p.subject";
    let mut conn = db.conn().await?;
    let rows = conn
        .query("principals::local_users", SQL, &[&LOCAL])
        .await?;
    let user = |row: &tokio_postgres::Row| ListedUser {
        name: row.get("subject"),
        created_at: row.get("created_at"),
        password_changed_at: row.get("password_changed_at"),
        disabled: row.get("disabled"),
    };
    Ok(rows.iter().map(user).collect())
}

/// What is done to a local user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// Signing in is refused, and every sign-in ends.
    Disable,
    /// Signing in is allowed again.
    Enable,
    /// Another password, as its hash; every sign-in ends.
    Password(&'a str),
    /// No password any more, and as with [`Change::Disable`]. What the user owns stays, and so does the name: whoever got it next
    /// would get that, too.
    Delete,
}

/// Changes a local user; false when there is none of that name.
pub async fn change_local_user(db: &Db, name: &str, change: Change<'_>) -> Result<bool, DbError> {
    const FIND: &str = "-- principals::find_to_change
        SELECT p.id FROM principals p JOIN local_users u ON u.principal_id = p.id
         WHERE p.source = $1 AND p.subject = $2 FOR NO KEY UPDATE OF p, u";
    const DISABLE: &str = "-- principals::disable\nUPDATE principals SET disabled_at = coalesce(disabled_at, now()) WHERE id = $1";
    const ENABLE: &str =
        "-- principals::enable\nUPDATE principals SET disabled_at = NULL WHERE id = $1";
    const PASSWORD: &str = "-- principals::set_password
        UPDATE local_users SET password_hash = $2, password_changed_at = now() WHERE principal_id = $1";
    const DELETE: &str =
        "-- principals::delete_password\nDELETE FROM local_users WHERE principal_id = $1";
    let mut tx = db.conn().await?.begin("principals::change").await?;
    let rows = tx
        .query("principals::find_to_change", FIND, &[&LOCAL, &name])
        .await?;
    let Some(row) = rows.first() else {
        tx.roll_back("principals::change").await?;
        return Ok(false);
    };
    let id: Uuid = row.get("id");
    match change {
        Change::Enable => tx.execute("principals::enable", ENABLE, &[&id]).await?,
        Change::Disable => tx.execute("principals::disable", DISABLE, &[&id]).await?,
        Change::Password(hash) => {
            tx.execute("principals::set_password", PASSWORD, &[&id, &hash])
                .await?
        }
        Change::Delete => {
            tx.execute("principals::disable", DISABLE, &[&id]).await?;
            tx.execute("principals::delete_password", DELETE, &[&id])
                .await?
        }
    };
    if change != Change::Enable {
        tokens::end_sign_ins(&mut tx, PrincipalId::from_uuid(id)).await?;
    }
    tx.commit("principals::change").await?;
    Ok(true)
}
