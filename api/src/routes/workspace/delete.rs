//! `DELETE /sessions/{id}/workspace/{object}`

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use warren_common::model::{DeleteRequest, JobKind};

use super::SessionObject;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Key, Prefer, Trace};
use crate::routes::turn::{self, Asked};

/// Removes an object when it is its turn.
pub async fn delete(
    State(app): State<Shared>,
    caller: Caller,
    SessionObject { session, name }: SessionObject,
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
    let turn = turn::take(&app, asked, JobKind::DeleteObject, &request, Bytes::new()).await?;
    turn.answer(|_outcome| Ok(StatusCode::OK))
}
