//! `GET /jobs/{id}`

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use warren_common::id::JobId;
use warren_common::model::{Got, GotFile, GotObject, JobKind, JobState};
use warren_common::store::jobs;

use super::{JobView, no_job, wait};
use crate::app::{App, Shared};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Id, Params};
use crate::routes::calls::CallResponse;
use crate::routes::execution::ExecuteResponse;
use crate::watch::Outcome;

/// How long to hold the answer.
#[derive(Deserialize)]
pub struct Query {
    wait: Option<String>,
}

/// A job with what it left.
#[derive(Serialize)]
pub struct JobWithResult {
    #[serde(flatten)]
    job: JobView,
    result: Option<Box<RawValue>>,
}

/// One job of the caller; with `wait` when it has ended or the time is over.
pub async fn read(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<JobId>,
    Params(query): Params<Query>,
) -> Result<Json<JobWithResult>, ApiError> {
    let wait = wait(query.wait.as_deref())?;
    let mut job = find(&app, &caller, id).await?;
    if let Some(session) = job.session {
        app.activity.note(session);
    }
    if !job.state.is_final() && !wait.is_zero() {
        app.watch.follow(id).outcome(Some(wait)).await?;
        job = find(&app, &caller, id).await?;
    }
    let result = if job.state.is_final() {
        result(&app, &job).await?
    } else {
        None
    };
    Ok(Json(JobWithResult {
        job: job.into(),
        result,
    }))
}

async fn find(app: &App, caller: &Caller, id: JobId) -> Result<jobs::Job, ApiError> {
    let found = jobs::find(&app.db, caller.id, id).await?;
    found.ok_or_else(no_job)
}

async fn result(app: &App, job: &jobs::Job) -> Result<Option<Box<RawValue>>, ApiError> {
    match (&job.kind, job.state) {
        (Ok(JobKind::OpenSession), JobState::Succeeded) => {
            let opened = serde_json::json!({ "sessionId": job.session });
            to_raw_value(&opened).map(Some).map_err(ApiError::internal)
        }
        (Ok(JobKind::OpenSession), _) => Ok(None),
        (kind, JobState::Lost) if !matches!(kind, Ok(JobKind::Call | JobKind::BatchItem)) => {
            Ok(None)
        }
        (kind, _) => {
            let Some(ended) = jobs::ended(&app.db, &[job.id]).await?.pop() else {
                return Ok(None);
            };
            let outcome = Outcome::from(ended);
            let shown = match (kind, job.state) {
                (Ok(JobKind::Execute), _) => to_raw_value(&ExecuteResponse::of(&outcome)?),
                (Ok(JobKind::Call | JobKind::BatchItem), _) => match CallResponse::of(&outcome) {
                    Ok(reply) => to_raw_value(&reply),
                    // What was refused left that and no more.
                    Err(_refused) => return Ok(outcome.result),
                },
                (Ok(JobKind::GetFile), JobState::Succeeded) => {
                    to_raw_value(&about_file(job.id, &outcome))
                }
                (Ok(JobKind::GetObject), JobState::Succeeded) => {
                    to_raw_value(&about_object(job.id, &outcome))
                }
                _ => return Ok(outcome.result),
            };
            shown.map(Some).map_err(ApiError::internal)
        }
    }
}

/// Of bytes a job says how many there are and where to fetch them.
#[derive(Serialize)]
struct AboutContent {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    size: u64,
    href: String,
}

fn about_file(job: JobId, outcome: &Outcome) -> Option<AboutContent> {
    let file: GotFile = outcome.read()?;
    let size = match &file.got {
        Got::Whole { content } | Got::Range { content, .. } => content.size(),
        Got::Offered { length, .. } => *length,
        Got::Head | Got::NotModified | Got::OutOfRange => 0,
    };
    Some(AboutContent {
        name: Some(file.name),
        size,
        href: format!("/jobs/{job}/content"),
    })
}

fn about_object(job: JobId, outcome: &Outcome) -> Option<AboutContent> {
    let object: GotObject = outcome.read()?;
    Some(AboutContent {
        name: Some(object.file),
        size: object.content.size(),
        href: format!("/jobs/{job}/content"),
    })
}
