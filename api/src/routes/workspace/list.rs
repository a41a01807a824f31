//! `GET /sessions/{id}/workspace`

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use warren_common::model::{JobKind, Names};

use crate::app::Shared;
use crate::error::ApiError;
use crate::routes::turn::{self, Asked};

/// The names of the objects, as R's `ls()` gives them; when it is their turn.
pub async fn list(State(app): State<Shared>, asked: Asked) -> Result<Response, ApiError> {
    let nothing = serde_json::json!({});
    let turn = turn::take(&app, asked, JobKind::ListObjects, &nothing, Bytes::new()).await?;
    turn.answer(|outcome| {
        let names: Names = outcome.read().ok_or_else(turn::unreadable)?;
        Ok(Json(names.names))
    })
}
