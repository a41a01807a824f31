//! Tables `principals` and `local_users`.

use super::{Db, DbError};
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
