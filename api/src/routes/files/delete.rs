//! `DELETE /sessions/{id}/files/{file}`

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use warren_common::model::{DeleteRequest, JobKind};

use super::SessionFile;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Key, Prefer, Trace};
use crate::routes::turn::{self, Asked};

/// Removes a file; at once, also while R is busy.
pub async fn delete(
    State(app): State<Shared>,
    caller: Caller,
    SessionFile { session, name }: SessionFile,
    prefer: Prefer,
    trace: Trace,
    key: Key,
) -> Result<Response, ApiError> {
    let asked = Asked {
        caller,
        session,
        prefer,
        trace,
        key,
    };
    let request = DeleteRequest { name };
    let turn = turn::take(&app, asked, JobKind::DeleteFile, &request, Bytes::new()).await?;
    turn.answer(|_outcome| Ok(StatusCode::OK))
}
