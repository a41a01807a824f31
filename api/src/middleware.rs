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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use tower::ServiceExt;

    async fn ask(path: &str) -> (StatusCode, String, String) {
        let faulty = async || -> &'static str { panic!("on purpose") };
        let router = Router::new()
            .route("/good", get(async || "fine"))
            .route("/faulty", get(faulty))
            .fallback(async || ApiError::NotFound("nothing".to_owned()))
            .layer(axum::middleware::from_fn(observe));
        let request = Request::get(path)
            .header(
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            )
            .body(Body::empty())
            .unwrap();
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1024).await.unwrap();
        let id = parts.headers.get(REQUEST_ID).unwrap().to_str().unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        (parts.status, id.to_owned(), text)
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_that_names_the_request() {
        let (status, id, body) = ask("/faulty").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(body.contains(&format!("\"link\":\"{id}\"")), "{body}");
        assert!(!body.contains("on purpose"));
    }

    #[tokio::test]
    async fn an_unknown_path_has_the_error_body_and_a_good_answer_its_own() {
        let (status, _id, body) = ask("/else").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(body.starts_with("{\"code\":404,"), "{body}");
        assert_eq!(ask("/good").await.2, "fine");
    }
}
