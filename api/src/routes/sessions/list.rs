//! `GET /sessions`

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use warren_common::id::SessionId;
use warren_common::store::sessions;

use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// A session in the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    id: SessionId,
    name: String,
    owner: String,
    runtime_type: &'static str,
}

/// The caller's sessions that are opening or open, oldest first.
pub async fn list(State(app): State<Shared>, caller: Caller) -> Result<Json<Vec<Item>>, ApiError> {
    let sessions = sessions::live(&app.db, caller.id).await?;
    let items = sessions.into_iter().map(|session| Item {
        id: session.id,
        name: session.name.unwrap_or_default(),
        owner: caller.name.clone(),
        runtime_type: "R",
    });
    Ok(Json(items.collect()))
}
