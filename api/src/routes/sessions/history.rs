//! `GET /sessions/{id}/history`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use warren_common::id::SessionId;
use warren_common::store::jobs;

use super::session_of;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::Id;

/// The newest that are shown.
const LIMIT: i64 = 1000;

#[derive(Deserialize)]
struct Stored {
    code: String,
}

/// The code texts that were executed, as they were sent, oldest first.
pub async fn history(
    State(app): State<Shared>,
    caller: Caller,
    Id(session): Id<SessionId>,
) -> Result<Json<Vec<String>>, ApiError> {
    let session = session_of(&app, &caller, session).await?;
    let entries = jobs::history(&app.db, session.id, LIMIT).await?;
    let codes = entries.iter().map(|entry| {
        let stored = serde_json::from_slice::<Stored>(&entry.request);
        // Without the error's text, which may repeat code.
        let unreadable = |_error| ApiError::internal("a stored request cannot be read");
        stored.map(|stored| stored.code).map_err(unreadable)
    });
    let codes = codes.collect::<Result<_, _>>()?;
    Ok(Json(codes))
}
