//! `GET /sessions/{id}/history`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use warren_common::id::{JobId, SessionId};
use warren_common::model::{CancelOutcome, JobState, RunResult};
use warren_common::store::jobs::{self, HistoryEntry};

use super::session_of;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Id, Params};
use crate::routes::jobs::rfc3339;

/// The newest that are shown.
const LIMIT: i64 = 1000;

/// How much is told of each run.
#[derive(Deserialize)]
pub struct Query {
    details: Option<String>,
}

#[derive(Deserialize)]
struct Stored {
    code: String,
}

/// A run and what became of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    job_id: JobId,
    code: String,
    state: JobState,
    /// Null while it runs.
    success: Option<bool>,
    /// Empty when it succeeded; null while it runs.
    error_message: Option<String>,
    created_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
    cancel: Option<CancelOutcome>,
    reason: Option<String>,
}

/// What was executed, oldest first: the code texts as they were sent, or with `details=true` the runs.
pub async fn history(
    State(app): State<Shared>,
    caller: Caller,
    Id(session): Id<SessionId>,
    Params(query): Params<Query>,
) -> Result<Response, ApiError> {
    let with_details = details(query.details.as_deref())?;
    let session = session_of(&app, &caller, session).await?;
    let entries = jobs::history(&app.db, session.id, LIMIT).await?;
    let entries = entries.into_iter();
    if with_details {
        let runs: Vec<Detail> = entries.map(detail).collect::<Result<_, _>>()?;
        return Ok(Json(runs).into_response());
    }
    let codes: Vec<String> = entries
        .map(|entry| code(&entry))
        .collect::<Result<_, _>>()?;
    Ok(Json(codes).into_response())
}

fn details(text: Option<&str>) -> Result<bool, ApiError> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(ApiError::BadRequest(format!(
            "details must be true or false, not {other:?}"
        ))),
    }
}

fn code(entry: &HistoryEntry) -> Result<String, ApiError> {
    let stored = serde_json::from_slice::<Stored>(&entry.request);
    // Without the error's text, which may repeat code.
    let unreadable = |_error| ApiError::internal("a stored request cannot be read");
    stored.map(|stored| stored.code).map_err(unreadable)
}

fn detail(entry: HistoryEntry) -> Result<Detail, ApiError> {
    let code = code(&entry)?;
    let HistoryEntry { job, failure, .. } = entry;
    let has_ended = job.state.is_final();
    // R's own words, else what was done to the run. A failure of many bytes is for GET /jobs/{id}.
    let said = failure.and_then(|result| serde_json::from_slice::<RunResult>(&result).ok());
    let said = said
        .map(|run| run.error_message)
        .filter(|message| !message.is_empty());
    let message = said.or_else(|| job.reason.clone()).unwrap_or_default();
    Ok(Detail {
        job_id: job.id,
        code,
        state: job.state,
        success: has_ended.then_some(job.state == JobState::Succeeded),
        error_message: has_ended.then_some(message),
        created_at: rfc3339(job.created_at),
        started_at: job.started_at.map(rfc3339),
        finished_at: job.finished_at.map(rfc3339),
        cancel: job.cancel,
        reason: job.reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Utc;
    use warren_common::model::JobKind;
    use warren_common::store::jobs::Job;

    fn entry(state: JobState, failure: Option<&str>, reason: Option<&str>) -> HistoryEntry {
        HistoryEntry {
            job: Job {
                id: JobId::new(),
                kind: Ok(JobKind::Execute),
                state,
                session: None,
                attempt: 1,
                reason: reason.map(str::to_owned),
                cancel_requested_at: None,
                cancel: None,
                created_at: Utc::now(),
                started_at: None,
                finished_at: None,
            },
            request: br#"{"code":"stop('no')","inputs":[]}"#.to_vec(),
            failure: failure.map(|text| text.as_bytes().to_vec()),
        }
    }

    #[test]
    fn a_run_says_whether_it_succeeded_and_why_not() {
        let said =
            r#"{"success":false,"errorMessage":"no","outputParameters":[],"changedFiles":[]}"#;
        for (state, failure, reason, success, message) in [
            (JobState::Succeeded, None, None, Some(true), Some("")),
            (JobState::Failed, Some(said), None, Some(false), Some("no")),
            (
                JobState::Lost,
                None,
                Some("gone"),
                Some(false),
                Some("gone"),
            ),
            (JobState::Running, None, None, None, None),
        ] {
            let detail = detail(entry(state, failure, reason)).unwrap();
            assert_eq!(detail.code, "stop('no')");
            assert_eq!(detail.success, success);
            assert_eq!(detail.error_message.as_deref(), message);
        }
    }

    #[test]
    fn details_are_asked_for_with_true() {
        assert!(!details(None).unwrap());
        assert!(details(Some("true")).unwrap());
        assert!(matches!(details(Some("1")), Err(ApiError::BadRequest(_))));
    }
}
