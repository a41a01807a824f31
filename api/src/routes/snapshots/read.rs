//! `GET /snapshots/{id}`

use axum::extract::State;
use axum::response::Response;
use warren_common::blobs::BlobKey;
use warren_common::id::SnapshotId;

use super::snapshot_of;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::Id;
use crate::routes::download::{Conditions, Stored, stored};

/// The zip of a snapshot, or the range of it that is asked for, straight from the store.
pub async fn read(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<SnapshotId>,
    Conditions(wanted): Conditions,
) -> Result<Response, ApiError> {
    let snapshot = snapshot_of(&app, &caller, id).await?;
    let name = snapshot.name.unwrap_or_else(|| id.to_string());
    let zip = Stored {
        key: BlobKey::Snapshot(id),
        size: snapshot.content_size,
        // It never changes.
        etag: format!("\"{id}\""),
        name: format!("{name}.zip"),
        kind: "application/zip",
    };
    stored(&app.blobs, &zip, &wanted).await
}
