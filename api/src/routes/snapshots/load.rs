//! `POST /sessions/{id}/loadsnapshot/{snapshotId}`

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use warren_common::id::{SessionId, SnapshotId};
use warren_common::model::{JobKind, LoadSnapshotRequest};

use super::snapshot_of;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Key, Prefer, Trace};
use crate::routes::turn::{self, Asked};

/// Brings a snapshot into a session when it is its turn. What has other names stays.
pub async fn load(
    State(app): State<Shared>,
    caller: Caller,
    Path((session, snapshot)): Path<(String, String)>,
    prefer: Prefer,
    trace: Trace,
    key: Key,
) -> Result<Response, ApiError> {
    let (session, snapshot) = ids(&session, &snapshot)?;
    snapshot_of(&app, &caller, snapshot).await?;
    let asked = Asked {
        caller,
        session,
        prefer,
        trace,
        key,
    };
    let request = LoadSnapshotRequest { snapshot };
    let turn = turn::take(&app, asked, JobKind::LoadSnapshot, &request, Bytes::new()).await?;
    turn.answer(|_outcome| Ok(StatusCode::OK))
}

fn ids(session: &str, snapshot: &str) -> Result<(SessionId, SnapshotId), ApiError> {
    let wrong = |text: &str| ApiError::BadRequest(format!("{text:?} in the path is no UUID"));
    Ok((
        session.parse().map_err(|_error| wrong(session))?,
        snapshot.parse().map_err(|_error| wrong(snapshot))?,
    ))
}
