//! Signing in and out: pairs of an access token and the refresh token that renews it.

mod directory;
pub mod keys;
pub mod login;
pub mod renew;
pub mod revoke;

use serde::Serialize;

use crate::auth::tokens::Pair;

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
