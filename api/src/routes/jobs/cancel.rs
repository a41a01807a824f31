//! `DELETE /jobs/{id}`

use axum::Json;
use axum::extract::State;
use warren_common::id::JobId;

use super::ask_to_cancel;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::Id;

/// Cancels a job: at once while it waits, else as soon as R unwinds.
pub async fn cancel(
    State(app): State<Shared>,
    caller: Caller,
    Id(job): Id<JobId>,
) -> Result<Json<&'static str>, ApiError> {
    Ok(Json(ask_to_cancel(&app, &caller, job).await?))
}
