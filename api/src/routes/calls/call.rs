//! `POST /api/{name}/{version}`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use warren_common::id::{ContentId, JobId};
use warren_common::store::jobs::{IdempotencyKey, NewCall};
use warren_common::store::services::Target;

use super::answer::CallResponse;
use crate::app::{App, Shared};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Key, OptionalBody, Prefer, Trace};
use crate::routes::accepted::accepted;
use crate::routes::services::Place;
use crate::routes::unclaimed::{Stored, end_of};
use crate::services::inputs::{self, Inputs};
use crate::submit::{Placed, Work};
use crate::watch::Waiter;

/// How often a call is looked at anew because its service was published again at that very moment.
const TRIES: usize = 5;

/// Runs a service once, and waits until it has ended.
pub async fn call(
    State(app): State<Shared>,
    caller: Caller,
    place: Place,
    prefer: Prefer,
    Trace(traceparent): Trace,
    key: Key,
    body: OptionalBody<Inputs>,
) -> Result<Response, ApiError> {
    let key = key
        .over(&body.bytes)
        .map(|(key, body_hash)| IdempotencyKey {
            owner: caller.id,
            key,
            body_hash,
        });
    check_room(&app)?;
    let (placed, waiter) =
        submit(&app, &caller, &place, &body.value, traceparent, key.clone()).await?;
    let (job, patience) = match placed {
        Placed::Now(job) => (job, Some(app.config.open_wait)),
        Placed::Before(job) => (job, None),
    };
    let stored = Stored {
        job,
        waiter,
        key: key.as_ref(),
        patience,
    };
    match end_of(&app, &caller, prefer, stored).await? {
        Some(outcome) => Ok(Json(CallResponse::of(&outcome)?).into_response()),
        None => Ok(accepted(job, None, prefer)),
    }
}

/// Refuses while very many calls wait, as they were counted a few seconds ago.
fn check_room(app: &App) -> Result<(), ApiError> {
    let limit = app.config.call_queue_limit;
    if app.waiting.calls() < limit {
        Ok(())
    } else {
        Err(ApiError::unavailable(format!(
            "{limit} calls wait already, as many as may (WARREN_CALL_QUEUE_LIMIT)"
        )))
    }
}

/// Stores the call for what its service consists of at this moment.
async fn submit(
    app: &App,
    caller: &Caller,
    place: &Place,
    inputs: &Inputs,
    traceparent: String,
    key: Option<IdempotencyKey>,
) -> Result<(Placed, Waiter), ApiError> {
    for attempt in 0..TRIES {
        let target = checked(app, place, inputs, attempt > 0).await?;
        let call = NewCall {
            id: JobId::new(),
            owner: caller.id,
            version: target.version,
            content: target.content,
            request: request(target.content, inputs)?,
            traceparent: traceparent.clone(),
        };
        let waiter = app.watch.expect(call.id);
        match app.submitter.submit(Work::Call(call), key.clone()).await {
            Ok(placed @ Placed::Now(_)) => return Ok((placed, waiter)),
            Ok(placed @ Placed::Before(job)) => return Ok((placed, app.watch.follow(job))),
            Err(ApiError::Changed) => {}
            Err(error) => return Err(error),
        }
    }
    Err(ApiError::Changed)
}

/// What the call would run, if its inputs fit; what is remembered is enough when they do, and is `stale` when it was refused.
async fn checked(
    app: &App,
    place: &Place,
    inputs: &Inputs,
    stale: bool,
) -> Result<Arc<Target>, ApiError> {
    let version = place.version()?;
    let remembered = app
        .targets
        .recall(&place.name, version)
        .filter(|_target| !stale);
    if let Some(target) = remembered
        && inputs::check(&target.definition.inputs, inputs).is_ok()
    {
        return Ok(target);
    }
    let target = app.targets.look(&app.db, &place.name, version).await?;
    let target = target.ok_or_else(|| place.unknown())?;
    inputs::check(&target.definition.inputs, inputs)
        .map_err(|wrong| ApiError::BadRequest(wrong.to_string()))?;
    Ok(target)
}

/// The request as it is stored: a [`warren_common::model::CallRequest`].
pub(in crate::routes) fn request(content: ContentId, inputs: &Inputs) -> Result<Vec<u8>, ApiError> {
    #[derive(Serialize)]
    struct Stored<'a> {
        content: ContentId,
        inputs: Vec<Input<'a>>,
    }
    #[derive(Serialize)]
    struct Input<'a> {
        name: &'a str,
        value: &'a RawValue,
    }
    let inputs = inputs.0.iter().map(|input| Input {
        name: &input.name,
        value: &input.value,
    });
    serde_json::to_vec(&Stored {
        content,
        inputs: inputs.collect(),
    })
    .map_err(ApiError::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use warren_common::model::CallRequest;

    #[test]
    fn a_call_is_stored_as_workers_read_it() {
        let content = ContentId::new();
        let inputs: Inputs = serde_json::from_str(r#"{"x":1.50}"#).unwrap();
        let stored = request(content, &inputs).unwrap();
        let read: CallRequest = serde_json::from_slice(&stored).unwrap();
        assert_eq!(read.content, content);
        assert_eq!(read.inputs[0].value.get(), "1.50");
    }
}
