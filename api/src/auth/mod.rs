//! Who is calling.

pub mod identity;
pub mod ldap;
pub mod password;
pub mod password_rules;
pub mod throttle;
pub mod tokens;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use warren_common::id::PrincipalId;

use crate::app::Shared;
use crate::error::ApiError;

/// Whoever a token was issued to. Taking it as an argument is what makes a route need a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Owns what the request makes.
    pub id: PrincipalId,
    /// Shown as owner.
    pub name: String,
}

const NO_TOKEN: ApiError =
    ApiError::Unauthorized("this needs the header Authorization: Bearer <access token>");

impl FromRequestParts<Shared> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        let value = parts.headers.get(header::AUTHORIZATION).ok_or(NO_TOKEN)?;
        let text = value.to_str().map_err(|_bytes| NO_TOKEN)?;
        let (scheme, token) = text.split_once(' ').ok_or(NO_TOKEN)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            app.tokens.verify(token.trim()).await
        } else {
            Err(NO_TOKEN)
        }
    }
}
