//! Probes: no token, and nothing but up or down.

pub mod live;
pub mod ready;

use axum::Json;
use serde::Serialize;

/// The reply of a probe that is up.
#[derive(Serialize)]
pub struct Up {
    status: &'static str,
}

/// Up.
fn up() -> Json<Up> {
    Json(Up { status: "up" })
}
