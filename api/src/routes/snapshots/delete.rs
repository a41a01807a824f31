//! `DELETE /snapshots/{id}`

use axum::Json;
use axum::extract::State;
use warren_common::blobs::BlobKey;
use warren_common::id::SnapshotId;
use warren_common::store::{services, snapshots};

use super::no_snapshot;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::Id;

/// Removes a snapshot for good: its row, and then its zip. Whoever is loading it at this moment is told, or has it already.
pub async fn delete(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<SnapshotId>,
) -> Result<Json<&'static str>, ApiError> {
    if !snapshots::remove(&app.db, caller.id, id).await? {
        return Err(no_snapshot());
    }
    if !services::wanted_snapshots(&app.db, &[id]).await?.is_empty() {
        // A publication is still to copy it; the sweep of keys without a row finds it later.
        return Ok(Json("the snapshot is deleted"));
    }
    if let Err(error) = app.blobs.delete(BlobKey::Snapshot(id)).await {
        // Nobody can see it any more, and the sweep of keys without a row finds it.
        tracing::warn!(error = %error, "The zip of {id} stays in the store for now");
    }
    Ok(Json("the snapshot is deleted"))
}
