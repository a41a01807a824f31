//! `DELETE /users/{name}`

use axum::Json;
use axum::extract::State;
use warren_common::store::principals::Change;

use super::Name;
use crate::app::Shared;
use crate::error::ApiError;

/// Removes a user for good. What it owns is kept, and nobody else gets its name.
pub async fn delete(State(app): State<Shared>, name: Name) -> Result<Json<&'static str>, ApiError> {
    name.change(&app, &[Change::Delete]).await?;
    Ok(Json("the user is deleted"))
}
