//! `GET /jobs/{id}`

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use warren_common::id::JobId;
use warren_common::model::{JobKind, JobState};
use warren_common::store::jobs;

use super::{JobView, no_job};
use crate::app::{App, Shared};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Id, Params};
use crate::routes::execution::ExecuteResponse;
use crate::watch::Outcome;

/// The longest wait, in seconds.
const LONGEST_WAIT: u64 = 60;

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
    let wait = wait(&query)?;
    let mut job = find(&app, &caller, id).await?;
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
    match (job.kind, job.state) {
        (JobKind::OpenSession, JobState::Succeeded) => {
            let opened = serde_json::json!({ "sessionId": job.session });
            to_raw_value(&opened).map(Some).map_err(ApiError::internal)
        }
        (JobKind::OpenSession, _) | (_, JobState::Lost) => Ok(None),
        (kind, _) => {
            let Some(ended) = jobs::ended(&app.db, &[job.id]).await?.pop() else {
                return Ok(None);
            };
            let outcome = Outcome::from(ended);
            if kind != JobKind::Execute {
                return Ok(outcome.result);
            }
            let response = ExecuteResponse::of(&outcome)?;
            to_raw_value(&response)
                .map(Some)
                .map_err(ApiError::internal)
        }
    }
}

fn wait(query: &Query) -> Result<Duration, ApiError> {
    let Some(text) = &query.wait else {
        return Ok(Duration::ZERO);
    };
    match text.parse() {
        Ok(seconds) if seconds <= LONGEST_WAIT => Ok(Duration::from_secs(seconds)),
        _ => {
            let expected = format!("wait must be from 0 to {LONGEST_WAIT}");
            Err(ApiError::BadRequest(expected))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_have_a_limit() {
        let wait_of = |text: &str| {
            wait(&Query {
                wait: Some(text.to_owned()),
            })
        };
        assert_eq!(wait_of("60").unwrap(), Duration::from_secs(60));
        assert!(wait_of("61").is_err());
        assert!(wait_of("-1").is_err());
        assert!(wait(&Query { wait: None }).unwrap().is_zero());
    }
}
