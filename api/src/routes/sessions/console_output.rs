//! `GET /sessions/{id}/console-output`

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use warren_common::id::SessionId;
use warren_common::store::console;

use super::session_of;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::Id;

/// What the current or last run printed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleOutputResponse {
    console_output: String,
}

/// The text so far, also while R is busy.
pub async fn console_output(
    State(app): State<Shared>,
    caller: Caller,
    Id(session): Id<SessionId>,
) -> Result<Json<ConsoleOutputResponse>, ApiError> {
    let session = session_of(&app, &caller, session).await?;
    let text = console::of_last_run(&app.db, session.id).await?;
    Ok(Json(ConsoleOutputResponse {
        console_output: String::from_utf8_lossy(&text).into_owned(),
    }))
}
