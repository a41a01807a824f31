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
    let offer = asked.is_waited_for();
    let request = GetFileRequest {
        name,
        wanted,
        offer,
    };
    bring(&app, asked, request).await
}

/// The bytes that a job was to fetch from a worker, or did: read again, as they are now. Of a HEAD only what describes them.
pub(in crate::routes) async fn again(
    app: &App,
    asked: Asked,
    head: bool,
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
    let wanted = Wanted {
        head,
        range,
        ..Wanted::default()
    };
    let request = GetFileRequest {
        name: file.name,
        wanted,
        offer: true,
    };
    bring(app, asked, request).await
}

/// From the worker if it may be and can be, else by way of the store.
async fn bring(app: &App, asked: Asked, mut request: GetFileRequest) -> Result<Response, ApiError> {
    request.offer &= app.offers.has_room();
    if request.offer {
        match ask(app, asked.clone(), &request).await? {
            Asking::Over(file) => {
                if let Some(response) = got_file(app, file).await? {
                    return Ok(response);
                }
            }
            Asking::GoesOn(response) => return Ok(response),
        }
        request.offer = false;
    }
    match ask(app, asked, &request).await? {
        Asking::Over(file) => got_file(app, file).await?.ok_or_else(turn::unreadable),
        Asking::GoesOn(response) => Ok(response),
    }
}

/// How far a question to a session came.
enum Asking {
    /// What it said.
    Over(GotFile),
    /// The answer to who does not wait for it.
    GoesOn(Response),
}

async fn ask(app: &App, asked: Asked, request: &GetFileRequest) -> Result<Asking, ApiError> {
    match turn::take(app, asked, JobKind::GetFile, request, Bytes::new()).await? {
        Turn::Accepted(response) => Ok(Asking::GoesOn(response)),
        Turn::Ended(outcome) => {
            turn::succeeded(&outcome)?;
            let file = outcome.read().ok_or_else(turn::unreadable)?;
            Ok(Asking::Over(file))
        }
    }
}
