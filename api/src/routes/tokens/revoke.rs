//! `DELETE /login/refreshToken`, and the same with the token in the path, as clients that 9.0.1 generated have it.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::SignsInHere;
use crate::app::Shared;
use crate::audit::Who;
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
    Params(revocation): Params<Revocation>,
) -> Result<(Extension<Who>, Json<Revoked>), ApiError> {
    let missing = || ApiError::BadRequest("the query must have refreshToken".to_owned());
    let token = revocation.refresh_token.ok_or_else(missing)?;
    let who = app.tokens.revoke(&token).await?;
    Ok((Extension(who), Json(Revoked {})))
}

/// Ends the sign-in of the token in the path.
pub async fn by_path(
    _here: SignsInHere,
    State(app): State<Shared>,
    token: Result<Path<String>, PathRejection>,
) -> Result<(Extension<Who>, Json<Revoked>), ApiError> {
    let Path(token) = token.map_err(|rejection| ApiError::BadRequest(rejection.body_text()))?;
    let who = app.tokens.revoke(&token).await?;
    Ok((Extension(who), Json(Revoked {})))
}
