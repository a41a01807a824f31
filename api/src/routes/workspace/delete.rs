//! `DELETE /sessions/{id}/workspace/{object}`

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use warren_common::model::{DeleteRequest, JobKind};

use super::ObjectName;
use crate::app::Shared;
use crate::error::ApiError;
use crate::routes::turn::{self, Asked};

/// Removes an object when it is its turn.
pub async fn delete(
    State(app): State<Shared>,
    asked: Asked,
    ObjectName(name): ObjectName,
) -> Result<Response, ApiError> {
    let request = DeleteRequest { name };
    let turn = turn::take(&app, asked, JobKind::DeleteObject, &request, Bytes::new()).await?;
    turn.answer(|_outcome| Ok(StatusCode::OK))
}
