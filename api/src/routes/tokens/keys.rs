//! `GET /.well-known/jwks.json`

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use crate::app::Shared;

/// The keys that verify access tokens, as a JSON Web Key Set (RFC 7517).
pub async fn keys(State(app): State<Shared>) -> Json<Value> {
    Json(app.tokens.public_keys())
}
