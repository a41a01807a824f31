//! `DELETE /sessions/{id}`

use axum::Json;
use axum::extract::State;
use warren_common::id::SessionId;

use super::ask_to_close;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::Id;

/// Closes a session; its jobs that wait end cancelled.
pub async fn close(
    State(app): State<Shared>,
    caller: Caller,
    Id(session): Id<SessionId>,
) -> Result<Json<&'static str>, ApiError> {
    Ok(Json(ask_to_close(&app, &caller, session, false).await?))
}
