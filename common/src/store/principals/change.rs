//! Changing a local user.

use uuid::Uuid;

use super::super::{Conn, Db, DbError, tokens};
use super::LOCAL;
use crate::id::PrincipalId;
use crate::model::Role;

/// What is done to a local user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// Signing in is refused, and every sign-in ends.
    Disable,
    /// Signing in is allowed again.
    Enable,
    /// Another password, as its hash; every sign-in ends.
    Password(&'a str),
    /// Another role, also for who is signed in.
    Role(Role),
    /// No password any more, and as with [`Change::Disable`]. What the user owns stays, and so does the name: whoever got it next
    /// would get that, too.
    Delete,
}

impl Change<'_> {
    /// Lets a user in, or not.
    pub const fn letting_in(allowed: bool) -> Self {
        if allowed { Self::Enable } else { Self::Disable }
    }

    const fn ends_sign_ins(self) -> bool {
        matches!(self, Self::Disable | Self::Password(_) | Self::Delete)
    }

    /// Whether the user may be no owner after it who can sign in.
    fn takes_ownership(self) -> bool {
        match self {
            Self::Disable | Self::Delete => true,
            Self::Role(role) => role != Role::Owner,
            Self::Enable | Self::Password(_) => false,
        }
    }
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It is done.
    Yes(PrincipalId),
    /// There is no such user.
    Unknown,
    /// Nobody with the role owner would be left who can sign in.
    LastOwner,
}

/// Changes a local user, all of it or nothing. Whoever has the database's password can mend everything; others must not take the
/// role owner from the last who has it: `keep_an_owner`.
pub async fn change_local_user(
    db: &Db,
    name: &str,
    changes: &[Change<'_>],
    keep_an_owner: bool,
) -> Result<Changed, DbError> {
    const FIND: &str = "-- principals::find_to_change
        SELECT p.id FROM principals p JOIN local_users u ON u.principal_id = p.id
         WHERE p.source = $1 AND p.subject = $2 FOR NO KEY UPDATE OF p, u";
    let mut tx = db.conn().await?.begin("principals::change").await?;
    // Before the user's own row, so that two who take the role from each other come one after the other.
    let owners = if keep_an_owner {
        owners(&mut tx).await?
    } else {
        Vec::new()
    };
    let rows = tx
        .query("principals::find_to_change", FIND, &[&LOCAL, &name])
        .await?;
    let Some(row) = rows.first() else {
        tx.roll_back("principals::change").await?;
        return Ok(Changed::Unknown);
    };
    let id: Uuid = row.get("id");
    let takes = changes.iter().any(|change| change.takes_ownership());
    if keep_an_owner && takes && owners == [id] {
        tx.roll_back("principals::change").await?;
        return Ok(Changed::LastOwner);
    }
    for change in changes {
        apply(&mut tx, id, *change).await?;
    }
    tx.commit("principals::change").await?;
    Ok(Changed::Yes(PrincipalId::from_uuid(id)))
}

/// Lets somebody in for whom a directory or a provider vouches, or not any more, which ends every sign-in. False when nobody of that name
/// has ever been seen.
pub async fn allow(db: &Db, source: &str, subject: &str, allowed: bool) -> Result<bool, DbError> {
    const FIND: &str = "-- principals::find_to_allow
        SELECT id FROM principals WHERE source = $1 AND subject = $2 FOR NO KEY UPDATE";
    let mut tx = db.conn().await?.begin("principals::allow").await?;
    let found = tx
        .query("principals::find_to_allow", FIND, &[&source, &subject])
        .await?;
    if let Some(row) = found.first() {
        apply(&mut tx, row.get("id"), Change::letting_in(allowed)).await?;
    }
    tx.commit("principals::allow").await?;
    Ok(!found.is_empty())
}

/// Local users with the role owner who can sign in, whose rows are locked from now on.
async fn owners(tx: &mut Conn) -> Result<Vec<Uuid>, DbError> {
    const SQL: &str = "-- principals::owners
        SELECT p.id FROM principals p JOIN local_users u ON u.principal_id = p.id
         WHERE p.source = $1 AND p.role = 'owner' AND p.disabled_at IS NULL
         ORDER BY p.id FOR NO KEY UPDATE OF p";
    let rows = tx.query("principals::owners", SQL, &[&LOCAL]).await?;
    Ok(rows.iter().map(|row| row.get("id")).collect())
}

async fn apply(tx: &mut Conn, id: Uuid, change: Change<'_>) -> Result<(), DbError> {
    const DISABLE: &str = "-- principals::disable
        UPDATE principals SET disabled_at = now(), revision = revision + 1, changed = pg_current_xact_id()
         WHERE id = $1 AND disabled_at IS NULL";
    const ENABLE: &str = "-- principals::enable
        UPDATE principals SET disabled_at = NULL, revision = revision + 1, changed = pg_current_xact_id()
         WHERE id = $1 AND disabled_at IS NOT NULL";
    const PASSWORD: &str = "-- principals::set_password
        UPDATE local_users SET password_hash = $2, password_changed_at = now() WHERE principal_id = $1";
    const ROLE: &str = "-- principals::set_role
        UPDATE principals SET role = $2, revision = revision + 1, changed = pg_current_xact_id()
         WHERE id = $1 AND role <> $2";
    const DELETE: &str =
        "-- principals::delete_password\nDELETE FROM local_users WHERE principal_id = $1";
    match change {
        Change::Enable => tx.execute("principals::enable", ENABLE, &[&id]).await?,
        Change::Disable => tx.execute("principals::disable", DISABLE, &[&id]).await?,
        Change::Password(hash) => {
            tx.execute("principals::set_password", PASSWORD, &[&id, &hash])
                .await?
        }
        Change::Role(role) => {
            tx.execute("principals::set_role", ROLE, &[&id, &role.word()])
                .await?
        }
        Change::Delete => {
            tx.execute("principals::disable", DISABLE, &[&id]).await?;
            tx.execute("principals::delete_password", DELETE, &[&id])
                .await?
        }
    };
    if change.ends_sign_ins() {
        tokens::end_sign_ins(tx, PrincipalId::from_uuid(id)).await?;
    }
    Ok(())
}
