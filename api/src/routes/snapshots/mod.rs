//! Snapshots of sessions.

pub mod create;
pub mod delete;
pub mod list;
pub mod load;
pub mod read;

use warren_common::id::SnapshotId;
use warren_common::store::snapshots::{self, Snapshot};

use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;

/// The caller's snapshot.
pub(super) async fn snapshot_of(
    app: &App,
    caller: &Caller,
    id: SnapshotId,
) -> Result<Snapshot, ApiError> {
    let found = snapshots::find(&app.db, caller.id, id).await?;
    found.ok_or_else(no_snapshot)
}

fn no_snapshot() -> ApiError {
    ApiError::NotFound("you have no such snapshot".to_owned())
}
