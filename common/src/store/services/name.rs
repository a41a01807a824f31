//! Names of services and who may change what is published under them: their owners.

use tokio_postgres::Row;

use super::super::{Conn, DbError};
use crate::id::PrincipalId;

/// Whose a name is, as its locked row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// The one who asks may publish under it.
    Mine,
    /// Somebody else's.
    NotYours,
    /// Nobody's.
    Unknown,
}

/// Who asks to publish, change or delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publisher {
    /// Who.
    pub id: PrincipalId,
    /// Whether names of others count as its own.
    pub any: bool,
}

/// Locks the row of a name, which is made for `caller` if there is none.
pub(super) async fn make_name(
    tx: &mut Conn,
    name: &str,
    caller: Publisher,
) -> Result<Name, DbError> {
    const SQL: &str = "-- services::make_name
        INSERT INTO services (name, owner_id) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING owner_id";
    let rows = tx
        .query("services::make_name", SQL, &[&name, &caller.id.uuid()])
        .await?;
    Ok(judge(&rows, caller))
}

/// Locks the row of a name.
pub(super) async fn lock_name(
    tx: &mut Conn,
    name: &str,
    caller: Publisher,
) -> Result<Name, DbError> {
    const SQL: &str = "-- services::lock_name
        SELECT owner_id FROM services WHERE name = $1 FOR UPDATE";
    let rows = tx.query("services::lock_name", SQL, &[&name]).await?;
    Ok(judge(&rows, caller))
}

fn judge(rows: &[Row], caller: Publisher) -> Name {
    let is_mine = |row: &Row| PrincipalId::from_uuid(row.get("owner_id")) == caller.id;
    match rows.first() {
        None => Name::Unknown,
        Some(row) if caller.any || is_mine(row) => Name::Mine,
        Some(_) => Name::NotYours,
    }
}
