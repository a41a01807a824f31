//! `GET /sessions/{id}/files/{file}`

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use warren_common::model::{ByteRange, GetFileRequest, Got, GotFile, JobKind, Wanted};

use super::FileName;
use crate::app::{App, Shared};
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
    let mut request = GetFileRequest {
        name,
        wanted,
        offer: asked.is_waited_for(),
    };
    if request.offer {
        match ask(&app, asked.clone(), &request).await? {
            Ok(file) => {
                if let Some(response) = got_file(&app, file).await? {
                    return Ok(response);
                }
            }
            Err(accepted) => return Ok(accepted),
        }
        request.offer = false;
    }
    stored(&app, asked, &request).await
}

/// The bytes that a job was to fetch from a worker which does not hold them ready any more: read again, as they are now.
pub(in crate::routes) async fn again(
    app: &App,
    asked: Asked,
    file: GotFile,
) -> Result<Response, ApiError> {
    let range = match file.got {
        Got::Offered {
            first: Some(first),
            length,
            ..
        } => Some(ByteRange::From {
            first,
            last: Some((first + length).saturating_sub(1)),
        }),
        _ => None,
    };
    let request = GetFileRequest {
        name: file.name,
        wanted: Wanted {
            range,
            ..Wanted::default()
        },
        offer: false,
    };
    stored(app, asked, &request).await
}

/// By way of the store.
async fn stored(app: &App, asked: Asked, request: &GetFileRequest) -> Result<Response, ApiError> {
    match ask(app, asked, request).await? {
        Ok(file) => got_file(app, file).await?.ok_or_else(turn::unreadable),
        Err(accepted) => Ok(accepted),
    }
}

/// What the session says, or the answer to who does not wait for it.
async fn ask(
    app: &App,
    asked: Asked,
    request: &GetFileRequest,
) -> Result<Result<GotFile, Response>, ApiError> {
    match turn::take(app, asked, JobKind::GetFile, request, Bytes::new()).await? {
        Turn::Accepted(response) => Ok(Err(response)),
        Turn::Ended(outcome) => {
            turn::succeeded(&outcome)?;
            outcome.read().map(Ok).ok_or_else(turn::unreadable)
        }
    }
}
