//! `GET /jobs/{id}/content`

use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use warren_common::id::JobId;
use warren_common::model::{Got, GotFile, GotObject, JobKind};
use warren_common::store::jobs;

use super::no_job;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Id, Trace};
use crate::routes::download::{bytes, got_file};
use crate::routes::files::read::again;
use crate::routes::turn::{self, Asked};
use crate::watch::Outcome;

/// The bytes that a job of the caller left, as the call that made it would have answered.
pub async fn content(
    State(app): State<Shared>,
    caller: Caller,
    trace: Trace,
    method: Method,
    Id(id): Id<JobId>,
) -> Result<Response, ApiError> {
    let job = jobs::find(&app.db, caller.id, id).await?;
    let job = job.ok_or_else(no_job)?;
    let Ok(kind @ (JobKind::GetFile | JobKind::GetObject)) = job.kind else {
        return Err(ApiError::NotFound("this job leaves no content".to_owned()));
    };
    let ended = jobs::ended(&app.db, &[id]).await?.pop();
    let outcome = ended
        .map(Outcome::from)
        .ok_or_else(|| ApiError::Conflict("the job has not ended yet".to_owned()))?;
    turn::succeeded(&outcome)?;
    if kind == JobKind::GetFile {
        let got: GotFile = outcome.read().ok_or_else(turn::unreadable)?;
        match (&got.got, job.session) {
            // It went, or was to go, to who asked for it then.
            (Got::Offered { .. }, Some(session)) => {
                let asked = Asked::of(caller, session, trace);
                again(&app, asked, method == Method::HEAD, got).await
            }
            _ => got_file(&app, got).await?.ok_or_else(turn::unreadable),
        }
    } else {
        let got: GotObject = outcome.read().ok_or_else(turn::unreadable)?;
        bytes(&app.blobs, got.content, &got.file).await
    }
}
