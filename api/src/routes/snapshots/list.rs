//! `GET /snapshots`

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use warren_common::id::SnapshotId;
use warren_common::store::snapshots;

use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// A snapshot in the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotView {
    id: SnapshotId,
    name: String,
    owner: String,
    creation_time: DateTime<Utc>,
    content_size: u64,
}

/// The caller's snapshots, oldest first.
pub async fn list(
    State(app): State<Shared>,
    caller: Caller,
) -> Result<Json<Vec<SnapshotView>>, ApiError> {
    let found = snapshots::list(&app.db, caller.id).await?;
    let view = |snapshot: snapshots::Snapshot| SnapshotView {
        id: snapshot.id,
        name: snapshot.name.unwrap_or_default(),
        owner: caller.name.clone(),
        creation_time: snapshot.created_at,
        content_size: snapshot.content_size,
    };
    Ok(Json(found.into_iter().map(view).collect()))
}
