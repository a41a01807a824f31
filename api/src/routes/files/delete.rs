//! `DELETE /sessions/{id}/files/{file}`

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use warren_common::model::{DeleteRequest, JobKind};

use super::FileName;
use crate::app::Shared;
use crate::error::ApiError;
use crate::routes::turn::{self, Asked};

/// Removes a file; at once, also while R is busy.
pub async fn delete(
    State(app): State<Shared>,
    asked: Asked,
    FileName(name): FileName,
) -> Result<Response, ApiError> {
    let request = DeleteRequest { name };
    let turn = turn::take(&app, asked, JobKind::DeleteFile, &request, Bytes::new()).await?;
    turn.answer(|_outcome| Ok(StatusCode::OK))
}
