//! `GET /health/live`

use axum::Json;

use super::{Up, up};

/// This process answers.
pub async fn live() -> Json<Up> {
    up()
}
