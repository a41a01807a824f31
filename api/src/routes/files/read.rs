//! `GET /sessions/{id}/files/{file}`

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use warren_common::model::{GetFileRequest, JobKind};

use super::SessionFile;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Key, Prefer, Trace};
use crate::routes::download::{Conditions, got_file};
use crate::routes::turn::{self, Asked, Turn};

/// A file, or the range of it that is asked for; at once, also while R is busy.
pub async fn read(
    State(app): State<Shared>,
    caller: Caller,
    SessionFile { session, name }: SessionFile,
    Conditions(wanted): Conditions,
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
