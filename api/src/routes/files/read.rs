//! `GET /sessions/{id}/files/{file}`

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use warren_common::model::{GetFileRequest, JobKind};

use super::FileName;
use crate::app::Shared;
use crate::error::ApiError;
use crate::routes::download::{Conditions, got_file};
use crate::routes::turn::{self, Asked, Turn};

/// A file, or the range of it that is asked for; at once, also while R is busy.
pub async fn read(
    State(app): State<Shared>,
    asked: Asked,
    FileName(name): FileName,
    Conditions(wanted): Conditions,
) -> Result<Response, ApiError> {
    let request = GetFileRequest { name, wanted };
    match turn::take(&app, asked, JobKind::GetFile, &request, Bytes::new()).await? {
        Turn::Accepted(response) => Ok(response),
        Turn::Ended(outcome) => {
            turn::succeeded(&outcome)?;
            let got = outcome.read().ok_or_else(turn::unreadable)?;
            got_file(&app.blobs, got).await
        }
    }
}
