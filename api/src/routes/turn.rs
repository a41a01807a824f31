//! A job of a session, from the request that asks for it to how it ended.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use warren_common::id::{JobId, SessionId};
use warren_common::model::{JobKind, JobState, Refusal, RefusalKind};
use warren_common::store::jobs::{IdempotencyKey, NewJob};

use super::accepted::accepted;
use super::sessions::session_of;
use crate::app::{App, Shared};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Key, Prefer, Trace, id_in_path};
use crate::submit::{Placed, Work};
use crate::watch::Outcome;

/// What every call that makes a job of a session says besides what it is about. Its path names the session as `{id}`.
#[derive(Clone)]
pub struct Asked {
    /// Who asks.
    pub(super) caller: Caller,
    /// Of which session.
    pub(super) session: SessionId,
    /// How long the caller waits.
    pub(super) prefer: Prefer,
    /// Trace context of the request.
    pub(super) trace: Trace,
    /// The `Idempotency-Key`, if there is one.
    pub(super) key: Key,
}

impl FromRequestParts<Shared> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let Path(named) = Path::<HashMap<String, String>>::from_request_parts(parts, app)
            .await
            .map_err(|rejection| ApiError::BadRequest(rejection.body_text()))?;
        let session = named.get("id").map_or("", String::as_str);
        Ok(Self {
            caller,
            session: id_in_path(session)?,
            prefer: Prefer::from_request_parts(parts, app).await?,
            trace: Trace::from_request_parts(parts, app).await?,
            key: Key::from_request_parts(parts, app).await?,
        })
    }
}

impl Asked {
    /// A call about a session of the caller, who waits.
    pub(super) fn of(caller: Caller, session: SessionId, trace: Trace) -> Self {
        Self {
            caller,
            session,
            prefer: Prefer::default(),
            trace,
            key: Key::default(),
        }
    }

    /// The caller is there when the job ends, and will not ask for its result later.
    pub(super) fn is_waited_for(&self) -> bool {
        self.prefer.limit().is_none() && !self.key.is_some()
    }
}

/// How far a job came while its caller waited.
pub(super) enum Turn {
    /// It ended.
    Ended(Arc<Outcome>),
    /// It did not yet: the answer to the caller.
    Accepted(Response),
}

/// Stores a job and waits for its end as long as the caller prefers. `body` is what the idempotency key stands for.
pub(super) async fn take(
    app: &App,
    asked: Asked,
    kind: JobKind,
    request: &impl Serialize,
    body: Bytes,
) -> Result<Turn, ApiError> {
    let Asked {
        caller,
        session,
        prefer,
        trace: Trace(traceparent),
        key,
    } = asked;
    let key = key.over(&body).map(|(key, body_hash)| IdempotencyKey {
        owner: caller.id,
        key,
        body_hash,
    });
    drop(body);
    let job = NewJob {
        id: JobId::new(),
        kind,
        session,
        owner: caller.id,
        request: serde_json::to_vec(request).map_err(ApiError::internal)?,
        traceparent,
    };
    let waiter = app.watch.expect(job.id);
    let (job, mut waiter) = match app.submitter.submit(Work::Turn(job), key).await {
        Ok(Placed::Now(job)) => (job, waiter),
        Ok(Placed::Before(job)) => (job, app.watch.follow(job)),
        // The row says whether it is to be remembered still.
        Err(ApiError::Gone(over)) => {
            session_of(app, &caller, session).await?;
            return Err(ApiError::Gone(over));
        }
        Err(error) => return Err(error),
    };
    Ok(match waiter.outcome(prefer.limit()).await? {
        Some(outcome) => Turn::Ended(outcome),
        None => Turn::Accepted(accepted(job, None, prefer)),
    })
}

impl Turn {
    /// The answer of a job that runs no code: what `answer` makes of it when it succeeded, else the error that says why not.
    pub(super) fn answer<R: IntoResponse>(
        self,
        answer: impl FnOnce(&Outcome) -> Result<R, ApiError>,
    ) -> Result<Response, ApiError> {
        match self {
            Self::Accepted(response) => Ok(response),
            Self::Ended(outcome) => {
                succeeded(&outcome)?;
                Ok(answer(&outcome)?.into_response())
            }
        }
    }
}

/// Why a job that runs no code did not succeed.
pub(super) fn succeeded(outcome: &Outcome) -> Result<(), ApiError> {
    let told = outcome.reason.clone().unwrap_or_default();
    match outcome.state {
        JobState::Succeeded => Ok(()),
        JobState::Lost => Err(lost(outcome.reason.as_deref())),
        JobState::Cancelled => Err(ApiError::Conflict(format!("the job was cancelled: {told}"))),
        JobState::TimedOut => Err(ApiError::Conflict(format!("the job was stopped: {told}"))),
        JobState::Failed | JobState::Waiting | JobState::Queued | JobState::Running => {
            match outcome.read::<Refusal>() {
                Some(Refusal { refusal, message }) => Err(match refusal {
                    RefusalKind::NotFound => ApiError::NotFound(message),
                    RefusalKind::Invalid => ApiError::BadRequest(message),
                    RefusalKind::TooLarge => ApiError::ResultTooLarge(message),
                    RefusalKind::Unavailable => ApiError::unavailable(message),
                }),
                None => Err(ApiError::Conflict(format!("the job failed: {told}"))),
            }
        }
    }
}

/// A result of a job that succeeded, and that this node cannot read.
pub(super) fn unreadable() -> ApiError {
    ApiError::internal("the stored result cannot be read")
}

/// 410: nobody knows how far a lost job came.
pub(super) fn lost(reason: Option<&str>) -> ApiError {
    let reason = reason
        .filter(|reason| !reason.is_empty())
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    ApiError::Gone(format!(
        "the job was lost and will not be run again{reason}; nobody knows how far it came"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    fn ended(state: JobState, result: Option<&str>, reason: Option<&str>) -> ApiError {
        let outcome = Outcome {
            state,
            result: result.map(|json| RawValue::from_string(json.to_owned()).unwrap()),
            console: String::new(),
            reason: reason.map(str::to_owned),
        };
        succeeded(&outcome).unwrap_err()
    }

    #[test]
    fn a_refusal_says_which_status() {
        let refused = |kind: &str| {
            let json = format!(r#"{{"refusal":"{kind}","message":"no x"}}"#);
            ended(JobState::Failed, Some(&json), None)
        };
        assert!(matches!(refused("not_found"), ApiError::NotFound(text) if text == "no x"));
        assert!(matches!(refused("invalid"), ApiError::BadRequest(_)));
        assert!(matches!(refused("too_large"), ApiError::ResultTooLarge(_)));
        assert!(matches!(refused("unavailable"), ApiError::Unavailable(_)));
    }

    #[test]
    fn whatever_else_did_not_succeed_says_why() {
        let failed = ended(JobState::Failed, None, Some("R crashed"));
        assert!(matches!(&failed, ApiError::Conflict(text) if text.contains("R crashed")));
        let lost = ended(JobState::Lost, None, Some("its worker was lost"));
        assert!(matches!(&lost, ApiError::Gone(text) if text.contains("its worker")));
    }
}
