//! `GET /api/{name}/{version}/batch`

use axum::Json;
use axum::extract::State;
use warren_common::id::BatchId;
use warren_common::store::batches;

use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::routes::services::Place;

/// The caller's batches of a version that are still kept, oldest first.
pub async fn list(
    State(app): State<Shared>,
    caller: Caller,
    place: Place,
) -> Result<Json<Vec<BatchId>>, ApiError> {
    let version = place.version()?;
    let found = batches::list(&app.db, caller.sees_batches_of(), (&place.name, version)).await?;
    if found.is_empty() {
        let target = app.targets.look(&app.db, &place.name, version).await?;
        target.ok_or_else(|| place.unknown())?;
    }
    Ok(Json(found))
}
