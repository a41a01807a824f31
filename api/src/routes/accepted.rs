//! 202: the job is stored, and where to ask for it.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use warren_common::id::{JobId, SessionId};

use crate::extract::Prefer;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What a caller that does not wait gets.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    job_id: JobId,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<SessionId>,
}

/// The answer to a caller that prefers not to wait any longer. `opens` is the session that the job opens.
pub(super) fn accepted(job_id: JobId, opens: Option<SessionId>, prefer: Prefer) -> Response {
    let body = Accepted {
        job_id,
        session_id: opens,
    };
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    let headers = response.headers_mut();
    if let Ok(place) = HeaderValue::from_str(&format!("/jobs/{job_id}")) {
        headers.insert(header::LOCATION, place);
    }
    if let Ok(applied) = HeaderValue::from_str(&prefer.applied()) {
        headers.insert(PREFERENCE_APPLIED, applied);
    }
    response
}
