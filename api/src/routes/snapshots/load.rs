//! `POST /sessions/{id}/loadsnapshot/{snapshotId}`

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use warren_common::model::{JobKind, LoadSnapshotRequest};

use super::snapshot_of;
use crate::app::Shared;
use crate::error::ApiError;
use crate::extract::id_in_path;
use crate::routes::turn::{self, Asked};

/// Brings a snapshot into a session when it is its turn. What has other names stays.
pub async fn load(
    State(app): State<Shared>,
    asked: Asked,
    Path((_session, snapshot)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let snapshot = id_in_path(&snapshot)?;
    snapshot_of(&app, &asked.caller, snapshot).await?;
    let request = LoadSnapshotRequest { snapshot };
    let turn = turn::take(&app, asked, JobKind::LoadSnapshot, &request, Bytes::new()).await?;
    turn.answer(|_outcome| Ok(StatusCode::OK))
}
