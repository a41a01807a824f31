//! `GET /swagger.json`

use axum::http::header;
use axum::response::IntoResponse;

/// The core document, Swagger 2.0. A test of the router holds it and the routes together.
pub const DOCUMENT: &str = include_str!("../swagger.json");

/// The document.
pub async fn swagger() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}
