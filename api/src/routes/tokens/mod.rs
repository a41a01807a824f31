//! Signing in and out: pairs of an access token and the refresh token that renews it.

mod attempt;
mod directory;
pub mod keys;
mod local;
pub mod login;
pub mod renew;
pub mod revoke;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Serialize;

use crate::app::Shared;
use crate::auth::tokens::Pair;
use crate::error::ApiError;

/// Signing in happens here, and not at an `OpenID` provider. A route that takes it as its first argument is refused otherwise.
pub struct SignsInHere;

impl FromRequestParts<Shared> for SignsInHere {
    type Rejection = ApiError;

    async fn from_request_parts(_parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        match &app.openid {
            None => Ok(Self),
            Some(openid) => Err(ApiError::BadRequest(format!(
                "nobody signs in here: get an access token from {} and send it as Authorization: Bearer",
                openid.issuer()
            ))),
        }
    }
}

/// The tokens of a sign-in.
#[derive(Serialize)]
pub struct AccessTokenResponse {
    token_type: &'static str,
    access_token: String,
    expires_in: i64,
    /// Unix seconds; a string, as the inherited schema says.
    expires_on: String,
    refresh_token: String,
}

impl From<Pair> for AccessTokenResponse {
    fn from(pair: Pair) -> Self {
        Self {
            token_type: "Bearer",
            access_token: pair.access,
            expires_in: pair.seconds,
            expires_on: pair.expires.to_string(),
            refresh_token: pair.refresh,
        }
    }
}
