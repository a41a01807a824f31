//! The small server of `/metrics` and the health probes, on a port of its own.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics;

/// Asks the program whether it could do its work now.
pub type Readiness = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    ready: Readiness,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let encode = || async {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(header::CONTENT_TYPE, kind)], metrics().encode())
    };
    let probe = move || async move {
        if ready().await {
            (StatusCode::OK, "up\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "down\n")
        }
    };
    let router = Router::new()
        .route("/metrics", get(encode))
        .route("/health/live", get(|| async { "up\n" }))
        .route("/health/ready", get(probe));
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}
