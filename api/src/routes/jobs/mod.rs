//! Jobs.

pub mod cancel;
pub mod console;
pub mod content;
pub mod events;
pub mod list;
pub mod read;

use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use warren_common::id::{JobId, SessionId};
use warren_common::model::{CancelOutcome, JobState};
use warren_common::queue::{Notice, QueueName};
use warren_common::store::jobs::{self, CancelVerdict, Job};

use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::submit::notify;

/// The longest wait of a call that holds its answer, in seconds.
const LONGEST_WAIT: u64 = 60;

/// A job as its owner reads it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    job_id: JobId,
    kind: Cow<'static, str>,
    state: JobState,
    session_id: Option<SessionId>,
    attempt: i32,
    created_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
    cancel_requested_at: Option<String>,
    cancel: Option<CancelOutcome>,
    reason: Option<String>,
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        Self {
            job_id: job.id,
            kind: match job.kind {
                Ok(kind) => kind.word().into(),
                Err(of_a_later_version) => of_a_later_version.word.into(),
            },
            state: job.state,
            session_id: job.session,
            attempt: job.attempt,
            created_at: rfc3339(job.created_at),
            started_at: job.started_at.map(rfc3339),
            finished_at: job.finished_at.map(rfc3339),
            cancel_requested_at: job.cancel_requested_at.map(rfc3339),
            cancel: job.cancel,
            reason: job.reason,
        }
    }
}

pub(super) fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// How long to hold the answer, out of the query.
fn wait(text: Option<&str>) -> Result<Duration, ApiError> {
    match text.map(str::parse) {
        None => Ok(Duration::ZERO),
        Some(Ok(seconds)) if seconds <= LONGEST_WAIT => Ok(Duration::from_secs(seconds)),
        Some(_) => {
            let expected = format!("wait must be from 0 to {LONGEST_WAIT}");
            Err(ApiError::BadRequest(expected))
        }
    }
}

fn no_job() -> ApiError {
    ApiError::NotFound("you have no such job".to_owned())
}

/// Asks for a job to be cancelled and tells its worker.
pub(super) async fn ask_to_cancel(
    app: &App,
    caller: &Caller,
    job: JobId,
) -> Result<&'static str, ApiError> {
    match jobs::request_cancel(&app.db, caller.id, job).await? {
        CancelVerdict::AtOnce => {
            app.watch.look_at(job);
            Ok("the job is cancelled")
        }
        CancelVerdict::AskedOf(worker, session) => {
            if let Some(session) = session {
                app.activity.note(session);
            }
            let notice = Notice::cancel(session, job);
            notify(&app.broker, QueueName::Control(worker), notice);
            Ok("cancelling was asked for")
        }
        CancelVerdict::Over => Ok("the job had ended already"),
        CancelVerdict::Unknown => Err(no_job()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_have_a_limit() {
        assert_eq!(wait(Some("60")).unwrap(), Duration::from_secs(60));
        assert!(wait(Some("61")).is_err());
        assert!(wait(Some("-1")).is_err());
        assert!(wait(None).unwrap().is_zero());
    }
}
