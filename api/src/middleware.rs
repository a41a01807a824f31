//! Around every request: its id, its span, its figures, the Error body, and the net under panics.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tracing::Instrument;
use warren_common::telemetry::{TraceContext, metrics};

use crate::error::{ApiError, Problem};

/// The header that tells a caller the id of its request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Observes one request.
pub async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let traceparent = request.headers().get("traceparent");
    let context = TraceContext::continued(traceparent.and_then(|value| value.to_str().ok()));
    request.extensions_mut().insert(context);
    let request_id = context.request_id();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    let span = tracing::info_span!(
        "api.request",
        method = %method,
        route,
        request.id = request_id,
        status = tracing::field::Empty
    );
    let answer = AssertUnwindSafe(next.run(request))
        .catch_unwind()
        .instrument(span.clone())
        .await;
    let response = answer.unwrap_or_else(|_panic| {
        ApiError::internal("the handler panicked; the line before says where").into_response()
    });
    span.record("status", response.status().as_u16());
    let response = span.in_scope(|| complete(response, &request_id));
    let status = response.status().as_u16();
    metrics().answered(method.as_str(), &route, status, started.elapsed());
    response
}

/// Writes what every answer has.
fn complete(mut response: Response, request_id: &str) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        report(response.status(), &problem);
        let body = problem.body(response.status(), request_id);
        *response.body_mut() = Body::from(body);
        let kind = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// Logs what callers are not told. Their own mistakes are theirs.
fn report(status: StatusCode, problem: &Problem) {
    let cause = problem.cause.as_deref().unwrap_or("no cause given");
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(cause, "A request failed");
    } else if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
        tracing::warn!(cause, status = status.as_u16(), "A request was put off");
    }
}
