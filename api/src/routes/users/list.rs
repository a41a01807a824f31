//! `GET /users` and `GET /users/{name}`

use axum::Json;
use axum::extract::State;
use warren_common::store::principals;

use super::{Name, User};
use crate::app::Shared;
use crate::error::ApiError;

/// All of them, by name.
pub async fn all(State(app): State<Shared>) -> Result<Json<Vec<User>>, ApiError> {
    let users = principals::users(&app.db, principals::LOCAL, None).await?;
    Ok(Json(users.into_iter().map(User::from).collect()))
}

/// One.
pub async fn one(State(app): State<Shared>, name: Name) -> Result<Json<User>, ApiError> {
    Ok(Json(name.find(&app.db).await?))
}
