//! `POST /sessions`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use warren_common::id::{JobId, SessionId, SnapshotId};
use warren_common::model::{JobState, OpenRequest, Refusal};
use warren_common::store::jobs::{self, CancelVerdict, IdempotencyKey};

use super::check_name;
use crate::app::{App, Shared};
use crate::audit::Target;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Key, OptionalBody, Prefer, Trace};
use crate::routes::accepted::accepted;
use crate::routes::snapshots::snapshot_of;
use crate::routes::turn::succeeded;
use crate::submit::{Opening, Placed, Work, session_over};
use crate::watch::{Outcome, Waiter};

/// What the session should be like; every member may be absent or null.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateSessionRequest {
    name: Option<String>,
    snapshot_id: Option<String>,
    runtime_type: Option<String>,
}

/// The session.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateSessionResponse {
    session_id: SessionId,
}

/// Opens a session, and waits until it is open or nobody has room for it.
pub async fn open(
    State(app): State<Shared>,
    caller: Caller,
    prefer: Prefer,
    Trace(traceparent): Trace,
    key: Key,
    body: OptionalBody<CreateSessionRequest>,
) -> Result<Response, ApiError> {
    let snapshot = check(&body.value)?;
    if let Some(snapshot) = snapshot {
        snapshot_of(&app, &caller, snapshot).await?;
    }
    let (session, job) = (SessionId::new(), JobId::new());
    let key = key
        .over(&body.bytes)
        .map(|(key, body_hash)| IdempotencyKey {
            owner: caller.id,
            key,
            body_hash,
        });
    let work = Work::Open(Opening {
        session,
        job,
        owner: caller.id,
        name: body.value.name,
        request: serde_json::to_vec(&OpenRequest { snapshot }).map_err(ApiError::internal)?,
        traceparent,
    });
    let waiter = app.watch.expect(job);
    let (job, session, mut waiter, is_first) = match app.submitter.submit(work, key.clone()).await?
    {
        Placed::Now(job) => (job, session, waiter, true),
        Placed::Before(job) => (
            job,
            session_opened_by(&app, &caller, job).await?,
            app.watch.follow(job),
            false,
        ),
    };
    let limit = prefer.limit();
    let wait = limit.unwrap_or(app.config.open_wait);
    let mut response = match waiter.outcome(Some(wait)).await? {
        Some(outcome) => answer(session, &outcome)?,
        // A repeated call must not take back what the first one was promised.
        None if limit.is_some() || !is_first => accepted(job, Some(session), prefer),
        None => {
            let given_up = give_up(&app, &caller, job, session, &mut waiter).await;
            if let (Err(ApiError::Unavailable(_)), Some(key)) = (&given_up, &key) {
                // The caller is told to try again, so its key must not name this job for a day.
                jobs::forget(&app.db, key, job).await?;
            }
            given_up?
        }
    };
    let what = Target(format!("/sessions/{session}"));
    response.extensions_mut().insert(what);
    Ok(response)
}

/// The snapshot that the session begins with, if the request makes sense.
fn check(request: &CreateSessionRequest) -> Result<Option<SnapshotId>, ApiError> {
    let bad = |text: String| Err(ApiError::BadRequest(text));
    match request.runtime_type.as_deref() {
        None | Some("R") => {}
        Some(other) => {
            return bad(format!(
                "runtimeType {other:?} is not there; it can be \"R\""
            ));
        }
    }
    check_name(request.name.as_deref())?;
    match request.snapshot_id.as_deref().map(str::parse) {
        None => Ok(None),
        Some(Ok(snapshot)) => Ok(Some(snapshot)),
        Some(Err(_error)) => bad("snapshotId is no UUID".to_owned()),
    }
}

fn answer(session_id: SessionId, outcome: &Outcome) -> Result<Response, ApiError> {
    let reason = outcome.reason.clone();
    match outcome.state {
        JobState::Succeeded => {
            let body = Json(CreateSessionResponse { session_id });
            Ok((StatusCode::CREATED, body).into_response())
        }
        JobState::Cancelled => Err(session_over(
            warren_common::model::SessionState::Closed,
            reason,
        )),
        _ if outcome.read::<Refusal>().is_some() => Err(match succeeded(outcome) {
            Err(error) => error,
            Ok(()) => ApiError::internal("a job that succeeded and was refused"),
        }),
        _ => {
            let reason = reason.unwrap_or_else(|| outcome.state.word().to_owned());
            Err(ApiError::unavailable(format!(
                "the session could not be opened: {reason}"
            )))
        }
    }
}

/// Nobody had room within the wait: the opening is cancelled first, so that nothing opens behind the caller's back.
async fn give_up(
    app: &App,
    caller: &Caller,
    job: JobId,
    session: SessionId,
    waiter: &mut Waiter,
) -> Result<Response, ApiError> {
    let asked = jobs::withdraw(&app.db, caller.id, job).await;
    match asked {
        Ok(CancelVerdict::AtOnce) => {
            let seconds = app.config.open_wait.as_secs_f64();
            Err(ApiError::unavailable(format!(
                "no worker had room for a session within {seconds} s"
            )))
        }
        // It was opened in the last moment, or somebody closed it, or a worker is bringing in its snapshot.
        Ok(_begun) => {
            app.watch.look_at(job);
            match waiter.outcome(None).await? {
                Some(outcome) => answer(session, &outcome),
                None => Err(ApiError::InDoubt(job)),
            }
        }
        Err(error) => {
            tracing::debug!(error = %error, "An opening could not be cancelled");
            Err(ApiError::InDoubt(job))
        }
    }
}

async fn session_opened_by(app: &App, caller: &Caller, job: JobId) -> Result<SessionId, ApiError> {
    let found = jobs::find(&app.db, caller.id, job).await?;
    let session = found.and_then(|job| job.session);
    session.ok_or_else(|| ApiError::internal("an opening without a session"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(json: &str) -> Result<Option<SnapshotId>, ApiError> {
        check(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn null_means_absent() {
        assert!(checked("{}").is_ok());
        assert!(checked(r#"{"name":null,"snapshotId":null,"runtimeType":null}"#).is_ok());
        assert!(checked(r#"{"name":"demo","runtimeType":"R","color":"red"}"#).is_ok());
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let python = checked(r#"{"runtimeType":"Python"}"#);
        assert!(matches!(python, Err(ApiError::BadRequest(_))));
        let snapshot = checked(r#"{"snapshotId":"1"}"#);
        assert!(matches!(snapshot, Err(ApiError::BadRequest(_))));
        let nul = checked(r#"{"name":"a\u0000"}"#);
        assert!(matches!(nul, Err(ApiError::BadRequest(_))));
    }
}
