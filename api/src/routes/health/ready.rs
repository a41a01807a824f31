//! `GET /health/ready`

use axum::Json;
use axum::extract::State;

use super::{Up, up};
use crate::app::Shared;
use crate::error::ApiError;

/// This node could do its work now.
pub async fn ready(State(app): State<Shared>) -> Result<Json<Up>, ApiError> {
    if app.ready.is_up().await {
        Ok(up())
    } else {
        Err(ApiError::unavailable("down"))
    }
}
