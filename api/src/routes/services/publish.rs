//! `POST /services/{name}`, `POST /services/{name}/{version}` and `PATCH /services/{name}/{version}`

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use warren_common::id::{ContentId, JobId, VersionId};
use warren_common::model::Change;
use warren_common::store::jobs::IdempotencyKey;
use warren_common::store::services::NewPublication;

use super::place::Place;
use super::request::Request;
use crate::app::{App, Shared};
use crate::audit::Target;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Body, Key, Prefer, Trace};
use crate::routes::accepted::accepted;
use crate::routes::turn::succeeded;
use crate::routes::unclaimed::{Stored, end_of};
use crate::submit::{Placed, Publishing, Work};

/// How long a change may wait for its turn.
const CHANGE_WAIT: Duration = Duration::from_secs(900);

/// What every publication says besides what it is about.
pub struct Asked {
    caller: Caller,
    place: Place,
    prefer: Prefer,
    trace: Trace,
    key: Key,
}

impl axum::extract::FromRequestParts<Shared> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        app: &Shared,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            caller: Caller::from_request_parts(parts, app).await?,
            place: Place::from_request_parts(parts, app).await?,
            prefer: Prefer::from_request_parts(parts, app).await?,
            trace: Trace::from_request_parts(parts, app).await?,
            key: Key::from_request_parts(parts, app).await?,
        })
    }
}

/// Publishes a version that is new; without one in the path it is the id of its job.
pub async fn publish(
    State(app): State<Shared>,
    asked: Asked,
    body: Body<Request>,
) -> Result<Response, ApiError> {
    let change = body.value.of_new()?;
    take(&app, asked, Some(VersionId::new()), change, body.bytes).await
}

/// Changes a version: what the body does not name stays.
pub async fn patch(
    State(app): State<Shared>,
    asked: Asked,
    body: Body<Request>,
) -> Result<Response, ApiError> {
    let change = body.value.change()?;
    take(&app, asked, None, change, body.bytes).await
}

async fn take(
    app: &App,
    asked: Asked,
    fresh: Option<VersionId>,
    change: Change,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Asked {
        caller,
        place,
        prefer,
        trace: Trace(traceparent),
        key,
    } = asked;
    let id = JobId::new();
    // So that whoever repeats the request, or does not wait for its end, knows it as well.
    let version_of = |job: JobId| place.version.clone().unwrap_or_else(|| job.to_string());
    let key = key.over(&body).map(|(key, body_hash)| IdempotencyKey {
        owner: caller.id,
        key,
        body_hash,
    });
    let new = NewPublication {
        job: id,
        publisher: caller.publisher(),
        name: place.name.clone(),
        version: version_of(id),
        fresh,
        content: ContentId::new(),
        snapshot: change.snapshot,
        traceparent,
    };
    let waiter = app.watch.expect(new.job);
    let work = Work::Publish(Box::new(Publishing { new, change }));
    let (job, waiter, patience) = match app.submitter.submit(work, key.clone()).await? {
        // A change waits for its turn behind others of the version, each of which may take long.
        Placed::Now(job) if fresh.is_none() => (job, waiter, Some(CHANGE_WAIT)),
        Placed::Now(job) => (job, waiter, Some(app.config.open_wait)),
        Placed::Before(job) => (job, app.watch.follow(job), None),
    };
    let stored = Stored {
        job,
        waiter,
        key: key.as_ref(),
        patience,
    };
    let Some(outcome) = end_of(app, &caller, prefer, stored).await? else {
        return Ok(accepted(job, None, prefer));
    };
    succeeded(&outcome)?;
    let status = if fresh.is_some() {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let version = version_of(job);
    let what = Target(format!("/services/{}/{version}", place.name));
    let mut response = (status, Extension(what), Json(version.as_str())).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/api/{}/{version}", place.name)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}
