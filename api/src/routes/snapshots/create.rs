//! `POST /sessions/{id}/snapshot`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use warren_common::id::SnapshotId;
use warren_common::model::{CreateSnapshotRequest, JobKind, SavedSnapshot};

use crate::app::Shared;
use crate::error::ApiError;
use crate::extract::OptionalBody;
use crate::routes::sessions::check_name;
use crate::routes::turn::{self, Asked};

/// What the snapshot should be like.
#[derive(Deserialize)]
pub struct Request {
    name: Option<String>,
}

/// Saves workspace and working directory when it is its turn.
pub async fn create(
    State(app): State<Shared>,
    asked: Asked,
    body: OptionalBody<Request>,
) -> Result<Response, ApiError> {
    check_name(body.value.name.as_deref())?;
    let request = CreateSnapshotRequest {
        snapshot: SnapshotId::new(),
        name: body.value.name,
    };
    let turn = turn::take(&app, asked, JobKind::CreateSnapshot, &request, body.bytes).await?;
    turn.answer(|outcome| {
        // Of the job that did it: a repeated call has chosen another id.
        let saved: SavedSnapshot = outcome.read().ok_or_else(turn::unreadable)?;
        Ok((StatusCode::CREATED, Json(saved)))
    })
}
