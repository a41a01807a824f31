//! What is to be stored, and what came of it.

use warren_common::id::{JobId, PrincipalId, SessionId};
use warren_common::model::{Change, SessionState};
use warren_common::store::jobs::{NewCall, NewJob};
use warren_common::store::services::NewPublication;

use crate::error::ApiError;

/// A session to be opened.
#[derive(Debug)]
pub struct Opening {
    /// The session.
    pub session: SessionId,
    /// The job that opens it.
    pub job: JobId,
    /// Whose it is.
    pub owner: PrincipalId,
    /// A label of the owner.
    pub name: Option<String>,
    /// The job's request, JSON.
    pub request: Vec<u8>,
    /// Trace context of the request.
    pub traceparent: String,
}

/// A version of a service to be made or changed.
#[derive(Debug)]
pub struct Publishing {
    /// Where, and by whom.
    pub new: NewPublication,
    /// What of.
    pub change: Change,
}

/// A job to be stored.
#[derive(Debug)]
pub enum Work {
    /// It opens a session.
    Open(Opening),
    /// It takes its turn in one.
    Turn(NewJob),
    /// It publishes a service.
    Publish(Box<Publishing>),
    /// It calls one.
    Call(NewCall),
}

impl Work {
    pub(super) const fn job(&self) -> JobId {
        match self {
            Self::Open(opening) => opening.job,
            Self::Turn(job) => job.id,
            Self::Publish(publishing) => publishing.new.job,
            Self::Call(call) => call.id,
        }
    }
}

/// A job that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// By this call.
    Now(JobId),
    /// By an earlier call with the same `Idempotency-Key`.
    Before(JobId),
}

/// There is no such session of this caller.
pub fn no_session() -> ApiError {
    ApiError::NotFound("you have no such session".to_owned())
}

/// The session has ended, or is about to.
pub fn session_over(state: SessionState, reason: Option<String>) -> ApiError {
    let reason = reason
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    ApiError::Gone(format!("the session is {}{reason}", state.word()))
}

/// The caller has as many live sessions as may be.
pub(super) fn quota_reached(live: i64) -> ApiError {
    ApiError::Forbidden(format!(
        "you have {live} sessions, as many as one user may have (WARREN_SESSIONS_PER_USER); GET /sessions lists them, close one \
         with DELETE /sessions/{{id}}"
    ))
}

/// The name of the service belongs to somebody else.
pub fn not_yours(name: &str) -> ApiError {
    ApiError::Forbidden(format!(
        "the service name {name:?} belongs to somebody else; publish under another name"
    ))
}

/// There is no such version, or it cannot be called yet.
pub fn no_service(name: &str, version: &str) -> ApiError {
    ApiError::NotFound(format!(
        "there is no service {name:?} with the version {version:?}; GET /services/{name} lists its versions"
    ))
}
