//! `DELETE /login/refreshToken`, and the same with the token in the path, as clients that 9.0.1 generated have it.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::SignsInHere;
use crate::app::{App, Shared};
use crate::audit::{Notes, Origin};
use crate::error::ApiError;
use crate::extract::Params;

/// What is revoked.
#[derive(Deserialize)]
pub struct Revocation {
    #[serde(rename = "refreshToken")]
    refresh_token: Option<String>,
}

/// Nothing: an `AccessTokenResponse` without tokens, which the inherited schema allows.
#[derive(Serialize)]
pub struct Revoked {}

/// Ends the sign-in of the token in the query.
pub async fn by_query(
    _here: SignsInHere,
    State(app): State<Shared>,
    origin: Origin,
    Params(revocation): Params<Revocation>,
) -> Result<Response, ApiError> {
    let missing = || ApiError::BadRequest("the query must have refreshToken".to_owned());
    let token = revocation.refresh_token.ok_or_else(missing)?;
    Ok(revoke(&app, origin, &token).await)
}

/// Ends the sign-in of the token in the path.
pub async fn by_path(
    _here: SignsInHere,
    State(app): State<Shared>,
    origin: Origin,
    token: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(token) = token.map_err(|rejection| ApiError::BadRequest(rejection.body_text()))?;
    Ok(revoke(&app, origin, &token).await)
}

async fn revoke(app: &App, origin: Origin, token: &str) -> Response {
    let mut notes = Notes::new(&app.audit, origin);
    let revoked = app.tokens.revoke(token, &mut notes).await;
    notes.attach(revoked.map(|()| Json(Revoked {})).into_response())
}
